package gate

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestManifestRegistersWhatIsKnown holds deployments/kubernetes/gate.yaml to the
// kinds that the webhook knows, and to refusing where the webhook does not answer.
func TestManifestRegistersWhatIsKnown(t *testing.T) {
	b, err := os.ReadFile("../../deployments/kubernetes/gate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var found bool
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var doc struct {
			Kind     string
			Webhooks []struct {
				AdmissionReviewVersions []string `yaml:"admissionReviewVersions"`
				FailurePolicy           string   `yaml:"failurePolicy"`
				Rules                   []struct {
					Operations  []string
					APIGroups   []string `yaml:"apiGroups"`
					APIVersions []string `yaml:"apiVersions"`
					Resources   []string
				}
			}
		}
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if doc.Kind != "ValidatingWebhookConfiguration" {
			continue
		}
		found = true
		got := make(map[string]bool)
		for _, w := range doc.Webhooks {
			if w.FailurePolicy != "Fail" || !cmp.Equal(w.AdmissionReviewVersions, []string{"v1"}) {
				t.Errorf("failurePolicy %s, versions %v", w.FailurePolicy, w.AdmissionReviewVersions)
			}
			for _, r := range w.Rules {
				if !cmp.Equal(r.Operations, []string{"CREATE", "UPDATE"}) || !cmp.Equal(r.APIVersions, []string{"v1"}) || len(r.APIGroups) != 1 {
					t.Errorf("rule %+v", r)
				}
				for _, resource := range r.Resources {
					got[r.APIGroups[0]+"/"+resource] = true
				}
			}
		}
		want := map[string]bool{"/pods/ephemeralcontainers": true}
		for kind := range podSpecs {
			want[kind.Group+"/"+strings.ToLower(kind.Kind)+"s"] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("resources (-want +got):\n%s", diff)
		}
	}
	if !found {
		t.Error("no ValidatingWebhookConfiguration")
	}
}
