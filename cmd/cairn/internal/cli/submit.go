package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// submitAnswer is the JSON of cairn submit, enrol and revoke.
type submitAnswer struct {
	Schema  string      `json:"schema"` // cairn/submit/v1
	Entries []submitted `json:"entries"`
}

// submitted is an attestation that was logged.
type submitted struct {
	File     string      `json:"file,omitempty"`
	ID       string      `json:"id"`
	Origin   string      `json:"origin"`
	Index    int64       `json:"index"`
	Created  bool        `json:"created"` // false if it was logged before
	Envelope leaf.Digest `json:"envelope"`
	LeafHash string      `json:"leafHash"`
	// Size is that of the checkpoint that the entry was proven to be in; absent
	// with --wait sequenced, which proves nothing.
	Size int64 `json:"size,omitempty"`
	// SignatureChecked says whether that checkpoint satisfied a policy.
	SignatureChecked bool   `json:"signatureChecked"`
	Proof            string `json:"proof,omitempty"` // file
}

// submission is the flags of what submits.
type submission struct {
	wait      string // published or sequenced
	proof     string // file or directory
	signature string // file, of the one document
	split     bool
}

func (a *app) newSubmit() *cobra.Command {
	var s submission
	cmd := &cobra.Command{
		Use:   "submit FILE...",
		Short: "Log attestations",
		Long: `Submit logs attestations and prints the id of each entry, origin#index. "-" is
stdin. Submitting again is a success, with the first entry's id.

An attestation is taken as it is, in any format that the ledger knows: DSSE, a
Sigstore bundle, an in-toto link, what OpenPGP signed inline or as cleartext, an
OpenPGP public key. Of a file of JSON lines, each line is an attestation; of a
keyring, each key. A document with a detached OpenPGP signature is submitted by its
own name, if the signature is beside it as FILE.asc, FILE.sig or FILE.gpg, or named
by --signature.

Several signatures of one document are one entry, of which all keys must be
enrolled; with --split, each is an entry of its own.

It checks that what the ledger logged is what was submitted, and that the entry
is in the tree of a published checkpoint; and with a policy, that the checkpoint
satisfies it.`,
		Example: `  cairn submit hello.attestation
  cairn submit hello.attestation --proof hello.tlog-proof
  cairn submit out/*.attestation --proof proofs/
  cairn submit SHA256SUMS                       # with SHA256SUMS.asc beside it
  cairn submit SHA256SUMS --signature release.sig --split
  cairn attest build hello.deb --key ci.key --builder-id https://ci.example | cairn submit -`,
		Args: cmdline.Takes(1, cmdline.AnyNumber),
		RunE: a.run(func(ctx context.Context, files []string) error { return a.submitFiles(ctx, files, s) }),
	}
	cmdline.ChoiceVar(cmd, cmd.Flags(), &s.wait, "wait", "", "return once the entry is", "published", "sequenced")
	cmd.Flags().StringVar(&s.proof, "proof", "", "write the proof that the entry is logged to `FILE` (C2SP tlog-proof);\nfor several attestations, to that directory")
	cmd.Flags().StringVar(&s.signature, "signature", "", "the document's detached OpenPGP signatures are in `FILE`")
	cmd.Flags().BoolVar(&s.split, "split", false, "make each signature of a document an entry of its own")
	return cmd
}

func (a *app) submitFiles(ctx context.Context, files []string, s submission) error {
	if s.signature != "" && len(files) != 1 {
		return cmdline.Usagef("submit them one by one", "--signature is of one document, and %d files are named", len(files))
	}
	proofs, err := s.proofFiles(files)
	if err != nil {
		return err
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	v := submitAnswer{Schema: "cairn/submit/v1", Entries: []submitted{}}
	for i, path := range files {
		each, err := a.readAttestations(path, &s)
		if err != nil {
			return cmdline.After(v, cmdline.Doing("submitting "+path, err))
		}
		for n, raw := range each {
			name, proof := numbered(path, "", n, len(each)), numbered(proofs[i], ".tlog-proof", n, len(each))
			if err := a.submitOne(ctx, o, &v, name, raw, s.wait, proof); err != nil {
				return cmdline.After(v, advised(&s, raw, cmdline.Doing("submitting "+name, err)))
			}
		}
	}
	if a.Format == "json" {
		a.AnswerJSON(v)
	}
	return nil
}

// submitOne logs one attestation and adds it to v. As text, it answers at once:
// of many files, those before a failure are logged.
func (a *app) submitOne(ctx context.Context, o *online, v *submitAnswer, path string, raw []byte, wait, proof string) error {
	e, err := o.submit(ctx, raw, wait, proof)
	if err != nil {
		return err
	}
	e.File = path
	v.Entries = append(v.Entries, *e)
	if a.Format != "json" {
		a.Printer(a.Out).Printf("%s\n", e.ID)
	}
	return nil
}

// submit logs an attestation, verifies the answer and writes the proof, if a
// file is named for it.
func (o *online) submit(ctx context.Context, raw []byte, wait, proof string) (*submitted, error) {
	if wait == "sequenced" {
		return o.sequence(ctx, raw)
	}
	s, err := o.Submit(ctx, raw, nil, o.policy)
	if err != nil {
		return nil, err
	}
	if err := o.hold(ctx, s.Answer.GetCheckpoint(), s.Checkpoint); err != nil {
		return nil, err
	}
	e := newSubmitted(s.Answer)
	e.Envelope, e.Size, e.SignatureChecked = s.Leaf.Envelope, s.Checkpoint.N, o.policy != nil
	e.setID(o.origin)
	if proof == "" {
		return e, nil
	}
	e.Proof = proof
	return e, writeProof(proof, &proven{index: e.Index, text: s.Answer.GetLeaf(), path: s.Answer.GetInclusionProof(), signed: s.Answer.GetCheckpoint()}, s.Keys)
}

func newSubmitted(resp *cairnv1.SubmitAttestationResponse) *submitted {
	return &submitted{
		Index:    resp.GetIndex(),
		Created:  resp.GetCreated(),
		LeafHash: hex.EncodeToString(leaf.Hash([]byte(resp.GetLeaf()))),
	}
}

// sequence logs an attestation without waiting for a checkpoint: the answer can
// only be held to what was submitted.
func (o *online) sequence(ctx context.Context, raw []byte) (*submitted, error) {
	resp, err := o.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw, Wait: "sequenced"})
	if err != nil {
		return nil, err
	}
	logged, err := newLogger(o).stands(ctx, raw, resp.GetLeaf())
	if err != nil {
		return nil, err
	}
	if o.origin == "" {
		if _, _, err := o.latest(ctx); err != nil {
			return nil, cmdline.Doing("asking for the log's origin", err)
		}
	}
	e := newSubmitted(resp)
	e.Envelope = logged.Envelope
	e.setID(o.origin)
	return e, nil
}

