package checkpoint_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// TestKeyRoundTrip makes enough keys for every character of base64 to stand at
// every place of one.
func TestKeyRoundTrip(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		path := filepath.Join(dir, fmt.Sprintf("key-%d", i))
		made, err := checkpoint.CreateKey(path, "key.example/log")
		if err != nil {
			t.Fatal(err)
		}
		read, err := checkpoint.ReadKey(path)
		if err != nil {
			t.Fatal(err)
		}
		if made.VKey != read.VKey || read.Signer.Name() != "key.example/log" {
			t.Fatalf("made %s, read %s", made.VKey, read.VKey)
		}
		v, err := note.NewVerifier(read.VKey)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: "text\n"}, read.Signer)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []note.Verifier{v, made.Verifier, read.Verifier} {
			if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
				t.Fatalf("the signature of %s: %v", read.VKey, err)
			}
		}
	}
}

func TestReadKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if _, err := checkpoint.CreateKey(path, "key.example/log"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := strings.TrimSpace(string(text))
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		want       string // in the error; empty if the key is good
	}{
		{"as it was made", good + "\n", 0o600, ""},
		{"for reading only", good, 0o400, ""},
		{"with blanks around it", "\n " + good + "\r\n\n", 0o600, ""},
		{"that its group may read", good, 0o640, "chmod 600"},
		{"that others may read", good, 0o604, "chmod 600"},
		{"that others may write", good, 0o602, "chmod 600"},
		{"that is empty", "", 0o600, "parsing"},
		{"that is cut", good[:len(good)-4], 0o600, "parsing"},
		{"that is two keys", good + "\n" + good, 0o600, "parsing"},
		{"of another name", strings.Replace(good, "key.example", "kex.example", 1), 0o600, "parsing"},
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		_, err := checkpoint.ReadKey(path)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("a key %s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("a key %s: the error holds the key: %v", test.name, err)
		}
	}
	if _, err := checkpoint.ReadKey(filepath.Join(dir, "missing")); err == nil {
		t.Error("a key that is not there was read")
	}
}

func TestCreateKeyReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	made, err := checkpoint.CreateKey(path, "key.example/log")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.CreateKey(path, "key.example/log"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second key in the same file: %v", err)
	}
	if read, err := checkpoint.ReadKey(path); err != nil || read.VKey != made.VKey {
		t.Errorf("the first key is gone: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the key's file: %v %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, want the key alone; %v", len(entries), err)
	}
}

func TestCreateKeyRefusesBadOrigins(t *testing.T) {
	for _, origin := range []string{"", "two words", "a+b", "a\nb", "\xff"} {
		path := filepath.Join(t.TempDir(), "key")
		if _, err := checkpoint.CreateKey(path, origin); err == nil {
			t.Errorf("a key for origin %q was made", origin)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("origin %q was refused, but a key was written", origin)
		}
	}
}
