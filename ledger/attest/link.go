package attest

import "github.com/cairnlog/cairn/ledger/reason"

func openLink([]byte, Keyring) (*Attestation, error) {
	return nil, reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatLink)
}
