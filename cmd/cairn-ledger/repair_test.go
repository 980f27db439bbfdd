package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

func TestRepairUsage(t *testing.T) {
	f := newFiles(t)
	embedded, several := f.write("one.yaml", paths), f.write("several.yaml", shared)
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, 2, "say what is to be repaired: trillian or tiles"},
		{"something else", []string{"index", "-config", several}, 2, "say what is to be repaired"},
		{"flags first", []string{"-config", several, "tiles"}, 2, "before the flags"},
		{"no configuration", []string{"tiles"}, 2, "give -config FILE"},
		{"more", []string{"tiles", "-config", several, "more"}, 2, `unexpected argument "more"`},
		{"an unknown flag", []string{"tiles", "-dve"}, 2, "-dve"},
		{"help", []string{"-h"}, 0, "usage: cairn-ledger repair trillian -config FILE"},
		{"help of one", []string{"tiles", "-h"}, 0, "usage: cairn-ledger repair trillian -config FILE"},
		{"a new tree for tiles", []string{"tiles", "-new-tree", "-config", several}, 2, "-new-tree is for `repair trillian`"},
		{"a configuration that is not there", []string{"tiles", "-config", filepath.Join(f.dir, "missing.yaml")}, 2, "reading configuration"},
		{"an embedded log", []string{"tiles", "-config", embedded}, 2, "an embedded log is repaired from its backup"},
	} {
		code, stdout, stderr := command(t, append([]string{"repair"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %d and %q", test.name, code, stdout, stderr, test.code, test.says)
		}
	}
}

func TestKeygen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger.key")
	code, stdout, stderr := command(t, "keygen", "-key", file, "-origin", "log.example/2027")
	key, err := checkpoint.ReadKey(file)
	if code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s", code, err, stderr)
	}
	if want := fmt.Sprintf("log %s\n", key.VKey); stdout != want || key.Signer.Name() != "log.example/2027" {
		t.Errorf("stdout %q, want %q, of log.example/2027", stdout, want)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"-key", file, "-origin", "log.example/2028"}, "is there already: nothing was changed"},
		{[]string{"-key", file}, "give -key FILE and -origin NAME"},
		{[]string{"-origin", "x"}, "give -key FILE and -origin NAME"},
		{[]string{"-key", file + "2", "-origin", "two words"}, "two words"},
		{[]string{"-key", file + "2", "-origin", "x", "more"}, `unexpected argument "more"`},
	} {
		if code, stdout, stderr := command(t, append([]string{"keygen"}, test.args...)...); code != 2 || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("keygen %q: exit code %d, stdout %q, stderr %q; want 2 and %q", test.args, code, stdout, stderr, test.says)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || string(before) != string(after) {
		t.Errorf("the key was changed: %v", err)
	}
	if _, err := os.Stat(file + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}
