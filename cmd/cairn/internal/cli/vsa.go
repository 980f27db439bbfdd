package cli

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/verify"
)

// defaultVerifier says in a summary that Cairn verified, and not for whom.
const defaultVerifier = "https://github.com/cairnlog/cairn"

// summarySigner reads the key that signs the summary, or returns nil if none is
// to: before anything is asked, so that a wrong file costs nothing.
func summarySigner(f *verifyFlags) (*attest.Signer, error) {
	switch {
	case len(f.keys) == 0:
		return nil, nil
	case len(f.keys) > 1:
		return nil, cmdline.Usagef("give one", "%d keys are given to sign the summary", len(f.keys))
	}
	return cmdline.ReadKey(f.keys[0])
}

// writeSummary writes the verification summary of a report: a Statement, or an
// envelope with one if there is a key.
func (a *app) writeSummary(q *inquiry, r *verify.Report, f *verifyFlags, signer *attest.Signer) error {
	by := verify.SummaryBy{Verifier: f.verifier, Policy: q.text, At: q.now}
	if by.Verifier == "" {
		by.Verifier = defaultVerifier
		a.Note("the summary does not say who verified: give --verifier-id URI")
	}
	st, err := verify.Summary(r, by)
	if err != nil {
		return cmdline.Usagef("give a policy that names rebuilders, and an absolute URI as --verifier-id", "%w", err)
	}
	raw, err := json.Marshal(st, json.Deterministic(true))
	if err == nil && signer != nil {
		raw, err = signer.Sign(st)
	}
	if err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	if signer == nil {
		a.Note("the summary is not signed: give --key FILE")
	}
	return cmdline.WriteOut(f.vsa, finished(raw))
}
