package attest

import "github.com/cairnlog/cairn/ledger/reason"

func isSimpleSigning([]byte) bool { return false }

func (a *Attestation) readSimpleSigning([]byte) error {
	return reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatSimpleSigning)
}
