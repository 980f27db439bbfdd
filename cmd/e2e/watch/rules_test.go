package watch

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// rule is an alert rule, as Prometheus takes it.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

// ruleFiles are those of deployments/prometheus, each with its tests beside it.
var ruleFiles = []string{"ledger-rules", "witness-rules"}

func rulesPath(name string) string {
	return filepath.Join(deployments, "prometheus", name+".yaml")
}

func readRules(t *testing.T, name string) *ruleFile {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, rulesPath(name))))
	d.KnownFields(true)
	var f ruleFile
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &f
}

const runbooks = "https://github.com/cairnlog/cairn/blob/main/docs/runbooks.md#"

var capital = regexp.MustCompile(`\B[A-Z]`)

// TestRules checks that each alert says how bad it is and where its runbook is, and
// that it was tried.
func TestRules(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range ruleFiles {
		tests := read(t, rulesPath(name+".test"))
		for _, g := range readRules(t, name).Groups {
			for _, r := range g.Rules {
				if seen[r.Alert] {
					t.Errorf("there are two alerts %s", r.Alert)
				}
				seen[r.Alert] = true
				if !slices.Contains([]string{"page", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("%s lacks a severity or text", r.Alert)
				}
				anchor := strings.ToLower(capital.ReplaceAllString(r.Alert, "-$0"))
				if r.Annotations["runbook_url"] != runbooks+anchor {
					t.Errorf("the runbook of %s is %q, want #%s", r.Alert, r.Annotations["runbook_url"], anchor)
				}
				if !strings.Contains(tests, `"`+r.Alert+`"`) {
					t.Errorf("no test of %s has %s fire", name, r.Alert)
				}
			}
		}
	}
	doc := read(t, "../../../docs/witness.md")
	for alert := range seen {
		if strings.HasPrefix(alert, "CairnWitness") && !strings.Contains(doc, "| `"+alert+"` |") {
			t.Errorf("docs/witness.md does not say what %s means", alert)
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
}

// metricName matches what can be one of ours, or of the process.
var metricName = regexp.MustCompile(`\b(cairn|process|go)_[a-z_]+`)

// TestMetricsExist: what rules and dashboard look at, real daemons show.
func TestMetricsExist(t *testing.T) {
	w := newWorld(t, "")
	shown := get(t, w.ledger.HTTP+"/metrics") + get(t, w.witness.HTTP+"/metrics")
	wanted := make(map[string][]string)
	for _, name := range ruleFiles {
		for _, g := range readRules(t, name).Groups {
			for _, r := range g.Rules {
				wanted[r.Expr] = append(wanted[r.Expr], r.Alert)
			}
		}
	}
	for title, exprs := range dashboardExprs(t) {
		for _, e := range exprs {
			wanted[e] = append(wanted[e], "panel "+title)
		}
	}
	for expr, by := range wanted {
		names := metricName.FindAllString(expr, -1)
		if len(names) == 0 && !strings.HasPrefix(expr, "up{") {
			t.Errorf("%v looks at no metric: %s", by, expr)
		}
		for _, n := range names {
			// A peer's answers are shown by witnesses that have peers.
			if n == "cairn_witness_peer_answer_timestamp_seconds" {
				continue
			}
			if !strings.Contains(shown, "\n"+n+"{") && !strings.Contains(shown, "\n"+n+" ") && !strings.Contains(shown, "# TYPE "+n+" ") {
				t.Errorf("%v looks at %s, which the daemons do not show", by, n)
			}
		}
	}
	for _, want := range []string{
		"cairn_ledger_quorum_margin 0\n", "cairn_ledger_quorum_attempt_margin 0\n", `cairn_ledger_witness_asked_total{result="ok",witness="w"} 2`,
		"cairn_ledger_tree_size_entries 1\n", "cairn_ledger_indexed_entries 1\n", "cairn_ledger_placed_entries 1\n", "cairn_ledger_rollback_evidence 0\n",
		"cairn_ledger_halted 0\n", `cairn_ledger_storage_errors_total{operation="blobs.put"} 0`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the ledger does not show %q:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, `cosignature_timestamp_seconds{witness="w"} 0`) {
		t.Error("the ledger does not show when the witness cosigned")
	}
	evidence := filepath.Join(w.dir, "ledger", "signed.rollback-7")
	write(t, evidence, "a note")
	if !strings.Contains(get(t, w.ledger.HTTP+"/metrics"), "cairn_ledger_rollback_evidence 1\n") {
		t.Error("the ledger does not show that there is evidence beside its state")
	}
}

// panel is what is looked at of a panel of a dashboard.
type panel struct {
	Title, Type, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct {
		Expr, RefID string
		Datasource  struct{ Type, UID string }
	}
}

func readDashboard(t *testing.T) []panel {
	t.Helper()
	var d struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct {
			List []struct{ Name, Type, Query any }
		}
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(deployments, "grafana", "cairn.json"))), &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 || len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
		t.Errorf("the dashboard lacks its identity, or the variable of its data source: %+v", d)
	}
	return d.Panels
}

