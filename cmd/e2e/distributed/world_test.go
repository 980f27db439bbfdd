package distributed

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/cluster"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine/enginetest/trilliantest"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// world is a log of several front ends, and what they acknowledged.
type world struct {
	*cluster.Cluster
	t        *testing.T
	database *pgtest.Server
	trillian *trilliantest.Server
	dir      string
	verifier note.Verifier
	clients  map[string]*client.Client // by front end

	mu     sync.Mutex
	leaves map[int64]string // what was acknowledged, by index
}

// newWorld makes a log. more is further lines of the front ends' configuration.
func newWorld(t *testing.T, more string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clients: make(map[string]*client.Client), leaves: make(map[int64]string)}
	var addr string
	w.trillian, addr = trilliantest.Listen(t)
	w.database = pgtest.Start(t, "fsync=off", "full_page_writes=off")
	w.Cluster = cluster.New(t, cluster.Config{Bin: bin, Database: w.database, Trillian: addr, Origin: "several.example/log", More: more})
	var err error
	if w.verifier, err = note.NewVerifier(w.VKey); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts front ends, all at once.
func (w *world) start(names ...string) {
	w.t.Helper()
	var fronts []*cluster.Front
	for _, name := range names {
		fronts = append(fronts, w.Launch(name))
	}
	for _, f := range fronts {
		f.AwaitReady()
		c, err := client.New(f.URL, client.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		w.clients[f.Name] = c
	}
}

// signer is somebody who attests.
type signer struct {
	*attest.Signer
	t *testing.T
}

func newSigner(t *testing.T) signer {
	t.Helper()
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return signer{s, t}
}

func (s signer) enrolment() []byte {
	s.t.Helper()
	raw, err := attest.Enrol(s.Signer, "https://alice.example", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// digest is that of the artifact that about is about.
func digest(n int) string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, "artifact ", n))) }

