package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/proto/openapi"
)

// apiMethod is one path and method of the REST API, as its OpenAPI document has it.
type apiMethod struct {
	ID          string        `json:"id"`      // and anchor on the page
	Service     string        `json:"service"` // of gRPC
	Name        string        `json:"name"`    // of gRPC
	Method      string        `json:"method"`
	Path        string        `json:"path"`
	Summary     string        `json:"summary"`
	Description string        `json:"description,omitempty"`
	Parameters  []apiField    `json:"parameters"`
	Responses   []apiResponse `json:"responses"`
	Curl        string        `json:"curl"`
	Example     *apiExample   `json:"example,omitempty"`
}

// apiField is a parameter, or a member of a message.
type apiField struct {
	Name     string `json:"name"`
	In       string `json:"in,omitempty"` // path, query or body
	Type     string `json:"type"`
	Required bool   `json:"required,omitempty"`
	Meaning  string `json:"meaning"`
}

type apiResponse struct {
	Status  string     `json:"status"`
	Meaning string     `json:"meaning"`
	Type    string     `json:"type"`
	Fields  []apiField `json:"fields"`
}

// What is read of an OpenAPI 2.0 document.
type (
	openAPI struct {
		Paths       map[string]map[string]openAPIMethod `json:"paths"`
		Definitions map[string]openAPISchema            `json:"definitions"`
	}
	openAPIMethod struct {
		OperationID, Summary, Description string
		Parameters                        []openAPISchema
		Responses                         map[string]openAPISchema
	}
	// openAPISchema is a schema, and what parameters and responses have beside one.
	openAPISchema struct {
		Name, In, Type, Format, Title, Description string
		Required                                   any    // a bool of a parameter, a list of an object
		Ref                                        string `json:"$ref"`
		Items, Schema                              *openAPISchema
		Properties                                 map[string]openAPISchema
	}
)

// readReference reads the embedded OpenAPI document.
func readReference() ([]apiMethod, error) {
	var doc openAPI
	if err := json.Unmarshal(openapi.JSON, &doc); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	var list []apiMethod
	for path, methods := range doc.Paths {
		for method, m := range methods {
			service, name, _ := strings.Cut(m.OperationID, "_")
			a := apiMethod{
				ID: m.OperationID, Service: "cairn.v1." + service, Name: name, Method: strings.ToUpper(method), Path: path,
				Summary: m.Summary, Description: m.Description, Parameters: []apiField{},
			}
			for i := range m.Parameters {
				a.Parameters = append(a.Parameters, doc.parameter(&m.Parameters[i])...)
			}
			for status, r := range m.Responses {
				a.Responses = append(a.Responses, doc.response(status, &r))
			}
			slices.SortFunc(a.Responses, func(x, y apiResponse) int { return cmp.Compare(x.Status, y.Status) })
			list = append(list, a)
		}
	}
	// The log comes first, and of a path what only reads.
	slices.SortFunc(list, func(x, y apiMethod) int {
		return cmp.Or(cmp.Compare(y.Service, x.Service), cmp.Compare(x.Path, y.Path), cmp.Compare(x.Method, y.Method))
	})
	return list, nil
}

// parameter returns a parameter; of a body its members, which may be none.
func (doc *openAPI) parameter(p *openAPISchema) []apiField {
	required, _ := p.Required.(bool)
	if p.Schema != nil {
		if p.Schema.Ref == "" {
			return []apiField{{Name: p.Name, In: p.In, Type: typeOf(p.Schema), Required: required, Meaning: p.Description}}
		}
		fields := doc.fields(p.Schema)
		for i := range fields {
			fields[i].In = "body"
		}
		return fields
	}
	return []apiField{{Name: p.Name, In: p.In, Type: typeOf(p), Required: required, Meaning: p.Description}}
}

func (doc *openAPI) response(status string, r *openAPISchema) apiResponse {
	a := apiResponse{Status: status, Meaning: strings.ReplaceAll(r.Description, ".(streaming responses)", ": one JSON object a line, each with result or error."), Fields: []apiField{}}
	schema := r.Schema
	if schema == nil {
		return a
	}
	if result, streams := schema.Properties["result"]; streams {
		schema = &result
	}
	a.Type = typeOf(schema)
	a.Fields = append(a.Fields, doc.fields(schema)...)
	return a
}

// fields returns the members of a message, by name.
func (doc *openAPI) fields(schema *openAPISchema) []apiField {
	name, found := strings.CutPrefix(schema.Ref, "#/definitions/")
	if !found {
		return nil
	}
	var list []apiField
	for field, p := range doc.Definitions[name].Properties {
		list = append(list, apiField{Name: field, Type: typeOf(&p), Meaning: cmp.Or(p.Description, p.Title)})
	}
	slices.SortFunc(list, func(x, y apiField) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

func typeOf(s *openAPISchema) string {
	switch {
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, "#/definitions/")
	case s.Items != nil:
		return "list of " + typeOf(s.Items)
	case s.Format == "byte":
		return "base64"
	case s.Format != "" && s.Type == "string":
		return s.Format + ", as a string"
	case s.Format != "":
		return s.Format
	}
	return s.Type
}