// dashboardExprs returns the expressions of the dashboard, by panel.
func dashboardExprs(t *testing.T) map[string][]string {
	t.Helper()
	exprs := make(map[string][]string)
	for _, p := range readDashboard(t) {
		for _, target := range p.Targets {
			exprs[p.Title] = append(exprs[p.Title], target.Expr)
		}
	}
	return exprs
}

// TestDashboard: every panel has the data source that is chosen, a place of its own,
// and says what it shows.
func TestDashboard(t *testing.T) {
	taken := make(map[[2]int]string)
	for _, p := range readDashboard(t) {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q covers %q, or is off the grid", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q lacks its data source, description or targets", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || target.Expr == "" || target.RefID == "" {
				t.Errorf("panel %q has the target %+v", p.Title, target)
			}
		}
	}
}

// promtool returns the path of Prometheus's checker, which `make interop` installs.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../../.tools/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	e2etest.Interop(t)
	return e2etest.Tool(t, "bin/promtool")
}

// TestPromtool has Prometheus itself parse rules and dashboard, and try the rules.
func TestPromtool(t *testing.T) {
	tool := promtool(t)
	for _, name := range ruleFiles {
		t.Run(name, func(t *testing.T) {
			if code, out, errs := e2etest.Run(t, exec.Command(tool, "check", "rules", "--lint=all", "--lint-fatal", rulesPath(name))); code != 0 {
				t.Errorf("check: exit code %d\n%s%s", code, out, errs)
			}
			if code, out, errs := e2etest.Run(t, exec.Command(tool, "test", "rules", rulesPath(name+".test"))); code != 0 {
				t.Fatalf("test: exit code %d\n%s%s", code, out, errs)
			}
			testMutants(t, tool, name)
		})
	}
	t.Run("dashboard", func(t *testing.T) {
		for title, exprs := range dashboardExprs(t) {
			for _, e := range exprs {
				e = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(e)
				if code, out, errs := e2etest.Run(t, exec.Command(tool, "--experimental", "promql", "format", e)); code != 0 {
					t.Errorf("panel %q: %s: exit code %d\n%s%s", title, e, code, out, errs)
				}
			}
		}
	})
}

// testMutants wants the tests to notice when nothing fires any more: each that has
// something fire must fail then.
func testMutants(t *testing.T, tool, name string) {
	t.Helper()
	dir := t.TempDir()
	tests := read(t, rulesPath(name+".test"))
	write(t, filepath.Join(dir, name+".test.yaml"), tests)
	f := readRules(t, name)
	for i := range f.Groups {
		for j := range f.Groups[i].Rules {
			f.Groups[i].Rules[j].Expr = "vector(0) > 1"
		}
	}
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(f); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+".yaml"), b.String())
	_, out, errs := e2etest.Run(t, exec.Command(tool, "test", "rules", filepath.Join(dir, name+".test.yaml")))
	want := strings.Count(tests, "{alertname=")
	if got := strings.Count(out+errs, "got: nil") + strings.Count(out+errs, "got:nil"); got != want {
		t.Errorf("%d tests notice that nothing fires, want %d:\n%s%s", got, want, out, errs)
	}
}
