package cli

import (
	"context"
	"errors"
	"sync"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// logger logs many attestations at a time. It implements importer.Ledger.
type logger struct {
	*online

	mu          sync.Mutex // guards what follows, and online's memory
	keys        map[leaf.Fingerprint]*cairnv1.Key
	checkpoints map[string]torchwood.Checkpoint // that were verified, by their text
}

// keptCheckpoints bounds the checkpoints that are kept: submissions in flight
// are answered with a few.
const keptCheckpoints = 64

func newLogger(o *online) *logger {
	return &logger{online: o, keys: make(map[leaf.Fingerprint]*cairnv1.Key), checkpoints: make(map[string]torchwood.Checkpoint)}
}

// Log implements importer.Ledger. Every answer is held to what was submitted and
// to its checkpoint, and that to the policy.
func (g *logger) Log(ctx context.Context, raw []byte) (importer.Entry, error) {
	resp, err := g.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw})
	if err != nil {
		return importer.Entry{}, err
	}
	c, err := g.verified(ctx, resp.GetCheckpoint())
	if err != nil {
		return importer.Entry{}, err
	}
	if err := client.VerifyInclusion(leaf.Hash([]byte(resp.GetLeaf())), resp.GetIndex(), resp.GetInclusionProof(), c.Tree); err != nil {
		return importer.Entry{}, err
	}
	_, err = g.stands(ctx, raw, resp.GetLeaf())
	return importer.Entry{Index: resp.GetIndex(), Created: resp.GetCreated(), Size: c.N}, err
}

// verified returns a checkpoint that was held to the policy and to what is
// remembered, once for all answers that come with it.
func (g *logger) verified(ctx context.Context, signed string) (torchwood.Checkpoint, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.checkpoints[signed]; ok {
		return c, nil
	}
	c, err := g.checkpoint(ctx, signed)
	if err != nil {
		return c, err
	}
	if len(g.checkpoints) == keptCheckpoints {
		clear(g.checkpoints)
	}
	g.checkpoints[signed] = c
	return c, nil
}

// stands verifies that a leaf follows from what was submitted, under the keys
// that the ledger has by the leaf's fingerprints, and returns it. A key may have
// grown since it was asked for.
func (g *logger) stands(ctx context.Context, raw []byte, text string) (*leaf.Leaf, error) {
	l, err := leaf.Parse([]byte(text))
	if err != nil {
		return nil, client.Misbehaved("the leaf does not parse: %v", err)
	}
	for _, again := range []bool{false, true} {
		var keys []*cairnv1.Key
		if keys, err = g.keysOf(ctx, l, again); err != nil {
			return nil, err
		}
		if _, err = client.VerifyLogged(raw, keys, text); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// keysOf returns the keys that a leaf names. Those that come with the
// attestation itself are not enrolled, and left out.
func (g *logger) keysOf(ctx context.Context, l *leaf.Leaf, again bool) ([]*cairnv1.Key, error) {
	var keys []*cairnv1.Key
	for _, fp := range l.Keys {
		k, err := g.key(ctx, fp, again)
		if err != nil {
			return nil, err
		}
		if k != nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (g *logger) key(ctx context.Context, fp leaf.Fingerprint, again bool) (*cairnv1.Key, error) {
	g.mu.Lock()
	k, ok := g.keys[fp]
	g.mu.Unlock()
	if ok && !again {
		return k, nil
	}
	resp, err := g.GetKey(ctx, &cairnv1.GetKeyRequest{Fingerprint: string(fp)})
	if err != nil && !isNotFound(err, reason.KeyNotFound) {
		var refusal *reason.Error
		if errors.As(err, &refusal) && refusal.RetryAfter <= 0 {
			return nil, client.Misbehaved("the ledger logged an entry by key %s, and refuses to show the key: %v", fp, err)
		}
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[fp] = resp.GetKey()
	return resp.GetKey(), nil
}
