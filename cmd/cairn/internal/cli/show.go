package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func (a *app) newShow() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "show ORIGIN#INDEX|INDEX|DIGEST|FILE|PURL",
		Short: "Show what the log holds about one thing",
		Long: `Show finds out what an argument names, and shows what the log holds about it:

  an entry or attestation   what it says, who signed it, and where it is logged
  an artifact               the claims about it, grouped by what was obtained
  a key                     who enrolled it, and whether it is revoked
  a package (purl)          the entries about it; with a digest, the artifact

An entry is proven to be in the log before it is shown, and its attestation is
opened and verified here. The claims about an artifact, and who enrolled a key,
are shown as the ledger tells them: cairn show ID proves each.`,
		Example: `  cairn show 7
  cairn show hello.deb
  cairn show sha256:9f2c… -o json
  cairn show 7 --raw > hello.attestation`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.show(ctx, args[0], raw) }),
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "write the attestation's bytes, and nothing else")
	return cmd
}

// showAnswer is the JSON of cairn show. What says which of the rest is there.
type showAnswer struct {
	Schema string `json:"schema"` // cairn/show/v1
	// What the argument named: "attestation", "artifact" or "key".
	What string `json:"what"`
	// Proven says whether the answer was verified here; otherwise it is as the
	// ledger tells it.
	Proven bool `json:"proven"`

	Entry *entryView `json:"entry,omitempty"`
	Claim *claimView `json:"claim,omitempty"` // absent if the ledger does not hold the bytes
	Keys  []keyView  `json:"keys,omitempty"`

	Artifact  leaf.Digest    `json:"artifact,omitempty"`
	Groups    []groupView    `json:"groups,omitempty"`
	Materials []resourceView `json:"materials,omitempty"`
	Truncated bool           `json:"truncated,omitempty"`

	Checkpoint checkpointView `json:"checkpoint"`

	raw []byte // of an attestation
}