func (s signer) about(n int) []byte {
	s.t.Helper()
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]int{"n": n},
		attest.ResourceDescriptor{Name: fmt.Sprint("artifact ", n), Digest: map[string]string{"sha256": digest(n)}})
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := s.Sign(st)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// submit submits to a front end, and checks what it answers.
func (w *world) submit(front string, raw []byte, wait string) (*cairnv1.SubmitAttestationResponse, error) {
	resp, err := w.clients[front].SubmitAttestation(w.t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw, Wait: wait})
	if err != nil {
		return nil, fmt.Errorf("front end %s: %w", front, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, ok := w.leaves[resp.GetIndex()]; ok && before != resp.GetLeaf() {
		return nil, fmt.Errorf("front end %s acknowledged index %d for\n%swhich is that of\n%s", front, resp.GetIndex(), resp.GetLeaf(), before)
	}
	w.leaves[resp.GetIndex()] = resp.GetLeaf()
	if wait == "sequenced" {
		return resp, nil
	}
	tree, err := w.tree(resp.GetCheckpoint())
	if err == nil {
		err = checkRecord(tree, resp.GetIndex(), resp.GetLeaf(), resp.GetInclusionProof())
	}
	return resp, err
}

func (w *world) mustSubmit(front string, raw []byte) *cairnv1.SubmitAttestationResponse {
	w.t.Helper()
	resp, err := w.submit(front, raw, "published")
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// tree returns the tree of a checkpoint that the log signed.
func (w *world) tree(signed string) (tlog.Tree, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(w.verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("opening the checkpoint: %w\n%s", err, signed)
	}
	var origin, root string
	var tree tlog.Tree
	if _, err := fmt.Sscan(n.Text, &origin, &tree.N, &root); err != nil {
		return tree, fmt.Errorf("reading the checkpoint: %w\n%s", err, signed)
	}
	b, err := base64.StdEncoding.DecodeString(root)
	if err != nil || len(b) != tlog.HashSize || origin != "several.example/log" {
		return tree, fmt.Errorf("not a checkpoint of the log: %v\n%s", err, signed)
	}
	tree.Hash = tlog.Hash(b)
	return tree, nil
}

func checkRecord(tree tlog.Tree, index int64, leaf string, path [][]byte) error {
	var proof tlog.RecordProof
	for _, h := range path {
		proof = append(proof, tlog.Hash(h))
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash([]byte(leaf))); err != nil {
		return fmt.Errorf("entry %d in the tree of size %d: %w", index, tree.N, err)
	}
	return nil
}

// same wants the same proofs of all that was acknowledged from each front end, for
// one tree that all of them know.
func (w *world) same(fronts ...string) {
	w.t.Helper()
	t, size := w.t, int64(len(w.leaves))
	for i := range size {
		if _, ok := w.leaves[i]; !ok {
			t.Fatalf("%d entries were acknowledged, and none of them at index %d", size, i)
		}
	}
	tree := w.covering(fronts[0], size)
	var g errgroup.Group
	g.SetLimit(16)
	for i := range size {
		g.Go(func() error {
			var first [][]byte
			for n, f := range fronts {
				resp, err := w.clients[f].GetInclusionProof(t.Context(), &cairnv1.GetInclusionProofRequest{Index: &i, Size: tree.N})
				if err != nil {
					return fmt.Errorf("front end %s: %w", f, err)
				}
				if n == 0 {
					first = resp.GetInclusionProof()
					err = checkRecord(tree, i, w.leaves[i], first)
				} else if diff := cmp.Diff(first, resp.GetInclusionProof()); diff != "" {
					err = fmt.Errorf("entry %d: front ends %s and %s have other proofs (-first +second):\n%s", i, fronts[0], f, diff)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for from := int64(1); from <= tree.N; from = from*3/2 + 1 {
		var proofs [][][]byte
		for _, f := range fronts {
			resp, err := w.clients[f].GetConsistencyProof(t.Context(), &cairnv1.GetConsistencyProofRequest{From: from, To: tree.N})
			if err != nil {
				t.Fatalf("front end %s: %v", f, err)
			}
			proofs = append(proofs, resp.GetConsistencyProof())
		}
		for n, p := range proofs {
			if diff := cmp.Diff(proofs[0], p); diff != "" {
				t.Fatalf("from %d to %d: front ends %s and %s have other proofs:\n%s", from, tree.N, fronts[0], fronts[n], diff)
			}
		}
	}
}

// covering returns the tree of a front end's checkpoint that has a size, or more.
func (w *world) covering(front string, size int64) tlog.Tree {
	w.t.Helper()
	for resp, err := range w.clients[front].WatchCheckpoints(w.t.Context(), &cairnv1.WatchCheckpointsRequest{}) {
		if err != nil {
			w.t.Fatalf("front end %s: %v", front, err)
		}
		tree, err := w.tree(resp.GetCheckpoint())
		if err != nil {
			w.t.Fatal(err)
		}
		if tree.N >= size {
			return tree
		}
	}
	w.t.Fatalf("front end %s ends before it publishes size %d", front, size)
	return tlog.Tree{}
}

// cairn runs the user's command line, and returns its exit code and output.
func (w *world) cairn(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "cairn"), args...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "XDG_STATE_HOME=" + filepath.Join(w.dir, "state"), "LC_ALL=C.UTF-8",
		"CAIRN_POLICY=" + w.Policy,
	}
	return e2etest.Run(w.t, cmd)
}

// audited wants the bucket to be a flawless log with all that was acknowledged. Its
// archive of checkpoints is a moment behind.
func (w *world) audited() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), e2etest.Patience)
	defer cancel()
	for {
		code, out, errs := w.cairn("audit", w.Bucket, "-o", "json")
		var report struct {
			Clean      bool
			Found      map[string]int
			Checkpoint struct{ Size int64 }
		}
		err := json.Unmarshal([]byte(out), &report)
		if err == nil && code == 0 && report.Clean {
			if report.Checkpoint.Size < int64(len(w.leaves)) {
				w.t.Errorf("the bucket has %d entries, and %d were acknowledged", report.Checkpoint.Size, len(w.leaves))
			}
			return
		}
		if err != nil || code != 3 || len(report.Found) != 1 || ctx.Err() != nil {
			w.t.Fatalf("auditing the bucket: exit code %d, %v\n%s%s", code, err, out, errs)
		}
	}
}

// others returns the front ends but one.
func others(fronts []string, but string) []string {
	return slices.DeleteFunc(slices.Clone(fronts), func(f string) bool { return f == but })
}
