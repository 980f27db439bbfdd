package attest

import "github.com/cairnlog/cairn/ledger/reason"

func openHashedRekord([]byte, Keyring) (*Attestation, error) {
	return nil, reason.Errorf(reason.FormatUnknown, "%s cannot be read yet", FormatHashedRekord)
}
