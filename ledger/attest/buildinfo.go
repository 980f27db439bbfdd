package attest

import "github.com/cairnlog/cairn/ledger/reason"

func isBuildinfo([]byte) bool { return false }

func (a *Attestation) readBuildinfo([]byte) error {
	return reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatBuildinfo)
}
