package attest_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
)

var updateOpenPGP = flag.Bool("update-openpgp", false, "have gpg write the golden keys and signatures again, and write their leaves")

const goldenDir = "testdata/openpgp"

// TestOpenPGPGolden opens what gpg made once, and compares the leaves.
func TestOpenPGPGolden(t *testing.T) {
	attest.AddDocument(t, "odd", "Odd: 1.0\n")
	if *updateOpenPGP {
		writeGPGGolden(t)
	}
	var keys []*attest.PublicKey
	blocks, err := filepath.Glob(filepath.Join(goldenDir, "key-*.asc"))
	if err != nil || len(blocks) != 3 {
		t.Fatalf("%d keys: %v", len(blocks), err)
	}
	for _, name := range blocks {
		k, err := attest.ParsePublicKey(mustRead(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		keys = append(keys, k)
	}
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.leaf"))
	if err != nil || len(files) != 3+len(signs) {
		t.Fatalf("%d leaves: %v", len(files), err)
	}
	for _, file := range files {
		raw := mustRead(t, strings.TrimSuffix(file, ".leaf"))
		a := mustOpen(t, raw, attest.NewKeyring(keys...))
		checkOpened(t, raw, a)
		if d := cmp.Diff(string(mustRead(t, file)), string(a.Text)); d != "" {
			t.Errorf("%s: %s", file, d)
		}
	}
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeGPGGolden(t *testing.T) {
	g := newGPG(t)
	var keys []*attest.PublicKey
	var who []string
	write := func(name string, raw []byte) {
		a := mustOpen(t, raw, attest.NewKeyring(keys...))
		for name, b := range map[string][]byte{name: raw, name + ".leaf": a.Text} {
			if err := os.WriteFile(filepath.Join(goldenDir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, algorithm := range []string{"rsa3072", "ed25519", "nistp256"} {
		fp := g.generate(algorithm, algorithm, "sign,cert", "2y")
		g.run(nil, "--quick-add-key", fp, "ed25519", "sign", "1y")
		g.run(nil, "--quick-add-key", fp, "cv25519", "encr", "1y")
		g.at(30).run(nil, "--quick-set-expire", fp, "3y")
		write("key-"+algorithm+".asc", g.export(fp))
		keys, who = append(keys, g.key(fp)), append(who, fp)
	}
	for i, s := range signs {
		write(strings.ReplaceAll(strings.ReplaceAll(s.name, ",", ""), " ", "-"), g.sign(i, who[i%3], who[(i+1)%3]))
	}
}
