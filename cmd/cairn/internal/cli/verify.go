package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

// verifyFlags are the flags of cairn verify.
type verifyFlags struct {
	inquiryFlags
	proof    string
	logged   bool
	keys     []string // public with --proof, else the private one for --vsa
	vsa      string
	verifier string
	root     string
}

func (a *app) newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify ARTIFACT --policy FILE [--bundle FILE]",
		Short: "Decide by a policy whether an artifact was rebuilt",
		Long: `Verify decides by a policy whether enough independent operators obtained an
artifact by building it, and everything that it is made from, down to pinned
sources and seeds. Online it collects the evidence from the ledger, which it
holds to the checkpoint that it remembers; with --bundle, it asks nobody.

The verdicts, and the exit codes they end with:

  reproduced   enough operators obtained it                              0
  differs      somebody who is heard obtained something else             1
  failed       nobody obtained it, and somebody could not build it       1
  unproven     too few obtained it, or something it is made from         3
  untried      nobody who is heard logged anything about it              3

What the policy excepts is accepted, with exit code 0, and the verdict stays what
it is. A bundle with one wrong byte is a definite no: exit code 1.

With --proof or --logged, verify decides instead whether an attestation is logged
and who signed it. That does not say that what it states is true. The exit code is
0 if all of it holds, 1 if something is wrong, and 3 if nothing is wrong but
evidence is lacking.`,
		Example: `  cairn verify hello.deb --policy trusted.policy
  cairn verify registry.example/a/core-go@sha256:9f2c… --policy trusted.policy --vsa core-go.vsa.json
  cairn verify hello.deb --bundle hello.cairn-bundle --policy trusted.policy --at 2026-11-21
  cairn verify hello.attestation --proof hello.tlog-proof --policy trusted.policy
  cairn verify hello.attestation --logged --policy trusted.policy
  cairn verify hello.sigstore.json --logged --policy trusted.policy --trusted-root trusted_root.json`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.verify(ctx, args, &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.define(fl)
	f.defineName(fl)
	fl.StringVar(&f.vsa, "vsa", "", "write a SLSA verification summary to `FILE`, whatever the verdict is")
	fl.StringVar(&f.verifier, "verifier-id", "", "`URI` of who verifies, as the summary states it")
	fl.StringVar(&f.proof, "proof", "", "verify an attestation by the C2SP tlog-proof in `FILE`, which\n`cairn submit --proof` and `cairn log prove` write")
	fl.BoolVar(&f.logged, "logged", false, "verify that the attestation in the file is logged, by the ledger's proof or\nthe bundle's")
	fl.StringVar(&f.root, "trusted-root", "", "with --proof and --logged, check who issued the certificate of a Sigstore bundle\nby the trusted root in `FILE`")
	fl.StringArrayVar(&f.keys, "key", nil, "with --vsa, sign it with the private key in `FILE`;\nwith --proof, a public key that the proof does not bring; repeatable")
	return cmd
}

func (a *app) verify(ctx context.Context, args []string, f *verifyFlags) error {
	if f.proof != "" || f.logged {
		for _, wrong := range []struct {
			given bool
			flag  string
		}{{f.proof != "" && f.bundle != "", "--bundle"}, {f.proof != "" && f.logged, "--logged"}, {f.vsa != "", "--vsa"}, {len(f.names) > 0, "--name"}} {
			if wrong.given {
				return cmdline.Usagef("leave one of them out", "--proof and --logged are about one attestation, and do not go with %s", wrong.flag)
			}
		}
	}
	if f.proof == "" && !f.logged && f.root != "" {
		return cmdline.Usagef("give --proof FILE or --logged too", "--trusted-root is for the certificate of one attestation")
	}
	if f.proof != "" {
		return a.verifyProof(args, f)
	}
	if len(args) == 0 {
		return cmdline.Usagef("name a file, digest, package URL or image; see `cairn help names`", "no artifact is named")
	}
	if f.vsa == "" && len(f.keys) > 0 {
		return cmdline.Usagef("give --vsa FILE or --proof FILE too", "--key is for --vsa and --proof")
	}
	if f.logged {
		return a.verifyLogged(ctx, args[0], f)
	}
	return a.verifyArtifact(ctx, args[0], f)
}

// verifyProof decides about one entry by a proof file.
func (a *app) verifyProof(args []string, f *verifyFlags) error {
	in, err := a.entryInput(f)
	if err != nil {
		return err
	}
	if in.Proof, err = cmdline.ReadSmall("proof", f.proof); err != nil {
		return err
	}
	for _, path := range f.keys {
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
	return a.answerEntry(in)
}

func (a *app) entryInput(f *verifyFlags) (*verify.EntryInput, error) {
	if a.policy == "" {
		return nil, cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY; the least is `log VKEY` and `quorum none`", "no policy says which log to believe")
	}
	in := &verify.EntryInput{At: time.Now()}
	var err error
	if f.at != "" {
		if in.At, err = parseTime(f.at); err != nil {
			return nil, err
		}
	}
	if in.Certificate, err = readTrustedRoot(f.root); err != nil {
		return nil, err
	}
	in.Policy, err = cmdline.ReadPolicy(a.policy)
	return in, err
}

func (a *app) answerEntry(in *verify.EntryInput) error {
	report := verify.Entry(*in)
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

// verifyLogged decides about the entry of an attestation, by the proof that a
// bundle or the ledger has.
func (a *app) verifyLogged(ctx context.Context, path string, f *verifyFlags) error {
	raw, err := a.readAttestation(path)
	if err != nil {
		return err
	}
	in, err := a.entryInput(f)
	if err != nil {
		return err
	}
	in.Attestation = raw
	if f.bundle != "" {
		b, _, err := readBundle(f.bundle)
		if err != nil {
			return err
		}
		in.Proof = proofIn(b, raw)
		return a.answerEntry(in)
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	v, err := o.findAttestation(ctx, leaf.SHA256(raw))
	if isNotFound(err, reason.AttestationNotFound) {
		return a.answerEntry(in)
	}
	if err != nil {
		return err
	}
	if in.Proof, err = o.proofOf(ctx, v.Entry.Index); err != nil {
		return err
	}
	return a.answerEntry(in)
}

// proofIn returns a bundle's proof of an attestation, or nil.
func proofIn(b *bundle.Bundle, raw []byte) []byte {
	want := leaf.SHA256(raw)
	for i := range b.Entries {
		if leaf.SHA256(b.Entries[i].Attestation) == want {
			return b.Entries[i].Proof
		}
	}
	return nil
}

// proofOf returns the proof of an entry, with its signers' keys.
func (o *online) proofOf(ctx context.Context, index int64) ([]byte, error) {
	e, err := o.entry(ctx, index)
	if err != nil {
		return nil, err
	}
	h, err := o.attestation(ctx, e.leaf.Envelope)
	if err != nil {
		return nil, cmdline.Doing(fmt.Sprintf("getting the keys of entry %d", index), err)
	}
	return proofBytes(e, h.keys)
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