func (e *submitted) setID(origin string) {
	e.Origin, e.ID = origin, entryID(origin, e.Index)
}

// entryID is the one id of an entry that users see.
func entryID(origin string, index int64) string { return fmt.Sprintf("%s#%d", origin, index) }

// proofBytes returns the C2SP tlog-proof of an entry, with what is needed to
// verify it and its attestation offline.
func proofBytes(e *proven, keys []*cairnv1.Key) ([]byte, error) {
	p := tlogproof.Proof{Index: e.index, Leaf: []byte(e.text), Path: e.path, Checkpoint: []byte(e.signed)}
	for _, k := range keys {
		p.Keys = append(p.Keys, k.GetPublicKey())
	}
	return p.Marshal()
}

func writeProof(path string, e *proven, keys []*cairnv1.Key) error {
	b, err := proofBytes(e, keys)
	if err != nil {
		return err
	}
	return cmdline.WriteOut(path, b)
}

// proofFiles returns the file for each attestation's proof, all empty if none
// is asked for.
func (s *submission) proofFiles(files []string) ([]string, error) {
	list := make([]string, len(files))
	if s.proof == "" {
		return list, nil
	}
	if s.wait == "sequenced" {
		return nil, cmdline.Usagef("leave out --wait sequenced", "an entry that is only sequenced has no proof yet")
	}
	info, err := os.Stat(s.proof)
	isDir := err == nil && info.IsDir() || strings.HasSuffix(s.proof, "/")
	if len(files) == 1 && !isDir {
		list[0] = s.proof
		return list, nil
	}
	if err == nil && !info.IsDir() {
		return nil, cmdline.Usagef("give --proof DIR/", "%s is not a directory, and there are proofs of %d attestations to write", s.proof, len(files))
	}
	if err := os.MkdirAll(s.proof, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, cmdline.Unwritable("making directory "+s.proof, cmdline.PathCause(err))
	}
	owner := make(map[string]string)
	for i, f := range files {
		base := filepath.Base(f)
		if f == "-" {
			base = "stdin"
		}
		list[i] = filepath.Join(s.proof, base+".tlog-proof")
		if first, taken := owner[list[i]]; taken {
			return nil, cmdline.Usagef("submit them one by one", "%s and %s would have their proofs in the same file %s", first, f, list[i])
		}
		owner[list[i]] = f
	}
	return list, nil
}

// submitOrWrite ends enrol and revoke: it logs the envelope, or with a file
// name or dry-run hands it over instead.
func (a *app) submitOrWrite(ctx context.Context, raw []byte, dryRun bool, out string) error {
	if dryRun || out != "" {
		return a.envelope(raw, out, "")
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	e, err := o.submit(ctx, raw, "published", "")
	if err != nil {
		return err
	}
	v := submitAnswer{Schema: "cairn/submit/v1", Entries: []submitted{*e}}
	a.Answer(v, func(p term.Printer) { p.Printf("%s\n", e.ID) })
	return nil
}

// envelopeAnswer is the JSON of a command that wrote an attestation to a file.
type envelopeAnswer struct {
	Schema   string      `json:"schema"` // cairn/attest/v1
	File     string      `json:"file"`
	Envelope leaf.Digest `json:"envelope"`
	Result   leaf.Result `json:"result,omitempty"` // of a reproduction
}

// envelope hands over an attestation: the bytes themselves on stdout, or their
// digest once they are in a file.
func (a *app) envelope(raw []byte, out string, result leaf.Result) error {
	if out == "" {
		_, _ = a.Out.Write(raw)
		return nil
	}
	if err := cmdline.WriteOut(out, raw); err != nil {
		return err
	}
	v := envelopeAnswer{"cairn/attest/v1", out, leaf.SHA256(raw), result}
	a.Answer(v, func(p term.Printer) { p.Printf("%s\n", v.Envelope) })
	return nil
}
