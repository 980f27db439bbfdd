package query

import (
	"context"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Bounds of reading what OpenPGP keys were.
const (
	maxPasts = 8   // keys that are remembered: a hostile one takes some 20 MiB
	pastPage = 256 // entries that are looked at before asking for more
)

// pasts remembers what OpenPGP keys were. The zero value remembers nothing yet.
type pasts struct {
	once sync.Once
	lru  *lru.Cache[leaf.Fingerprint, *past]
}

// past is what the entries before next did to a key.
type past struct {
	mu      sync.Mutex
	next    uint64
	history keys.History
}

func (p *pasts) of(fp leaf.Fingerprint) *past {
	p.once.Do(func() {
		var err error
		if p.lru, err = lru.New[leaf.Fingerprint, *past](maxPasts); err != nil {
			panic(err) // only for a size that is not positive
		}
	})
	fresh := new(past)
	if known, ok, _ := p.lru.PeekOrAdd(fp, fresh); ok {
		p.lru.Get(fp) // which makes it the last to be forgotten
		return known
	}
	return fresh
}

// asOf returns an OpenPGP key as the entries before an index made it known. What
// its owner says of it later, such as that it had expired or was in other hands,
// does not undo what the log took.
func (s *Service) asOf(ctx context.Context, key *attest.PublicKey, index uint64) (*attest.PublicKey, error) {
	p := s.pasts.of(key.Fingerprint)
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.next < index {
		found, err := s.Index.Find(ctx, store.DigestTerm(key.Digest()), p.next, pastPage)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if i >= index {
				break
			}
			if err := ctx.Err(); err != nil {
				return nil, err // each may take some milliseconds
			}
			if err := s.replay(ctx, &p.history, key.Fingerprint, i); err != nil {
				return nil, err
			}
			p.next = i + 1
		}
		if len(found) < pastPage || found[len(found)-1] >= index {
			p.next = max(p.next, index)
		}
	}
	if public, ok := p.history.LookupAt(key.Fingerprint, index); ok {
		return public, nil
	}
	return nil, reason.Errorf(reason.InternalError, "no entry before %d brings key %s", index, key.Fingerprint)
}

// replay takes in what an entry does to a key, if it is about that.
func (s *Service) replay(ctx context.Context, history *keys.History, fp leaf.Fingerprint, index uint64) error {
	entries, err := s.Index.Entries(ctx, []uint64{index})
	if err != nil {
		return err
	}
	l, err := leaf.Parse(entries[0].Text)
	if err != nil {
		return err
	}
	if e := keys.EventOfLeaf(l, index); e == nil || e.Key != fp {
		return nil // somebody attests to the key
	}
	raw, err := s.Blobs.Get(ctx, l.Envelope)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	att, err := attest.Open(raw, attest.NewKeyring())
	if err != nil {
		return reason.Errorf(reason.InternalError, "reading attestation %s back: %w", l.Envelope, err)
	}
	_, err = history.Apply(keys.EventOf(att, index))
	if _, refused := reason.Of(err); refused {
		return nil // it should not be in the log, and changes nothing
	}
	return err
}
