package attest

import (
	"github.com/cairnlog/cairn/ledger/reason"
)

// document is a format of what people sign with OpenPGP: inline, as cleartext, or
// followed by detached signatures in ASCII armor.
type document struct {
	format string
	// is tells the document from its first bytes; payload is what was signed.
	is func(payload []byte) bool
	// read derives the claim: it sets a.Claim and a.names.
	read func(a *Attestation, payload []byte) error
}

// documents are tried in this order.
var documents = []document{
	{FormatSimpleSigning, isSimpleSigning, (*Attestation).readSimpleSigning},
	{FormatBuildinfo, isBuildinfo, (*Attestation).readBuildinfo},
	{FormatArchBuildinfo, isArchBuildinfo, (*Attestation).readArchBuildinfo},
	{FormatBuildcompare, isBuildcompare, (*Attestation).readBuildcompare},
	{FormatSHA256Sums, isSHA256Sums, (*Attestation).readSHA256Sums},
}

// isOpenPGPKey reports whether raw begins as a transferable public key, in ASCII
// armor or not.
func isOpenPGPKey([]byte) bool { return false }

// isOpenPGP reports whether raw is an OpenPGP message, or holds a cleartext or
// detached signature.
func isOpenPGP([]byte) bool { return false }

func openOpenPGPKey([]byte, Keyring) (*Attestation, error) {
	return nil, reason.Errorf(reason.FormatUnknown, "OpenPGP keys cannot be read yet")
}

func openOpenPGP([]byte, Keyring) (*Attestation, error) {
	return nil, reason.Errorf(reason.FormatUnknown, "OpenPGP signatures cannot be read yet")
}
