package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/ledger/attest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

var all = []string{"bootstrap-left", "bootstrap-right", "bootstrap-seed", "core-met", "core-tool", "user-app"}

func TestBuildsWhatChanged(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	o := w.operatorIn(dir, "", "buildkit")
	if err := o.Build(t.Context(), []string{"user/app"}); err != nil {
		t.Fatal(err)
	}
	chain := []string{"bootstrap-seed", "core-tool", "user-app"}
	if diff := cmp.Diff(chain, o.engine.ran()); diff != "" {
		t.Errorf("built (-want +got):\n%s", diff)
	}
	first := o.result(t, "user-app").Manifest
	if err := o.Build(t.Context(), []string{"user-app"}); err != nil {
		t.Fatal(err)
	}
	if ran := o.engine.ran(); len(ran) != 0 || o.reports["user-app"] != Unchanged {
		t.Errorf("nothing changed, and %v was built; user-app is %s", ran, o.reports["user-app"])
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}

	w.write("packages/core/tool/Containerfile", "FROM scratch\nCOPY --from=stagex/bootstrap-seed / /\n# another\n")
	o = w.operatorIn(dir, "", "buildkit")
	changed, err := o.Changed(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bootstrap-left", "bootstrap-right", "core-met", "core-tool", "user-app"}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if err := o.Build(t.Context(), []string{"user/app"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"core-tool", "user-app"}, o.engine.ran()); diff != "" {
		t.Errorf("built after a change (-want +got):\n%s", diff)
	}
	if o.result(t, "user-app").Manifest == first {
		t.Error("the image did not change")
	}
}

