package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/verify"
)

func (a *app) newVerify() *cobra.Command {
	var proof string
	var keys []string
	cmd := &cobra.Command{
		Use:   "verify [ATTESTATION] --proof FILE --policy FILE",
		Short: "Verify offline that an attestation is logged",
		Long: `Verify decides, without asking anybody, whether an attestation was logged and who
signed it: that a log of the policy signed the proof's checkpoint, that enough
witnesses cosigned it, that the entry is in its tree, and that the entry follows
from the attestation under its signers' keys. The proof brings the keys; --key
adds others.

It does not say that what the attestation states is true: see what it states,
and who signed it.

The exit code is 0 if all of it holds, 1 if something is wrong, and 3 if nothing
is wrong but evidence is lacking, such as the attestation itself.`,
		Example: `  cairn verify hello.attestation --proof hello.tlog-proof --policy trusted.policy
  cairn verify - --proof hello.tlog-proof --policy trusted.policy -o json < hello.attestation
  cairn verify old.attestation --proof old.tlog-proof --policy trusted.policy --key alice.key.pub`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.verify(args, proof, keys) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&proof, "proof", "", "the C2SP tlog-proof in `FILE`: `cairn submit --proof` and `cairn log prove` write it")
	f.StringArrayVar(&keys, "key", nil, "public key in `FILE`, for a proof that does not bring it; repeatable")
	return cmd
}

func (a *app) verify(args []string, proof string, keys []string) error {
	switch {
	case proof == "":
		return cmdline.Usagef("give --proof FILE; `cairn log prove INDEX > FILE` gets it", "no proof is named")
	case a.policy == "":
		return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY; the least is `log VKEY` and `quorum none`", "no policy says which log to believe")
	}
	in := verify.EntryInput{At: time.Now()}
	var err error
	if in.Policy, err = cmdline.ReadPolicy(a.policy); err != nil {
		return err
	}
	if in.Proof, err = cmdline.ReadSmall("proof", proof); err != nil {
		return err
	}
	for _, path := range keys {
		k, err := publicKeyArgument(path)
		if err != nil {
			return err
		}
		in.Keys = append(in.Keys, k)
	}
	if len(args) > 0 {
		if in.Attestation, err = a.readAttestation(args[0]); err != nil {
			return err
		}
	}
	report := verify.Entry(in)
	if a.Format == "json" {
		a.AnswerJSON(report)
	} else {
		_ = report.Text(a.Out, a.ascii()) // the error is found at the end of the run
	}
	if code := report.Exit(); code != 0 {
		return &cmdline.Silent{Exit: code}
	}
	return nil
}

// ascii reports whether the user's terminal is said not to show UTF-8.
func (a *app) ascii() bool {
	if a.Getenv("CAIRN_ASCII") != "" {
		return true
	}
	for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := a.Getenv(v); locale != "" {
			locale = strings.ToLower(locale)
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
		}
	}
	return false
}
