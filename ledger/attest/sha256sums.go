package attest

import "github.com/cairnlog/cairn/ledger/reason"

func isSHA256Sums([]byte) bool { return false }

func (a *Attestation) readSHA256Sums([]byte) error {
	return reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatSHA256Sums)
}
