package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
)

const bundleWidth = 256

// audit is what a suspicious client knows about a log: the hash of every leaf
// that it read, and so the root of every tree up to there.
type audit struct {
	verifier   note.Verifier
	hashes     []tlog.Hash // by tlog.StoredHashIndex
	size       int64
	identities map[[32]byte]int64 // what must not be logged twice, to its index
}

func newAudit(t *testing.T, vkey string) *audit {
	t.Helper()
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return &audit{verifier: v, identities: make(map[[32]byte]int64)}
}

// open verifies a checkpoint's signature and returns its tree.
func (a *audit) open(signed string) (tlog.Tree, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(a.verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("opening checkpoint %q: %w", signed, err)
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || c.Origin != a.verifier.Name() || c.Extension != "" {
		return tlog.Tree{}, fmt.Errorf("checkpoint %q is not one of %s: %w", n.Text, a.verifier.Name(), err)
	}
	return c.Tree, nil
}

// ReadHashes implements tlog.HashReader.
func (a *audit) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(a.hashes)) {
			return nil, errors.New("not read that far")
		}
		hs[i] = a.hashes[x]
	}
	return hs, nil
}

// holds reports whether a tree is one that the log had on its way to what was
// read.
func (a *audit) holds(tree tlog.Tree) bool {
	if tree.N > a.size {
		return false
	}
	h, err := tlog.TreeHash(tree.N, a)
	return err == nil && h == tree.Hash
}

// leafHash returns the leaf hash at an index that was read.
func (a *audit) leafHash(index int64) (tlog.Hash, bool) {
	if index < 0 || index >= a.size {
		return tlog.Hash{}, false
	}
	return a.hashes[tlog.StoredHashIndex(0, index)], true
}

// extend reads what was published since, and fails if the log is not the one
// that was read before.
func (a *audit) extend(ctx context.Context, c *rest) error {
	var signed []byte
	if err := c.get(ctx, "/checkpoint", &signed); err != nil {
		return err
	}
	tree, err := a.open(string(signed))
	if err != nil {
		return err
	}
	if tree.N < a.size {
		return fmt.Errorf("the log shrank from %d to %d entries", a.size, tree.N)
	}
	for a.size < tree.N {
		if err := a.readBundle(ctx, c, tree.N); err != nil {
			return err
		}
	}
	if !a.holds(tree) {
		return fmt.Errorf("the tree of size %d is not of the leaves that the log serves", tree.N)
	}
	return nil
}

// readBundle reads the bundle with the entry at a.size, in a tree of a size.
func (a *audit) readBundle(ctx context.Context, c *rest, size int64) error {
	bundle := a.size / bundleWidth
	width := min(size-bundle*bundleWidth, bundleWidth)
	var data []byte
	if err := c.get(ctx, "/"+torchwood.TilePath(tlog.Tile{H: 8, L: -1, N: bundle, W: int(width)}), &data); err != nil {
		return fmt.Errorf("reading bundle %d of width %d: %w", bundle, width, err)
	}
	for i := bundle * bundleWidth; i < bundle*bundleWidth+width; i++ {
		text, rest, err := torchwood.ReadTileEntry(data)
		if err != nil {
			return fmt.Errorf("reading entry %d: %w", i, err)
		}
		data = rest
		if i < a.size {
			continue
		}
		if err := a.add(i, text); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) add(i int64, text []byte) error {
	l, err := leaf.Parse(text)
	if err != nil {
		return fmt.Errorf("entry %d: %w", i, err)
	}
	if first, ok := a.identities[l.Identity()]; ok {
		return fmt.Errorf("entries %d and %d are of the same attestation", first, i)
	}
	a.identities[l.Identity()] = i
	hs, err := tlog.StoredHashes(i, text, a)
	if err != nil {
		return err
	}
	a.hashes = append(a.hashes, hs...)
	a.size = i + 1
	return nil
}

// prove asks the ledger for the proof that one tree extends another, and
// verifies it.
func prove(ctx context.Context, c *rest, from, to tlog.Tree) error {
	var p struct{ ConsistencyProof []tlog.Hash }
	if err := c.get(ctx, fmt.Sprintf("/v1/log/proofs/consistency?from=%d&to=%d", from.N, to.N), &p); err != nil {
		return err
	}
	if from.N == 0 {
		empty, err := tlog.TreeHash(0, nil)
		if err != nil || from.Hash != empty || len(p.ConsistencyProof) > 0 {
			return fmt.Errorf("root %s of the empty tree, and a proof of %d hashes", from.Hash, len(p.ConsistencyProof))
		}
		return nil
	}
	if err := tlog.CheckTree(p.ConsistencyProof, to.N, to.Hash, from.N, from.Hash); err != nil {
		return fmt.Errorf("consistency from %d to %d: %w", from.N, to.N, err)
	}
	return nil
}
