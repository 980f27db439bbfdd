package server_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/rebuilderd"
	"github.com/cairnlog/cairn/ledger/survey"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// rebuilders is a ledger that answers rebuilderd's clients, by a policy of two
// rebuilders who must agree. Its clock stands still.
type rebuilders struct {
	*repository
	survey     *survey.Survey
	service    *rebuilderd.Service
	cfg        survey.Config
	alice, bob *attest.Signer
	now        time.Time
	warned     []string
	fail       error                       // what looking anything up comes to
	materials  []attest.ResourceDescriptor // of what is built
	withheld   func(envelope string) error // why an attestation is not there; nil for none
}

const policyOfTwo = `log %s
quorum none
rebuilder alice %s operator=https://alice.example
rebuilder bob %s operator=https://bob.example
rebuild-group both 2 alice bob
rebuild-quorum both
`

// newRebuilders returns such a ledger, with lines added to its policy.
func newRebuilders(t *testing.T, lines string) *rebuilders {
	t.Helper()
	cfg, in, pub := benchParts(t)
	w := &rebuilders{
		repository: &repository{T: t, vkey: cfg.VKey}, alice: newSigner(t), bob: newSigner(t),
		now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
	}
	reads := &query.Service{Latest: query.LatestOf(cfg.Board), Prover: cfg.Prover, Blobs: cfg.Blobs, Index: cfg.Index, Keys: in.Keyring()}
	w.cfg = survey.Config{
		Path: filepath.Join(t.TempDir(), "rebuilderd.db"), Origin: "localhost/bench",
		Policy: w.parse(w.policyOfTwo() + lines),
		Client: client.NewLocal("this ledger", func(ctx context.Context, req proto.Message) (proto.Message, error) {
			if _, ok := req.(*cairnv1.ListAttestationsRequest); ok && w.fail != nil {
				return nil, w.fail
			}
			if get, ok := req.(*cairnv1.GetAttestationRequest); ok && w.withheld != nil {
				if err := w.withheld(get.GetEnvelope()); err != nil {
					return nil, err
				}
			}
			return reads.Answer(ctx, req)
		}), Index: cfg.Index, Latest: reads.Latest,
		Published: func(ctx context.Context, least uint64) (uint64, error) {
			p, err := cfg.Board.Wait(ctx, least)
			if err != nil {
				return 0, err
			}
			return uint64(p.N), nil
		},
		Now:  func() time.Time { return w.now },
		Warn: func(err error) { w.warned = append(w.warned, err.Error()) },
	}
	w.open()
	cfg.Rebuilderd = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.service.ServeHTTP(rw, r) })
	addr := benchServe(t, cfg, in, pub).http
	w.url = "http://" + addr
	w.enrol(w.alice)
	w.enrol(w.bob)
	return w
}

func (w *rebuilders) parse(text string) *policy.Policy {
	w.Helper()
	p, err := policy.Parse([]byte(text))
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *rebuilders) policyOfTwo() string {
	return fmt.Sprintf(policyOfTwo, w.vkey, w.alice.Public.Fingerprint, w.bob.Public.Fingerprint)
}

func (w *rebuilders) open() {
	w.Helper()
	s, err := survey.Open(w.Context(), w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close() })
	w.survey = s
	if w.service, err = rebuilderd.New(s, w.cfg.Warn); err != nil {
		w.Fatal(err)
	}
}

func (w *rebuilders) enrol(s *attest.Signer) {
	w.Helper()
	raw, err := attest.Enrol(s, "https://somebody.example", "")
	if err != nil {
		w.Fatal(err)
	}
	w.log(raw)
}

// log logs an attestation, and has the service look at it.
func (w *rebuilders) log(raw []byte) {
	w.Helper()
	if resp, body := w.send(http.MethodPost, "/v1/attestations", raw); resp.StatusCode != http.StatusCreated {
		w.Fatalf("%s %s", resp.Status, body)
	}
	w.step()
}

// step has the service do what is to be done; there must be something.
func (w *rebuilders) step() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	if err := w.survey.Step(ctx); err != nil {
		w.Fatal(err)
	}
}

// built logs that somebody rebuilt a package, with what result.
func (w *rebuilders) built(by *attest.Signer, purl, artifact string, result leaf.Result) {
	w.Helper()
	digest := func(s string) map[string]string { return map[string]string{"sha256": leaf.SHA256([]byte(s)).Hex()} }
	r := &attest.Reproduction{Result: result, Obtained: attest.Built, Rebuilder: attest.Builder{ID: "https://somebody.example/rebuilder"}}
	if len(w.materials) > 0 {
		r.BuildDefinition = &attest.BuildDefinition{BuildType: "https://example.org/makepkg", ResolvedDependencies: w.materials}
	}
	if result == leaf.Different {
		r.Outputs = []attest.ResourceDescriptor{{Name: "other", Digest: digest(artifact + " differs")}}
	}
	st, err := attest.NewStatement(attest.PredicateReproduction, r, attest.ResourceDescriptor{URI: purl, Digest: digest(artifact)})
	if err != nil {
		w.Fatal(err)
	}
	raw, err := by.Sign(st)
	if err != nil {
		w.Fatal(err)
	}
	w.log(raw)
}

