package export

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/certification"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/internal/durable"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	hello = "pkg:deb/debian/hello@2.10-3?arch=amd64"
	attr  = "pkg:deb/debian/attr@1"
)

// world is a ledger that is exported.
type world struct {
	*testing.T
	ledger   *clienttest.Ledger
	url      string
	key      *attest.Signer
	withheld map[string]bool // envelopes, by hex
}

func newWorld(t *testing.T) *world {
	ledger, err := clienttest.New("log.example/export")
	check(t, err)
	w := &world{T: t, ledger: ledger, withheld: make(map[string]bool)}
	ledger.Refuse = func(r *http.Request) error {
		if w.withheld[strings.TrimPrefix(r.URL.Path, "/v1/attestations/")] {
			return reason.Errorf(reason.AttestationNotFound, "withheld")
		}
		return nil
	}
	s := httptest.NewServer(ledger)
	t.Cleanup(s.Close)
	w.url = s.URL
	w.key, _, err = attest.GenerateEd25519()
	check(t, err)
	enrolment, err := attest.Enrol(w.key, "https://alice.example", "")
	check(t, err)
	w.submit(enrolment)
	return w
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) client() *client.Client {
	c, err := client.New(w.url, client.Options{})
	check(w, err)
	return c
}

func (w *world) submit(raw []byte) {
	w.Helper()
	_, err := w.client().SubmitAttestation(w.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw})
	check(w, err)
}

// attest logs a statement about packages, and returns its digest in hex.
func (w *world) attest(what string, purls ...string) string {
	w.Helper()
	var subjects []attest.ResourceDescriptor
	for _, p := range purls {
		subjects = append(subjects, attest.ResourceDescriptor{Name: what, URI: p, Digest: map[string]string{"sha256": leaf.SHA256([]byte(p)).Hex()}})
	}
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]string{"what": what}, subjects...)
	check(w, err)
	raw, err := w.key.Sign(st)
	check(w, err)
	w.submit(raw)
	return leaf.SHA256(raw).Hex()
}

func (w *world) export(dir string, names ...string) (*Report, error) {
	w.Helper()
	src, err := mirror.OpenSource(w.Context(), w.url, client.Options{})
	check(w, err)
	return Run(w.Context(), src, w.client(), dir, w.policy(), Options{Names: names, At: time.Now()})
}

func (w *world) policy() *policy.Policy {
	pol, err := policy.Parse([]byte("log " + w.ledger.VKey() + "\nquorum none\n"))
	check(w, err)
	return pol
}

// files returns the contents of an export by path, without proofs.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	root := filepath.Join(dir, certification.Root)
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, certification.ProofSuffix) {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		found[filepath.ToSlash(rel)] = string(b)
		return err
	}))
	return found
}

func TestExportIsIncremental(t *testing.T) {
	w := newWorld(t)
	first := w.attest("first", hello, attr)
	dir := t.TempDir()
	r, err := w.export(dir)
	check(t, err)
	if r.Written != 1 || r.Entries != 2 || r.Withheld != 0 {
		t.Errorf("%+v", r)
	}
	for range 5 {
		w.attest(time.Now().String(), hello)
	}
	if r, err = w.export(dir); err != nil || r.Written != 5 || r.Entries != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	before := files(t, dir)
	if r, err = w.export(dir); err != nil || r.Written != 0 || r.Entries != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Errorf("an export of nothing new changed files:\n%s", diff)
	}
	at := filepath.Join(dir, filepath.FromSlash(certification.Path(certification.Dir(attr), first+".dsse.json")))
	raw, err := os.ReadFile(at)
	check(t, err)
	proof, err := os.ReadFile(at + certification.ProofSuffix)
	check(t, err)
	if report := verify.Entry(verify.EntryInput{Attestation: raw, Proof: proof, Policy: w.policy(), At: time.Now()}); report.Outcome != verify.Proven {
		t.Errorf("what was exported does not verify: %v", report.Reasons)
	}
	once := t.TempDir()
	_, err = w.export(once)
	check(t, err)
	if diff := cmp.Diff(files(t, once), before); diff != "" {
		t.Errorf("an export in parts is not that of all at once:\n%s", diff)
	}
}

