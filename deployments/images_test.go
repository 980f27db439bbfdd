package deployments_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// imageFindings are what is wrong with the Containerfile of an image that is
// deployed.
func imageFindings(containerfile string) (findings []string) {
	for _, rule := range []struct{ what, pattern string }{
		{"is not made from core-containerkit, which has the user", `^FROM stagex/core-containerkit AS package\n`},
		{"has no entry point without a shell", `(?m)^ENTRYPOINT \["/usr/bin/`},
		{"has no title", `org\.opencontainers\.image\.title=`},
		{"has no source", `org\.opencontainers\.image\.source=`},
		{"has no license", `org\.opencontainers\.image\.licenses=`},
	} {
		if !regexp.MustCompile(rule.pattern).MatchString(containerfile) {
			findings = append(findings, rule.what)
		}
	}
	if regexp.MustCompile(`(?m)^(RUN|USER) `).MatchString(containerfile) {
		findings = append(findings, "runs something, or has another user")
	}
	return findings
}

// TestImages: each image has nothing but programs, and is named in what it is deployed
// by.
func TestImages(t *testing.T) {
	loaded, err := tree.Load("images")
	if err != nil {
		t.Fatal(err)
	}
	var deployed []string
	for _, p := range loaded.Packages {
		text := readFile(t, filepath.Join("images/packages", p.Stage, p.Name, "Containerfile"))
		if p.Stage != "pallet" {
			continue
		}
		deployed = append(deployed, p.Name)
		for _, f := range imageFindings(text) {
			t.Errorf("%s %s", p.Name, f)
		}
	}
	base := readFile(t, "images/packages/core/containerkit/Containerfile")
	if !strings.HasPrefix(base, "FROM scratch ") || !strings.Contains(base, "\nUSER 65532:65532\n") {
		t.Errorf("the images' base is not from scratch, or may run as root:\n%s", base)
	}

	components := readFile(t, "kubernetes/components/images/kustomization.yaml")
	var named []string
	for _, m := range regexp.MustCompile(`newName: registry\.example/([a-z-]+), digest`).FindAllStringSubmatch(components, -1) {
		named = append(named, m[1])
	}
	// The command line is in no deployment of its own.
	deployed = slices.DeleteFunc(deployed, func(name string) bool { return name == "cairn" })
	if diff := cmp.Diff(deployed, named); diff != "" {
		t.Errorf("images of Kubernetes (-built +named):\n%s", diff)
	}
	env := readFile(t, "compose/.env.example")
	for _, name := range deployed {
		if !strings.Contains(env, "_IMAGE=localhost/"+name+"\n") {
			t.Errorf("compose/.env.example does not name %s", name)
		}
	}
}

func TestBrokenImages(t *testing.T) {
	text := readFile(t, "images/packages/pallet/cairn-ledger/Containerfile")
	for _, tt := range []struct{ old, new, want string }{
		{"FROM stagex/core-containerkit", "FROM scratch", "core-containerkit"},
		{"ENTRYPOINT [\"/usr/bin/cairn-ledger\"]", "ENTRYPOINT cairn-ledger", "no entry point"},
		{"ARG VERSION\n", "ARG VERSION\nRUN true\n", "runs something"},
		{"ARG VERSION\n", "ARG VERSION\nUSER 0\n", "another user"},
		{"org.opencontainers.image.source=", "source=", "no source"},
	} {
		found := strings.Join(imageFindings(strings.Replace(text, tt.old, tt.new, 1)), "\n")
		if !strings.Contains(found, tt.want) {
			t.Errorf("%s for %s: findings %q, want %q", tt.new, tt.old, found, tt.want)
		}
	}
}

// TestVersionsOfImages: an image of another project has the version of the module that
// its program is built from.
func TestVersionsOfImages(t *testing.T) {
	for image, module := range map[string][2]string{
		"trillian-log-server": {"trillian", "github.com/google/trillian"},
		"trillian-log-signer": {"trillian", "github.com/google/trillian"},
		"trillian-schema":     {"trillian", "github.com/google/trillian"},
		"versitygw":           {"versitygw", "github.com/versity/versitygw"},
	} {
		list := exec.Command("go", "list", "-C", "../cmd/e2e/peers/"+module[0], "-mod=readonly", "-m", "-f", "{{.Version}}", module[1])
		code, version, errs := e2etest.Run(t, list)
		if code != 0 {
			t.Fatal(errs)
		}
		want := "\nversion = \"" + strings.TrimPrefix(strings.TrimSpace(version), "v") + "\"\n"
		if text := readFile(t, "images/packages/pallet/"+image+"/package.toml"); !strings.Contains(text, want) {
			t.Errorf("%s is not of version %s", image, version)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
