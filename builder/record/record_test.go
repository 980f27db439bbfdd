package record

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
)

// world is a ledger in memory, and builders that are enrolled there.
type world struct {
	t      *testing.T
	log    *clienttest.Ledger
	ledger *Ledger
}

func newWorld(t *testing.T) *world {
	t.Helper()
	l, err := clienttest.New("log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, log: l, ledger: &Ledger{Client: c, Policy: pol}}
}

// recorder returns the recorder of a new operator, who is enrolled.
func (w *world) recorder(operator string) *Recorder {
	w.t.Helper()
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := attest.Enrol(signer, operator, "")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := w.log.Add(raw); err != nil {
		w.t.Fatal(err)
	}
	return &Recorder{
		Identity: &Identity{Signer: signer, BuilderID: operator + "/ci", Operator: operator, Repository: "stagex"},
		Ledger:   w.ledger,
		Results:  Results{Dir: w.t.TempDir()},
	}
}

func digest(word string) string { return string(leaf.SHA256([]byte(word))) }

// result is a build of core-tool that gave an image named by a word.
func result(image, with string) *Result {
	return &Result{
		Package: "core-tool", Version: "1.0", Inputs: digest("inputs"), Platform: "linux/amd64",
		Manifest: digest(image), Index: digest("index of " + image), Config: digest("config of " + image),
		DiffIDs: []string{digest("layer of " + image)}, Content: digest("content of " + image), Running: digest("running"),
		Obtained: attest.Built, Rebuilt: true, Engine: engine.Info{Name: with, Version: "1"}, Profile: "stagex/1",
		Steps:       []engine.Step{{Name: "RUN make", Network: "none"}},
		Started:     time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		Ended:       time.Date(2026, 3, 1, 10, 1, 0, 0, time.UTC),
		Environment: map[string]string{"os": "linux"},
		Materials: []Material{
			{Name: "packages/core/tool", SHA256: leaf.SHA256([]byte("dir")).Hex(), Role: "source"},
			{Name: "seed", SHA256: leaf.SHA256([]byte("seed")).Hex(), Role: "seed"},
			{Name: "bootstrap-cc", SHA256: leaf.SHA256([]byte("cc")).Hex(), Role: "toolchain", URI: "pkg:oci/bootstrap-cc"},
		},
		Parameters: map[string]any{
			"package": "core-tool", "platform": "linux/amd64", "inputs": "i0",
			"tree": map[string]any{"digest": map[string]any{"sha256": "t0"}},
		},
	}
}

func TestBuildAttestation(t *testing.T) {
	w := newWorld(t)
	r := w.recorder("https://alice.example")
	res := result("a", "buildkit")
	raw, err := r.Identity.Build(res)
	if err != nil {
		t.Fatal(err)
	}
	a, err := attest.Open(raw, attest.NewKeyring(r.Identity.Signer.Public))
	if err != nil {
		t.Fatal(err)
	}
	if a.Claim.Claim != leaf.ClaimBuild || a.Claim.Operator != "https://alice.example" || len(a.Claim.Subjects) != 1 {
		t.Errorf("claim %+v", a.Claim)
	}
	wantPurl := "pkg:oci/core-tool@" + res.Manifest + "?arch=amd64&repository_url=stagex%2Fcore-tool"
	if canonical, err := attest.CanonicalPurl(wantPurl); err != nil || a.Claim.Subjects[0].URI != canonical {
		t.Errorf("subject %q, want %q (%v)", a.Claim.Subjects[0].URI, canonical, err)
	}
	var roles []string
	for _, m := range a.Claim.Materials {
		roles = append(roles, m.Role+" "+m.Name)
	}
	want := []string{"source packages/core/tool", "seed seed", "toolchain bootstrap-cc"}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Errorf("materials (-want +got):\n%s", diff)
	}
	p, err := a.Statement.Provenance()
	if err != nil {
		t.Fatal(err)
	}
	c := ClaimedOf(res.Manifest, p)
	if c.Content != res.Content || c.Running != res.Running || !cmp.Equal(c.DiffIDs, res.DiffIDs) || c.Images["bootstrap-cc"] != leaf.SHA256([]byte("cc")).Hex() {
		t.Errorf("what the attestation says of the image: %+v", c)
	}
	if p.BuildDefinition.InternalParameters["rebuilt"] != true || p.BuildDefinition.InternalParameters["profile"] != "stagex/1" {
		t.Errorf("internal parameters %v", p.BuildDefinition.InternalParameters)
	}
}

