package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	bundlev1 "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonv1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/read"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// logKey returns the log's public key.
func (w *world) logKey() crypto.PublicKey {
	w.t.Helper()
	p, err := policy.Parse([]byte(w.read("trusted.policy")))
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Logs()[0].PublicKey()
}

// trustedRoot returns a root that trusts the ledger and a key.
func (w *world) trustedRoot(keypair sign.Keypair) root.TrustedMaterial {
	w.t.Helper()
	_, id, err := note.KeyHash("127.0.0.1", w.logKey())
	if err != nil {
		w.t.Fatal(err)
	}
	log := &root.TransparencyLog{
		BaseURL: w.HTTP, ID: id, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
		PublicKey: w.logKey(), ValidityPeriodStart: time.Unix(0, 0),
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, nil, nil, nil, map[string]*root.TransparencyLog{hex.EncodeToString(id): log})
	if err != nil {
		w.t.Fatal(err)
	}
	details, err := signature.GetAlgorithmDetails(keypair.GetSigningAlgorithm())
	if err != nil {
		w.t.Fatal(err)
	}
	verifier, err := signature.LoadVerifierFromAlgorithmDetails(keypair.GetPublicKey(), details, options.WithED25519ph())
	if err != nil {
		w.t.Fatal(err)
	}
	key := root.NewExpiringKey(verifier, time.Unix(0, 0), time.Time{})
	return root.TrustedMaterialCollection{tr, root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return key, nil })}
}

func newKeypair(t *testing.T, details commonv1.PublicKeyDetails) sign.Keypair {
	t.Helper()
	k, err := sign.NewEphemeralKeypair(&sign.EphemeralKeypairOptions{Algorithm: details})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rekor is the ledger as sigstore-go's clients use it.
func (w *world) rekor() []sign.Transparency {
	return []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: w.HTTP, Version: 2})}
}

// TestLibrary signs by sigstore-go, which verifies what it made by the trusted
// root, and verifies it again from its text.
func TestLibrary(t *testing.T) {
	w := newWorld(t, "")
	for _, details := range []commonv1.PublicKeyDetails{
		commonv1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, commonv1.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		commonv1.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, commonv1.PublicKeyDetails_PKIX_ED25519_PH,
	} {
		contents := map[string]sign.Content{
			"plain": &sign.PlainData{Data: []byte("hello " + details.String())},
			"dsse":  &sign.DSSEData{Data: statement(t, details.String()), PayloadType: attest.TypeStatement},
		}
		for name, content := range contents {
			t.Run(details.String()+" "+name, func(t *testing.T) {
				keypair := newKeypair(t, details)
				trusted := w.trustedRoot(keypair)
				b, err := sign.Bundle(content, keypair, sign.BundleOptions{Context: t.Context(), TransparencyLogs: w.rekor(), TrustedRoot: trusted})
				if err != nil {
					t.Fatal(err)
				}
				w.verify(t, b, content, trusted)
			})
		}
	}
}

// statement is an in-toto statement about something.
func statement(t *testing.T, about string) []byte {
	t.Helper()
	st, err := attest.NewStatement("https://example.com/test/v1", map[string]string{"about": about},
		attest.ResourceDescriptor{Name: about, Digest: map[string]string{"sha256": leaf.SHA256([]byte(about)).Hex()}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (w *world) verify(t *testing.T, made *bundlev1.Bundle, content sign.Content, trusted root.TrustedMaterial) {
	t.Helper()
	b, err := bundle.NewBundle(made)
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.NewVerifier(trusted, verify.WithTransparencyLog(1), verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	artifact := verify.WithoutArtifactUnsafe() // a DSSE envelope holds what it signs
	if _, ok := content.(*sign.PlainData); ok {
		artifact = verify.WithArtifact(bytes.NewReader(content.PreAuthEncoding()))
	}
	if _, err := verifier.Verify(b, verify.NewPolicy(artifact, verify.WithKey())); err != nil {
		t.Error(err)
	}
}

// TestLibraryCertificate logs what was signed by the key of a certificate. Nobody
// vouches for it here: whoever verifies asks for its authority.
func TestLibraryCertificate(t *testing.T) {
	w := newWorld(t, "")
	w.env = offline(t)
	keypair := newKeypair(t, commonv1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256)
	_, err := sign.Bundle(&sign.PlainData{Data: []byte("hello")}, keypair, sign.BundleOptions{
		Context: t.Context(), TransparencyLogs: w.rekor(), CertificateProvider: provider{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if shown := w.cairn("show", "0", "--ledger", w.HTTP); !strings.Contains(shown, "alice@example by a certificate (not verified)") {
		t.Errorf("the entry is shown as\n%s", shown)
	}
}

// provider issues a certificate for a key, to alice.
type provider struct{}

// GetCertificate implements sign.CertificateProvider.
func (provider) GetCertificate(_ context.Context, keypair sign.Keypair, _ *sign.CertificateProviderOptions) ([]byte, error) {
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), EmailAddresses: []string{"alice@example"}}
	return x509.CreateCertificate(rand.Reader, template, template, keypair.GetPublicKey(), authority)
}

// TestRekorsReader reads the log by the client of Rekor's own.
func TestRekorsReader(t *testing.T) {
	w := newWorld(t, "")
	keypair := newKeypair(t, commonv1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256)
	for _, text := range []string{"one", "two"} {
		if _, err := sign.Bundle(&sign.PlainData{Data: []byte(text)}, keypair, sign.BundleOptions{Context: t.Context(), TransparencyLogs: w.rekor()}); err != nil {
			t.Fatal(err)
		}
	}
	verifier, err := signature.LoadVerifier(w.logKey(), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	r, err := read.NewReader(w.HTTP+"/api/v2/", "127.0.0.1", verifier)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := r.ReadCheckpoint(t.Context())
	if err != nil || c.Size != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	entries, err := r.ReadEntryBundle(t.Context(), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := r.ReadTile(t.Context(), 0, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	for rest := entries; len(rest) > 0; hashes = hashes[tlog.HashSize:] {
		var entry []byte
		if entry, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			t.Fatal(err)
		}
		if hash := tlog.RecordHash(entry); !strings.HasPrefix(string(entry), `{"apiVersion":"0.0.2"`) || !bytes.HasPrefix(hashes, hash[:]) {
			t.Errorf("entry %s", entry)
		}
	}
	if len(hashes) != 0 {
		t.Errorf("the tile has %d hashes more", len(hashes)/tlog.HashSize)
	}
}
