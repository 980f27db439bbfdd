package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/policy"
)

// A key is made once, for its owner alone; a policy takes its verifier key as that of a
// witness, and it is the one that the witness says it has.
func TestKeyCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness.key")
	key := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(t.Context(), append([]string{"keygen"}, args...), &out, &errs); got != code {
			t.Errorf("keygen %v: exit code %d, want %d\n%s", args, got, code, &errs)
		}
		return out.String(), errs.String()
	}
	made, _ := key(0, "-name", "w.example", "-key", path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	p, err := policy.Parse([]byte("log log.example/cairn+275f13ec+AWTbH72dQJhVeqNxR61NIfvwvIrJy42Rx9jgS9IcM9IM\n" + made + "quorum w.example\n"))
	if err != nil || p.Witnesses()[0].Verifier.Name() != "w.example" {
		t.Errorf("a policy with %q: %v", made, err)
	}
	if _, errs := key(2, "-name", "w.example", "-key", path); !strings.Contains(errs, "nothing was changed") {
		t.Errorf("a second time: %s", errs)
	}
	if shown, _ := key(0, "-show", "-key", path); shown != made {
		t.Errorf("shown is %q, and %q was made", shown, made)
	}
	for _, args := range [][]string{{}, {"-name", "w.example"}, {"-key", path}, {"-show", "-key", path, "-name", "w"}, {"-show", "-key", path, "more"}} {
		key(2, args...)
	}
	key(2, "-name", "two words", "-key", path+".new")
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("a refused command made a key")
	}
}
