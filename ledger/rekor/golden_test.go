package rekor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/rekor"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testdata/real.json is an entry of a rekor-server v1.5.4 whose key is rekor.pub.
func TestRealEntry(t *testing.T) {
	e, err := rekor.ParseEntry(golden(t, "real.json"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := rekor.ParseKey(golden(t, "rekor.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(key); err != nil {
		t.Fatal(err)
	}
	if kind, err := e.Kind(); err != nil || kind != "hashedrekord 0.0.1" || e.LogIndex != 4 || e.LogID != key.ID {
		t.Errorf("%s entry %d of log %s, %v", kind, e.LogIndex, e.LogID, err)
	}
}

// Whatever byte of an entry changes, it is refused, or does not verify.
func TestEveryByteCounts(t *testing.T) {
	real := golden(t, "real.json")
	key, err := rekor.ParseKey(golden(t, "rekor.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range real {
		bad := bytes.Clone(real)
		bad[i] ^= 1
		if e, err := rekor.ParseEntry(bad); err == nil && e.Verify(key) == nil {
			t.Errorf("byte %d, %q, does not count", i, real[max(0, i-20):min(len(real), i+20)])
		}
	}
}

// badEntries change the text of a good entry.
var badEntries = []struct{ name, old, new, says string }{
	{"white space", `{"uuid"`, `{ "uuid"`, "one encoding"},
	{"order", `"logIndex":4,"rootHash"`, `"rootHash"`, "one encoding"},
	{"further member", `{"uuid"`, `{"attestation":{},"uuid"`, "unknown object member"},
	{"twice", `{"uuid"`, `{"uuid":"","uuid"`, "duplicate object member"},
	{"number", `"treeSize":5`, `"treeSize":5.0`, "treeSize"},
	{"null hashes", `["dc871dc23c1a1068c82afc51e139442bf8bf305c52bc23357c7d8b19cf1234d5"]`, `null`, "0 hashes"},
	{"many hashes", `["dc87`, `[` + strings.Repeat(`"`+hexA+`",`, 63) + `"dc87`, "64 hashes"},
	{"upper case", `["dc87`, `["DC87`, "is no hash"},
	{"short root", `"rootHash":"34`, `"rootHash":"`, "rootHash"},
	{"log id", `"logID":"2a`, `"logID":"`, "logID"},
	{"size", `"treeSize":5`, `"treeSize":4`, "cannot be"},
	{"time", `"integratedTime":1`, `"integratedTime":-1`, "cannot be"},
	{"index", `"logIndex":4,"verification"`, `"logIndex":-4,"verification"`, "cannot be"},
	{"long checkpoint", `"checkpoint":"`, `"checkpoint":"` + strings.Repeat("a", rekor.MaxCheckpoint), "the checkpoint has"},
	{"base64", `"body":"e`, `"body":"*`, "body"},
}

func TestBadEntries(t *testing.T) {
	real := string(golden(t, "real.json"))
	for _, tt := range badEntries {
		bad := strings.Replace(real, tt.old, tt.new, 1)
		if bad == real {
			t.Fatalf("%s: the entry has no %s", tt.name, tt.old)
		}
		if _, err := rekor.ParseEntry([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want that it says %q", tt.name, err, tt.says)
		}
	}
	e, err := rekor.ParseEntry([]byte(real))
	if err != nil {
		t.Fatal(err)
	}
	e.Body = make([]byte, rekor.MaxBody+1)
	if _, err := e.Marshal(); err == nil || !strings.Contains(err.Error(), "the body has 524289 bytes") {
		t.Errorf("a body over the limit: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	good := string(golden(t, "rekor.pub"))
	key, err := rekor.ParseKey([]byte("a comment\n" + good))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := rekor.ParseKey([]byte(key.PEM)); err != nil || again.ID != key.ID || key.PEM != good {
		t.Errorf("the key's PEM is another key: %v, %v", again, err)
	}
	for says, bad := range map[string]string{
		"no PEM block":       "hello",
		"PUBLIC KEY found":   strings.ReplaceAll(good, "PUBLIC KEY", "PRIVATE KEY"),
		"more than one":      good + good,
		"parsing the log's ": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	} {
		if _, err := rekor.ParseKey([]byte(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want that it says %q", err, says)
		}
	}
}

// FuzzEntry wants one text of each entry, and no panic in verifying it, nor in
// reading its body.
func FuzzEntry(f *testing.F) {
	f.Add(golden(f, "real.json"))
	key, err := rekor.ParseKey(golden(f, "rekor.pub"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{}`))
	for _, b := range bodies {
		kind, version, _ := strings.Cut(b.kind, " ")
		f.Add([]byte(`{"apiVersion":"` + version + `","kind":"` + kind + `","spec":` + b.spec + `}`))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// Any text may be a body, in a log that its key proves.
		bare := rekor.Entry{Body: text}
		if _, err := bare.Kind(); err == nil {
			_, _ = bare.Signed(text)
			_, _ = bare.Envelope(text)
		}
		e, err := rekor.ParseEntry(text)
		if err != nil {
			return
		}
		again, err := e.Marshal()
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("the entry is written in another way, %v:\n%s", err, cmp.Diff(string(text), string(again)))
		}
		if e.Verify(key) == nil && e.LogIndex != 4 {
			t.Errorf("the key proves an entry that its log does not have: %s", text)
		}
	})
}
