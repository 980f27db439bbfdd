package deployments_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// schema is a JSON schema, or a part of one.
type schema = map[string]any

// schemas makes the directory of JSON schemas that kubeconform reads, one for each
// kind of Kubernetes's own OpenAPI document. They are strict: a field that the document
// does not have is an error, as it is to `kubectl apply --validate=strict`.
func schemas(t *testing.T) (location string) {
	t.Helper()
	text, err := os.ReadFile(e2etest.Tool(t, "kubernetes.json"))
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Definitions map[string]schema
	}
	if err := json.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	for name, d := range api.Definitions {
		switch {
		case strings.HasSuffix(name, ".util.intstr.IntOrString"):
			api.Definitions[name] = schema{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, ".api.resource.Quantity"):
			api.Definitions[name] = schema{"type": []string{"string", "number"}}
		case d["properties"] != nil:
			d["additionalProperties"] = false
		}
	}
	dir := t.TempDir()
	for name, d := range api.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 { // such as DeleteOptions, which is in every group
			continue
		}
		kind, _ := kinds[0].(schema)
		group, _, _ := strings.Cut(kind["group"].(string), ".")
		if group != "" {
			group = "-" + group
		}
		whole := schema{"$ref": "#/definitions/" + name, "definitions": reachable(api.Definitions, name)}
		// The document says what apiVersion and kind mean, not which there are.
		file := strings.ToLower(kind["kind"].(string)) + group + "-" + kind["version"].(string) + ".json"
		text, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "{{.ResourceKind}}{{.KindSuffix}}.json")
}

// reachable returns a definition and all that it refers to.
func reachable(all map[string]schema, name string) map[string]schema {
	found := make(map[string]schema)
	var walk func(v any)
	add := func(name string) {
		if _, ok := found[name]; !ok {
			found[name] = all[name]
			walk(all[name])
		}
	}
	walk = func(v any) {
		switch v := v.(type) {
		case schema:
			for key, value := range v {
				if ref, ok := value.(string); ok && key == "$ref" {
					add(strings.TrimPrefix(ref, "#/definitions/"))
				}
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	add(name)
	return found
}
