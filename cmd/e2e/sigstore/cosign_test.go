package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// TestCosign signs and attests by cosign, verifies by cosign, and then reads the
// same entries as any others of the log.
func TestCosign(t *testing.T) {
	for name, origin := range map[string]string{"a log with a name of its own": "", "a log named by its host": "127.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, origin).configured()
			w.mustCosign("generate-key-pair")
			w.write("hello", "hello\n")
			w.signBlob("cosign", "hello", "hello.json")
			if ok, says := w.verifyBlob("cosign", "hello", "hello.json"); !ok {
				t.Error(says)
			}
			w.write("predicate.json", `{"by":"cosign"}`)
			w.mustCosign("attest-blob", "--key", "cosign.key", "--signing-config", "signing.json", "--trusted-root", "root.json",
				"--predicate", "predicate.json", "--type", "https://example.com/test/v1", "--bundle", "attested.json", "--yes", "hello")
			w.mustCosign("verify-blob-attestation", "--key", "cosign.pub", "--trusted-root", "root.json",
				"--type", "https://example.com/test/v1", "--bundle", "attested.json", "hello")
			if cosigned := strings.Contains(w.read("hello.json"), "w.example"); cosigned != (origin != "") {
				t.Errorf("the bundle has the witness's cosignature: %t", cosigned)
			}
			w.checkEntries()
			w.checkCopies()
		})
	}
}

// checkEntries looks the two entries up with our own command.
func (w *world) checkEntries() {
	w.t.Helper()
	var list struct {
		Entries []struct {
			ID, Format, Claim string
			Subjects          []leaf.Digest
		}
	}
	w.parse(w.cairn("list", "--ledger", w.HTTP, "-o", "json"), &list)
	if len(list.Entries) != 2 || list.Entries[0].Format != "hashedrekord" || list.Entries[0].Subjects[0] != leaf.SHA256([]byte("hello\n")) {
		w.t.Fatalf("the list is %+v", list.Entries)
	}
	if shown := w.cairn("show", "hello", "--ledger", w.HTTP); !strings.Contains(shown, list.Entries[0].ID) {
		w.t.Errorf("the artifact is shown as\n%s", shown)
	}
	if shown := w.cairn("show", "0", "--ledger", w.HTTP); !strings.Contains(shown, "came with the attestation, and is not enrolled") {
		w.t.Errorf("the entry is shown as\n%s", shown)
	}
	raw := w.cairn("show", "0", "--raw", "--ledger", w.HTTP)
	var bundle struct {
		VerificationMaterial struct {
			TlogEntries []struct{ CanonicalizedBody []byte }
		}
	}
	w.parse(w.read("hello.json"), &bundle)
	if body := bundle.VerificationMaterial.TlogEntries[0].CanonicalizedBody; raw != string(body) {
		w.t.Errorf("the attestation is %s, the bundle's body %s", raw, body)
	}
	w.write("hello.tlog-proof", w.cairn("log", "prove", "0", "--ledger", w.HTTP))
	w.write("hello.rekor", raw)
	for _, args := range [][]string{nil, {"hello.rekor"}} {
		if out := w.cairn(append([]string{"verify", "--proof", "hello.tlog-proof"}, args...)...); !strings.Contains(out, "every signature verifies") {
			w.t.Errorf("verified as\n%s", out)
		}
	}
}

func (w *world) parse(text string, v any) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
}

// checkCopies makes a mirror, and audits it and the ledger's own directory.
func (w *world) checkCopies() {
	w.t.Helper()
	mirror := filepath.Join(w.dir, "mirror")
	w.cairn("log", "mirror", w.HTTP, mirror)
	if list := w.cairn("list", "--ledger", mirror); strings.Count(list, "  other  ") != 2 {
		w.t.Errorf("the mirror lists\n%s", list)
	}
	w.ledger.Stop(w.t)
	for _, dir := range []string{w.state, mirror} {
		var report struct{ Clean bool }
		w.parse(w.cairn("audit", dir, "-o", "json"), &report)
		if !report.Clean {
			w.t.Errorf("the audit of %s is not clean", dir)
		}
	}
}

// imported makes cosign's key pair of a key.
func (w *world) imported(name string, key crypto.PrivateKey) {
	w.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	w.mustCosign("import-key-pair", "--key", name+".pem", "--output-key-prefix", name)
}

func TestCosignKeys(t *testing.T) {
	w := newWorld(t, "").configured()
	w.write("hello", "hello\n")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	w.imported("rsa", rsaKey)
	w.signBlob("rsa", "hello", "rsa.json")
	if ok, says := w.verifyBlob("rsa", "hello", "rsa.json"); !ok {
		t.Error(says)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.imported("p384", p384)
	code, _, stderr := w.run(w.cosign, "sign-blob", "--key", "p384.key", "--signing-config", "signing.json", "--trusted-root", "root.json",
		"--bundle", "p384.json", "--yes", "hello")
	if code == 0 || !strings.Contains(stderr, "KEY_UNSUPPORTED") || !strings.Contains(stderr, "PKIX_ECDSA_P256_SHA_256") {
		t.Errorf("a P-384 key: exit code %d, %s", code, stderr)
	}
	if _, err := os.Stat(w.path("p384.json")); err == nil {
		t.Error("there is a bundle of what was refused")
	}
}
