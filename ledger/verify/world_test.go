package verify_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

const origin = "log.example/cairn"

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func attestSigner(t testing.TB, name string) *attest.Signer {
	t.Helper()
	s, err := attest.NewSigner(testKey(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logSigner returns the signer and vkey of a log key. A note signer is made of
// a key that is encoded as text.
func logSigner(t testing.TB, name, key string) (note.Signer, string) {
	t.Helper()
	k := testKey(key)
	vkey, err := note.NewEd25519VerifierKey(name, k.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Split(vkey, "+")[1]
	s, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, k.Seed()...)))
	if err != nil {
		t.Fatal(err)
	}
	return s, vkey
}

func witnessSigner(t testing.TB, name string) *torchwood.CosignatureSigner {
	t.Helper()
	s, err := torchwood.NewCosignatureSigner(name, testKey(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a log with one entry of interest among others, which every test
// changes in its own way.
type world struct {
	signers     []note.Signer // of the checkpoint
	origin      string
	policy      string
	attestation []byte
	text        []byte // of the leaf that is logged
	proofLeaf   []byte
	proofKeys   []string
	keys        []*attest.PublicKey
	path        func(tlog.RecordProof) tlog.RecordProof
	index       int64
}

const (
	size  = 5
	index = 3
)

func newWorld(t testing.TB) *world {
	t.Helper()
	a, b := attestSigner(t, "alice"), attestSigner(t, "bob")
	env := reproduction(t, a)
	env, err := b.AddSignature(env)
	if err != nil {
		t.Fatal(err)
	}
	opened := mustOpen(t, env, a.Public, b.Public)
	log, vkey := logSigner(t, origin, "log")
	w := &world{
		signers:     []note.Signer{log, witnessSigner(t, "w1"), witnessSigner(t, "w3")},
		origin:      origin,
		attestation: env, text: opened.Text, proofLeaf: opened.Text,
		proofKeys: []string{a.Public.PEM, b.Public.PEM},
		path:      func(p tlog.RecordProof) tlog.RecordProof { return p },
		index:     index,
	}
	var p strings.Builder
	p.WriteString("log " + vkey + "\n")
	for i := 1; i <= 3; i++ {
		fmt.Fprintf(&p, "witness w%d %s\n", i, witnessSigner(t, fmt.Sprint("w", i)).Verifier())
	}
	p.WriteString("group g 2 w1 w2 w3\nquorum g\n")
	w.policy = p.String()
	return w
}

func reproduction(t testing.TB, s *attest.Signer) []byte {
	t.Helper()
	digest := func(s string) map[string]string { return map[string]string{"sha256": leaf.SHA256([]byte(s)).Hex()} }
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
		Result: leaf.Different, Obtained: attest.Built,
		Outputs:   []attest.ResourceDescriptor{{Name: "rebuilt", Digest: digest("rebuilt")}},
		Rebuilder: attest.Builder{ID: "https://alice.example/rebuilder", Operator: "https://alice.example"},
	}, attest.ResourceDescriptor{
		Name: "core-go", URI: "pkg:oci/core-go@sha256:" + leaf.SHA256([]byte("go")).Hex() + "?arch=amd64", Digest: digest("go"),
	})
	if err != nil {
		t.Fatal(err)
	}
	env, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func mustOpen(t testing.TB, env []byte, keys ...*attest.PublicKey) *attest.Attestation {
	t.Helper()
	a, err := attest.Open(env, attest.NewKeyring(keys...))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type hashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}

func (w *world) proof(t testing.TB) []byte {
	t.Helper()
	var stored hashes
	for i := range int64(size) {
		entry := fmt.Appendf(nil, "another entry %d\n", i)
		if i == index {
			entry = w.text
		}
		hs, err := tlog.StoredHashes(i, entry, stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hs...)
	}
	root, err := tlog.TreeHash(size, stored)
	if err != nil {
		t.Fatal(err)
	}
	head := torchwood.Checkpoint{Origin: w.origin, Tree: tlog.Tree{N: size, Hash: root}}
	signed, err := note.Sign(&note.Note{Text: head.String()}, w.signers...)
	if err != nil {
		t.Fatal(err)
	}
	path, err := tlog.ProveRecord(size, index, stored)
	if err != nil {
		t.Fatal(err)
	}
	p := &tlogproof.Proof{Index: w.index, Leaf: w.proofLeaf, Keys: w.proofKeys, Checkpoint: signed}
	for _, h := range w.path(path) {
		p.Path = append(p.Path, h[:])
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) input(t testing.TB) verify.EntryInput {
	t.Helper()
	p, err := policy.Parse([]byte(w.policy))
	if err != nil {
		t.Fatal(err)
	}
	return verify.EntryInput{Attestation: w.attestation, Proof: w.proof(t), Policy: p, Keys: w.keys}
}
