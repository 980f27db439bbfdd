package deployments_test

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// ruleGroups returns the groups of the alert rules.
func ruleGroups(t *testing.T) (groups []any) {
	t.Helper()
	paths, err := filepath.Glob("prometheus/*-rules.yaml")
	if err != nil || len(paths) != 2 {
		t.Fatalf("rule files %q, %v, want two", paths, err)
	}
	for _, p := range paths {
		for _, g := range list(decode(t, readFile(t, p))[0], "groups") {
			groups = append(groups, g)
		}
	}
	return groups
}

// TestOperatorRules: Kubernetes is given the rules and the dashboard that all others
// are given.
func TestOperatorRules(t *testing.T) {
	var rules, dashboards int
	for _, o := range decode(t, kustomize(t, "overlays/distributed")) {
		switch {
		case o["kind"] == "PrometheusRule":
			rules++
			if diff := cmp.Diff(any(ruleGroups(t)), at(o, "spec", "groups")); diff != "" {
				t.Errorf("rules of the operator (-files +manifest); go generate ./deployments/prometheus/generate:\n%s", diff)
			}
		case at(o, "metadata", "labels", "grafana_dashboard") == "1":
			dashboards++
			if o["kind"] != "ConfigMap" || at(o, "data", "cairn.json") != readFile(t, "grafana/cairn.json") {
				t.Errorf("%s is not the dashboard", name(o))
			}
		}
	}
	if rules != 1 || dashboards != 1 {
		t.Errorf("%d objects with rules and %d dashboards, want one of each", rules, dashboards)
	}
}

// monitorFindings are the monitors among manifests that scrape nothing: each must
// select services or pods, and a port that they name.
func monitorFindings(objects []object) (findings []string) {
	ports := func(o object) (labels object, ports []object, ok bool) {
		if o["kind"] == "Service" {
			labels, _ = at(o, "metadata", "labels").(object)
			return labels, list(o, "spec", "ports"), true
		}
		labels, _ = at(o, "spec", "template", "metadata", "labels").(object)
		for _, c := range list(o, "spec", "template", "spec", "containers") {
			ports = append(ports, list(c, "ports")...)
		}
		return labels, ports, len(ports) > 0
	}
	for _, m := range objects {
		endpoints := append(list(m, "spec", "endpoints"), list(m, "spec", "podMetricsEndpoints")...)
		if len(endpoints) == 0 {
			continue
		}
		scraped := 0
		for _, o := range objects {
			labels, has, ok := ports(o)
			if !ok || (o["kind"] == "Service") != (m["kind"] == "ServiceMonitor") || !matches(at(m, "spec", "selector"), labels) {
				continue
			}
			scraped++
			for _, e := range endpoints {
				if !slices.ContainsFunc(has, func(p object) bool { return p["name"] == e["port"] }) || e["path"] != "/metrics" {
					findings = append(findings, fmt.Sprintf("%s scrapes %v%v of %s", name(m), e["port"], e["path"], name(o)))
				}
			}
		}
		if scraped == 0 {
			findings = append(findings, name(m)+" selects nothing")
		}
	}
	return findings
}

// matches says whether a selector, with labels or expressions, selects labels.
func matches(selector any, labels object) bool {
	want, _ := at(selector, "matchLabels").(object)
	for key, value := range want {
		if labels[key] != value {
			return false
		}
	}
	expressions := list(selector, "matchExpressions")
	for _, e := range expressions {
		values, _ := e["values"].([]any)
		if e["operator"] != "In" || !slices.Contains(values, labels[fmt.Sprint(e["key"])]) {
			return false
		}
	}
	return len(want)+len(expressions) > 0
}

