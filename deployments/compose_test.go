package deployments_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// project is what a Compose file means.
type project struct {
	Services map[string]*service
	Secrets  map[string]struct{ File string }
	Configs  map[string]struct{ File string }
}

type service struct {
	Image       string
	Command     []string
	User        string
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
	SecurityOpt []string `json:"security_opt"`
	Privileged  bool
	Restart     string
	Environment map[string]*string
	Healthcheck *struct {
		Test    []string
		Disable bool
	}
	Secrets []struct{ Source string }
	Volumes []struct{ Source, Target string }
	Ports   []struct {
		HostIP string `json:"host_ip"`
	}
	Deploy struct {
		Resources struct {
			Limits struct {
				CPUs   float64 `json:"cpus"`
				Memory string
				Pids   int
			}
		}
	}
}

// compose loads a Compose file as docker compose does, with the variables of
// .env.example.
func compose(t *testing.T, path string) (p *project, report string) {
	t.Helper()
	code, out, errs := e2etest.Run(t, exec.Command(e2etest.Tool(t, "bin/composecheck"), "compose/.env.example", path))
	if code != 0 {
		return nil, errs
	}
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	return p, ""
}

// jobs are the services that run once; nothing looks whether they are well.
var jobs = []string{"ledger-init", "trillian-schema", "witness-1-init", "witness-2-init", "witness-3-init", "builder"}

// composeFindings are what is wrong with a project by our own rules.
func composeFindings(p *project) (findings []string) {
	for name, s := range p.Services {
		engine := name == "buildkit" // the only one that is privileged
		limits := s.Deploy.Resources.Limits
		for _, rule := range []struct {
			broken bool
			what   string
		}{
			{!engine && (s.User == "" || strings.HasPrefix(s.User, "0") || strings.HasPrefix(s.User, "root")), "may run as root"},
			{!s.ReadOnly, "can write its root file system"},
			{!engine && !slices.Equal(s.CapDrop, []string{"ALL"}), "keeps capabilities"},
			{!engine && !slices.Contains(s.SecurityOpt, "no-new-privileges:true"), "may gain privileges"},
			{!engine && s.Privileged, "is privileged"},
			{limits.CPUs == 0 || limits.Memory == "" || limits.Pids == 0, "has no limits"},
			{s.Restart == "", "does not say whether it is restarted"},
			{!slices.Contains(jobs, name) && (s.Healthcheck == nil || s.Healthcheck.Disable || len(s.Healthcheck.Test) == 0), "has no health check"},
			// Ours are built here, and so have no tag: .env names their digests.
			{!strings.HasPrefix(s.Image, "localhost/") && !pinned(s.Image), "has an image that is not pinned"},
		} {
			if rule.broken {
				findings = append(findings, name+" "+rule.what)
			}
		}
		for variable, value := range s.Environment {
			secret := strings.Contains(variable, "PASSWORD") || strings.Contains(variable, "SECRET")
			if secret && !strings.HasSuffix(variable, "_FILE") {
				findings = append(findings, fmt.Sprintf("%s has a secret in its environment: %s", name, variable))
			}
			if value == nil {
				findings = append(findings, fmt.Sprintf("%s takes %s from whoever starts it", name, variable))
			}
		}
		for _, port := range s.Ports {
			if port.HostIP == "" {
				findings = append(findings, name+" listens on every address of the host")
			}
		}
	}
	return findings
}

func TestComposeIsValid(t *testing.T) {
	p, report := compose(t, "compose/compose.yaml")
	if p == nil {
		t.Fatal(report)
	}
	if n := len(p.Services); n != 21 {
		t.Errorf("%d services, want 21", n)
	}
	for _, finding := range composeFindings(p) {
		t.Error(finding)
	}
}

