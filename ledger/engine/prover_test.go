package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// memory is a tree whose tiles a Prover reads.
type memory struct {
	hashes []tlog.Hash // by tlog.StoredHashIndex
	leaves int64
	reads  atomic.Int64
	spare  int                 // hashes returned beyond the width asked for
	spoil  func([]byte) []byte // changes what is read
	err    error
}

func (m *memory) grow(t *testing.T, to int64) {
	t.Helper()
	for m.leaves < to {
		m.add(t, fmt.Append(nil, m.leaves))
	}
}

func (m *memory) add(t testing.TB, leaf []byte) {
	t.Helper()
	hs, err := tlog.StoredHashes(m.leaves, leaf, m)
	if err != nil {
		t.Fatal(err)
	}
	m.hashes = append(m.hashes, hs...)
	m.leaves++
}

func (m *memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hs[i] = m.hashes[x]
	}
	return hs, nil
}

func (m *memory) root(t *testing.T, size int64) tlog.Hash {
	t.Helper()
	h, err := tlog.TreeHash(size, m)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Tile implements engine.TileReader.
func (m *memory) Tile(ctx context.Context, level, index uint64, width int) ([]byte, error) {
	m.reads.Add(1)
	if err := errors.Join(m.err, ctx.Err()); err != nil {
		return nil, err
	}
	has := engine.TileWidthAt(level, index, uint64(m.leaves))
	if width < 1 || width > has {
		return nil, fmt.Errorf("tile %d/%d has %d hashes, asked for %d", level, index, has, width)
	}
	b, err := tlog.ReadTileData(tlog.Tile{H: 8, L: int(level), N: int64(index), W: min(width+m.spare, has)}, m)
	if m.spoil != nil {
		b = m.spoil(b)
	}
	return b, err
}

// Entries implements engine.TileReader.
func (m *memory) Entries(context.Context, uint64, int) ([]byte, error) {
	return nil, errors.New("a prover reads no entries")
}

// edges are the sizes at which a tree begins a tile or a level.
var edges = []int64{
	1, 2, 3, 4, 5, 7, 8, 9, 127, 128, 129, 254, 255, 256, 257, 258, 511, 512, 513, 767, 1000,
	4095, 4096, 4097, 65279, 65280, 65281, 65535, 65536, 65537, 65792, 65793,
}

// sizes returns the edges, and as many random sizes up to the largest.
func sizes(r *rand.Rand) []int64 {
	largest := edges[len(edges)-1]
	ss := append([]int64(nil), edges...)
	for range edges {
		ss = append(ss, 1+r.Int64N(largest))
	}
	return ss
}

func large(t *testing.T) *memory {
	t.Helper()
	m := &memory{}
	m.grow(t, edges[len(edges)-1])
	return m
}

func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func treeProof(hs [][]byte) tlog.TreeProof {
	p := make(tlog.TreeProof, len(hs))
	for i, h := range hs {
		p[i] = tlog.Hash(h)
	}
	return p
}

// ask has p prove things about the tree of a size, while storage holds tree
// leaves, and checks all of it.
func ask(t *testing.T, p *engine.Prover, m *memory, r *rand.Rand, size, tree int64) {
	t.Helper()
	want := m.root(t, size)
	root, err := p.Root(t.Context(), uint64(size), uint64(tree))
	if err != nil || tlog.Hash(root) != want {
		t.Fatalf("Root(%d, %d) = %x, %v, want %x", size, tree, root, err, want)
	}
	for _, index := range []int64{0, size - 1, size / 2, r.Int64N(size)} {
		path, err := p.Inclusion(t.Context(), uint64(index), uint64(size), uint64(tree))
		if err != nil {
			t.Fatalf("Inclusion(%d, %d, %d): %v", index, size, tree, err)
		}
		leaf, err := p.LeafHash(t.Context(), uint64(index), uint64(tree))
		if err != nil || tlog.Hash(leaf) != m.hashes[tlog.StoredHashIndex(0, index)] {
			t.Fatalf("LeafHash(%d, %d) = %x, %v", index, tree, leaf, err)
		}
		if err := tlog.CheckRecord(tlog.RecordProof(treeProof(path)), size, want, index, tlog.Hash(leaf)); err != nil {
			t.Fatalf("inclusion of %d in %d: %v", index, size, err)
		}
	}
	for _, from := range []int64{1, size, (size + 1) / 2, 1 + r.Int64N(size)} {
		path, err := p.Consistency(t.Context(), uint64(from), uint64(size), uint64(tree))
		if err != nil {
			t.Fatalf("Consistency(%d, %d, %d): %v", from, size, tree, err)
		}
		if err := tlog.CheckTree(treeProof(path), size, want, from, m.root(t, from)); err != nil {
			t.Fatalf("consistency from %d to %d: %v", from, size, err)
		}
	}
}

func TestProverAgreesWithTlog(t *testing.T) {
	m, r := large(t), random(t)
	for _, spare := range []int{0, 1, engine.TileWidth} {
		m.spare = spare
		all := engine.NewProver(m)
		for _, size := range sizes(r) {
			// A new Prover knows nothing; the other has cached larger tiles.
			ask(t, engine.NewProver(m), m, r, size, size)
			ask(t, all, m, r, size, m.leaves)
		}
	}
}

func TestProverOfEverySmallTree(t *testing.T) {
	m, r := &memory{}, random(t)
	p := engine.NewProver(m)
	for size := int64(1); size <= 600; size++ {
		m.grow(t, size)
		ask(t, p, m, r, size, size)
	}
}

func TestProverFollowsAGrowingTree(t *testing.T) {
	m, r := &memory{}, random(t)
	p := engine.NewProver(m)
	for m.leaves < 70_000 {
		m.grow(t, m.leaves+1+r.Int64N(900))
		ask(t, p, m, r, m.leaves, m.leaves)
		ask(t, p, m, r, 1+r.Int64N(m.leaves), m.leaves)
	}
	before := m.reads.Load()
	ask(t, p, m, rand.New(rand.NewPCG(0, 0)), m.leaves, m.leaves)
	ask(t, p, m, rand.New(rand.NewPCG(0, 0)), m.leaves, m.leaves)
	first := m.reads.Load()
	ask(t, p, m, rand.New(rand.NewPCG(0, 0)), m.leaves, m.leaves)
	if again := m.reads.Load(); again != first {
		t.Errorf("%d tiles were read to answer the same again (%d before)", again-first, first-before)
	}
}

func TestProverOfTheEmptyTree(t *testing.T) {
	p := engine.NewProver(&memory{})
	root, err := p.Root(t.Context(), 0, 0)
	empty, _ := tlog.TreeHash(0, nil)
	if err != nil || tlog.Hash(root) != empty {
		t.Errorf("Root(0, 0) = %x, %v, want %x", root, err, empty)
	}
	if path, err := p.Consistency(t.Context(), 0, 0, 0); err != nil || len(path) != 0 {
		t.Errorf("Consistency(0, 0, 0) = %d hashes, %v", len(path), err)
	}
}

func TestProverRefusesWhatIsNotInTheTree(t *testing.T) {
	m := &memory{}
	m.grow(t, 300)
	p := engine.NewProver(m)
	ctx := t.Context()
	for name, err := range map[string]error{
		"a root beyond the tree":              second(p.Root(ctx, 301, 300)),
		"an index at the size":                second(p.Inclusion(ctx, 300, 300, 300)),
		"an index in a size beyond the tree":  second(p.Inclusion(ctx, 0, 301, 300)),
		"an index in the empty tree":          second(p.Inclusion(ctx, 0, 0, 300)),
		"a consistency proof that shrinks":    second(p.Consistency(ctx, 200, 100, 300)),
		"a consistency proof beyond the tree": second(p.Consistency(ctx, 200, 301, 300)),
		"a leaf beyond the tree":              second(p.LeafHash(ctx, 300, 300)),
		"a leaf far beyond the tree":          second(p.LeafHash(ctx, 1<<62, 300)),
		"a tree far beyond storage":           second(p.Root(ctx, 1<<62, 1<<62)),
	} {
		if err == nil {
			t.Errorf("%s was answered", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestProverOfBrokenTiles(t *testing.T) {
	const size = 700
	for _, test := range []struct {
		name  string
		spoil func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"one hash short", func(b []byte) []byte { return b[:len(b)-tlog.HashSize] }},
		{"one byte short", func(b []byte) []byte { return b[:len(b)-1] }},
		{"cut within the first hash", func(b []byte) []byte { return b[:1] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &memory{spoil: test.spoil}
			m.grow(t, size)
			p := engine.NewProver(m)
			for what, err := range map[string]error{
				"Root":        second(p.Root(t.Context(), size, size)),
				"Inclusion":   second(p.Inclusion(t.Context(), size-1, size, size)),
				"Consistency": second(p.Consistency(t.Context(), 1, size, size)),
				"LeafHash":    second(p.LeafHash(t.Context(), 0, size)),
			} {
				if err == nil {
					t.Errorf("%s answers from a short tile", what)
				}
			}
			// What failed is not remembered.
			m.spoil = nil
			ask(t, p, m, random(t), size, size)
		})
	}
}

func TestProverOfAWrongTileGivesAWrongProof(t *testing.T) {
	m := &memory{spoil: func(b []byte) []byte {
		b[0] ^= 1
		return b
	}}
	m.grow(t, 300)
	root, err := engine.NewProver(m).Root(t.Context(), 300, 300)
	if err != nil || tlog.Hash(root) == m.root(t, 300) {
		t.Errorf("the root of a tree with a flipped bit is %x, %v", root, err)
	}
}

func TestProverPassesReadErrorsOn(t *testing.T) {
	m := &memory{err: engine.ErrNotFound}
	m.grow(t, 10)
	p := engine.NewProver(m)
	if _, err := p.Root(t.Context(), 10, 10); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the error is %v, want ErrNotFound", err)
	}
	m.err = nil
	ask(t, p, m, random(t), 10, 10)
}

func TestProverOutlivesItsFirstAsker(t *testing.T) {
	m := &memory{}
	m.grow(t, 300)
	p := engine.NewProver(m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Root(ctx, 300, 300); err != nil {
		t.Errorf("a tile that others wait for was given up: %v", err)
	}
}

func TestProverServesMany(t *testing.T) {
	m := large(t)
	p := engine.NewProver(m)
	var wg sync.WaitGroup
	for g := range 8 {
		r := rand.New(rand.NewPCG(uint64(g), 1))
		wg.Go(func() {
			for range 20 {
				tree := 1 + r.Int64N(m.leaves)
				want, err := tlog.TreeHash(tree, m)
				if err != nil {
					t.Error(err)
				}
				root, err := p.Root(t.Context(), uint64(tree), uint64(tree))
				if err != nil || tlog.Hash(root) != want {
					t.Errorf("Root(%d) = %x, %v, want %x", tree, root, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestTileWidthAt(t *testing.T) {
	for _, test := range []struct {
		level, index, tree uint64
		want               int
	}{
		{0, 0, 0, 0}, {0, 0, 1, 1}, {0, 0, 255, 255}, {0, 0, 256, 256}, {0, 1, 256, 0}, {0, 1, 257, 1},
		{1, 0, 255, 0}, {1, 0, 256, 1}, {1, 0, 65535, 255}, {1, 0, 65536, 256}, {1, 1, 65536, 0}, {1, 1, 65792, 1},
		{2, 0, 65535, 0}, {2, 0, 65536, 1}, {7, 0, 1 << 63, 128}, {8, 0, 1 << 63, 0}, {1 << 60, 0, 1 << 63, 0}, {1 << 61, 0, 1 << 63, 0},
		{0, 1 << 63, 1 << 63, 0}, {0, 1<<55 - 1, 1 << 63, 256},
	} {
		if got := engine.TileWidthAt(test.level, test.index, test.tree); got != test.want {
			t.Errorf("TileWidthAt(%d, %d, %d) = %d, want %d", test.level, test.index, test.tree, got, test.want)
		}
	}
}
