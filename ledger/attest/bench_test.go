package attest_test

import (
	"crypto/ed25519"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// benchStatement is a reproduction such as rebuilders send.
func benchStatement(b *testing.B) *attest.Statement {
	b.Helper()
	digest := map[string]string{"sha256": strings.Repeat("ab", 32)}
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
		Result:      leaf.Identical,
		Obtained:    attest.Built,
		Outputs:     []attest.ResourceDescriptor{{Name: "core-go", Digest: digest}},
		Rebuilder:   attest.Builder{ID: "https://rebuilder.example", Operator: "https://operator.example/"},
		Environment: map[string]string{"os": "linux", "kernel": "6.12.9", "arch": "x86_64", "cpuVendor": "AuthenticAMD"},
	}, attest.ResourceDescriptor{
		Name:   "core-go",
		URI:    "pkg:oci/core-go@sha256:" + strings.Repeat("ab", 32) + "?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go",
		Digest: digest,
	})
	if err != nil {
		b.Fatal(err)
	}
	return st
}

func benchSigner(b *testing.B, generate func() (*attest.Signer, []byte, error)) *attest.Signer {
	b.Helper()
	s, _, err := generate()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func benchOpen(b *testing.B, generate func() (*attest.Signer, []byte, error)) {
	benchOpenWith(b, generate, func(k *attest.PublicKey) *attest.PublicKey { return k })
}

func benchOpenWith(b *testing.B, generate func() (*attest.Signer, []byte, error), with func(*attest.PublicKey) *attest.PublicKey) {
	s := benchSigner(b, generate)
	env, err := s.Sign(benchStatement(b))
	if err != nil {
		b.Fatal(err)
	}
	ring := attest.NewKeyring(with(s.Public))
	b.ReportAllocs()
	b.SetBytes(int64(len(env)))
	for b.Loop() {
		if _, err := attest.Open(env, ring); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenEd25519(b *testing.B) { benchOpen(b, attest.GenerateEd25519) }

// BenchmarkOpenPrepared is what an audit does.
func BenchmarkOpenPrepared(b *testing.B) {
	benchOpenWith(b, attest.GenerateEd25519, (*attest.PublicKey).Prepare)
}

func BenchmarkPrepare(b *testing.B) {
	s := benchSigner(b, attest.GenerateEd25519)
	for b.Loop() {
		s.Public.Prepare()
	}
}

func BenchmarkOpenP256(b *testing.B) { benchOpen(b, attest.GenerateP256) }

// BenchmarkVerifyEd25519 is the part of BenchmarkOpenEd25519 that cannot be
// saved.
func BenchmarkVerifyEd25519(b *testing.B) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	msg := []byte(strings.Repeat("x", 800))
	sig := ed25519.Sign(priv, msg)
	for b.Loop() {
		if !ed25519.Verify(pub, msg, sig) {
			b.Fatal("signature refused")
		}
	}
}

// BenchmarkSignStatement includes the check of the new attestation.
func BenchmarkSignStatement(b *testing.B) {
	s := benchSigner(b, attest.GenerateEd25519)
	st := benchStatement(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignPayload(b *testing.B) {
	s := benchSigner(b, attest.GenerateEd25519)
	payload := []byte(strings.Repeat("x", 700))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.SignPayload(attest.TypeStatement, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenSigned verifies an inline, compressed message that two keys signed.
func BenchmarkOpenSigned(b *testing.B) {
	var keys []*attest.PublicKey
	for _, name := range []string{"ed25519", "nistp256", "rsa3072"} {
		k, err := attest.ParsePublicKey(mustRead(b, filepath.Join(goldenDir, "key-"+name+".asc")))
		if err != nil {
			b.Fatal(err)
		}
		keys = append(keys, k)
	}
	raw := mustRead(b, filepath.Join(goldenDir, "inline"))
	ring := attest.NewKeyring(keys...)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := attest.OpenSigned(raw, ring); err != nil {
			b.Fatal(err)
		}
	}
}
