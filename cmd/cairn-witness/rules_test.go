package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ruleFile is what Prometheus takes for a file of alert rules.
type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAlertRules checks that the rules are well-formed, speak of metrics that
// there are, and are explained to operators.
func TestAlertRules(t *testing.T) {
	d := yaml.NewDecoder(bytes.NewReader([]byte(readFile(t, "../../deployments/prometheus/witness-rules.yaml"))))
	d.KnownFields(true)
	var f ruleFile
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	metrics := readFile(t, "../../witness/metrics.go") + readFile(t, "../../witness/gossip/metrics.go")
	doc := readFile(t, "../../docs/witness.md")
	names := regexp.MustCompile(`\bcairn_[a-z_]+`)
	alerts := 0
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			alerts++
			used := names.FindAllString(r.Expr, -1)
			if len(used) == 0 {
				t.Errorf("%s looks at no metric", r.Alert)
			}
			for _, name := range used {
				if !strings.Contains(metrics, `"`+name+`"`) {
					t.Errorf("%s looks at %s, which there is not", r.Alert, name)
				}
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s lacks a severity or text", r.Alert)
			}
			if !strings.Contains(doc, "| `"+r.Alert+"` |") {
				t.Errorf("docs/witness.md does not say what to do about %s", r.Alert)
			}
		}
	}
	if alerts == 0 {
		t.Error("there are no rules")
	}
}

// TestDocumentedConfig: the configuration of the documentation is one.
func TestDocumentedConfig(t *testing.T) {
	_, after, _ := strings.Cut(readFile(t, "../../docs/witness.md"), "```yaml\n")
	text, _, ok := strings.Cut(after, "```")
	if !ok {
		t.Fatal("docs/witness.md has no configuration")
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	var c config
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	if c.HTTP != want.HTTP || c.Gossip != want.Gossip || c.MaxClockBehind != want.MaxClockBehind || c.Keep != want.Keep || c.Grace != want.Grace {
		t.Errorf("the documented values are not the defaults: %+v, want %+v", c, want)
	}
}
