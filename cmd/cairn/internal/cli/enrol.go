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
		Use:   "enrol (--key FILE --operator URI | OPENPGP-KEY)",
		Short: "Bring a key into the log",
		Long: `Enrol logs a public key, signed by the key itself, with the operator who claims
it. Attestations by a key that is not enrolled are refused. The operator is only
a claim: the policy of whoever verifies decides what to believe.

OPENPGP-KEY is a file with one OpenPGP public key, armored or not, as gpg --export
writes it. It signs itself, so that no private key is needed, and anybody may
enrol it; enrol it again once it has new subkeys or a later expiry. Keys that
cannot sign an enrolment are endorsed by others: see cairn endorse.`,
		Example: `  cairn enrol --key alice.key --operator https://alice.example
  cairn enrol --key ci.key --operator https://builder.example --url https://builder.example/keys
  cairn enrol alice.asc   # an OpenPGP key
  cairn enrol --key alice.key --operator https://alice.example --dry-run`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				if key != "" || operator != "" || url != "" {
					return cmdline.Usagef("give the file alone", "an OpenPGP key is enrolled as it is, with no --key, --operator or --url")
				}
				return a.submitBlock(ctx, args[0], leaf.KindEnrol, dryRun, out)
			}
			signer, err := cmdline.ReadKey(key)
			if err != nil {
				return err
			}
			if operator == "" {
				return noOperator()
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

func noOperator() error {
	return cmdline.Usagef("give --operator URI, such as https://alice.example", "no operator is named")
}

// submitBlock logs an OpenPGP key, which enrols or revokes itself.
func (a *app) submitBlock(ctx context.Context, path string, kind leaf.Kind, dryRun bool, out string) error {
	raw, err := cmdline.ReadSmall("key", path)
	if err != nil {
		return err
	}
	att, err := attest.Open(raw, attest.NewKeyring())
	if err != nil {
		return cmdline.Doing("reading key "+path, err)
	}
	switch {
	case att.Claim.Format != attest.FormatOpenPGPKey:
		return cmdline.Usagef("log it with `cairn submit`", "%s is no OpenPGP key", path)
	case kind == leaf.KindRevoke && att.Revocation == nil:
		return cmdline.Usagef("import the revocation certificate with gpg, and export the key again", "the key in %s is not revoked", path)
	case kind == leaf.KindEnrol && att.Revocation != nil:
		return cmdline.Usagef("log that with `cairn revoke "+path+"`", "the key in %s is revoked", path)
	}
	return a.submitOrWrite(ctx, raw, dryRun, out)
}

func (a *app) newEndorse() *cobra.Command {
	var key, operator, url, out string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "endorse --key FILE --operator URI PUBLIC-KEY",
		Short: "Bring another's key into the log",
		Long: `Endorse logs a public key that cannot enrol itself, such as that of a rebuilder
which signs nothing but its results, signed by your own enrolled key. It makes
the key's attestations welcome to the log until you withdraw it, by
cairn revoke --endorsed, or as long as another endorsement of it stands. Whose
key it is, is only your claim: the policy of whoever verifies decides what to
believe. PUBLIC-KEY is a file in PEM.`,
		Example: `  cairn endorse --key alice.key --operator https://reproduce.debian.net rebuilderd.pem
  cairn endorse --key alice.key --operator https://project.example --url https://project.example/cosign.pub cosign.pub`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			signer, err := cmdline.ReadKey(key)
			if err != nil {
				return err
			}
			if operator == "" {
				return noOperator()
			}
			public, err := readPublicKey(args[0])
			if err != nil {
				return err
			}
			raw, err := attest.Endorse(signer, public, operator, url)
			if err != nil {
				return err
			}
			return a.checkAndSubmit(ctx, raw, signer, dryRun, out)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&key, "key", "", "your private key `FILE`, which must be enrolled")
	f.StringVar(&operator, "operator", "", "`URI` of who is behind the endorsed key")
	f.StringVar(&url, "url", "", "`URI` for people to look at")
	writeFlags(cmd, &dryRun, &out)
	return cmd
}

func readPublicKey(path string) (*attest.PublicKey, error) {
	text, err := cmdline.ReadSmall("key", path)
	if err != nil {
		return nil, err
	}
	public, err := attest.ParsePublicKey(text)
	if err != nil {
		return nil, cmdline.Doing("reading key "+path, err)
	}
	return public, nil
}

func (a *app) newRevoke() *cobra.Command {
	var key, endorsed, why, out string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "revoke (--key FILE [--endorsed KEY] | OPENPGP-KEY)",
		Short: "End a key's use",
		Long: `Revoke logs that a key is not to be used any more, signed by the key itself. What
it signed before stays valid at its time. It cannot be taken back.

With --endorsed, it withdraws your endorsement of another key instead. That key
may be used again if another endorsement stands or is logged, or once it enrols
itself. OPENPGP-KEY is a file with one OpenPGP public key that holds a revocation
of itself.`,
		Example: `  cairn revoke --key alice.key --reason "laptop stolen"
  cairn revoke --key alice.key --dry-run > revocation.json   # to keep in a safe place
  cairn revoke --key alice.key --endorsed rebuilderd.pem
  cairn revoke alice.asc   # an OpenPGP key with its revocation`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				if key != "" || endorsed != "" || why != "" {
					return cmdline.Usagef("give the file alone", "an OpenPGP key brings its revocation, with no --key, --endorsed or --reason")
				}
				return a.submitBlock(ctx, args[0], leaf.KindRevoke, dryRun, out)
			}
			signer, err := cmdline.ReadKey(key)
			if err != nil {
				return err
			}
			revoked := signer.Public.Fingerprint
			if endorsed != "" {
				if revoked, err = fingerprintOf(endorsed); err != nil {
					return err
				}
			}
			raw, err := attest.RevokeOf(signer, revoked, why)
			if err != nil {
				return err
			}
			return a.checkAndSubmit(ctx, raw, signer, dryRun, out)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&key, "key", "", "the private key `FILE` to revoke, or to revoke with")
	f.StringVar(&endorsed, "endorsed", "", "the `KEY`, by its fingerprint or as a file, that it endorsed")
	f.StringVar(&why, "reason", "", "`TEXT` to log with it")
	writeFlags(cmd, &dryRun, &out)
	return cmd
}

// fingerprintOf takes a fingerprint, or the file of a public key.
func fingerprintOf(key string) (leaf.Fingerprint, error) {
	if fp := leaf.Fingerprint(key); fp.Valid() {
		return fp, nil
	}
	public, err := readPublicKey(key)
	if err != nil {
		return "", err
	}
	return public.Fingerprint, nil
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
