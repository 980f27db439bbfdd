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

// origin is that of every log.
const origin = "several.example/log"

// world is a log of several front ends, and what they acknowledged.
type world struct {
	*cluster.Cluster
	t        *testing.T
	database *pgtest.Server
	trillian *trilliantest.Server // nil if it is the real one
	dir      string
	verifier note.Verifier
	options  client.Options
	clients  map[string]*client.Client // by front end, from its first start on

	mu     sync.Mutex
	leaves map[int64]string // what was acknowledged, by index
}

// newWorld makes a log. more is further lines of the front ends' configuration.
func newWorld(t *testing.T, more string) *world {
	t.Helper()
	trillian, addr := trilliantest.Listen(t)
	database := pgtest.Start(t, "fsync=off", "full_page_writes=off")
	w := newWorldOn(t, database, cluster.Config{Trillian: addr, More: more})
	w.trillian = trillian
	return w
}

// newWorldOn makes a log in a database.
func newWorldOn(t *testing.T, database *pgtest.Server, cfg cluster.Config) *world {
	t.Helper()
	cfg.Bin, cfg.Database, cfg.Origin = bin, database, origin
	w := &world{
		Cluster: cluster.New(t, cfg), t: t, database: database, dir: t.TempDir(),
		clients: make(map[string]*client.Client), leaves: make(map[int64]string),
	}
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
		if w.clients[f.Name] != nil {
			continue
		}
		c, err := client.New(f.URL, w.options)
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
	return w.submitIn(w.t.Context(), front, raw, wait)
}

func (w *world) submitIn(ctx context.Context, front string, raw []byte, wait string) (*cairnv1.SubmitAttestationResponse, error) {
	resp, err := w.clients[front].SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw, Wait: wait})
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
	var of, root string
	var tree tlog.Tree
	if _, err := fmt.Sscan(n.Text, &of, &tree.N, &root); err != nil {
		return tree, fmt.Errorf("reading the checkpoint: %w\n%s", err, signed)
	}
	b, err := base64.StdEncoding.DecodeString(root)
	if err != nil || len(b) != tlog.HashSize || of != origin {
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

func checkTree(tree, from tlog.Tree, path [][]byte) error {
	var proof tlog.TreeProof
	for _, h := range path {
		proof = append(proof, tlog.Hash(h))
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, from.N, from.Hash); err != nil {
		return fmt.Errorf("the tree of size %d does not extend that of size %d: %w", tree.N, from.N, err)
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
	var indexes []int64
	var stored hashes
	for i := range size {
		indexes = append(indexes, i)
		more, err := tlog.StoredHashes(i, []byte(w.leaves[i]), stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	var older []tlog.Tree
	for from := int64(1); from <= size; from = from*3/2 + 1 {
		root, err := tlog.TreeHash(from, stored)
		if err != nil {
			t.Fatal(err)
		}
		older = append(older, tlog.Tree{N: from, Hash: root})
	}
	w.sameProofs(tree, indexes, older, fronts...)
}

// sameProofs wants right proofs, and the same ones from each front end: that entries
// are in a tree, and that it extends older trees of the log.
func (w *world) sameProofs(tree tlog.Tree, indexes []int64, older []tlog.Tree, fronts ...string) {
	w.t.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for _, i := range indexes {
		g.Go(func() error { return w.sameInclusion(tree, i, fronts) })
	}
	for _, from := range older {
		g.Go(func() error { return w.sameConsistency(tree, from, fronts) })
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sameInclusion(tree tlog.Tree, i int64, fronts []string) error {
	var first [][]byte
	for n, f := range fronts {
		resp, err := w.clients[f].GetInclusionProof(w.t.Context(), &cairnv1.GetInclusionProofRequest{Index: &i, Size: tree.N})
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
}

func (w *world) sameConsistency(tree, from tlog.Tree, fronts []string) error {
	var first [][]byte
	for n, f := range fronts {
		resp, err := w.clients[f].GetConsistencyProof(w.t.Context(), &cairnv1.GetConsistencyProofRequest{From: from.N, To: tree.N})
		if err != nil {
			return fmt.Errorf("front end %s: %w", f, err)
		}
		if n == 0 {
			first = resp.GetConsistencyProof()
			err = checkTree(tree, from, first)
		} else if diff := cmp.Diff(first, resp.GetConsistencyProof()); diff != "" {
			err = fmt.Errorf("from %d to %d: front ends %s and %s have other proofs:\n%s", from.N, tree.N, fronts[0], f, diff)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// covering returns the tree of a front end's checkpoint that has a size, or more.
func (w *world) covering(front string, size int64) tlog.Tree {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), e2etest.Patience)
	defer cancel()
	for resp, err := range w.clients[front].WatchCheckpoints(ctx, &cairnv1.WatchCheckpointsRequest{}) {
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
