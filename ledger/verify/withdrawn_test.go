package verify_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// certifies logs a build in a bundle with a certificate of a person's key, which
// anybody who has the key can get from a certificate authority.
func (l *ledger) certifies(who, subject string) {
	l.t.Helper()
	l.builds(who, subject, "source:"+subject+".tar")
	last := len(l.entries) - 1
	envelope := l.entries[last].Raw
	key := testKey(who)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.AddDate(0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		l.t.Fatal(err)
	}
	l.entries[last] = mustOpen(l.t, fmt.Appendf(nil,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":%q}},"dsseEnvelope":%s}`,
		base64.StdEncoding.EncodeToString(der), envelope))
	if l.entries[last].Leaf.Format != leaf.FormatSigstoreCertificate {
		l.t.Fatal(l.entries[last].Leaf.Format)
	}
}

// Whose endorsement was withdrawn cannot come back with a certificate for the same
// key: whoever has a key is given one, also who stole it.
func TestCertificateOfAWithdrawnKey(t *testing.T) {
	for _, tt := range []struct {
		name  string
		story func(l *ledger)
		want  verify.Verdict
	}{
		{"of a key that nothing is known of", func(l *ledger) { l.certifies("c", "app") }, verify.VerdictReproduced},
		{"of an endorsed key", func(l *ledger) { l.endorse("a", "c"); l.certifies("c", "app") }, verify.VerdictReproduced},
		{"before it was endorsed", func(l *ledger) { l.certifies("c", "app"); l.endorse("a", "c") }, verify.VerdictReproduced},
		{"before the withdrawal", func(l *ledger) { l.endorse("a", "c"); l.certifies("c", "app"); l.revoke("a", "c") }, verify.VerdictReproduced},
		{"after the withdrawal", func(l *ledger) { l.endorse("a", "c"); l.revoke("a", "c"); l.certifies("c", "app") }, verify.VerdictUntried},
	} {
		l := newLedger(t, "a")
		l.signer("c")
		tt.story(l)
		ev, err := verify.Open(l.bundle(), l.quorum(1), now)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		r := verify.Artifact(verify.Question{Artifact: digestOf("app"), Policy: l.quorum(1), At: now}, ev)
		if r.Verdict != tt.want {
			t.Errorf("%s: %s, want %s: %v", tt.name, r.Verdict, tt.want, r.Reasons)
		}
	}
}
