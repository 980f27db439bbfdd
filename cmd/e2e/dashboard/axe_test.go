package dashboard

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// violation is a rule of axe-core that a page breaks.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// accessible checks the page by all rules of axe-core; in the dark by that of contrast,
// which alone knows of colours. What is serious fails the test; the rest is logged.
func (p *tab) accessible(path string) {
	p.Helper()
	source, err := os.ReadFile(e2etest.Tool(p, "npm/node_modules/axe-core/axe.min.js"))
	if err != nil {
		p.Fatal(err)
	}
	eval[bool](p, string(source)+";true")
	var found []violation
	rules := ""
	if p.look.dark {
		rules = `, runOnly: ["color-contrast"]`
	}
	text := eval[string](p, `axe.run(document, {resultTypes: ["violations"], preload: false`+rules+`}).then((r) => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		p.Fatal(err)
	}
	for _, v := range found {
		var where []string
		for _, n := range v.Nodes[:min(3, len(v.Nodes))] {
			where = append(where, n.HTML+"\n\t\t"+strings.ReplaceAll(n.FailureSummary, "\n", "\n\t\t"))
		}
		say := p.Logf
		if v.Impact == "serious" || v.Impact == "critical" {
			say = p.Errorf
		}
		say("%s, %s: axe: %s: %s: %s (%d nodes)\n\t%.1500s", path, p.look, v.Impact, v.ID, v.Help, len(v.Nodes), strings.Join(where, "\n\t"))
	}
}