// TestFetchedIsNeverBuilt: not by sign, not by record, not for want of a word.
func TestFetchedIsNeverBuilt(t *testing.T) {
	w := newWorld(t)
	r := w.recorder("https://alice.example")
	for _, how := range []attest.Obtained{attest.Substituted, attest.ObtainedUnstated} {
		res := result("a", "buildkit")
		res.Obtained = how
		if raw, err := r.Identity.Build(res); err == nil {
			t.Errorf("obtained %q is attested as built: %s", how, raw)
		}
		if err := r.Build(t.Context(), res); err != nil || res.Logged != nil {
			t.Errorf("obtained %q is logged as built: %v, %v", how, res.Logged, err)
		}
	}
}

func TestRecordLogsOnce(t *testing.T) {
	w := newWorld(t)
	r := w.recorder("https://alice.example")
	res := result("a", "buildkit")
	w.log.Refuse = func(q *http.Request) error {
		if q.Method == http.MethodPost {
			return reason.Errorf(reason.ShuttingDown, "not now")
		}
		return nil
	}
	err := r.Build(t.Context(), res)
	if e, ok := reason.Of(err); !ok || e.Reason != reason.ShuttingDown || res.Logged != nil {
		t.Fatalf("logging to a ledger that refuses: %v, entry %v", err, res.Logged)
	}
	kept, err := os.ReadFile(filepath.Join(r.Results.Dir, "core-tool.build.attestation"))
	if err != nil {
		t.Fatal(err)
	}
	w.log.Refuse = nil

	// Another run, and another time: what was kept is what is logged.
	res.Ended = res.Ended.Add(time.Hour)
	if err := r.Build(t.Context(), res); err != nil {
		t.Fatal(err)
	}
	if res.Logged == nil || res.Logged.Envelope != string(leaf.SHA256(kept)) {
		t.Errorf("logged %v, want the attestation that was kept", res.Logged)
	}
	again, err := r.Results.Get("core-tool")
	if err != nil || again == nil || !cmp.Equal(again.Logged, res.Logged) {
		t.Errorf("the kept result: %+v, %v", again, err)
	}
	again.Logged = nil // a crash before the result was kept
	if err := r.Build(t.Context(), again); err != nil || !cmp.Equal(again.Logged, res.Logged) {
		t.Errorf("logging again: %v, %v, want %v", again.Logged, err, res.Logged)
	}
}

func TestKeptAttestationOfAnotherImageIsNotUsed(t *testing.T) {
	w := newWorld(t)
	r := w.recorder("https://alice.example")
	first, second := result("a", "buildkit"), result("b", "buildkit")
	for _, res := range []*Result{first, second} {
		if err := r.Build(t.Context(), res); err != nil {
			t.Fatal(err)
		}
	}
	if first.Logged.Index == second.Logged.Index {
		t.Errorf("two images have one entry: %v", second.Logged)
	}
}

