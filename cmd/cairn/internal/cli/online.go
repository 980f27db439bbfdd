package cli

import (
	"context"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// online asks the ledger, and holds its answers to the policy and to each
// other.
type online struct {
	*client.Client
	policy torchwood.Policy // nil without one
	logs   []policy.Log     // of the policy
	memory *memory          // nil if nothing is remembered
	origin string           // of the first checkpoint
}

// connect returns the ledger that the flags or the environment name.
func (a *app) connect() (*online, error) {
	c, err := a.client("")
	if err != nil {
		return nil, err
	}
	o := &online{Client: c}
	if a.policy != "" {
		p, err := cmdline.ReadPolicy(a.policy)
		if err != nil {
			return nil, err
		}
		o.policy, o.logs = p, p.Logs()
		if o.memory = a.remember(p.Logs()); o.memory == nil {
			a.Note("the log is not held to what it showed before: set XDG_STATE_HOME or HOME")
		}
	}
	if o.policy == nil {
		a.Note("the log's signature is not checked: give --policy FILE, or set CAIRN_POLICY")
	}
	return o, nil
}

// client returns a client of that ledger, with a token if there is one.
func (a *app) client(token string) (*client.Client, error) {
	const hint = "give --ledger URL, or the directory of a mirror, or set CAIRN_LEDGER"
	if a.ledger == "" {
		return nil, cmdline.Usagef(hint, "no ledger is named")
	}
	if info, err := os.Stat(a.ledger); err == nil && info.IsDir() && mirror.IsPath(a.ledger) {
		answer, err := mirror.Open(context.Background(), mirror.Dir(a.ledger))
		if err != nil {
			return nil, cmdline.Unreadable(a.ledger, err)
		}
		return client.NewLocal(a.ledger, answer), nil
	}
	opts := a.clientOptions()
	files := mirror.Web(a.ledger, opts)
	opts.Token = token
	opts.Mirror = func(ctx context.Context) (client.Answer, error) { return mirror.Open(ctx, files) }
	c, err := client.New(a.ledger, opts)
	if err != nil {
		return nil, cmdline.Usagef(hint, "%w", err)
	}
	return c, nil
}

// userAgent names the program to whom it asks.
func (a *app) userAgent() string { return "cairn/" + strings.Trim(cmdline.Version(), "()") }

func (a *app) clientOptions() client.Options {
	opts := client.Options{
		HTTP:      a.http,
		Timeout:   a.timeout,
		UserAgent: a.userAgent(),
		Sleep:     a.sleep,
	}
	if a.patience != nil {
		opts.Sleep = a.patience
	}
	return opts
}

// sleep waits before the client asks again, and says so.
func (a *app) sleep(ctx context.Context, d time.Duration) error {
	a.Note("the ledger asks to wait; trying again in %s", d.Round(100*time.Millisecond))
	return client.Sleep(ctx, d)
}

// checkpoint holds the checkpoint of an answer to the policy, and to what is
// remembered.
func (o *online) checkpoint(ctx context.Context, signed string) (torchwood.Checkpoint, error) {
	c, err := client.VerifyCheckpoint(signed, o.policy)
	if err != nil {
		return c, err
	}
	return c, o.hold(ctx, signed, c)
}

// sameLog checks that all answers are of one log.
func (o *online) sameLog(c torchwood.Checkpoint) error {
	if o.origin == "" {
		o.origin = c.Origin
	}
	if c.Origin != o.origin {
		return client.Misbehaved("the ledger answers of log %q, and of log %q before", c.Origin, o.origin)
	}
	return nil
}

// latest returns the latest checkpoint, as signed and as read.
func (o *online) latest(ctx context.Context) (string, torchwood.Checkpoint, error) {
	resp, err := o.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if err != nil {
		return "", torchwood.Checkpoint{}, err
	}
	c, err := o.checkpoint(ctx, resp.GetCheckpoint())
	return resp.GetCheckpoint(), c, err
}

// requireOrigin checks that the ledger serves the log that an id names.
func (o *online) requireOrigin(origin string) error {
	if origin == "" || origin == o.origin {
		return nil
	}
	return cmdline.Usagef("give --ledger URL of that log, or the index alone", "the ledger at %s serves log %q, not %q", o.URL(), o.origin, origin)
}

// proven is an entry that is in the tree of a checkpoint.
type proven struct {
	index      int64
	text       string // of the leaf
	leaf       *leaf.Leaf
	path       [][]byte
	signed     string // the checkpoint
	checkpoint torchwood.Checkpoint
}

// entry gets an entry and verifies that it is in the log.
func (o *online) entry(ctx context.Context, index int64) (*proven, error) {
	resp, err := o.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: index})
	if err != nil {
		return nil, err
	}
	c, err := client.VerifyEntry(resp, index, o.policy)
	if err != nil {
		return nil, err
	}
	if err := o.hold(ctx, resp.GetCheckpoint(), c); err != nil {
		return nil, err
	}
	l, err := leaf.Parse([]byte(resp.GetEntry().GetLeaf()))
	if err != nil {
		return nil, client.Misbehaved("the leaf of entry %d does not parse: %v", index, err)
	}
	return &proven{
		index: index, text: resp.GetEntry().GetLeaf(), leaf: l,
		path: resp.GetInclusionProof(), signed: resp.GetCheckpoint(), checkpoint: c,
	}, nil
}

// held is an attestation that the ledger holds, opened and verified here.
type held struct {
	*attest.Attestation
	index int64 // as the ledger says; proven by the entry
	keys  []*cairnv1.Key
}

// attestation gets an attestation and verifies that its bytes are those named.
func (o *online) attestation(ctx context.Context, envelope leaf.Digest) (*held, error) {
	resp, err := o.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: envelope.Hex()})
	if err != nil {
		return nil, err
	}
	if _, err := o.checkpoint(ctx, resp.GetCheckpoint()); err != nil {
		return nil, err
	}
	att, err := client.VerifyAttestation(resp)
	if err != nil {
		return nil, err
	}
	if att.Leaf.Envelope != envelope {
		return nil, client.Misbehaved("asked for attestation %s, the answer is %s", envelope, att.Leaf.Envelope)
	}
	return &held{Attestation: att, index: resp.GetEntry().GetIndex(), keys: resp.GetKeys()}, nil
}

// isNotFound reports whether err says that the ledger lacks what was asked for.
func isNotFound(err error, r reason.Reason) bool {
	e, ok := reason.Of(err)
	return ok && e.Reason == r
}
