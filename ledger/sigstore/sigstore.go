// Package sigstore checks whose certificates Sigstore bundles carry.
//
// attest.Open verifies that a bundle is signed with the key of its certificate.
// Who was given that certificate is what a Sigstore instance says; Root checks it
// with what is known of the instance: its trusted root, a file that instances
// distribute by TUF and that whoever runs Cairn puts beside its configuration.
//
// Invariants:
//   - Nothing is fetched, and no clock is read: a certificate is valid at the time
//     that a timestamping authority or a transparency log of the root signed.
//   - Everything that the root names is asked for: with certificate transparency
//     logs an embedded timestamp of one, with transparency logs an entry.
//   - What is checked is the certificate that attest.Open took the key from.
//   - Whose name a certificate bears decides nothing here.
//
// The verification is sigstore-go's.
package sigstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// maxRoot bounds the file of a trusted root; the public instance's has 7 KiB.
const maxRoot = 4 << 20

// Root is a Sigstore instance that is trusted. It may be used concurrently.
type Root struct{ verifier *verify.Verifier }

// ReadRoot reads a trusted root: the JSON of protobuf-specs' TrustedRoot, which
// `cosign trusted-root create` writes and TUF repositories hold as trusted_root.json.
func ReadRoot(path string) (*Root, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading trusted root: %w", err)
	}
	if info.Size() > maxRoot {
		return nil, fmt.Errorf("reading trusted root: %s has %d bytes, over the limit of %d", path, info.Size(), maxRoot)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading trusted root: %w", err)
	}
	r, err := ParseRoot(text)
	if err != nil {
		return nil, fmt.Errorf("parsing trusted root %s: %w", path, err)
	}
	return r, nil
}

// ParseRoot reads the text of a trusted root.
func ParseRoot(text []byte) (*Root, error) {
	material, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, err
	}
	if len(material.FulcioCertificateAuthorities()) == 0 {
		return nil, errors.New("it names no certificate authority")
	}
	if len(material.RekorLogs()) == 0 && len(material.TimestampingAuthorities()) == 0 {
		return nil, errors.New("it names no transparency log and no timestamping authority, so that no certificate is ever valid")
	}
	asked := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(material.RekorLogs()) > 0 {
		asked = append(asked, verify.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		asked = append(asked, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(material, asked...)
	if err != nil {
		return nil, err
	}
	return &Root{v}, nil
}

// Check refuses an attestation with a certificate that the root does not vouch for,
// with reason.CertificateUntrusted. Attestations without one pass.
func (r *Root) Check(a *attest.Attestation) error {
	if !a.Certified() {
		return nil
	}
	if err := r.check(a); err != nil {
		return reason.Errorf(reason.CertificateUntrusted, "the bundle's certificate is not trusted: %w", err)
	}
	return nil
}

func (r *Root) check(a *attest.Attestation) error {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(a.Raw); err != nil {
		return err
	}
	content, err := b.VerificationContent()
	if err != nil {
		return err
	}
	if c := content.Certificate(); c == nil || !bytes.Equal(c.Raw, a.Identity.Certificate) {
		return errors.New("it is not the one that the signature was verified with")
	}
	artifact := verify.WithoutArtifactUnsafe() // the envelope brings what was signed
	if b.GetMessageSignature() != nil {
		d := a.Claim.Subjects[0].Strong()[0]
		alg, _, _ := strings.Cut(string(d), ":")
		artifact = verify.WithArtifactDigest(alg, d.Bytes())
	}
	_, err = r.verifier.Verify(&b, verify.NewPolicy(artifact, verify.WithoutIdentitiesUnsafe()))
	return err
}
