package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// vectors are what the script in the browser must judge as the ledger's own code does.
type vectors struct {
	Notes         []noteVector        `json:"notes"`
	Inclusions    []inclusionVector   `json:"inclusions"`
	Consistencies []consistencyVector `json:"consistencies"`
}

type inclusionVector struct {
	Name  string   `json:"name"`
	Want  string   `json:"want"`
	Leaf  string   `json:"leaf"`
	Index int64    `json:"index"`
	Size  int64    `json:"size"`
	Path  [][]byte `json:"path"`
	Root  []byte   `json:"root"`
}

type consistencyVector struct {
	Name     string   `json:"name"`
	Want     string   `json:"want"`
	From     int64    `json:"from"`
	To       int64    `json:"to"`
	Path     [][]byte `json:"path"`
	FromRoot []byte   `json:"fromRoot"`
	ToRoot   []byte   `json:"toRoot"`
}

// verdict is what the script calls what the ledger's code accepts or refuses.
func verdict(err error) string {
	if err != nil {
		return "bad"
	}
	return "ok"
}

// testTree is a tree of leaves whose text is their index.
type testTree struct{ hashes []tlog.Hash }

const testLeaves = 70

func newTestTree(t *testing.T) *testTree {
	t.Helper()
	tree := &testTree{}
	for i := range int64(testLeaves) {
		more, err := tlog.StoredHashes(i, testLeaf(i), tree)
		if err != nil {
			t.Fatal(err)
		}
		tree.hashes = append(tree.hashes, more...)
	}
	return tree
}

func testLeaf(i int64) []byte { return fmt.Appendf(nil, "leaf %d é\n", i) }

// ReadHashes implements tlog.HashReader.
func (tree *testTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, 0, len(indexes))
	for _, i := range indexes {
		list = append(list, tree.hashes[i])
	}
	return list, nil
}

func (tree *testTree) root(t *testing.T, size int64) []byte {
	t.Helper()
	h, err := tlog.TreeHash(size, tree)
	if err != nil {
		t.Fatal(err)
	}
	return h[:]
}

func pathOfHashes(hashes []tlog.Hash) [][]byte {
	path := make([][]byte, 0, len(hashes))
	for _, h := range hashes {
		path = append(path, h[:])
	}
	return path
}

// wrongPaths are ways to spoil a proof. One that leaves it as it is gives a good
// vector again: what it is worth is not for them to say.
var wrongPaths = []struct {
	name  string
	spoil func(path [][]byte, n int) [][]byte
}{
	{"wrong sibling", func(path [][]byte, n int) [][]byte {
		if len(path) > 0 {
			path[n%len(path)][n%32] ^= 1 << (n % 8)
		}
		return path
	}},
	{"swapped", func(path [][]byte, n int) [][]byte {
		if len(path) > 1 {
			i := n % (len(path) - 1)
			path[i], path[i+1] = path[i+1], path[i]
		}
		return path
	}},
	{"truncated", func(path [][]byte, _ int) [][]byte { return path[:max(0, len(path)-1)] }},
	{"without its first", func(path [][]byte, _ int) [][]byte { return path[min(1, len(path)):] }},
	{"extended", func(path [][]byte, n int) [][]byte { return append(path, bytes.Repeat([]byte{byte(n)}, 32)) }},
	{"extended in front", func(path [][]byte, n int) [][]byte {
		return append([][]byte{bytes.Repeat([]byte{byte(n)}, 32)}, path...)
	}},
	{"hash cut", func(path [][]byte, n int) [][]byte {
		if len(path) > 0 {
			path[n%len(path)] = path[n%len(path)][:31]
		}
		return path
	}},
	{"empty", func([][]byte, int) [][]byte { return nil }},
}

// spoilt returns a proof that is spoilt in the n-th way, and what it is called.
func spoilt(name string, path [][]byte, n int) (string, [][]byte) {
	how := wrongPaths[n/2%len(wrongPaths)]
	return name + " " + how.name, how.spoil(clonePath(path), n)
}

func clonePath(path [][]byte) [][]byte {
	clone := make([][]byte, 0, len(path))
	for _, h := range path {
		clone = append(clone, bytes.Clone(h))
	}
	return clone
}

