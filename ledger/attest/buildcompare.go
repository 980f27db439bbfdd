package attest

import "github.com/cairnlog/cairn/ledger/reason"

func isBuildcompare([]byte) bool { return false }

func (a *Attestation) readBuildcompare([]byte) error {
	return reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatBuildcompare)
}
