package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// intro is what a reader must know before any single call. It says only what
// the transcoding fixes; what the service promises is in the proto's comments.
const intro = `<!-- Generated from proto/cairn/v1/*.proto by "make generate". DO NOT EDIT. -->

# API reference

Every call is served twice: over gRPC, and as REST by a gateway in front of it.

- JSON names are lowerCamelCase. Integers of 64 bits are strings, bytes are
  standard base64, and fields with a zero value may be left out.
- Parameters in a path or a query are written as in the tables below;
  lowerCamelCase is taken too.
- A server stream is a sequence of JSON objects, one a line, each
  ` + "`{\"result\": …}` or `{\"error\": …}`" + `.
- Errors are ` + "`{\"code\": …, \"message\": …, \"details\": […]}`" + `, a google.rpc.Status.

Tiles, the bare checkpoint and the endpoints for other projects' clients are not
part of this service and not on this page.
`

// printer takes the parts of one line, as protogen.GeneratedFile.P does.
type printer interface{ P(v ...any) }

// writeReference prints the page for the files that are being generated:
// services first, then the messages that are neither request nor response.
func writeReference(out printer, files []*protogen.File) {
	out.P(intro)
	var services []*protogen.Service
	var messages []*protogen.Message
	for _, f := range files {
		if f.Generate {
			services = append(services, f.Services...)
			messages = append(messages, f.Messages...)
		}
	}
	own := make(map[protoreflect.FullName]bool) // printed with their RPC
	for _, s := range services {
		writeSummary(out, s)
		for _, m := range s.Methods {
			own[m.Input.Desc.FullName()] = true
			own[m.Output.Desc.FullName()] = true
			writeMethod(out, m)
		}
	}
	messages = slices.DeleteFunc(messages, func(m *protogen.Message) bool {
		return own[m.Desc.FullName()]
	})
	if len(messages) == 0 {
		return
	}
	out.P("## Messages")
	out.P()
	for _, m := range messages {
		out.P("### ", m.Desc.Name(), "\n\n", prose(m.Comments.Leading))
		writeFields(out, m)
	}
}

// writeSummary prints a service's comment and the table of its RPCs.
func writeSummary(out printer, s *protogen.Service) {
	out.P("## ", s.Desc.Name(), "\n\n`", s.Desc.FullName(), "`\n\n", prose(s.Comments.Leading))
	out.P("| RPC | REST |\n| --- | --- |")
	for _, m := range s.Methods {
		verb, path, _ := binding(m)
		out.P("| ", link(m.Desc.Name()), " | ", restForm(verb, path), " |")
	}
	out.P()
}

// writeMethod prints one RPC with the fields of its request and response.
func writeMethod(out printer, m *protogen.Method) {
	verb, path, body := binding(m)
	out.P("### ", m.Desc.Name(), "\n")
	out.P("REST: ", restForm(verb, path), "<br>\ngRPC: `", m.Desc.FullName(), "`",
		streaming(m), "\n")
	out.P(prose(m.Comments.Leading))
	out.P("Request: ", prose(m.Input.Comments.Leading))
	if len(m.Input.Fields) > 0 {
		out.P("| field | in | type | |\n| --- | --- | --- | --- |")
		for _, f := range m.Input.Fields {
			out.P("| `", f.Desc.Name(), "` | ", place(f, verb, path, body), " | ",
				typeOf(f), " | ", cell(f.Comments.Leading), " |")
		}
		out.P()
	}
	out.P("Response: ", prose(m.Output.Comments.Leading))
	writeFields(out, m.Output)
}

// writeFields prints the fields of a message as JSON carries it.
func writeFields(out printer, m *protogen.Message) {
	if len(m.Fields) == 0 {
		return
	}
	out.P("| field | type | |\n| --- | --- | --- |")
	for _, f := range m.Fields {
		out.P("| `", f.Desc.JSONName(), "` | ", typeOf(f), " | ", cell(f.Comments.Leading), " |")
	}
	out.P()
}

// binding returns an RPC's HTTP method, path template and body field. The body
// is "*" where the whole request is the body; all three are empty for an RPC
// that is gRPC only.
func binding(m *protogen.Method) (verb, path, body string) {
	rule, ok := proto.GetExtension(m.Desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return "", "", ""
	}
	switch p := rule.Pattern.(type) {
	case *annotations.HttpRule_Get:
		verb, path = "GET", p.Get
	case *annotations.HttpRule_Put:
		verb, path = "PUT", p.Put
	case *annotations.HttpRule_Post:
		verb, path = "POST", p.Post
	case *annotations.HttpRule_Delete:
		verb, path = "DELETE", p.Delete
	case *annotations.HttpRule_Patch:
		verb, path = "PATCH", p.Patch
	case *annotations.HttpRule_Custom:
		verb, path = p.Custom.GetKind(), p.Custom.GetPath()
	}
	return verb, path, rule.Body
}

func restForm(verb, path string) string {
	if path == "" {
		return "none"
	}
	return fmt.Sprintf("`%s %s`", verb, path)
}

func streaming(m *protogen.Method) string {
	switch client, server := m.Desc.IsStreamingClient(), m.Desc.IsStreamingServer(); {
	case client && server:
		return ", streams both ways"
	case client:
		return ", streams requests"
	case server:
		return ", streams responses"
	}
	return ""
}

// place says where REST carries a request's field.
func place(f *protogen.Field, verb, path, body string) string {
	name := string(f.Desc.Name())
	switch {
	case verb == "":
		return "gRPC"
	case strings.Contains(path, "{"+name+"}"), strings.Contains(path, "{"+name+"="):
		return "path"
	case body == name:
		return "the body"
	case body == "*":
		return "body"
	}
	return "query"
}

// typeOf names a field's type, as a link where this page describes it.
func typeOf(f *protogen.Field) string {
	if f.Desc.IsMap() {
		return fmt.Sprintf("map from %s to %s", f.Desc.MapKey().Kind(), typeOf(f.Message.Fields[1]))
	}
	name := f.Desc.Kind().String()
	switch {
	case f.Message != nil && f.Message.Desc.ParentFile().Package() == f.Desc.ParentFile().Package():
		name = link(f.Message.Desc.Name())
	case f.Message != nil:
		name = "`" + string(f.Message.Desc.FullName()) + "`"
	case f.Enum != nil:
		name = "`" + string(f.Enum.Desc.Name()) + "`"
	}
	switch {
	case f.Desc.IsList():
		return "list of " + name
	case f.Desc.HasOptionalKeyword():
		return "optional " + name
	}
	return name
}

// link points at the heading that this page has for a name.
func link(name protoreflect.Name) string {
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(string(name)))
}

// prose is a comment as Markdown paragraphs, each closed by an empty line.
func prose(c protogen.Comments) string {
	var lines []string
	for line := range strings.Lines(string(c)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return escape(strings.TrimSpace(strings.Join(lines, "\n"))) + "\n"
}

// cell is a comment on one line, fit for a table.
func cell(c protogen.Comments) string {
	text := strings.Join(strings.Fields(string(c)), " ")
	return strings.ReplaceAll(escape(text), "|", `\|`)
}

// escape keeps what comments write as <alg>:<hex> from being read as HTML.
// Between backticks Markdown does that already.
func escape(s string) string {
	parts := strings.Split(s, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(parts[i])
	}
	return strings.Join(parts, "`")
}