// list asks as arch-repro-status does, and reads the answer as strictly as serde
// does there: no member of rebuilderd-common's PkgRelease may be missing, and only
// build_id and built_at may be null.
func (w *rebuilders) list(query string) (packages []pkgRelease, body string) {
	w.Helper()
	resp, body := w.send(http.MethodGet, rebuilderd.Path+query, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		w.Fatalf("%s: %s %s", query, resp.Status, body)
	}
	var members []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		w.Fatalf("%s: %v\n%s", query, err, body)
	}
	for _, m := range members {
		for _, name := range []string{"name", "version", "status", "distro", "suite", "architecture", "artifact_url", "build_id", "built_at", "has_diffoscope", "has_attestation"} {
			nullable := name == "build_id" || name == "built_at"
			if v, ok := m[name]; !nullable && (!ok || string(v) == "null") {
				w.Errorf("%s: %s is missing in %s", query, name, m)
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &packages); err != nil {
		w.Fatalf("%s: %v\n%s", query, err, body)
	}
	for _, p := range packages {
		if p.Status != "GOOD" && p.Status != "BAD" && p.Status != "UNKWN" {
			w.Errorf("%s: the status is %q", query, p.Status)
		}
	}
	return packages, body
}

// pkgRelease is what serde reads; a value of another type is an error.
type pkgRelease struct {
	Name, Version, Status, Distro, Suite, Architecture string
	ArtifactURL                                        string  `json:"artifact_url"`
	BuildID                                            *int32  `json:"build_id"`
	BuiltAt                                            *string `json:"built_at"`
	HasDiffoscope                                      bool    `json:"has_diffoscope"`
	HasAttestation                                     bool    `json:"has_attestation"`
}

const (
	pacman  = "pkg:alpm/arch/pacman@6.0.1-1?arch=x86_64&download_url=https:%2F%2Farchive.example%2Fpacman.pkg.tar.zst"
	pacman2 = "pkg:alpm/arch/pacman@6.0.2-1?arch=x86_64"
	zlib    = "pkg:alpm/arch/zlib@1:1.2.11-5?arch=x86_64"
	keyring = "pkg:alpm/arch/archlinux-keyring@20210902-1?arch=any"
	helloD  = "pkg:deb/debian/hello@2.10-3%2Bb1?arch=amd64"
)

func TestRebuilderdList(t *testing.T) {
	w := newRebuilders(t, "")
	if got, body := w.list(""); len(got) != 0 || body != "[\n]\n" {
		t.Errorf("an empty ledger lists %s", body)
	}
	for _, by := range []*attest.Signer{w.alice, w.bob} {
		w.built(by, pacman, "pacman 6.0.1", leaf.Identical)
		w.built(by, helloD, "hello", leaf.Identical)
	}
	w.built(w.alice, zlib, "zlib", leaf.Identical)
	w.built(w.bob, zlib, "zlib", leaf.Different)
	w.built(w.alice, keyring, "keyring", leaf.Identical)
	w.built(w.bob, pacman2, "pacman 6.0.2", leaf.BuildFailed)
	w.built(w.bob, "pkg:deb/debian/hello@2.10-3?arch=source", "a source", leaf.Identical)
	w.built(w.bob, "pkg:oci/hello@sha256:"+leaf.SHA256([]byte("image")).Hex(), "image", leaf.Identical)
	_, body := w.list("?distro=archlinux")
	golden := filepath.Join("testdata", "archlinux.json")
	if *update {
		if err := os.WriteFile(golden, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), body); diff != "" {
		t.Error(diff)
	}
	for query, want := range listed {
		var got []string
		packages, _ := w.list(query)
		for _, p := range packages {
			got = append(got, p.Distro+" "+p.Name+" "+p.Version+" "+p.Architecture+" "+p.Status)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", query, diff)
		}
	}
	if resp, body := w.send(http.MethodGet, rebuilderd.Path+"?status=FAIL", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a status that there is not: %s %s", resp.Status, body)
	}
	if len(w.warned) > 0 {
		t.Errorf("it warned: %q", w.warned)
	}
}

// listed is what queries give.
var listed = map[string][]string{
	"?distro=archlinux&name=pacman": {"archlinux pacman 6.0.2-1 x86_64 BAD", "archlinux pacman 6.0.1-1 x86_64 GOOD"},
	"?status=GOOD":                  {"archlinux pacman 6.0.1-1 x86_64 GOOD", "debian hello 2.10-3+b1 amd64 GOOD"},
	"?status=BAD":                   {"archlinux pacman 6.0.2-1 x86_64 BAD", "archlinux zlib 1:1.2.11-5 x86_64 BAD"},
	"?status=UNKWN":                 {"archlinux archlinux-keyring 20210902-1 any UNKWN"},
	"?distro=debian":                {"debian hello 2.10-3+b1 amd64 GOOD"},
	"?distro=debian&more=x":         {"debian hello 2.10-3+b1 amd64 GOOD"},
	"?architecture=amd64":           {"archlinux archlinux-keyring 20210902-1 any UNKWN", "debian hello 2.10-3+b1 amd64 GOOD"},
	"?suite=core":                   nil,
	"?suite=&distro=debian":         {"debian hello 2.10-3+b1 amd64 GOOD"},
	"?distro=":                      nil,
	"?name=%27%20OR%201%3D1":        nil,
}

func (w *rebuilders) status(name string) string {
	w.Helper()
	packages, body := w.list("?name=" + name)
	if len(packages) != 1 {
		w.Fatalf("%s is listed as %s", name, body)
	}
	return packages[0].Status
}

// TestRebuilderdFollows: a verdict changes with what rebuilders log, and strangers
// change nothing.
func TestRebuilderdFollows(t *testing.T) {
	w := newRebuilders(t, "")
	mallory := newSigner(t)
	w.enrol(mallory)
	expect := func(when, want string) {
		t.Helper()
		if got := w.status("pacman"); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	w.built(w.alice, pacman2, "pacman", leaf.Identical)
	expect("one rebuilt it", "UNKWN")
	w.built(mallory, pacman2, "pacman", leaf.Identical)
	expect("a stranger rebuilt it, too", "UNKWN")
	w.built(w.bob, pacman2, "pacman", leaf.Identical)
	expect("two rebuilt it", "GOOD")
	first, _ := w.send(http.MethodGet, rebuilderd.Path, nil)
	w.built(mallory, pacman2, "pacman", leaf.Different)
	w.built(mallory, "pkg:alpm/arch/malware@1?arch=any", "malware", leaf.Identical)
	w.built(mallory, pacman2, "another pacman", leaf.Identical)
	expect("a stranger got something else", "GOOD")
	if packages, body := w.list(""); len(packages) != 1 {
		t.Errorf("a stranger is listened to: %s", body)
	}
	if resp, _ := w.send(http.MethodGet, rebuilderd.Path, nil, "If-None-Match", first.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("what is known is sent again: %s", resp.Status)
	}
	w.built(w.alice, pacman2, "pacman", leaf.Different)
	expect("one got something else later", "BAD")
	if resp, _ := w.send(http.MethodGet, rebuilderd.Path, nil, "If-None-Match", first.Header.Get("ETag")); resp.StatusCode != http.StatusOK {
		t.Errorf("what changed is said to be the same: %s", resp.Status)
	}

	// Another artifact of the same name and version is not good with the first.
	w.built(w.alice, zlib, "zlib", leaf.Identical)
	w.built(w.bob, zlib, "zlib", leaf.Identical)
	if got := w.status("zlib"); got != "GOOD" {
		t.Errorf("zlib is %s", got)
	}
	w.built(w.alice, zlib, "another zlib", leaf.Identical)
	if got := w.status("zlib"); got != "UNKWN" {
		t.Errorf("zlib, of which there are two, is %s", got)
	}
}

// TestRebuilderdStartsAgain: the table outlives the process, and is made anew for
// another policy.
func TestRebuilderdStartsAgain(t *testing.T) {
	w := newRebuilders(t, "")
	w.built(w.alice, pacman2, "pacman", leaf.Identical)
	w.built(w.bob, pacman2, "pacman", leaf.Identical)
	if err := w.survey.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	if resp, body := w.send(http.MethodGet, rebuilderd.Path, nil); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "behind") {
		t.Errorf("before the log was followed: %s %s", resp.Status, body)
	}
	w.enrol(newSigner(t))
	if got := w.status("pacman"); got != "GOOD" {
		t.Errorf("after a restart it is %s", got)
	}
	_ = w.survey.Close()
	w.cfg.Policy = w.parse(strings.Replace(w.policyOfTwo(), "both 2 ", "both 1 ", 1))
	w.open()
	w.built(w.alice, zlib, "zlib", leaf.Identical)
	if p, body := w.list("?status=GOOD"); len(p) != 2 {
		t.Errorf("under a policy that asks for one: %s", body)
	}
	_ = w.survey.Close()
	w.cfg.Origin = "localhost/other"
	if _, err := survey.Open(t.Context(), w.cfg); err == nil || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("the table of another log: %v", err)
	}
	w.cfg.Path += "2"
	w.cfg.Policy = w.parse("log " + w.vkey + "\nquorum none\n")
	nobody, err := survey.Open(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nobody.Close() }()
	if _, err := rebuilderd.New(nobody, w.cfg.Warn); err == nil || !strings.Contains(err.Error(), "names no rebuilder") {
		t.Errorf("a policy without rebuilders: %v", err)
	}
}

