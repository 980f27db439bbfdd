package main

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// world is a ledger of two entries, and a workshop that it knows the keys of.
type world struct {
	ledger   *ledger
	signer   note.Signer
	workshop *workshop
	envelope []byte
	answer   *cairnv1.SubmitAttestationResponse // to envelope, at index 1
}

func newWorld(t *testing.T) *world {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "localhost/test")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ledger: &ledger{Origin: "localhost/test", VKey: vkey}}
	if w.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if w.ledger.verifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	if w.workshop, err = newWorkshop(2, 0); err != nil {
		t.Fatal(err)
	}
	if w.envelope, err = w.workshop.make(); err != nil {
		t.Fatal(err)
	}
	att, err := attest.Open(w.envelope, w.workshop.keyring())
	if err != nil {
		t.Fatal(err)
	}
	first := leaf.Hash([]byte("the first entry"))
	root := rfc6962.DefaultHasher.HashChildren(first, leaf.Hash(att.Text))
	w.answer = &cairnv1.SubmitAttestationResponse{
		Index: 1, Leaf: string(att.Text), Created: true, InclusionProof: [][]byte{first},
		Checkpoint: w.checkpoint(t, "localhost/test", 2, root, w.signer),
	}
	return w
}

func (w *world) checkpoint(t *testing.T, origin string, size int64, root []byte, signer note.Signer) string {
	t.Helper()
	text := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: tlog.Hash(root)}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func TestRightAnswersPass(t *testing.T) {
	w := newWorld(t)
	wire, err := proto.Marshal(w.answer)
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(w.answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ledger.checkSubmissions([]sample{{frameGRPC(w.envelope), wire}}, w.workshop.keyring(), decodeGRPC); err != nil {
		t.Errorf("over grpc: %v", err)
	}
	if err := w.ledger.checkSubmissions([]sample{{restFrame("x")(w.envelope), text}}, w.workshop.keyring(), decodeREST); err != nil {
		t.Errorf("over rest: %v", err)
	}
}

func TestWrongAnswersAreFound(t *testing.T) {
	w := newWorld(t)
	skey, _, err := note.GenerateKey(rand.Reader, "localhost/test")
	if err != nil {
		t.Fatal(err)
	}
	other, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	root := make([]byte, 32)
	tests := map[string]func(*cairnv1.SubmitAttestationResponse){
		"another index":  func(a *cairnv1.SubmitAttestationResponse) { a.Index = 0 },
		"index beyond":   func(a *cairnv1.SubmitAttestationResponse) { a.Index = 2 },
		"negative index": func(a *cairnv1.SubmitAttestationResponse) { a.Index = -1 },
		"another leaf":   func(a *cairnv1.SubmitAttestationResponse) { a.Leaf = "the first entry" },
		"not created":    func(a *cairnv1.SubmitAttestationResponse) { a.Created = false },
		"no proof":       func(a *cairnv1.SubmitAttestationResponse) { a.InclusionProof = nil },
		"another proof":  func(a *cairnv1.SubmitAttestationResponse) { a.InclusionProof = [][]byte{root} },
		"no checkpoint":  func(a *cairnv1.SubmitAttestationResponse) { a.Checkpoint = "" },
		"another root": func(a *cairnv1.SubmitAttestationResponse) {
			a.Checkpoint = w.checkpoint(t, "localhost/test", 2, root, w.signer)
		},
		"another's signature": func(a *cairnv1.SubmitAttestationResponse) {
			a.Checkpoint = w.checkpoint(t, "localhost/test", 2, root, other)
		},
		"another's origin": func(a *cairnv1.SubmitAttestationResponse) {
			a.Checkpoint = w.checkpoint(t, "localhost/x", 2, root, w.signer)
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			answer := proto.CloneOf(w.answer)
			change(answer)
			if err := w.ledger.checkSubmission(answer, w.envelope, w.workshop.keyring()); !errors.Is(err, errWrong) {
				t.Errorf("got error %v, want a wrong answer", err)
			}
		})
	}
}

func TestCheckpointsAreSavedBySizeAndForksFound(t *testing.T) {
	w := newWorld(t)
	a, b := make([]byte, 32), slices.Repeat([]byte{1}, 32)
	ten, nine := w.checkpoint(t, "localhost/test", 10, a, w.signer), w.checkpoint(t, "localhost/test", 9, a, w.signer)
	got, err := w.ledger.readCheckpoints([]string{ten, nine})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Size != 9 || got[1].Checkpoint != ten {
		t.Errorf("got %v, want sizes 9 and 10", got)
	}
	fork := w.checkpoint(t, "localhost/test", 10, b, w.signer)
	if _, err := w.ledger.readCheckpoints([]string{ten, nine, fork}); !errors.Is(err, errWrong) {
		t.Errorf("got error %v for a fork, want a wrong answer", err)
	}
}

func TestSpreadKeepsBothEnds(t *testing.T) {
	list := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for most := 2; most <= 12; most++ {
		got := spread(list, most)
		if len(got) != min(most, len(list)) || got[0] != 0 || got[len(got)-1] != 10 || !slices.IsSorted(got) ||
			len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("spread to %d: got %v", most, got)
		}
	}
	if got, want := spread(list, 3), []int{0, 5, 10}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAttestationsAreUnique(t *testing.T) {
	w, err := newWorkshop(3, 100)
	if err != nil {
		t.Fatal(err)
	}
	requests, err := w.prepare(t.Context(), 500, frameGRPC)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[[32]byte]bool)
	for _, r := range requests {
		att, err := attest.Open(r.wire[r.body:], w.keyring())
		if err != nil {
			t.Fatal(err)
		}
		seen[att.Leaf.Identity()] = true
	}
	if len(seen) != len(requests) {
		t.Errorf("got %d identities of %d attestations", len(seen), len(requests))
	}
}
