package deployments_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// overlays are what can be applied. gate.yaml is a file, not a kustomization.
var overlays = []string{"overlays/minimal", "overlays/distributed", "overlays/sample", "builders"}

// kustomize returns the manifests that a directory below kubernetes/ makes.
func kustomize(t *testing.T, dir string) string {
	t.Helper()
	code, out, errs := e2etest.Run(t, exec.Command(e2etest.Tool(t, "bin/kustomize"), "build", filepath.Join("kubernetes", dir)))
	if code != 0 || errs != "" {
		t.Fatalf("kustomize build %s: exit code %d\n%s", dir, code, errs)
	}
	return out
}

// kubeconform says whether manifests are valid for the pinned version of Kubernetes,
// and why not. The Prometheus operator's kinds are not Kubernetes's.
func kubeconform(t *testing.T, location, manifests string) (ok bool, report string) {
	t.Helper()
	cmd := exec.Command(e2etest.Tool(t, "bin/kubeconform"), "-strict", "-summary", "-schema-location", location,
		"-skip", "ServiceMonitor,PodMonitor,PrometheusRule")
	cmd.Stdin = strings.NewReader(manifests)
	code, out, errs := e2etest.Run(t, cmd)
	return code == 0, out + errs
}

func TestManifestsAreValid(t *testing.T) {
	location := schemas(t)
	gate, err := os.ReadFile("kubernetes/gate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifests := map[string]string{"gate.yaml": string(gate)}
	for _, o := range overlays {
		manifests[o] = kustomize(t, o)
	}
	for name, text := range manifests {
		t.Run(name, func(t *testing.T) {
			ok, report := kubeconform(t, location, text)
			t.Log(report)
			if !ok {
				t.Error("not valid")
			}
			objects := decode(t, text)
			if len(objects) == 0 {
				t.Error("no objects")
			}
			for _, finding := range append(podFindings(objects), referenceFindings(objects)...) {
				t.Error(finding)
			}
		})
	}
}

// A check that cannot fail checks nothing: each finds what is wrong with a manifest
// that one replacement broke.
func TestBrokenManifests(t *testing.T) {
	location := schemas(t)
	text := kustomize(t, "overlays/sample")
	for _, tt := range []struct{ name, old, new, want string }{
		{"a misspelt field", "containers:\n", "containrs:\n", "containrs"},
		{"text for a number", "replicas: 2\n", "replicas: two\n", "replicas"},
		{"a field at the wrong place", "      terminationGracePeriodSeconds: 60\n", "      livenessProbe: {}\n", "livenessProbe"},
		{"no such kind", "kind: Deployment\n", "kind: Deploiment\n", "Deploiment"},
		{"no such version", "apiVersion: autoscaling/v2\n", "apiVersion: autoscaling/v2beta2\n", "could not find schema"},
		{"a required field is missing", "  selector:\n    matchLabels:\n      app.kubernetes.io/name: postgres\n  serviceName", "  serviceName", "selector"},

		{"root", "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"},
		{"user 0", "runAsUser: 999", "runAsUser: 0", "may run as root"},
		{"a root file system that can be written", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "can write its root file system"},
		{"escalation", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "may gain privileges"},
		{"capabilities", "drop:\n            - ALL", "add:\n            - NET_ADMIN", "keeps capabilities"},
		{"any system call", "type: RuntimeDefault", "type: Unconfined", "has no seccomp profile"},
		{"no limit of memory", "          limits:\n            cpu: \"4\"\n            memory: 1Gi", "          limits:\n            cpu: \"4\"", "has no limit of memory"},
		{"no limit of processors", "          limits:\n            cpu: \"4\"\n            memory: 1Gi", "          limits:\n            memory: 1Gi", "has no limit of cpu"},
		{"the newest image", "docker.io/library/postgres:17-bookworm", "docker.io/library/postgres:latest", "is not pinned"},
		{"an image without a tag", "docker.io/library/postgres:17-bookworm", "docker.io/library/postgres", "is not pinned"},
		{"an API token", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "is given a token of the API"},

		{"a selector of nothing", "    matchLabels:\n      app.kubernetes.io/name: cairn-ledger\n  strategy", "    matchLabels:\n      app.kubernetes.io/name: ledger\n  strategy", "does not select its own pods"},
		{"a service of nothing", "    app.kubernetes.io/name: objects\n---", "    app.kubernetes.io/name: object\n---", "selects no pods"},
		{"a port that nobody has", "targetPort: s3", "targetPort: s4", "no pod has port s4"},
		{"a volume that is not there", "name: keys\n          readOnly", "name: kys\n          readOnly", "no volume kys"},
		{"a ConfigMap that is not there", "      - configMap:\n          name: cairn-ledger", "      - configMap:\n          name: other", "no ConfigMap other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.Replace(text, tt.old, tt.new, 1)
			if broken == text {
				t.Fatalf("nothing to replace: %q", tt.old)
			}
			objects := decode(t, broken)
			found := strings.Join(append(podFindings(objects), referenceFindings(objects)...), "\n")
			if strings.Contains(found, tt.want) {
				return
			}
			if ok, report := kubeconform(t, location, broken); ok || !strings.Contains(report, tt.want) {
				t.Errorf("findings\n%s\nreport\n%s\nwant %q in one of them", found, report, tt.want)
			}
		})
	}
}

func TestBrokenKustomization(t *testing.T) {
	dir := t.TempDir()
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [nothing.yaml]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := e2etest.Run(t, exec.Command(e2etest.Tool(t, "bin/kustomize"), "build", dir)); code == 0 || !strings.Contains(errs, "nothing.yaml") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// TestKubernetesConfigurations gives each configuration in a manifest to the daemon
// that it is for.
func TestKubernetesConfigurations(t *testing.T) {
	checked := 0
	for _, o := range overlays {
		for _, object := range decode(t, kustomize(t, o)) {
			data, _ := object["data"].(map[string]any)
			for name, text := range data {
				command := map[string]string{"ledger.yaml": "cairn-ledger", "witness.yaml": "cairn-witness"}[name]
				if object["kind"] != "ConfigMap" || command == "" {
					continue
				}
				checked++
				if code, out := checkConfig(t, command, text.(string)); code != 0 {
					t.Errorf("%s: %s: exit code %d\n%s", o, name, code, out)
				}
				if code, _ := checkConfig(t, command, text.(string)+"misspelt: true\n"); code != 2 {
					t.Errorf("%s: %s: a misspelt key gives exit code %d, want 2", o, name, code)
				}
			}
		}
	}
	if checked != 4 {
		t.Errorf("checked %d configurations, want 4", checked)
	}
}

func checkConfig(t *testing.T, command, text string) (code int, output string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := e2etest.Run(t, exec.Command(daemon(command), "-config="+path, "-check-config"))
	return code, out + errs
}