// Each check finds what is wrong with a file that one replacement broke.
func TestBrokenCompose(t *testing.T) {
	text, err := os.ReadFile("compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"a misspelt key", "stop_signal:", "stopsignal:", "stopsignal"},
		{"a list for a mapping", "volumes: [\"postgres:/var/lib/postgresql/data\"]", "volumes: {postgres: /data}", "volumes"},
		{"a service that is not there", "      buildkit: {condition: service_healthy}", "      buildkti: {condition: service_healthy}", "buildkti"},
		{"a secret that is not there", "    secrets: [pgpass]", "    secrets: [pgpas]", "pgpas"},
		{"a config that is not there", "{source: haproxy,", "{source: haprox,", "haprox"},
		{"a volume that is not there", "volumes: [\"postgres:", "volumes: [\"postgre:", "postgre"},
		{"a network that is not there", "networks: [inside, outside, witnesses]", "networks: [insid]", "insid"},
		{"a variable that is not there", "${HTTP_PORT}", "${PORT}", "no variable PORT"},

		{"root", "user: \"999:999\"", "user: \"0:0\"", "postgres may run as root"},
		{"a root file system that can be written", "  read_only: true", "  read_only: false", "can write its root file system"},
		{"capabilities", "  cap_drop: [ALL]\n", "", "keeps capabilities"},
		{"escalation", "  security_opt: [\"no-new-privileges:true\"]\n", "", "may gain privileges"},
		{"no limits", "  limits: {cpus: \"1\", memory: 512M, pids: 512}", "  limits: {cpus: \"1\"}", "has no limits"},
		{"no health check", "    healthcheck: *trillian-health\n", "", "trillian-log-signer-1 has no health check"},
		{"a password in the environment", "POSTGRES_PASSWORD_FILE: /run/secrets/postgres-password", "POSTGRES_PASSWORD: secret", "postgres has a secret in its environment"},
		{"an image without a version", "postgres:${POSTGRES_VERSION}", "postgres:latest", "postgres has an image that is not pinned"},
		{"a port for everybody", "\"${BIND}:${HTTP_PORT}:8080\"", "\"8080:8080\"", "gateway listens on every address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.Replace(string(text), tt.old, tt.new, 1)
			if broken == string(text) {
				t.Fatalf("nothing to replace: %q", tt.old)
			}
			path := filepath.Join(t.TempDir(), "compose.yaml")
			if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			p, report := compose(t, path)
			if p != nil {
				report = strings.Join(composeFindings(p), "\n")
			}
			if !strings.Contains(report, tt.want) {
				t.Errorf("findings\n%s\nwant %q in one of them", report, tt.want)
			}
		})
	}
}

// TestComposeSetup makes the keys, secrets and configurations of a deployment, twice:
// the second time changes nothing. What it makes is what the Compose file names, nobody
// else may read the secrets, and the daemons take the configurations.
func TestComposeSetup(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("compose")); err != nil {
		t.Fatal(err)
	}
	var first map[string]string
	for range 2 {
		setup := exec.Command(filepath.Join(dir, "setup"))
		setup.Env = append(os.Environ(), "BIN="+bin, "UNOWNED=1")
		if code, _, errs := e2etest.Run(t, setup); code != 0 {
			t.Fatalf("setup: exit code %d\n%s", code, errs)
		}
		made := readAll(t, dir, "secrets", "made")
		if first == nil {
			first = made
		}
		for path, text := range made {
			if first[path] != text {
				t.Errorf("a second setup changed %s", path)
			}
		}
	}
	checkModes(t, dir)
	for path, command := range map[string]string{
		"config/ledger.yaml": "cairn-ledger", "config/ledger-builds.yaml": "cairn-ledger",
		"made/witness-1.yaml": "cairn-witness", "made/witness-2.yaml": "cairn-witness", "made/witness-3.yaml": "cairn-witness",
	} {
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/etc/cairn/policy", filepath.Join(dir, "made/policy"))
		if code, out := checkConfig(t, command, here); code != 0 {
			t.Errorf("%s: exit code %d\n%s", path, code, out)
		}
	}
}

// checkModes checks that what the Compose file names is in a copy of its directory:
// secrets that nobody else may read, and configurations that every service may.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	p, report := compose(t, "compose/compose.yaml")
	if p == nil {
		t.Fatal(report)
	}
	abs, err := filepath.Abs("compose")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Secrets {
		if info, err := os.Stat(strings.Replace(s.File, abs, dir, 1)); err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", s.File, info.Mode())
		}
	}
	for _, c := range p.Configs {
		if info, err := os.Stat(strings.Replace(c.File, abs, dir, 1)); err != nil {
			t.Error(err)
		} else if info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s has mode %v: services cannot read it", c.File, info.Mode())
		}
	}
}

func readAll(t *testing.T, root string, dirs ...string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, dir := range dirs {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(root, dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Join(dir, e.Name())] = string(text)
		}
	}
	return files
}