// TestRebuilderdFailsClosed: what cannot be judged is not known to be good, and
// from what the policy does not believe nothing is answered.
func TestRebuilderdFailsClosed(t *testing.T) {
	w := newRebuilders(t, "")
	w.built(w.alice, pacman2, "pacman", leaf.Identical)
	w.built(w.bob, pacman2, "pacman", leaf.Identical)
	if got := w.status("pacman"); got != "GOOD" {
		t.Errorf("it is %s", got)
	}
	w.fail = errors.New("it fails")
	w.built(w.bob, pacman2, "pacman", leaf.Inconclusive)
	if got := w.status("pacman"); got != "UNKWN" || len(w.warned) != 1 {
		t.Errorf("what cannot be judged is %s; %q", got, w.warned)
	}
	w.fail = nil
	w.now = w.now.Add(2 * time.Minute)
	w.step()
	if got := w.status("pacman"); got != "GOOD" {
		t.Errorf("what is judged again is %s", got)
	}
	if resp, body := w.send(http.MethodPost, "/v1/attestations", statement(t, w.bob, "a word", pacman2)); resp.StatusCode != http.StatusCreated {
		t.Fatal(body)
	}
	w.status("pacman") // which is answered while the log is followed
	w.now = w.now.Add(time.Hour)
	if resp, body := w.send(http.MethodGet, rebuilderd.Path, nil); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "behind: 5 of 6") {
		t.Errorf("while the log is not followed: %s %s", resp.Status, body)
	}
	_ = w.survey.Close()
	_, vkey, err := note.GenerateKey(rand.Reader, "localhost/bench")
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Policy = w.parse(strings.Replace(w.policyOfTwo(), w.vkey, vkey, 1))
	w.open()
	w.step()
	if resp, body := w.send(http.MethodGet, rebuilderd.Path, nil); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "does not satisfy the policy") {
		t.Errorf("of a log that the policy does not name: %s %s", resp.Status, body)
	}
}

