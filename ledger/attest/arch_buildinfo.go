package attest

import "github.com/cairnlog/cairn/ledger/reason"

func isArchBuildinfo([]byte) bool { return false }

func (a *Attestation) readArchBuildinfo([]byte) error {
	return reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatArchBuildinfo)
}