func TestExportOfNames(t *testing.T) {
	w := newWorld(t)
	w.attest("one", hello, attr)
	w.attest("two", attr)
	dir := t.TempDir()
	r, err := w.export(dir, hello)
	check(t, err)
	got := files(t, dir)
	for path := range got {
		if !strings.HasPrefix(path, certification.Dir(hello)+"/") {
			t.Errorf("%s is not about %s", path, hello)
		}
	}
	if r.Written != 1 || len(got) != 2 {
		t.Errorf("%+v %v", r, got)
	}
	// What some names had is not taken for what all have.
	_, err = w.export(dir)
	check(t, err)
	w.attest("three", hello)
	_, err = w.export(dir, hello)
	check(t, err)
	_, err = w.export(dir)
	check(t, err)
	all := t.TempDir()
	_, err = w.export(all)
	check(t, err)
	if diff := cmp.Diff(files(t, all), files(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestWithheldIsAskedForAgain: what the source did not hold takes its place in the
// list once it does.
func TestWithheldIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.withheld[w.attest("withheld", hello)] = true
	w.attest("held", hello)
	dir := t.TempDir()
	r, err := w.export(dir)
	check(t, err)
	if r.Withheld != 1 || r.Written != 1 {
		t.Errorf("%+v", r)
	}
	if _, ok := files(t, dir)["checkpoint"]; ok {
		t.Error("a directory that lacks something says that it is complete")
	}
	clear(w.withheld)
	if r, err = w.export(dir); err != nil || r.Withheld != 0 || r.Written != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	all := t.TempDir()
	_, err = w.export(all)
	check(t, err)
	if diff := cmp.Diff(files(t, all), files(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestExportRefuses(t *testing.T) {
	w := newWorld(t)
	w.attest("one", hello)
	dir := t.TempDir()
	_, err := w.export(dir)
	check(t, err)
	fails := func(what, says string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", what, err, says)
		}
	}
	before := files(t, dir)

	if _, err = newWorld(t).export(dir); !errors.Is(err, ErrOtherLog) {
		t.Errorf("another log: %v", err)
	}

	unlock, err := durable.Lock(filepath.Join(dir, workDir, "lock"))
	check(t, err)
	_, err = w.export(dir)
	unlock()
	if !errors.Is(err, durable.ErrLocked) {
		t.Errorf("two at once: %v", err)
	}

	// The list is somebody else's.
	w.attest("two", hello)
	list := filepath.Join(dir, filepath.FromSlash(certification.Path(certification.Dir(hello), certification.Index)))
	check(t, os.WriteFile(list, []byte("[]\n"), 0o644))
	_, err = w.export(dir)
	fails("a list that is not ours", "not as this program writes it", err)
	check(t, os.WriteFile(list, []byte(before[certification.Dir(hello)+"/"+certification.Index]), 0o644))

	// The log is another than before.
	fork, err := w.ledger.Sign(falseTree(1))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(certification.Checkpoint)), []byte(fork), 0o644))
	_, err = w.export(dir)
	var misbehaved *client.MisbehaviourError
	if !errors.As(err, &misbehaved) {
		t.Errorf("a fork: %v", err)
	}
	ahead, err := w.ledger.Sign(falseTree(100))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(certification.Checkpoint)), []byte(ahead), 0o644))
	if r, err := w.export(dir); err != nil || r.Behind == nil || *r.Behind != 3 || r.Entries != 0 {
		t.Errorf("a source that is behind: %+v, %v", r, err)
	}
	_, err = Run(t.Context(), nil, nil, dir, nil, Options{})
	fails("no policy", "no policy", err)
}

// falseTree returns a tree of a size that the log does not have.
func falseTree(size int64) tlog.Tree {
	return tlog.Tree{N: size, Hash: tlog.Hash{1}}
}

// TestLiesAreNotExported: a source that gives something else than it logs ends the
// export, and nothing of it is written.
func TestLiesAreNotExported(t *testing.T) {
	for name, tamper := range map[string]func(m proto.Message){
		"other bytes": func(m proto.Message) {
			if r, ok := m.(*cairnv1.GetAttestationResponse); ok {
				r.Attestation = append([]byte(" "), r.Attestation...)
			}
		},
		"another proof": func(m proto.Message) {
			if r, ok := m.(*cairnv1.GetInclusionProofResponse); ok {
				r.InclusionProof[0][0] ^= 1
			}
		},
		"another checkpoint": func(m proto.Message) {
			if r, ok := m.(*cairnv1.GetCheckpointResponse); ok {
				r.Checkpoint = strings.Replace(r.Checkpoint, "\n2\n", "\n3\n", 1)
			}
		},
	} {
		w := newWorld(t)
		w.attest("one", hello)
		w.ledger.Tamper = func(_ string, m proto.Message) { tamper(m) }
		dir := t.TempDir()
		src := &mirror.Source{Files: mirror.Web(w.url, client.Options{})}
		if _, err := Run(t.Context(), src, w.client(), dir, w.policy(), Options{At: time.Now()}); err == nil {
			t.Errorf("%s is exported", name)
		}
		if _, err := os.Stat(filepath.Join(dir, certification.Root)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written (%v)", name, err)
		}
	}
}