func (a *app) show(ctx context.Context, arg string, raw bool) error {
	n, err := a.name(ctx, arg)
	if err != nil {
		return err
	}
	var f *file
	if n.kind == byFile {
		if f, err = readNamed(n.path); err != nil {
			return err
		}
	}
	if n.kind == byPurl {
		digest, err := purlDigest(n.purl)
		if err != nil {
			return err
		}
		if digest == "" {
			return a.list(ctx, listQuery{name: n.purl}, 0)
		}
		n = name{kind: byDigest, digest: digest}
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	v, err := o.find(ctx, n, f)
	if err != nil {
		return err
	}
	if raw && v.raw == nil {
		return cmdline.Usagef("leave out --raw", "%s names no attestation whose bytes the ledger holds", arg)
	}
	if raw {
		_, _ = a.Out.Write(v.raw)
		return nil
	}
	a.Answer(v, v.text)
	return nil
}

// find finds what n names; f is the file, where n names one.
func (o *online) find(ctx context.Context, n name, f *file) (*showAnswer, error) {
	switch n.kind {
	case byIndex:
		return o.findEntry(ctx, n)
	case byFingerprint:
		return o.findKey(ctx, n.key)
	case byDigest:
		return o.findDigest(ctx, n.digest)
	}
	switch f.kind {
	case attestationFile:
		v, err := o.findAttestation(ctx, f.sha256Digest())
		if isNotFound(err, reason.AttestationNotFound) {
			p := cmdline.Classify(err)
			p.Hint = "if it was logged in other bytes, `cairn submit` of the file says where; if not, it logs it"
			return nil, p
		}
		return v, err
	case publicKeyFile:
		return o.findKey(ctx, f.key.Fingerprint)
	}
	return o.findArtifact(ctx, f.sha256Digest())
}

// findDigest finds an attestation, a key or an artifact, whichever has the
// digest. Nothing else can: a digest is of one thing.
func (o *online) findDigest(ctx context.Context, d leaf.Digest) (*showAnswer, error) {
	if fp := leaf.Fingerprint(d); fp.Valid() {
		v, err := o.findAttestation(ctx, d)
		if !isNotFound(err, reason.AttestationNotFound) {
			return v, err
		}
		v, err = o.findKey(ctx, fp)
		if !isNotFound(err, reason.KeyNotFound) {
			return v, err
		}
	}
	return o.findArtifact(ctx, d)
}

func (o *online) findEntry(ctx context.Context, n name) (*showAnswer, error) {
	e, err := o.entry(ctx, n.index)
	if err != nil {
		return nil, err
	}
	if err := o.requireOrigin(n.origin); err != nil {
		return nil, err
	}
	h, err := o.attestation(ctx, e.leaf.Envelope)
	if isNotFound(err, reason.AttestationNotFound) {
		return o.showEntry(e, nil), nil
	}
	if err != nil {
		return nil, err
	}
	return o.showEntry(e, h), holds(e, h)
}

func (o *online) findAttestation(ctx context.Context, envelope leaf.Digest) (*showAnswer, error) {
	h, err := o.attestation(ctx, envelope)
	if err != nil {
		return nil, err
	}
	e, err := o.entry(ctx, h.index)
	if err != nil {
		return nil, err
	}
	return o.showEntry(e, h), holds(e, h)
}

// holds checks that an attestation is the one of an entry.
func holds(e *proven, h *held) error {
	if string(h.Text) != e.text {
		return client.Misbehaved("the attestation that the ledger gives for entry %d is not the one it logged there", e.index)
	}
	return nil
}

func (o *online) showEntry(e *proven, h *held) *showAnswer {
	v := &showAnswer{
		Schema:     "cairn/show/v1",
		What:       "attestation",
		Proven:     true,
		Entry:      viewEntry(o.origin, e.index, e.text, e.leaf),
		Checkpoint: o.viewCheckpoint(e.signed, e.checkpoint),
	}
	if h != nil {
		v.raw = h.Raw
		v.Claim = viewClaim(h.Attestation)
		for _, k := range h.keys {
			v.Keys = append(v.Keys, viewKey(o.origin, k))
		}
	}
	return v
}

func (o *online) findKey(ctx context.Context, fp leaf.Fingerprint) (*showAnswer, error) {
	resp, err := o.GetKey(ctx, &cairnv1.GetKeyRequest{Fingerprint: string(fp)})
	if err != nil {
		return nil, err
	}
	c, err := o.checkpoint(ctx, resp.GetCheckpoint())
	if err != nil {
		return nil, err
	}
	k, err := attest.ParsePublicKey([]byte(resp.GetKey().GetPublicKey()))
	if err != nil || k.Fingerprint != fp || resp.GetKey().GetFingerprint() != string(fp) {
		return nil, client.Misbehaved("asked for key %s, the answer is another", fp)
	}
	return &showAnswer{
		Schema:     "cairn/show/v1",
		What:       "key",
		Keys:       []keyView{viewKey(o.origin, resp.GetKey())},
		Checkpoint: o.viewCheckpoint(resp.GetCheckpoint(), c),
	}, nil
}

func (o *online) findArtifact(ctx context.Context, d leaf.Digest) (*showAnswer, error) {
	resp, err := o.GetArtifact(ctx, &cairnv1.GetArtifactRequest{Digest: string(d)})
	if err != nil {
		return nil, err
	}
	c, err := o.checkpoint(ctx, resp.GetCheckpoint())
	if err != nil {
		return nil, err
	}
	if resp.GetCompleteUpTo() != c.N {
		return nil, client.Misbehaved("the answer is complete up to %d, its checkpoint's size is %d", resp.GetCompleteUpTo(), c.N)
	}
	v := &showAnswer{
		Schema:     "cairn/show/v1",
		What:       "artifact",
		Artifact:   d,
		Truncated:  resp.GetTruncated(),
		Checkpoint: o.viewCheckpoint(resp.GetCheckpoint(), c),
	}
	for _, g := range resp.GetGroups() {
		v.Groups = append(v.Groups, viewGroup(o.origin, g))
	}
	for _, m := range resp.GetMaterials() {
		v.Materials = append(v.Materials, viewProtoResource(m))
	}
	if len(v.Groups) == 0 {
		return nil, &cmdline.Problem{Reason: cmdline.NothingFound, Err: fmt.Errorf("the log holds nothing about %s, complete up to checkpoint %d", d, c.N)}
	}
	return v, nil
}
