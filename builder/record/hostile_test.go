package record

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// TestSignsWhatStepsPrint: whatever steps are called or print, their result is
// signed, within the limits of an attestation.
func TestSignsWhatStepsPrint(t *testing.T) {
	w := newWorld(t)
	r := w.recorder("https://alice.example")
	for name, step := range map[string]string{
		"not UTF-8":          "RUN printf '\xff\xfe'",
		"control characters": strings.Repeat("\x01", 4000),
		"long":               strings.Repeat("ü", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			res := result("a", "buildkit")
			res.Environment = map[string]string{"path": step, step: "x"}
			res.Steps = nil
			for i := range 4000 {
				res.Steps = append(res.Steps, engine.Step{Name: fmt.Sprintf("%d %s", i, step)})
			}
			raw, err := r.Identity.Build(res)
			if err != nil {
				t.Fatal(err)
			}
			a, err := attest.Open(raw, attest.NewKeyring(r.Identity.Signer.Public))
			if err != nil {
				t.Fatal(err)
			}
			p, err := a.Statement.Provenance()
			if err != nil {
				t.Fatal(err)
			}
			internal := p.BuildDefinition.InternalParameters
			listed, _ := internal["steps"].([]any)
			if omitted, _ := internal["stepsOmitted"].(float64); len(listed) == 0 || len(listed) > maxSteps || len(listed)+int(omitted) != 4000 {
				t.Errorf("%d steps are listed, %v omitted", len(listed), internal["stepsOmitted"])
			}
			failed := *res
			failed.Manifest = ""
			c := &Claimed{Manifest: digest("a")}
			if _, err := r.Identity.Reproduction(c, &failed, &Outcome{Result: leaf.BuildFailed, Failure: step}); err != nil {
				t.Errorf("a failure cannot be signed: %v", err)
			}
		})
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"RUN make":                           "RUN make",
		"a\xff\xfeb":                         "a\uFFFDb",
		strings.Repeat("a", maxText-1) + "ü": strings.Repeat("a", maxText-1) + "…",
		strings.Repeat("a", maxText+1):       strings.Repeat("a", maxText) + "…",
	} {
		if got := clean(in); got != want || !utf8.ValidString(got) {
			t.Errorf("clean(%.20q) = %.20q…, %d bytes, want %d", in, got, len(got), len(want))
		}
	}
}

// TestKeptAttestationOfAnotherBuildIsNotUsed: the same image of other inputs,
// or by another engine, is another build.
func TestKeptAttestationOfAnotherBuildIsNotUsed(t *testing.T) {
	for name, change := range map[string]func(r *Recorder, res *Result){
		"materials":   func(_ *Recorder, res *Result) { res.Materials[0].SHA256 = leaf.SHA256([]byte("other")).Hex() },
		"parameters":  func(_ *Recorder, res *Result) { res.Parameters["inputs"] = digest("other") },
		"engine":      func(_ *Recorder, res *Result) { res.Engine.Name = "buildah" },
		"config":      func(_ *Recorder, res *Result) { res.Running = digest("other") },
		"builder":     func(r *Recorder, _ *Result) { r.Identity.BuilderID = "https://alice.example/other" },
		"repository":  func(r *Recorder, _ *Result) { r.Identity.Repository = "other" },
		"other image": func(_ *Recorder, res *Result) { res.Manifest = digest("b") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newWorld(t).recorder("https://alice.example")
			first, second := result("a", "buildkit"), result("a", "buildkit")
			if err := r.Build(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			change(r, second)
			if err := r.Build(t.Context(), second); err != nil {
				t.Fatal(err)
			}
			if first.Logged.Index == second.Logged.Index {
				t.Errorf("two builds have one entry: %v", second.Logged)
			}
		})
	}
}

// TestOneAttestationIsOneResult: who names many engines has not run them all.
func TestOneAttestationIsOneResult(t *testing.T) {
	a := &Agreement{}
	a.agree([]string{"a"}, map[string]string{"buildkit": "1", "buildah": "1", "kaniko": "1"})
	a.agree([]string{"b"}, nil)
	a.agree([]string{"c"}, map[string]string{"buildkit": "1"})
	want := []Independent{{"a", ""}, {"b", ""}, {"c", "buildkit"}}
	if diff := cmp.Diff(want, a.Results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}
