package main

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
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
