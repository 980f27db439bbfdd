package queue

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// logged is a log as the follower sees it: a store and an index.
type logged struct {
	*bench
	blobs store.Blobs
	index store.Index
	ring  []*attest.PublicKey
	size  uint64
	warns []error
}

func newLogged(t *testing.T, change ...func(*Config)) *logged {
	t.Helper()
	dir := t.TempDir()
	blobs, err := store.OpenSQLiteBlobs(t.Context(), filepath.Join(dir, "blobs.db"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := store.OpenSQLiteIndex(t.Context(), filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(blobs.Close(), index.Close()); err != nil {
			t.Error(err)
		}
	})
	return &logged{bench: newBench(t, change...), blobs: blobs, index: index}
}

var errNothingNew = errors.New("nothing new is published")

// follow looks at all entries, and returns why it stopped.
func (l *logged) follow(from ...string) error {
	f := &Follower{
		Queue: l.Queue, Index: l.index, Blobs: l.blobs, From: from,
		Warn: func(err error) { l.warns = append(l.warns, err) },
		Published: func(_ context.Context, least uint64) (uint64, error) {
			if least > l.size {
				return 0, errNothingNew
			}
			return l.size, nil
		},
	}
	for {
		if err := f.Step(l.Context()); err != nil {
			return err
		}
	}
}

func (l *logged) log(raw []byte) *attest.Attestation {
	l.Helper()
	att, err := attest.Open(raw, attest.NewKeyring(l.ring...))
	if err != nil {
		l.Fatal(err)
	}
	e := store.Entry{Index: l.size, Text: att.Text, Leaf: att.Leaf}
	if k := att.Enrolment; k != nil {
		e.Keys = &keys.Change{Key: store.Key{Fingerprint: k.Key.Fingerprint, PEM: k.Key.PEM, Operator: k.Operator, Enrolled: l.size}}
		l.ring = append(l.ring, k.Key)
	}
	if err := l.blobs.Put(l.Context(), []store.Blob{{Digest: att.Leaf.Envelope, Bytes: raw}}); err != nil {
		l.Fatal(err)
	}
	if err := l.index.Add(l.Context(), []store.Entry{e}); err != nil {
		l.Fatal(err)
	}
	l.size++
	return att
}

func (l *logged) enrol(operator string) *attest.Signer {
	l.Helper()
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		l.Fatal(err)
	}
	raw, err := attest.Enrol(s, operator, "")
	if err != nil {
		l.Fatal(err)
	}
	l.log(raw)
	return s
}

func asking() map[string]any {
	return map[string]any{
		"reproduce": []any{"buildah", "buildkit", "buildah"}, "package": "core-go", "platform": "linux/amd64",
		"tree": map[string]any{"uri": "https://tree.example/stagex", "digest": map[string]any{"sha256": treeA[7:]}},
	}
}

// build logs a build with these external parameters.
func (l *logged) build(s *attest.Signer, parameters map[string]any, change ...func(*attest.Provenance)) *attest.Attestation {
	l.Helper()
	p := &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildTypeStageX, ExternalParameters: parameters},
		RunDetails:      attest.RunDetails{Builder: attest.Builder{ID: "https://ci.example", Operator: "https://claimed.example"}},
	}
	for _, f := range change {
		f(p)
	}
	subject := attest.ResourceDescriptor{Name: "core-go", Digest: map[string]string{"sha256": envB[7:]}}
	st, err := attest.NewStatement(attest.PredicateProvenance, p, subject)
	if err != nil {
		l.Fatal(err)
	}
	raw, err := s.Sign(st)
	if err != nil {
		l.Fatal(err)
	}
	return l.log(raw)
}

func (l *logged) jobs() []*cairnv1.Build {
	l.Helper()
	list, _, err := l.List(l.Context(), "", "", 0, 1000)
	if err != nil {
		l.Fatal(err)
	}
	return list
}