func TestAgreement(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.recorder("https://alice.example"), w.recorder("https://bob.example"), w.recorder("https://carol.example")
	res := result("a", "buildkit")
	if err := alice.Build(t.Context(), res); err != nil {
		t.Fatal(err)
	}
	builds, err := w.ledger.Builds(t.Context(), alice.Identity.Purl("core-tool", "", "linux/amd64"))
	if err != nil || len(builds) != 1 {
		t.Fatalf("builds %v, %v", builds, err)
	}
	c := &builds[0].Claimed
	if !builds[0].IsOf("core-tool", "linux/amd64", "t0", "") || builds[0].IsOf("core-tool", "linux/amd64", "t1", "") || builds[0].IsOf("core-other", "linux/amd64", "t0", "") ||
		builds[0].IsOf("core-tool", "linux/amd64", "t1", "i1") || !builds[0].IsOf("core-tool", "linux/amd64", "t1", "i0") {
		t.Errorf("parameters %v", builds[0].Parameters)
	}
	reproduce := func(r *Recorder, res *Result, o leaf.Result) {
		t.Helper()
		outcome := &Outcome{Result: o}
		if o == leaf.Equivalent {
			outcome.Method = MethodLayers
		}
		if e, err := r.Reproduction(t.Context(), c, res, outcome); err != nil || e == nil {
			t.Fatalf("logging %s: %v, %v", o, e, err)
		}
	}
	reproduce(bob, result("a", "buildah"), leaf.Identical)
	fetched := result("a", "buildah")
	fetched.Obtained = attest.Substituted
	reproduce(carol, fetched, leaf.Identical)

	got, err := w.ledger.Agreement(t.Context(), res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	want := &Agreement{Manifest: res.Manifest, Size: 6, Results: []Independent{
		{"https://alice.example", "buildkit"}, {"https://bob.example", "buildah"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("agreement (-want +got):\n%s", diff)
	}

	reproduce(carol, result("b", "buildah"), leaf.Different)
	failed := result("", "buildah")
	failed.Manifest = ""
	reproduce(carol, failed, leaf.BuildFailed)
	if got, err = w.ledger.Agreement(t.Context(), res.Manifest); err != nil || len(got.Dissent) != 2 || len(got.Results) != 2 {
		t.Fatalf("agreement %+v, %v", got, err)
	}
	if d := got.Dissent[0]; d.Operator != "https://carol.example" || d.Result != leaf.Different || !strings.HasPrefix(d.Entry, "log.example/test#") {
		t.Errorf("dissent %+v", d)
	}
	// Carol's other image is not agreed upon for being the output of a rebuild.
	if got, err := w.ledger.Agreement(t.Context(), digest("b")); err != nil || len(got.Results) != 0 {
		t.Errorf("agreement on the output of a DIFFERENT: %+v, %v", got, err)
	}
}

// TestAgreementByPolicy: whom a policy names as the operator of a key, is; who is
// not in it counts for nothing, and his dissent neither.
func TestAgreementByPolicy(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.recorder("https://alice.example"), w.recorder("https://bob.example"), w.recorder("https://carol.example")
	res := result("a", "buildkit")
	for _, r := range []*Recorder{alice, bob} {
		if err := r.Build(t.Context(), res); err != nil {
			t.Fatal(err)
		}
		res = result("a", "buildkit")
	}
	builds, err := w.ledger.Builds(t.Context(), alice.Identity.Purl("core-tool", "", "linux/amd64"))
	if err != nil || len(builds) == 0 {
		t.Fatalf("builds %v, %v", builds, err)
	}
	if _, err := carol.Reproduction(t.Context(), &builds[0].Claimed, result("b", "buildah"), &Outcome{Result: leaf.Different}); err != nil {
		t.Fatal(err)
	}
	text := w.ledger.Policy.String()
	for name, r := range map[string]*Recorder{"alice": alice, "bob": bob} {
		text += fmt.Sprintf("rebuilder %s %s operator=https://both.example\n", name, r.Identity.Signer.Public.Fingerprint)
	}
	if w.ledger.Policy, err = policy.Parse([]byte(text + "rebuild-quorum alice\n")); err != nil {
		t.Fatal(err)
	}
	a, err := w.ledger.Agreement(t.Context(), res.Manifest)
	if err != nil || len(a.Dissent) != 0 {
		t.Fatalf("agreement %+v, %v", a, err)
	}
	for _, r := range a.Results {
		if r.Operator != "https://both.example" {
			t.Errorf("results %+v", a.Results)
		}
	}
	if len(a.Results) != 2 {
		t.Errorf("results %+v", a.Results)
	}
}

func TestAgreementOfALiarIsAnError(t *testing.T) {
	w := newWorld(t)
	other, err := clienttest.New("log.example/other")
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + other.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	res := result("a", "buildkit")
	r := w.recorder("https://alice.example")
	if err := r.Build(t.Context(), res); err != nil {
		t.Fatal(err)
	}
	w.ledger.Policy = pol
	var m *client.MisbehaviourError
	if _, err := w.ledger.Agreement(t.Context(), res.Manifest); !errors.As(err, &m) {
		t.Errorf("error %v, want a *MisbehaviourError", err)
	}
	if _, err := w.ledger.Log(t.Context(), []byte("{}"), r.Identity.Signer.Public); err == nil {
		t.Error("nonsense is logged")
	}
}

func TestResults(t *testing.T) {
	r := Results{Dir: filepath.Join(t.TempDir(), "new")}
	if got, err := r.Get("core-tool"); got != nil || err != nil {
		t.Errorf("a result of nothing: %v, %v", got, err)
	}
	want := result("a", "buildkit")
	want.Logged = &Entry{Origin: "log.example/test", Index: 3, Envelope: digest("e")}
	if err := r.Put(want); err != nil {
		t.Fatal(err)
	}
	got, err := r.Get("core-tool")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if err := os.Rename(r.path("core-tool"), r.path("core-other")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("core-other"); err == nil {
		t.Error("another package's result is taken")
	}
	if err := os.WriteFile(r.path("core-other"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("core-other"); err == nil {
		t.Error("half a result is taken")
	}
	if err := r.Remove("core-other"); err != nil {
		t.Error(err)
	}
	if err := r.Remove("core-other"); err != nil {
		t.Errorf("forgetting what is forgotten: %v", err)
	}
}
