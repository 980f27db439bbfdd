package checkpoint_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// published is a checkpoint of a tree of 7, signed by key.
func published(t *testing.T, key *checkpoint.Key) *checkpoint.Published {
	t.Helper()
	c := torchwood.Checkpoint{Origin: key.Signer.Name(), Tree: tlog.Tree{N: 7, Hash: sha256.Sum256([]byte("root"))}}
	signed, err := note.Sign(&note.Note{Text: c.String()}, key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return &checkpoint.Published{Checkpoint: c, Signed: signed}
}

func newKey(t *testing.T, origin string) *checkpoint.Key {
	t.Helper()
	key, err := checkpoint.CreateKey(filepath.Join(t.TempDir(), "key"), origin)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAlias(t *testing.T) {
	key := newKey(t, "log.example/2026")
	p := published(t, key)
	a, err := key.Alias("log.example")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := a.Checkpoint(p)
	if err != nil {
		t.Fatal(err)
	}
	// A client of Rekor's makes its verifier of the name and the public key.
	verifier, err := note.NewVerifier(a.VKey())
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	got, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil || got.Origin != "log.example" || got.Tree != p.Tree || a.Name() != "log.example" {
		t.Errorf("%+v, %v", got, err)
	}
	if binary.BigEndian.Uint32(a.LogID()) != verifier.KeyHash() || verifier.KeyHash() == key.Verifier.KeyHash() {
		t.Errorf("log id %x, key ids %08x and %08x", a.LogID(), verifier.KeyHash(), key.Verifier.KeyHash())
	}
	if again, err := a.Checkpoint(p); err != nil || &again[0] != &signed[0] {
		t.Errorf("it is signed again, %v", err)
	}
	later := published(t, key)
	later.N = 8
	if other, err := a.Checkpoint(later); err != nil || !strings.HasPrefix(string(other), "log.example\n8\n") {
		t.Errorf("%q, %v", other, err)
	}
}

// Rekor's own library computes the same id.
func TestAliasLogID(t *testing.T) {
	key := newKey(t, "log.example/2026")
	a, err := key.Alias("log.example")
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + a.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	public := pol.Logs()[0].PublicKey()
	if _, id, err := rekornote.KeyHash("log.example", public); err != nil || !bytes.Equal(id, a.LogID()) {
		t.Errorf("log id %x, want %x, %v", a.LogID(), id, err)
	}
}

// Neither checkpoint passes for the other, whichever key id is written on it.
func TestAliasIsNotTheLog(t *testing.T) {
	key := newKey(t, "log.example/2026")
	p := published(t, key)
	a, err := key.Alias("log.example")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := a.Checkpoint(p)
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + key.VKey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := torchwood.VerifyCheckpoint(p.Signed, pol); err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(signed), "\n\n")
	forged, err := note.Sign(&note.Note{Text: text + "\n"}, key.Signer) // with the log's key id
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string][]byte{"as it is": signed, "with the log's key id": forged} {
		if c, _, err := torchwood.VerifyCheckpoint(s, pol); err == nil {
			t.Errorf("%s, it is taken for the log's own: %+v", name, c)
		}
	}
}

func TestAliasOfTheSameName(t *testing.T) {
	key := newKey(t, "log.example")
	p := published(t, key)
	p.Signed = append(p.Signed, "— w.example AAAAAAAA\n"...) // a cosignature
	a, err := key.Alias("log.example")
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := a.Checkpoint(p); err != nil || !bytes.Equal(signed, p.Signed) || a.VKey() != key.VKey {
		t.Errorf("%s, %v, want what was published", signed, err)
	}
}

func TestAliasRefuses(t *testing.T) {
	key := newKey(t, "log.example/2026")
	for _, name := range []string{"", "a b", "a+b", "a\n"} {
		if a, err := key.Alias(name); err == nil {
			t.Errorf("%q is taken: %s", name, a.VKey())
		}
	}
}
