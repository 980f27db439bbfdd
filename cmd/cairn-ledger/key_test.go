package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// A key is made once, for its owner alone, and serves a ledger of that origin.
func TestKeyCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.key")
	code, made, errs := command(t, "keygen", "-origin", "log.example/a", "-key", path)
	if code != 0 || errs != "" {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	v, err := note.NewVerifier(strings.TrimPrefix(strings.TrimSpace(made), "log "))
	if err != nil || v.Name() != "log.example/a" {
		t.Errorf("the verifier key %q: %v", made, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	if code, shown, errs := command(t, "keygen", "-show", "-key", path); code != 0 || shown != made || errs != "" {
		t.Errorf("shown: exit code %d, %q, want %q\n%s", code, shown, made, errs)
	}

	if code, out, errs := command(t, "keygen", "-origin", "log.example/a", "-key", path); code != 2 || out != "" || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("a second time: exit code %d, %q\n%s", code, out, errs)
	}
	if _, shown, _ := command(t, "keygen", "-show", "-key", path); shown != made {
		t.Errorf("a second time changed the key to %q", shown)
	}
}

func TestKeyCommandRefuses(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "new.key")
	shared := filepath.Join(dir, "shared.key")
	if _, err := checkpoint.CreateKey(shared, "log.example/a"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{}, 2, "give -key FILE and -origin NAME"},
		{[]string{"-origin", "log.example"}, 2, "give -key FILE and -origin NAME"},
		{[]string{"-key", missing}, 2, "give -key FILE and -origin NAME"},
		{[]string{"-origin", "log.example", "-key", missing, "-show"}, 2, "or -show in its place"},
		{[]string{"-origin", "log.example", "-key", missing, "more"}, 2, "unexpected argument"},
		{[]string{"-nope"}, 2, "-nope"},
		{[]string{"-origin", "two words", "-key", missing}, 2, "two words"},
		{[]string{"-origin", "log.example", "-key", filepath.Join(missing, "key")}, 2, "new.key"},
		{[]string{"-show", "-key", missing}, 2, "no such file"},
		{[]string{"-show", "-key", shared}, 2, "chmod 600"},
	} {
		code, out, errs := command(t, append([]string{"keygen"}, tt.args...)...)
		if code != tt.code || out != "" || !strings.Contains(errs, tt.want) {
			t.Errorf("keygen %v: exit code %d, %q\n%s\nwant %d and %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a refused command made a key")
	}
	if code, _, errs := command(t, "keygen", "-h"); code != 0 || !strings.Contains(errs, "usage: cairn-ledger keygen") {
		t.Errorf("-h: exit code %d\n%s", code, errs)
	}
}
