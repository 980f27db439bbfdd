package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/verify"
)

// certified returns a signer, and what puts an envelope of theirs into a bundle with a
// certificate of the same key.
func certified(t *testing.T) (s *attest.Signer, bundled func(envelope []byte) []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = attest.NewSigner(key); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return s, func(envelope []byte) []byte {
		return fmt.Appendf(nil,
			`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":%q}},"dsseEnvelope":%s}`,
			base64.StdEncoding.EncodeToString(der), envelope)
	}
}

// TestCollectWithdrawnCertificates has keys with certificates sign about tool: only
// of one whose endorsement was withdrawn before does the evidence say more.
func TestCollectWithdrawnCertificates(t *testing.T) {
	w := newLadder(t)
	must := func(raw []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, who := range []string{"usable", "withdrawn", "unknown"} {
		k, bundled := certified(t)
		if who != "unknown" {
			w.add(t, "bob endorses "+who, must(attest.Endorse(w.signers["bob"], k.Public, "https://k.example", "")))
			w.add(t, "alice endorses "+who, must(attest.Endorse(w.signers["alice"], k.Public, "https://k.example", "")))
			w.add(t, "bob leaves "+who, must(attest.RevokeOf(w.signers["bob"], k.Public.Fingerprint, "")))
		}
		if who == "withdrawn" {
			w.add(t, "alice leaves "+who, must(attest.RevokeOf(w.signers["alice"], k.Public.Fingerprint, "")))
		}
		st, err := attest.NewStatement("https://example.org/"+who, nil, resource("tool", ""))
		if err != nil {
			t.Fatal(err)
		}
		w.add(t, who, bundled(must(k.Sign(st))))
	}
	b, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{Everybody: true})
	if err != nil {
		t.Fatal(err)
	}
	words := w.words(b)
	for word, want := range map[string]bool{
		"usable": true, "withdrawn": true, "unknown": true, "alice endorses withdrawn": true, "alice leaves withdrawn": true,
		"alice endorses usable": false, "bob leaves usable": false,
	} {
		if slices.Contains(words, word) != want {
			t.Errorf("%q is collected: %t, want %t", word, !want, want)
		}
	}
	ev, err := verify.Open(b, w.policy, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, c := range ev.About(tool) {
		types = append(types, c.Claim.PredicateType)
	}
	if slices.Contains(types, "https://example.org/withdrawn") || !slices.Contains(types, "https://example.org/usable") || !slices.Contains(types, "https://example.org/unknown") {
		t.Errorf("claims of types %q", types)
	}
}