// TestRebuilderdExceptionEnds: what rests on an exception is good until it ends,
// also if nothing is logged then.
func TestRebuilderdExceptionEnds(t *testing.T) {
	w := newRebuilders(t, "except pkg:alpm/arch/glibc until 2026-11-22 reason to be rebuilt\n")
	digest := map[string]string{"sha256": leaf.SHA256([]byte("glibc")).Hex()}
	w.materials = []attest.ResourceDescriptor{{URI: "pkg:alpm/arch/glibc@2.33-5?arch=x86_64", Digest: digest, Annotations: map[string]any{"role": "library"}}}
	w.built(w.alice, pacman2, "pacman", leaf.Identical)
	w.built(w.bob, pacman2, "pacman", leaf.Identical)
	if got := w.status("pacman"); got != "GOOD" {
		t.Errorf("with the exception it is %s", got)
	}
	w.now = w.now.AddDate(0, 0, 2)
	if got := w.status("pacman"); got != "UNKWN" {
		t.Errorf("after it, before it is judged again, it is %s", got)
	}
	w.step()
	if got := w.status("pacman"); got != "UNKWN" {
		t.Errorf("after it, it is %s", got)
	}
	// What it rests on is rebuilt: what is logged about an ancestor counts.
	w.materials = nil
	w.built(w.alice, "pkg:alpm/arch/glibc@2.33-5?arch=x86_64", "glibc", leaf.Identical)
	w.built(w.bob, "pkg:alpm/arch/glibc@2.33-5?arch=x86_64", "glibc", leaf.Identical)
	if got := w.status("pacman"); got != "GOOD" {
		t.Errorf("once its library is rebuilt, it is %s", got)
	}
}

// TestWithoutRebuilderd: a ledger that judges for nobody says so.
func TestWithoutRebuilderd(t *testing.T) {
	cfg, in, pub := benchParts(t)
	addr := benchServe(t, cfg, in, pub).http
	r := &repository{T: t, url: "http://" + addr}
	if resp, body := r.send(http.MethodGet, rebuilderd.Path+"?distro=archlinux", nil); resp.StatusCode != http.StatusNotImplemented || !strings.Contains(body, "verdicts.policy") {
		t.Errorf("%s %s", resp.Status, body)
	}
}
