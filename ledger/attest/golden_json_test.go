package attest_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"encoding/json"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
)

var updateJSON = flag.Bool("update-json", false, "write the golden files of the JSON formats again")

// golden is an attestation whose claim and leaf must never change: NAME.json is what
// was submitted, NAME.pem the enrolled keys, NAME.leaf and NAME.claim what follows.
type golden struct {
	name    string // with the format's directory
	make    func(t *testing.T) []byte
	signers []string // of ed25519Signer
}

func (g *golden) path(ext string) string { return filepath.Join("testdata", g.name+ext) }

func (g *golden) test(t *testing.T) {
	if *updateJSON {
		g.write(t)
	}
	raw, pems := readGolden(t, g.path(".json")), readGolden(t, g.path(".pem"))
	var keys []*attest.PublicKey
	for _, text := range strings.SplitAfter(string(pems), "-----END PUBLIC KEY-----\n") {
		if text == "" {
			continue
		}
		key, err := attest.ParsePublicKey([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	a, err := attest.Open(raw, attest.NewKeyring(keys...))
	if err != nil {
		t.Fatal(err)
	}
	checkOpened(t, raw, a)
	claim, err := json.MarshalIndent(a.Claim, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	claim = append(claim, '\n')
	if *updateJSON {
		writeGolden(t, g.path(".leaf"), a.Text)
		writeGolden(t, g.path(".claim"), claim)
	}
	if d := cmp.Diff(string(readGolden(t, g.path(".leaf"))), string(a.Text)); d != "" {
		t.Errorf("the leaf changed (-want +got):\n%s", d)
	}
	if d := cmp.Diff(string(readGolden(t, g.path(".claim"))), string(claim)); d != "" {
		t.Errorf("the claim changed (-want +got):\n%s", d)
	}
}

func (g *golden) write(t *testing.T) {
	var pems bytes.Buffer
	for _, name := range g.signers {
		pems.WriteString(ed25519Signer(t, name).Public.PEM)
	}
	writeGolden(t, g.path(".json"), g.make(t))
	writeGolden(t, g.path(".pem"), pems.Bytes())
}

func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeGolden(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGoldenJSON(t *testing.T) {
	for _, g := range []golden{
		{"link/debian", func(t *testing.T) []byte { return signLink(t, debianLink, "worker", "daemon") }, []string{"worker", "daemon"}},
		{"link/arch", func(t *testing.T) []byte { return signLink(t, archLink, "daemon") }, []string{"daemon"}},
		{"link/step", func(t *testing.T) []byte { return signLink(t, stepLink, "daemon") }, []string{"daemon"}},
		{"ossrebuild/rebuild", sealed(ossRebuild), []string{"google"}},
		{"ossrebuild/identical", sealed(ossEquivalence(hexA)), []string{"google"}},
		{"ossrebuild/equivalent", sealed(ossEquivalence(hexB)), []string{"google"}},
		{"sigstore/key", func(t *testing.T) []byte { return keyBundle(t, "cosign", bundledStatement).text(t) }, []string{"cosign"}},
		{"sigstore/certificate", func(t *testing.T) []byte { return certBundle(t, ed25519Key("leaf"), bundledStatement).text(t) }, nil},
		{"sigstore/message", func(t *testing.T) []byte { return messageBundle(t, p256Key(t, "leaf"), "SHA2_256").text(t) }, nil},
	} {
		t.Run(g.name, g.test)
	}
}

func sealed(payload string) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		return seal(t, attest.TypeStatement, payload, ed25519Signer(t, "google")).text(t)
	}
}
