package build

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// reproduce has an operator reproduce what is logged, and returns what came of
// it.
func (o *operator) reproduce(t *testing.T, ids ...string) ([]*Reproduction, error) {
	t.Helper()
	var all []*Reproduction
	err := o.Reproduce(t.Context(), ids, ReproduceOptions{
		Claims: o.LoggedClaims(o.Ledger()),
		Each:   func(r *Reproduction) { all = append(all, r) },
	})
	return all, err
}

func TestReproduce(t *testing.T) {
	broken := &engine.StepError{ID: "core-tool", Step: "RUN make", Err: errors.New("exit code: 2")}
	for _, tt := range []struct {
		name   string
		change func(e *fakeEngine)
		want   leaf.Result
		method string
		fails  bool
	}{
		{"the same bytes", func(*fakeEngine) {}, leaf.Identical, "", false},
		{"the same layers", func(e *fakeEngine) { e.comment = map[string]string{"core-tool": "!"} }, leaf.Equivalent, record.MethodLayers, false},
		{"the same layers that run otherwise", func(e *fakeEngine) { e.env = map[string]string{"core-tool": "LD_PRELOAD=/made"} }, leaf.Different, "", false},
		{"other content", func(e *fakeEngine) { e.salt = map[string]string{"core-tool": "!"} }, leaf.Different, "", false},
		{"a step fails", func(e *fakeEngine) { e.fail = map[string]error{"core-tool": broken} }, leaf.BuildFailed, "", true},
		{"built from another image", func(e *fakeEngine) { e.salt = map[string]string{"bootstrap-seed": "!"} }, leaf.Inconclusive, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.operator("https://alice.example", "buildkit")
			if err := alice.Build(t.Context(), []string{"core-tool"}); err != nil {
				t.Fatal(err)
			}
			claim := alice.result(t, "core-tool")
			bob := w.operator("https://bob.example", "buildah")
			tt.change(bob.engine)
			got, err := bob.reproduce(t, "core-tool")
			if (err != nil) != tt.fails || len(got) != 1 {
				t.Fatalf("%d reproductions, error %v", len(got), err)
			}
			r := got[0]
			if r.Outcome.Result != tt.want || r.Outcome.Method != tt.method || r.Claimed.Manifest != claim.Manifest || r.Entry == nil {
				t.Errorf("outcome %+v of %s, entry %v", r.Outcome, r.Claimed.Manifest, r.Entry)
			}
			a, err := w.ledger.Agreement(t.Context(), claim.Manifest)
			if err != nil {
				t.Fatal(err)
			}
			agrees, dissents := 1, 0
			switch tt.want {
			case leaf.Identical, leaf.Equivalent:
				agrees = 2
			case leaf.Different, leaf.BuildFailed:
				dissents = 1
			}
			if len(a.Results) != agrees || len(a.Dissent) != dissents {
				t.Errorf("the ledger says %+v", a)
			}
		})
	}
}

// TestReproductionIsBuilt: what the builder has already is no answer.
func TestReproductionIsBuilt(t *testing.T) {
	w := newWorld(t)
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	bob := w.operator("https://bob.example", "buildah")
	if err := bob.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	var noCache []string
	bob.engine.hook = func(r *engine.Request) {
		if r.NoCache {
			noCache = append(noCache, r.ID)
		}
	}
	for range 2 {
		bob.engine.ran()
		if _, err := bob.reproduce(t, "core-tool"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"core-tool"}, bob.engine.ran()); diff != "" {
			t.Errorf("built (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"core-tool", "core-tool"}, noCache); diff != "" {
		t.Errorf("built without cache (-want +got):\n%s", diff)
	}
}

func TestReproduceWithoutClaims(t *testing.T) {
	w := newWorld(t)
	bob := w.operator("https://bob.example", "buildah")
	if got, err := bob.reproduce(t, "bootstrap-seed"); err == nil || len(got) != 0 || !strings.Contains(err.Error(), "nobody has logged a build") {
		t.Errorf("reproductions %v, error %v", got, err)
	}
	// Of another tree there are builds; they are not of this one.
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	w.write("packages/user/app/other", "text")
	carol := w.operator("https://carol.example", "buildah")
	if got, err := carol.reproduce(t, "bootstrap-seed"); err == nil {
		t.Errorf("builds of another tree are reproduced: %v", got)
	}
}

func TestReproducePublished(t *testing.T) {
	w := newWorld(t)
	alice := w.operator("", "buildkit")
	if err := alice.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	digests, err := image.OutDigests(layoutIn(alice.cfg.Dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	bob := w.operator("https://bob.example", "buildah")
	var got []leaf.Result
	opts := ReproduceOptions{Claims: PublishedClaims(digests), Each: func(r *Reproduction) { got = append(got, r.Outcome.Result) }}
	if err := bob.Reproduce(t.Context(), []string{"bootstrap-seed"}, opts); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]leaf.Result{leaf.Identical}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if err := bob.Reproduce(t.Context(), []string{"core-tool"}, opts); err == nil {
		t.Error("a package without a published digest is reproduced")
	}
}

// TestNothingIsLoggedUnconfirmed: a worker that lost its job logs nothing.
func TestNothingIsLoggedUnconfirmed(t *testing.T) {
	w := newWorld(t)
	bob := w.operator("https://bob.example", "buildah")
	lost := errors.New("the lease has ended")
	var seen []engine.EventKind
	bob.Attend(func(context.Context) error { return lost }, func(e engine.Event) { seen = append(seen, e.Kind) })
	bob.engine.hook = func(r *engine.Request) { r.Progress(engine.Event{Kind: engine.StepStarted}) }
	if err := bob.Build(t.Context(), []string{"bootstrap-seed"}); !errors.Is(err, lost) {
		t.Errorf("error %v, want %v", err, lost)
	}
	if r := bob.result(t, "bootstrap-seed"); r.Logged != nil || r.Obtained != attest.Built {
		t.Errorf("the result: %+v", r)
	}
	if len(seen) != 1 {
		t.Errorf("saw %v", seen)
	}
	bob.Attend(nil, nil)
	if err := bob.Build(t.Context(), []string{"bootstrap-seed"}); err != nil || bob.result(t, "bootstrap-seed").Logged == nil {
		t.Errorf("once confirmed: %v", err)
	}
}

func TestClaimsOfOnePackage(t *testing.T) {
	w := newWorld(t)
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	mallory := w.operator("https://mallory.example", "buildkit")
	mallory.engine.salt = map[string]string{"core-tool": "!"}
	if err := mallory.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	bob := w.operator("https://bob.example", "buildah")
	got, err := bob.reproduce(t, "core-tool")
	if err != nil {
		t.Fatal(err)
	}
	results := make(map[string]leaf.Result)
	for _, r := range got {
		results[r.Claimed.Manifest] = r.Outcome.Result
	}
	want := map[string]leaf.Result{
		alice.result(t, "core-tool").Manifest:   leaf.Identical,
		mallory.result(t, "core-tool").Manifest: leaf.Different,
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}