// TestSameEverywhere builds twice in different places.
func TestSameEverywhere(t *testing.T) {
	w := newWorld(t)
	a, b := w.operator("", "buildkit"), w.operator("", "buildah", func(c *Config) { c.Parallel = 1 })
	for _, o := range []*operator{a, b} {
		if err := o.Build(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range all {
		x, y := a.result(t, id), b.result(t, id)
		if x.Manifest != y.Manifest || x.Inputs != y.Inputs || x.Content == "" {
			t.Errorf("%s: %s and %s, inputs %s and %s", id, x.Manifest, y.Manifest, x.Inputs, y.Inputs)
		}
	}
	x, err := a.TreeDigest()
	y, err2 := b.TreeDigest()
	if err != nil || err2 != nil || x != y || len(x) != 64 {
		t.Errorf("trees %q and %q (%v, %v)", x, y, err, err2)
	}
}

func TestMaterialsAreComplete(t *testing.T) {
	w := newWorld(t)
	o := w.operator("https://alice.example", "buildkit")
	if err := o.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, id := range []string{"bootstrap-seed", "core-tool"} {
		for _, m := range o.result(t, id).Materials {
			got = append(got, fmt.Sprintf("%s: %s %s %d", id, m.Role, m.Name, len(m.SHA256)))
		}
	}
	want := []string{
		"bootstrap-seed: source packages/bootstrap/seed 64",
		"bootstrap-seed: seed packages/bootstrap/seed/hex0 64",
		"core-tool: source packages/core/tool 64",
		"core-tool: source tool.txt 64",
		"core-tool: toolchain bootstrap-seed 64",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("materials (-want +got):\n%s", diff)
	}
	r := o.result(t, "core-tool")
	if r.Logged == nil || !r.Rebuilt || r.Parameters["package"] != "core-tool" {
		t.Errorf("result %+v", r)
	}
}

// layerPath is where the only layer of an image is.
func layerPath(o *operator, r *record.Result) string {
	im, err := image.Open(o.Layout(r.Package), r.Platform)
	if err != nil {
		panic(err)
	}
	return blobPath(o.Layout(r.Package), im.Layers[0].Digest.String())
}

// edited changes a result on disk.
func edited(change func(r *record.Result)) func(*operator, *record.Result) error {
	return func(o *operator, r *record.Result) error {
		change(r)
		return o.results.Put(r)
	}
}

// TestDamagedImageIsBuiltAgain loses what a crash may lose.
func TestDamagedImageIsBuiltAgain(t *testing.T) {
	for name, damage := range map[string]func(o *operator, r *record.Result) error{
		"no manifest":  func(o *operator, r *record.Result) error { return os.Remove(blobPath(o.Layout(r.Package), r.Manifest)) },
		"no layer":     func(o *operator, r *record.Result) error { return os.Remove(layerPath(o, r)) },
		"half a layer": func(o *operator, r *record.Result) error { return os.Truncate(layerPath(o, r), 10) },
		"a layer elsewhere": func(o *operator, r *record.Result) error {
			return errors.Join(os.Rename(layerPath(o, r), o.cfg.Dir+"/layer"), os.Symlink(o.cfg.Dir+"/layer", layerPath(o, r)))
		},
		"a result of another manifest":      edited(func(r *record.Result) { r.Manifest = r.Config }),
		"a result of another index":         edited(func(r *record.Result) { r.Index = r.Config }),
		"a result of another configuration": edited(func(r *record.Result) { r.Config = r.Manifest }),
		"a result of other layers":          edited(func(r *record.Result) { r.DiffIDs = []string{r.Config} }),
		"a result of fewer layers":          edited(func(r *record.Result) { r.DiffIDs = nil }),
		"a result of more layers":           edited(func(r *record.Result) { r.DiffIDs = append(r.DiffIDs, r.Config) }),
		"no image":                          func(o *operator, r *record.Result) error { return os.RemoveAll(o.Layout(r.Package)) },
		"no result": func(o *operator, r *record.Result) error {
			return os.Remove(filepath.Join(o.cfg.Dir, "results", r.Package+".json"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.operator("", "buildkit")
			ids := []string{"bootstrap-seed"}
			if err := o.Build(t.Context(), ids); err != nil {
				t.Fatal(err)
			}
			if err := damage(o, o.result(t, "bootstrap-seed")); err != nil {
				t.Fatal(err)
			}
			o.engine.ran()
			if err := o.Build(t.Context(), ids); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ids, o.engine.ran()); diff != "" {
				t.Errorf("built (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGate(t *testing.T) {
	w := newWorld(t)
	shut := func(c *Config) { c.Gate = nil }
	o := w.operator("", "buildkit", shut)
	var g *GateError
	if err := o.Build(t.Context(), []string{"user-app"}); !errors.As(err, &g) || g.Package != "bootstrap-seed" {
		t.Fatalf("without anybody to ask: %v, want a *GateError of bootstrap-seed", err)
	}
	if diff := cmp.Diff([]string{"bootstrap-seed"}, o.engine.ran()); diff != "" {
		t.Errorf("built behind a shut gate (-want +got):\n%s", diff)
	}

	// One operator is not two, however often; another one is.
	ledger := func(c *Config) { c.Gate = &LedgerGate{Ledger: w.ledger} }
	alice := w.operator("https://alice.example", "buildkit", ledger)
	if err := alice.Build(t.Context(), []string{"user-app"}); !errors.As(err, &g) || !strings.Contains(g.Reason, "1 do: https://alice.example") {
		t.Fatalf("with one result: %v", err)
	}
	bob := w.operator("https://bob.example", "buildah", ledger)
	if err := bob.Reproduce(t.Context(), []string{"bootstrap-seed"}, ReproduceOptions{Claims: bob.LoggedClaims(bob.Ledger())}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Build(t.Context(), []string{"user-app"}); err != nil {
		t.Errorf("with two results: %v", err)
	}
}

func TestGateWaits(t *testing.T) {
	w := newWorld(t)
	bob := w.operator("https://bob.example", "buildah")
	var said []string
	gate := &LedgerGate{Ledger: w.ledger, Waiting: func(why string) { said = append(said, why) }}
	gate.Grown = func(ctx context.Context, size int64) error {
		if c, err := w.ledger.Client.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{}); err != nil || c.GetSize() != size {
			t.Errorf("it waits for more than %d entries: the ledger was asked at %v (%v)", size, c.GetSize(), err)
		}
		return bob.Reproduce(ctx, []string{"bootstrap-seed"}, ReproduceOptions{Claims: bob.LoggedClaims(bob.Ledger())})
	}
	alice := w.operator("https://alice.example", "buildkit", func(c *Config) { c.Gate = gate })
	if err := alice.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 {
		t.Errorf("said %q", said)
	}
	over := errors.New("time is over")
	gate.Grown = func(context.Context, int64) error { return over }
	carol := w.operator("https://carol.example", "buildkit", func(c *Config) { c.Gate = gate })
	carol.engine.salt = map[string]string{"bootstrap-seed": "trojan"}
	var g *GateError
	if err := carol.Build(t.Context(), []string{"core-tool"}); !errors.As(err, &g) || !strings.Contains(g.Reason, over.Error()) {
		t.Errorf("an image that nobody else has: %v", err)
	}
}

func TestGateCounts(t *testing.T) {
	two := &record.Agreement{Manifest: "sha256:m", Results: []record.Independent{{Operator: "a", Engine: "buildkit"}, {Operator: "a", Engine: "buildah"}}}
	unnamed := &record.Agreement{Manifest: "sha256:m", Results: []record.Independent{{Operator: "a"}, {Operator: "a", Engine: "buildah"}, {Operator: "b"}}}
	dissent := &record.Agreement{Manifest: "sha256:m", Dissent: []record.Dissent{{Operator: "c", Result: "DIFFERENT", Entry: "log#7"}}}
	for _, tt := range []struct {
		name string
		gate LedgerGate
		a    *record.Agreement
		n    int
		open bool
	}{
		{"two engines of one operator", LedgerGate{}, two, 2, false},
		{"two engines of an operator who is named", LedgerGate{Operators: []string{"a"}}, two, 2, true},
		{"an operator who is not named", LedgerGate{Operators: []string{"b"}}, two, 1, false},
		{"an engine with no name is no other", LedgerGate{Operators: []string{"a"}}, unnamed, 2, false},
		{"an engine with no name", LedgerGate{Operators: []string{"b"}}, unnamed, 1, true},
		{"an operator who says nothing of engines, and another", LedgerGate{Operators: []string{"a", "b"}}, unnamed, 2, true},
		{"nobody", LedgerGate{}, &record.Agreement{}, 1, false},
	} {
		if got := tt.gate.lacking(tt.a, tt.n) == ""; got != tt.open {
			t.Errorf("%s: open %v, want %v", tt.name, got, tt.open)
		}
	}
	if d := (&LedgerGate{}).dissent(dissent); !strings.Contains(d, "c says DIFFERENT") || !strings.Contains(d, "log#7") {
		t.Errorf("dissent %q", d)
	}
	if d := (&LedgerGate{Operators: []string{"a"}}).dissent(dissent); d != "" {
		t.Errorf("dissent of somebody who does not count: %q", d)
	}
}

func TestMeets(t *testing.T) {
	w := newWorld(t)
	if err := w.operator("", "buildkit").Build(t.Context(), []string{"core-met"}); err != nil {
		t.Fatal(err)
	}
	o := w.operator("", "buildkit")
	o.engine.salt = map[string]string{"bootstrap-right": "trojan"}
	var g *GateError
	if err := o.Build(t.Context(), []string{"core-met"}); !errors.As(err, &g) || !strings.Contains(g.Reason, "must meet in the same content") {
		t.Fatalf("a trojan on one side: %v, want a *GateError", err)
	}
	if slices.Contains(o.engine.ran(), "core-met") {
		t.Error("it was built all the same")
	}
}

func TestSubstitutedIsSaid(t *testing.T) {
	w := newWorld(t)
	theirs := w.operator("", "buildkit")
	if err := theirs.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	o := w.operator("https://alice.example", "buildkit", func(c *Config) { c.Images = filepath.Dir(theirs.Layout("x")) })
	if err := o.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	seed, tool := o.result(t, "bootstrap-seed"), o.result(t, "core-tool")
	if seed.Obtained != attest.Substituted || seed.Logged != nil || o.reports["bootstrap-seed"] != Substituted {
		t.Errorf("the seed was %s, logged %v", seed.Obtained, seed.Logged)
	}
	if tool.Obtained != attest.Built || tool.Logged == nil {
		t.Errorf("the tool was %s, logged %v", tool.Obtained, tool.Logged)
	}
	if _, err := o.cfg.Recorder.Identity.Build(seed); err == nil {
		t.Error("what was taken is signed as built")
	}
	// A run that does not say so builds it.
	o.cfg.Images = ""
	o.engine.ran()
	if err := o.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	if seed := o.result(t, "bootstrap-seed"); seed.Obtained != attest.Built || seed.Logged == nil {
		t.Errorf("the seed was %s, logged %v", seed.Obtained, seed.Logged)
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t)
	o := w.operator("https://alice.example", "buildkit")
	broken := &engine.StepError{ID: "core-tool", Step: "RUN make", Err: errors.New("exit code: 2")}
	o.engine.fail = map[string]error{"core-tool": broken}
	err := o.Build(t.Context(), []string{"user-app"})
	var step *engine.StepError
	if !errors.As(err, &step) || step.Step != "RUN make" {
		t.Fatalf("error %v, want the *StepError", err)
	}
	if r, err := o.Result("core-tool"); r != nil || err != nil {
		t.Errorf("a failed build has a result: %v, %v", r, err)
	}
	if left, _ := os.ReadDir(o.tmp()); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if ran := o.engine.ran(); slices.Contains(ran, "user-app") {
		t.Errorf("built upon what failed: %v", ran)
	}
	if _, err := New(o.cfg); err == nil || !strings.Contains(err.Error(), "another builder uses") {
		t.Errorf("two builders in one directory: %v", err)
	}
	if err := o.Build(t.Context(), []string{"core/nothing"}); err == nil {
		t.Error("an unknown package is built")
	}
}

func TestMissingSource(t *testing.T) {
	w := newWorld(t)
	w.write("packages/core/tool/package.toml", strings.Replace(w.read("packages/core/tool/package.toml"), "hash = \"", "hash = \"00", 1))
	text := w.read("packages/core/tool/package.toml")
	i := strings.Index(text, "hash = \"00") + len("hash = \"")
	w.write("packages/core/tool/package.toml", text[:i+64]+text[i+66:])
	o := w.operator("", "buildkit")
	if err := o.Build(t.Context(), []string{"core-tool"}); err == nil || !strings.Contains(err.Error(), "cairn-builder fetch") {
		t.Errorf("a source that is not in the store: %v", err)
	}
	if ran := o.engine.ran(); slices.Contains(ran, "core-tool") {
		t.Error("it was built without its source")
	}
}

// TestTreeChangesUnderway has a package change between the hashing and the
// building of it.
func TestTreeChangesUnderway(t *testing.T) {
	w := newWorld(t)
	o := w.operator("", "buildkit")
	if _, err := o.TreeDigest(); err != nil {
		t.Fatal(err)
	}
	w.write("packages/bootstrap/seed/hex0", "\x7fELF other")
	if err := o.Build(t.Context(), []string{"bootstrap-seed"}); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("error %v", err)
	}
}

func TestCancelledBuildIsNoSuccess(t *testing.T) {
	w := newWorld(t)
	o := w.operator("", "buildkit")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Build(ctx, all); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if ran := o.engine.ran(); len(ran) != 0 {
		t.Errorf("built %v", ran)
	}
}
