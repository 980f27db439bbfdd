package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

func (a *app) newEnrol() *cobra.Command {
	var key, operator, url, out string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "enrol --key FILE --operator URI",
		Short: "Bring a key into the log",
		Long: `Enrol logs a public key, signed by the key itself, with the operator who claims
it. Attestations by a key that is not enrolled are refused. The operator is only
a claim: the policy of whoever verifies decides what to believe.`,
		Example: `  cairn enrol --key alice.key --operator https://alice.example
  cairn enrol --key ci.key --operator https://builder.example --url https://builder.example/keys
  cairn enrol --key alice.key --operator https://alice.example --dry-run`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			signer, err := cmdline.ReadKey(key)
			if err != nil {
				return err
			}
			if operator == "" {
				return cmdline.Usagef("give --operator URI, such as https://alice.example", "no operator is named")
			}
			raw, err := attest.Enrol(signer, operator, url)
			if err != nil {
				return err
			}
			return a.checkAndSubmit(ctx, raw, signer, dryRun, out)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&key, "key", "", "the private key `FILE` to enrol")
	f.StringVar(&operator, "operator", "", "`URI` of who is behind the key")
	f.StringVar(&url, "url", "", "`URI` for people to look at")
	writeFlags(cmd, &dryRun, &out)
	return cmd
}

func (a *app) newRevoke() *cobra.Command {
	var key, why, out string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "revoke --key FILE",
		Short: "End a key's use",
		Long: `Revoke logs that a key is not to be used any more, signed by the key itself. What
it signed before stays valid at its time. It cannot be taken back.`,
		Example: `  cairn revoke --key alice.key --reason "laptop stolen"
  cairn revoke --key alice.key --dry-run > revocation.json   # to keep in a safe place`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			signer, err := cmdline.ReadKey(key)
			if err != nil {
				return err
			}
			raw, err := attest.Revoke(signer, why)
			if err != nil {
				return err
			}
			return a.checkAndSubmit(ctx, raw, signer, dryRun, out)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&key, "key", "", "the private key `FILE` to revoke")
	f.StringVar(&why, "reason", "", "`TEXT` to log with it")
	writeFlags(cmd, &dryRun, &out)
	return cmd
}

func writeFlags(cmd *cobra.Command, dryRun *bool, out *string) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "write the envelope to stdout instead of submitting it")
	outVar(cmd, out, "write the envelope to `FILE` instead of submitting it")
}

// outVar defines -O; -o is how to answer.
func outVar(cmd *cobra.Command, out *string, usage string) {
	cmd.Flags().StringVarP(out, "out", "O", "", usage)
}

// finished returns an envelope as a file has it, so that it has the same digest
// whichever way it is submitted.
func finished(raw []byte) []byte { return append(raw, '\n') }

// checkAndSubmit finds a bad attestation where it is made.
func (a *app) checkAndSubmit(ctx context.Context, raw []byte, signer *attest.Signer, dryRun bool, out string) error {
	if _, err := attest.Open(raw, attest.NewKeyring(signer.Public)); err != nil {
		return err
	}
	return a.submitOrWrite(ctx, finished(raw), dryRun, out)
}

// results are the results of a reproduction that a user may state.
func results() []string {
	return []string{
		string(leaf.Identical), string(leaf.Equivalent), string(leaf.Different),
		string(leaf.BuildFailed), string(leaf.Inconclusive),
	}
}
