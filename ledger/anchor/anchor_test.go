package anchor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/anchor"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/rekor"
	"github.com/cairnlog/cairn/ledger/rekor/rekortest"
)

// testdata/real.anchor is of a rekor-server v1.5.4 whose key is rekor.pub.
func real(t testing.TB) (text []byte, key *rekor.Key) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "real.anchor"))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(filepath.Join("testdata", "rekor.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if key, err = rekor.ParseKey(pub); err != nil {
		t.Fatal(err)
	}
	return text, key
}

func TestRealAnchor(t *testing.T) {
	text, key := real(t)
	a, err := anchor.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := a.Verify(key)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := a.Tree()
	if err != nil || tree.N != 6 || tree.Origin != "localhost/cairn-4b90c43c" || a.Entry.LogIndex != 4 {
		t.Errorf("entry %d of size %d of %s, %v", a.Entry.LogIndex, tree.N, tree.Origin, err)
	}
	if !signer.SignsDigests() {
		t.Errorf("signed by %s", signer.Fingerprint)
	}
	if again, err := a.Marshal(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("written again it differs, %v:\n%s", err, cmp.Diff(string(text), string(again)))
	}
	if _, err := a.Verify(rekortest.New(t).Key); err == nil || !strings.Contains(err.Error(), "the entry is not proven") {
		t.Errorf("with the key of another log: %v", err)
	}
}

// Whatever byte of an anchor changes, but for the log's URL, which is only where
// it was, it is refused or does not verify.
func TestEveryByteCounts(t *testing.T) {
	text, key := real(t)
	from := bytes.Index(text, []byte(`"rekor":"`)) + len(`"rekor":"`)
	to := from + bytes.IndexByte(text[from:], '"')
	for i := range text {
		if i >= from && i < to {
			continue
		}
		bad := bytes.Clone(text)
		bad[i] ^= 1
		a, err := anchor.Parse(bad)
		if err != nil {
			continue
		}
		if _, err := a.Verify(key); err == nil {
			t.Errorf("byte %d, %q, does not count", i, text[max(0, i-20):min(len(text), i+20)])
		}
	}
}

// The entry of one checkpoint proves no other.
func TestEntryOfAnotherCheckpoint(t *testing.T) {
	l := rekortest.New(t)
	signer, _, err := attest.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := real(t)
	a, err := anchor.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.SignBytes([]byte("something else"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := rekor.NewClient(l.URL, l.Key, rekor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Entry, err = c.Add(t.Context(), []byte("something else"), sig, signer.Public); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(l.Key); err == nil || !strings.Contains(err.Error(), "the entry is not of this checkpoint") {
		t.Errorf("got %v", err)
	}
}

// badAnchors change the text of a good anchor.
var badAnchors = []struct{ name, old, new, says string }{
	{"schema", "anchor/v1", "anchor/v2", "schema"},
	{"white space", `{"schema"`, `{ "schema"`, "one encoding"},
	{"no newline", "}}\n", "}}", "one encoding"},
	{"second line", "}}\n", "}}\n{}", "after top-level value"},
	{"further member", `{"schema"`, `{"note":"","schema"`, "unknown object member"},
	{"order", `"rekor":"http://127.0.0.1:36489","entry"`, `"entry"`, "is not the URL"},
	{"URL", `"rekor":"http://127.0.0.1:36489"`, `"rekor":"127"`, "is not the URL"},
	{"no note", `\n\n— `, `\n— `, "not a signed note"},
	{"no checkpoint", `\n6\n`, `\nsix\n`, "invalid size"},
	{"entry", `"treeSize":5`, `"treeSize":0`, "cannot be"},
	{"no entry", `"entry":{`, `"entry":null,"x":{`, "unknown object member"},
	{"size", `"checkpoint":"`, `"checkpoint":"` + strings.Repeat("a", anchor.MaxSize), "over the limit"},
	{"checkpoint size", `"checkpoint":"`, `"checkpoint":"` + strings.Repeat("a", anchor.MaxCheckpoint), "over the limit"},
}

func TestBadAnchors(t *testing.T) {
	text, _ := real(t)
	for _, tt := range badAnchors {
		bad := strings.Replace(string(text), tt.old, tt.new, 1)
		if bad == string(text) {
			t.Fatalf("%s: the anchor has no %s", tt.name, tt.old)
		}
		if _, err := anchor.Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want that it says %q", tt.name, err, tt.says)
		}
	}
}

// FuzzAnchor wants one text of each anchor, and no panic in verifying it.
func FuzzAnchor(f *testing.F) {
	text, key := real(f)
	f.Add(text)
	f.Add([]byte(`{"schema":"cairn/anchor/v1","checkpoint":"a\n0\n","rekor":"https://a","entry":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := anchor.Parse(text)
		if err != nil {
			return
		}
		if again, err := a.Marshal(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("the anchor is written in another way, %v:\n%s", err, cmp.Diff(string(text), string(again)))
		}
		if _, err := a.Verify(key); err == nil && a.Entry.LogIndex != 4 {
			t.Errorf("the key proves an anchor that its log does not have: %s", text)
		}
	})
}
