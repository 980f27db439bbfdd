package build

import (
	"context"
	"errors"
	"path/filepath"
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
		Claims:  o.LoggedClaims(o.Ledger()),
		Against: o.against,
		Each:    func(r *Reproduction) { all = append(all, r) },
	})
	return all, err
}

// TestReproduce has the distributed images at hand; TestReproduceUnseen has not.
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
		{"a step fails upon another image", func(e *fakeEngine) {
			e.salt, e.fail = map[string]string{"bootstrap-seed": "!"}, map[string]error{"core-tool": broken}
		}, leaf.Inconclusive, "", true},
		{"a step prints what is no text", func(e *fakeEngine) {
			e.fail = map[string]error{"core-tool": &engine.StepError{ID: "core-tool", Step: "RUN make", Err: errors.New("\xff")}}
		}, leaf.BuildFailed, "", true},
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
			bob.against = layoutIn(alice.cfg.Dir, "out")
			tt.change(bob.engine)
			got, err := bob.reproduce(t, "core-tool")
			if (err != nil) != tt.fails || len(got) != 1 {
				t.Fatalf("%d reproductions, error %v", len(got), err)
			}
			r := got[0]
			if (r.Diff != nil) != (tt.want != leaf.Identical && !tt.fails) {
				t.Errorf("what differs: %+v", r.Diff)
			}
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

