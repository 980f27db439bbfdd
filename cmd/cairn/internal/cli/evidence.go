package cli

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/witness/evidence"
)

func (a *app) newEvidence() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "evidence",
		Short: "Check what convicts a log or a witness",
		Long: `An evidence is a file with two signed checkpoints that cannot both be true, and
what shows it. Witnesses make it when they gossip.`,
		Example: `  cairn evidence verify fork.evidence --policy trusted.policy
  cairn evidence verify fork.evidence --policy trusted.policy -o json`,
	}, a.newEvidenceVerify())
}

func (a *app) newEvidenceVerify() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "verify FILE --policy FILE",
		Short: "Verify offline that a log or a witness contradicted itself",
		Long: `Verify decides, without asking anybody, whether an evidence shows that a log or a
witness of the policy signed two things that cannot both be true. Witnesses make
evidence when they gossip, and serve it at /evidence/HASH.

The exit code is 5 if the evidence is proven, for then the log or the witness
misbehaved; 1 if it does not show what it claims; and 3 if the policy does not
have the keys of the accused.`,
		Example: `  cairn evidence verify fork.evidence --policy trusted.policy
  cairn evidence verify fork.evidence --policy trusted.policy -o json
  cairn evidence verify old.evidence --policy trusted.policy --key ledger.example+1c37d26c+AR/KO…`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.verifyEvidence(args[0], keys) }),
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "an older key of a log as `VKEY`, which evidence may be signed with; repeatable")
	return cmd
}

// evidenceAnswer is the answer of evidence verify.
type evidenceAnswer struct {
	Schema    string   `json:"schema"`
	Result    string   `json:"result"`
	Accused   string   `json:"accused"`
	Kind      string   `json:"kind"`
	Origin    string   `json:"origin"`
	Hash      string   `json:"hash"`
	Sentences []string `json:"sentences"`

	proven bool
}

func (a *app) verifyEvidence(path string, older []string) error {
	if a.policy == "" {
		return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY; it names the log and the witnesses", "no policy says whose keys to believe")
	}
	p, err := cmdline.ReadPolicy(a.policy)
	if err != nil {
		return err
	}
	var keys evidence.Keys
	for _, l := range p.Logs() {
		keys.Logs = append(keys.Logs, l.Verifier)
	}
	for _, w := range p.Witnesses() {
		keys.Witnesses = append(keys.Witnesses, w.Verifier)
	}
	for _, vkey := range older {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return cmdline.Usagef("a log's key is NAME+HASH+BASE64, as in the policy's log lines", "parsing --key %q: %w", vkey, err)
		}
		keys.Logs = append(keys.Logs, v)
	}
	text, err := cmdline.ReadSmall("evidence", path)
	if err != nil {
		return err
	}
	e, err := evidence.Parse(text)
	if err != nil {
		return cmdline.Unreadable("reading evidence "+path, err)
	}
	verdict := e.Verify(keys)
	hash := e.Hash()
	v := &evidenceAnswer{
		Schema: "cairn/evidence/v1", Result: verdict.Result.String(), Accused: verdict.Accused,
		Kind: string(e.Kind), Origin: e.Origin, Hash: "sha256:" + hex.EncodeToString(hash[:]),
		Sentences: verdict.Sentences, proven: verdict.Result == evidence.Proven,
	}
	a.Answer(v, func(p term.Printer) { v.text(p, a.ascii()) })
	return &cmdline.Silent{Exit: evidenceExit(verdict.Result)}
}

// evidenceExit is never 0: no evidence says that all is well.
func evidenceExit(r evidence.Result) int {
	switch r {
	case evidence.Proven:
		return reason.ExitMisbehave
	case evidence.Refuted:
		return reason.ExitNo
	}
	return reason.ExitUnproven
}

func (v *evidenceAnswer) text(p term.Printer, ascii bool) {
	glyph := "?"
	if v.proven {
		glyph = "✗"
		if ascii {
			glyph = "NO"
		}
	}
	p.Printf("%s\n", fmt.Sprintf("%s %s   %s   %s", glyph, v.Result, v.Kind, v.Accused))
	for _, s := range v.Sentences {
		p.Printf("    %s\n", s)
	}
	p.Printf("    evidence %s\n", v.Hash)
}