func TestReproductionsThatTheLogAsksFor(t *testing.T) {
	l := newLogged(t)
	alice := l.enrol("https://alice.example")
	att := l.build(alice, asking())
	for range 2 { // the second time nothing is new, also after a restart
		if err := l.follow("*"); !errors.Is(err, errNothingNew) {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l.open()
	}
	if len(l.warns) > 0 {
		t.Error(l.warns)
	}
	index := int64(1)
	want := &cairnv1.BuildSpec{
		Kind: KindReproduction, TreeUri: "https://tree.example/stagex", TreeDigest: treeA, Package: "core-go", Platform: "linux/amd64",
		ExpectedDigest: envB, ClaimIndex: &index, ClaimEnvelope: string(att.Leaf.Envelope),
		ExcludedOperators: []string{"https://alice.example", "https://claimed.example"}, ExcludedKeys: []string{string(alice.Public.Fingerprint)},
	}
	jobs := l.jobs()
	if len(jobs) != 2 {
		t.Fatalf("%d jobs: %v", len(jobs), jobs)
	}
	for i, engine := range []string{"buildkit", "buildah"} {
		want.Engine = engine
		if diff := cmp.Diff(want, jobs[i].GetSpec(), protocmp.Transform()); diff != "" || jobs[i].GetQueuedBy() != "log" {
			t.Errorf("job %d is not as wanted (-want +got):\n%s", i, diff)
		}
	}
	if id, _ := l.lease(worker(func(w *cairnv1.LeaseBuildRequest) { w.Operator = "https://alice.example" })); id != 0 {
		t.Errorf("the builder was given its own build %d", id)
	}
	if id, _ := l.lease(worker(func(w *cairnv1.LeaseBuildRequest) { w.Key = string(alice.Public.Fingerprint) })); id != 0 {
		t.Errorf("the builder's key was given its own build %d", id)
	}
	if id, _ := l.lease(worker()); id == 0 {
		t.Error("nobody is given the reproduction")
	}
}

// TestPassedOver logs builds that ask for nothing, or not as they should. None
// keeps a later one from being heard.
func TestPassedOver(t *testing.T) {
	l := newLogged(t)
	alice := l.enrol("https://alice.example")
	for _, parameters := range []map[string]any{
		nil,
		{},
		{"reproduce": "buildah"},
		{"reproduce": []any{1, 2}},
		{"reproduce": []any{"buildah"}},
	} {
		l.build(alice, parameters)
	}
	for _, spoil := range []func(map[string]any){
		func(p map[string]any) { p["reproduce"] = []any{} },
		func(p map[string]any) { p["reproduce"] = []any{""} },
		func(p map[string]any) { p["reproduce"] = []any{"Not An Engine"} },
		func(p map[string]any) { p["tree"] = "https://tree.example" },
		func(p map[string]any) { p["tree"] = map[string]any{"digest": map[string]any{"sha512": "00"}} },
		func(p map[string]any) { p["package"] = "" },
		func(p map[string]any) { p["package"] = "\x1b[2J" },
		func(p map[string]any) { p["platform"] = 7 },
	} {
		p := asking()
		spoil(p)
		l.build(alice, p)
	}
	l.build(alice, asking(), func(p *attest.Provenance) { p.BuildDefinition.BuildType = "https://make.example/v1" })
	if err := l.follow("*"); !errors.Is(err, errNothingNew) || len(l.jobs()) > 0 || len(l.warns) > 0 {
		t.Errorf("%v; %v; %v", err, l.jobs(), l.warns)
	}
	l.build(alice, asking())
	if err := l.follow("*"); !errors.Is(err, errNothingNew) || len(l.jobs()) != 2 {
		t.Errorf("%v; %v", err, l.jobs())
	}
}

func TestManyEngines(t *testing.T) {
	l := newLogged(t)
	p := asking()
	var engines []any
	for i := range 100 {
		engines = append(engines, "engine"+string(rune('a'+i%26)))
	}
	p["reproduce"] = engines
	l.build(l.enrol("https://alice.example"), p)
	if err := l.follow("*"); !errors.Is(err, errNothingNew) || len(l.jobs()) != maxEngines {
		t.Errorf("%v; %d jobs", err, len(l.jobs()))
	}
}

func TestWhoIsHeard(t *testing.T) {
	for _, test := range []struct {
		name string
		from func(alice *attest.Signer) []string
		want int
	}{
		{"nobody", func(*attest.Signer) []string { return nil }, 0},
		{"everyone", func(*attest.Signer) []string { return []string{"*"} }, 4},
		{"an operator", func(*attest.Signer) []string { return []string{"https://alice.example"} }, 2},
		{"a key", func(a *attest.Signer) []string { return []string{string(a.Public.Fingerprint)} }, 2},
		{"someone else", func(*attest.Signer) []string { return []string{"https://claimed.example"} }, 0},
	} {
		l := newLogged(t)
		alice, mallory := l.enrol("https://alice.example"), l.enrol("https://mallory.example")
		l.build(alice, asking())
		l.build(mallory, asking())
		if err := l.follow(test.from(alice)...); !errors.Is(err, errNothingNew) || len(l.jobs()) != test.want {
			t.Errorf("%s: %v; %d jobs, want %d", test.name, err, len(l.jobs()), test.want)
		}
	}
}

// TestFullQueue: a queue without room is waited for, and a quarter of it is left
// to those with tokens.
func TestFullQueue(t *testing.T) {
	l := newLogged(t, func(c *Config) { c.MaxOpen = 4 })
	alice := l.enrol("https://alice.example")
	for i := range 3 {
		l.build(alice, asking(), func(p *attest.Provenance) { p.RunDetails.Builder.ID = "https://ci.example/" + string(rune('a'+i)) })
	}
	wantReason(t, "a full queue", l.follow("*"), reason.Overloaded)
	if n := len(l.jobs()); n != 3 {
		t.Errorf("%d jobs, want 3", n)
	}
	l.add(request())
	for done := 0; done < 8; done++ {
		id, token := l.lease(worker(func(w *cairnv1.LeaseBuildRequest) { w.Engines = []string{"buildah", "buildkit"} }))
		if id == 0 {
			break
		}
		if _, err := l.Complete(t.Context(), result(id, token, envA)); err != nil {
			t.Fatal(err)
		}
		l.now = l.now.Add(time.Second)
		_ = l.follow("*")
	}
	var seen []string
	for _, b := range l.jobs() {
		if b.GetSpec().ClaimIndex != nil {
			seen = append(seen, b.GetSpec().GetEngine()+string(rune('0'+b.GetSpec().GetClaimIndex())))
		}
	}
	slices.Sort(seen)
	if want := []string{"buildah1", "buildah2", "buildah3", "buildkit1", "buildkit2", "buildkit3"}; !cmp.Equal(seen, want) {
		t.Errorf("queued %v, want %v", seen, want)
	}
}

// TestBadStore: an entry whose bytes are withdrawn or wrong keeps nothing from
// being heard.
func TestBadStore(t *testing.T) {
	l := newLogged(t)
	alice := l.enrol("https://alice.example")
	l.build(alice, asking())
	good := l.blobs
	other, err := attest.Enrol(alice, "https://alice.example/2", "")
	if err != nil {
		t.Fatal(err)
	}
	l.blobs = &badBlobs{Blobs: good, swap: other}
	if err := l.follow("*"); !errors.Is(err, errNothingNew) || len(l.jobs()) > 0 || len(l.warns) != 1 {
		t.Errorf("another attestation's bytes: %v; %v; %v", err, l.jobs(), l.warns)
	}
	l.build(alice, asking(), func(p *attest.Provenance) { p.RunDetails.Builder.ID = "https://ci.example/1" })
	l.blobs = &badBlobs{Blobs: good, swap: []byte(`{"payloadType":"x"}`)}
	if err := l.follow("*"); !errors.Is(err, errNothingNew) || len(l.jobs()) > 0 || len(l.warns) != 2 {
		t.Errorf("wrong bytes: %v; %v; %v", err, l.jobs(), l.warns)
	}
	l.build(alice, asking(), func(p *attest.Provenance) { p.RunDetails.Builder.ID = "https://ci.example/2" })
	l.blobs = &badBlobs{Blobs: good}
	if err := l.follow("*"); !errors.Is(err, errNothingNew) || len(l.jobs()) > 0 {
		t.Errorf("withdrawn bytes: %v; %v", err, l.jobs())
	}
}

type badBlobs struct {
	store.Blobs
	swap []byte
}

func (b *badBlobs) Get(context.Context, leaf.Digest) ([]byte, error) {
	if b.swap == nil {
		return nil, store.ErrNotFound
	}
	return b.swap, nil
}

func FuzzParseAsked(f *testing.F) {
	f.Add([]byte(`{"buildDefinition":{"buildType":"` + attest.BuildTypeStageX + `","externalParameters":{"reproduce":["buildah"]}}}`))
	f.Fuzz(func(t *testing.T, predicate []byte) {
		a, err := parsePredicate(predicate)
		if err == nil && (a == nil || slices.Contains(a.engines(), "") || len(a.engines()) > maxEngines) {
			t.Errorf("%q: %v", predicate, a)
		}
	})
}