func TestMonitors(t *testing.T) {
	// The witness is in the sample alone.
	text := kustomize(t, "overlays/distributed") + "\n---\n" + kustomize(t, "overlays/sample")
	for _, f := range monitorFindings(decode(t, text)) {
		t.Error(f)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"    path: /metrics\n    port: http\n  selector", "    path: /metrics\n    port: web\n  selector", "scrapes web/metrics"},
		{"    path: /metrics\n    port: http\n  selector", "    path: /metric\n    port: http\n  selector", "scrapes http/metric "},
		{"      - trillian-log-server\n      - trillian-log-signer\n---", "      - trillian\n---", "PodMonitor trillian selects nothing"},
	} {
		broken := strings.Replace(text, tt.old, tt.new, 1)
		if found := strings.Join(monitorFindings(decode(t, broken)), "\n"); broken == text || !strings.Contains(found, tt.want) {
			t.Errorf("%q: findings %q, want %q", tt.new, found, tt.want)
		}
	}
}

// scrapeFindings are the targets of a Prometheus configuration that no service of a
// Compose file is: each is a service, at the port where its health check asks.
func scrapeFindings(t *testing.T, p *project, text string) (findings []string, jobs []string) {
	t.Helper()
	var c struct {
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			MetricsPath   string                       `yaml:"metrics_path"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.ScrapeConfigs {
		jobs = append(jobs, s.JobName)
		if s.MetricsPath != "" {
			findings = append(findings, s.JobName+" has another path than /metrics")
		}
		for _, static := range s.StaticConfigs {
			for _, target := range static.Targets {
				host, port, _ := strings.Cut(target, ":")
				if !listens(p.Services[host], port) {
					findings = append(findings, target+" is no service")
				}
			}
		}
	}
	return findings, jobs
}

// listens says whether a service's health check asks at a port.
func listens(s *service, port string) bool {
	if s == nil || s.Healthcheck == nil || len(s.Healthcheck.Test) == 0 {
		return false
	}
	u, err := url.Parse(s.Healthcheck.Test[len(s.Healthcheck.Test)-1])
	return err == nil && port != "" && u.Port() == port
}

func TestComposeMonitoring(t *testing.T) {
	p, report := compose(t, "compose/compose.yaml")
	if p == nil {
		t.Fatal(report)
	}
	text := readFile(t, "compose/config/prometheus.yml")
	findings, jobs := scrapeFindings(t, p, text)
	for _, f := range findings {
		t.Error(f)
	}
	for _, broken := range [][2]string{{"ledger-3:8080", "ledger-3:8081"}, {"ledger-3:8080", "ledger-4:8080"}, {"witness-1:8090", "witness-1"}} {
		if found, _ := scrapeFindings(t, p, strings.Replace(text, broken[0], broken[1], 1)); len(found) != 1 {
			t.Errorf("%q: findings %q, want one", broken[1], found)
		}
	}
	for _, job := range []string{"cairn-ledger", "cairn-witness"} { // which the rules name
		if !slices.Contains(jobs, job) || !strings.Contains(fmt.Sprint(ruleGroups(t)), `up{job="`+job+`"}`) {
			t.Errorf("the rules and the configuration do not have the same job %s", job)
		}
	}
	// What Prometheus and Grafana look for is what is mounted there.
	var c struct {
		RuleFiles []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	mounted(t, p.Services["prometheus"], path.Dir(c.RuleFiles[0]), path.Base(c.RuleFiles[0]), "ledger-rules.yaml", "witness-rules.yaml")
	dashboards := decode(t, readFile(t, "compose/config/grafana-dashboards.yaml"))[0]
	mounted(t, p.Services["grafana"], fmt.Sprint(at(list(dashboards, "providers")[0], "options", "path")), "*.json", "cairn.json")
}

// mounted checks that a service finds files by a pattern in a directory of its own.
func mounted(t *testing.T, s *service, dir, pattern string, want ...string) {
	t.Helper()
	for _, v := range s.Volumes {
		if v.Target != dir {
			continue
		}
		found, err := filepath.Glob(filepath.Join(v.Source, pattern))
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		if diff := cmp.Diff(want, found); diff != "" || err != nil {
			t.Errorf("%s in %s (-want +got), %v:\n%s", pattern, dir, err, diff)
		}
		return
	}
	t.Errorf("nothing is mounted at %s", dir)
}