// inclusions are all entries of all sizes, each good and spoilt in one way.
func (tree *testTree) inclusions(t *testing.T) []inclusionVector {
	var list []inclusionVector
	add := func(v inclusionVector) {
		p := tlogproof.Proof{Index: v.Index, Path: v.Path}
		v.Want = verdict(p.VerifyInclusion(tlog.Tree{N: v.Size, Hash: tlog.Hash(v.Root)}, []byte(v.Leaf)))
		list = append(list, v)
	}
	for size := int64(1); size <= testLeaves; size++ {
		root := tree.root(t, size)
		for i := range size {
			hashes, err := tlog.ProveRecord(size, i, tree)
			if err != nil {
				t.Fatal(err)
			}
			v := inclusionVector{
				Name: fmt.Sprintf("%d of %d", i, size), Leaf: string(testLeaf(i)),
				Index: i, Size: size, Path: pathOfHashes(hashes), Root: root,
			}
			add(v)
			n := len(list) / 2
			if n%2 == 0 {
				v.Name, v.Path = spoilt(v.Name, v.Path, n)
				add(v)
				continue
			}
			good := v
			switch n / 2 % 5 {
			case 0:
				good.Name, good.Root = good.Name+" wrong root", leaf.SHA256(root).Bytes()
			case 1:
				good.Name, good.Index = good.Name+" other index", size-1-i
			case 2:
				good.Name, good.Leaf = good.Name+" other leaf", good.Leaf+"x"
			case 3:
				good.Name, good.Size = good.Name+" other size", size+1
			case 4:
				good.Name, good.Index = good.Name+" beyond", size
			}
			add(good)
		}
	}
	return list
}

// consistencies are all pairs of sizes, each good and spoilt in one way.
func (tree *testTree) consistencies(t *testing.T) []consistencyVector {
	var list []consistencyVector
	add := func(v consistencyVector) {
		v.Want = verdict(proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(v.From), uint64(v.To), v.Path, v.FromRoot, v.ToRoot))
		list = append(list, v)
	}
	for to := int64(1); to <= testLeaves; to++ {
		for from := range to + 1 {
			v := consistencyVector{Name: fmt.Sprintf("%d to %d", from, to), From: from, To: to, FromRoot: tree.root(t, from), ToRoot: tree.root(t, to)}
			if from > 0 {
				hashes, err := tlog.ProveTree(to, from, tree)
				if err != nil {
					t.Fatal(err)
				}
				v.Path = pathOfHashes(hashes)
			}
			add(v)
			n := len(list) / 2
			if n%2 == 0 {
				v.Name, v.Path = spoilt(v.Name, v.Path, n)
				add(v)
				continue
			}
			good := v
			switch n / 2 % 4 {
			case 0:
				good.Name, good.FromRoot = good.Name+" other old root", leaf.SHA256(good.FromRoot).Bytes()
			case 1:
				good.Name, good.ToRoot = good.Name+" other new root", leaf.SHA256(good.ToRoot).Bytes()
			case 2:
				good.Name, good.From, good.To = good.Name+" shorter", good.To, good.From
				good.FromRoot, good.ToRoot = good.ToRoot, good.FromRoot
			case 3:
				good.Name, good.From = good.Name+" other size", max(0, good.From-1)
			}
			add(good)
		}
	}
	return list
}

// TestScriptAgrees holds static/verify.js to the ledger's own code, in a JavaScript
// engine that has the browsers' WebCrypto.
func TestScriptAgrees(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("no node to run static/verify.js with (.ci/deps installs it): %v", err)
	}
	tree := newTestTree(t)
	v := vectors{Notes: noteVectors(t), Inclusions: tree.inclusions(t), Consistencies: tree.consistencies(t)}
	for what, wants := range map[string][]string{"notes": wantsOf(v.Notes, func(v noteVector) string { return v.Want }),
		"inclusions":    wantsOf(v.Inclusions, func(v inclusionVector) string { return v.Want }),
		"consistencies": wantsOf(v.Consistencies, func(v consistencyVector) string { return v.Want }),
	} {
		if !slices.Contains(wants, "ok") || !slices.Contains(wants, "bad") {
			t.Fatalf("%s: the vectors are all good, or all bad", what)
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vectors.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--no-warnings", "testdata/verify_test.mjs", "static/verify.js", file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	want := fmt.Sprintf("%d agreed\n", len(v.Notes)+len(v.Inclusions)+len(v.Consistencies))
	if string(out) != want {
		t.Errorf("got\n%.4000swant %s", out, want)
	}
}

func wantsOf[V any](list []V, want func(V) string) []string {
	var wants []string
	for _, v := range list {
		wants = append(wants, want(v))
	}
	return wants
}