// TestReproduceGoesOn: a package that cannot be built says nothing of those that
// do not need it.
func TestReproduceGoesOn(t *testing.T) {
	w := newWorld(t)
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	bob := w.operator("https://bob.example", "buildah", func(c *Config) { c.Parallel = 1 })
	bob.engine.fail = map[string]error{"bootstrap-seed": &engine.StepError{ID: "bootstrap-seed", Step: "COPY", Err: errors.New("no")}}
	got, err := bob.reproduce(t, all...)
	var step *engine.StepError
	if !errors.As(err, &step) {
		t.Errorf("error %v, want the *StepError", err)
	}
	results := make(map[string]leaf.Result)
	for _, r := range got {
		results[r.Package] = r.Outcome.Result
	}
	want := map[string]leaf.Result{
		"bootstrap-left": leaf.Identical, "bootstrap-right": leaf.Identical, "core-met": leaf.Identical,
		"bootstrap-seed": leaf.BuildFailed,
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
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
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	// Another package changed: the inputs are the same.
	w.write("packages/user/app/other", "text")
	carol := w.operator("https://carol.example", "buildah")
	if got, err := carol.reproduce(t, "bootstrap-seed"); err != nil || len(got) != 1 {
		t.Errorf("from the same inputs: %v, %v", got, err)
	}
	// Of another tree and other inputs there are builds; they are not of these.
	w.write("packages/bootstrap/seed/other", "text")
	dave := w.operator("https://dave.example", "buildah")
	if got, err := dave.reproduce(t, "bootstrap-seed"); err == nil {
		t.Errorf("builds from other inputs are reproduced: %v", got)
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

// TestReproduceUnseen: what an attestation says of an image that is not at hand
// makes nothing equivalent. Mallory distributes another image than the one of
// which the attestation has the digests.
func TestReproduceUnseen(t *testing.T) {
	w := newWorld(t)
	mallory := w.operator("https://mallory.example", "buildkit")
	rec := mallory.cfg.Recorder
	rec.Confirm = func(context.Context) error { return errors.New("not yet") }
	if err := mallory.Build(t.Context(), []string{"bootstrap-seed"}); err == nil {
		t.Fatal("it was logged")
	}
	rec.Confirm = nil
	lie := *mallory.result(t, "bootstrap-seed")
	lie.Manifest = "sha256:" + strings.Repeat("bad0", 16)
	if err := rec.Build(t.Context(), &lie); err != nil {
		t.Fatal(err)
	}
	bob := w.operator("https://bob.example", "buildah")
	for _, against := range []string{"", layoutIn(mallory.cfg.Dir, "out"), t.TempDir()} {
		bob.against = against
		got, err := bob.reproduce(t, "bootstrap-seed")
		if err != nil || len(got) != 1 {
			t.Fatalf("%d reproductions, error %v", len(got), err)
		}
		if o := got[0].Outcome; o.Result != leaf.Inconclusive || !strings.Contains(o.Failure, "not at hand") {
			t.Errorf("against %q: %+v", against, o)
		}
	}
	a, err := w.ledger.Agreement(t.Context(), lie.Manifest)
	if err != nil || len(a.Results) != 1 {
		t.Errorf("on the bad image agree %+v, %v", a, err)
	}
}

// TestReproducesFromImagesOfItsOwn: what was taken from others is not built
// upon, and others' images are not taken.
func TestReproducesFromImagesOfItsOwn(t *testing.T) {
	w := newWorld(t)
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), []string{"core-tool"}); err != nil {
		t.Fatal(err)
	}
	theirs := func(c *Config) { c.Images = filepath.Dir(alice.Layout("x")) }
	dir := t.TempDir()
	bob := w.operatorIn(dir, "https://bob.example", "buildah", theirs)
	if err := bob.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	if err := bob.Build(t.Context(), []string{"bootstrap-seed"}); err != nil || bob.reports["bootstrap-seed"] != Unchanged {
		t.Errorf("taken again: %s, %v", bob.reports["bootstrap-seed"], err)
	}
	if got, err := bob.reproduce(t, "core-tool"); err == nil || len(got) != 0 {
		t.Errorf("reproduced upon the images of others: %v, %v", got, err)
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	bob = w.operatorIn(dir, "https://bob.example", "buildah")
	if _, err := bob.reproduce(t, "core-tool"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bootstrap-seed", "core-tool"}, bob.engine.ran()); diff != "" {
		t.Errorf("built (-want +got):\n%s", diff)
	}
}

// TestReproductionIsKeptBeforeItIsLogged: a builder that is killed in between
// has logged nothing that it does not have.
func TestReproductionIsKeptBeforeItIsLogged(t *testing.T) {
	w := newWorld(t)
	alice := w.operator("https://alice.example", "buildkit")
	if err := alice.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
		t.Fatal(err)
	}
	bob := w.operator("https://bob.example", "buildah")
	killed := errors.New("killed")
	bob.Attend(func(context.Context) error { return killed }, nil)
	if _, err := bob.reproduce(t, "bootstrap-seed"); !errors.Is(err, killed) {
		t.Errorf("error %v, want %v", err, killed)
	}
	if r := bob.result(t, "bootstrap-seed"); !intact(bob.Layout("bootstrap-seed"), r) {
		t.Error("the image is not whole")
	}
}

// TestSameImageOfAnotherTreeIsAnotherBuild: an edit that changes no byte of the
// image is built, attested and found all the same.
func TestSameImageOfAnotherTreeIsAnotherBuild(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	recorder := w.recorder(dir, "https://alice.example")
	var entries []int64
	for _, comment := range []string{"", "description = \"an edit\"\n"} {
		w.pkg("bootstrap/seed", "gate = 2\nseeds = [\"hex0\"]\n", "FROM scratch\nCOPY hex0 /\n")
		w.write("packages/bootstrap/seed/package.toml", strings.Replace(w.read("packages/bootstrap/seed/package.toml"), "description = \"a test\"\n", comment, 1))
		alice := w.operatorIn(dir, "", "buildkit", func(c *Config) { c.Recorder = recorder })
		if err := alice.Build(t.Context(), []string{"bootstrap-seed"}); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, alice.result(t, "bootstrap-seed").Logged.Index)
		if err := alice.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if entries[0] == entries[1] {
		t.Errorf("the second build has the entry of the first: %d", entries[0])
	}
	if _, err := w.operator("https://bob.example", "buildah").reproduce(t, "bootstrap-seed"); err != nil {
		t.Errorf("the second build: %v", err)
	}
}
