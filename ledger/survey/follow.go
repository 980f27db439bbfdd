package survey

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	followBatch = 256 // entries that are looked at in one transaction
	readers     = 4   // attestations that are read at once
)

// follow looks at all published entries that it did not look at yet.
func (s *Survey) follow(ctx context.Context) error {
	begun := s.cfg.Now()
	latest, err := s.cfg.Latest()
	if err != nil {
		return err
	}
	size := uint64(latest.N)
	next, err := s.readScanned(ctx)
	if err != nil {
		return err
	}
	for next < size {
		end := min(size, next+followBatch)
		if err := s.scan(ctx, next, end, latest.At); err != nil {
			return err
		}
		next = end
		s.scanned.Store(next)
	}
	s.current.Store(begun.Unix())
	return nil
}

// claim holds the table to the log, once.
func (s *Survey) claim(ctx context.Context) error {
	if s.ours {
		return nil
	}
	var scanned uint64
	var tip string
	if err := s.r.QueryRowContext(ctx, "SELECT scanned, coalesce((SELECT hash FROM tip), '') FROM meta").Scan(&scanned, &tip); err != nil {
		return fmt.Errorf("reading how far the log was followed: %w", err)
	}
	if scanned > 0 {
		latest, err := s.cfg.Latest()
		if err != nil {
			return err
		}
		if scanned > uint64(latest.N) {
			return fmt.Errorf("%s is of a log with %d entries, and this one has %d: it may be of another log, or the log was put back; if so, delete the file", s.cfg.Path, scanned, latest.N)
		}
		entries, err := s.cfg.Index.Entries(ctx, []uint64{scanned - 1})
		if err != nil {
			return err
		}
		if tipOf(entries) != tip {
			return fmt.Errorf("%s is of another log: entry %d is not the one that it looked at; delete the file", s.cfg.Path, scanned-1)
		}
	}
	s.ours = true
	return nil
}

// tipOf returns the leaf hash of the last of some entries.
func tipOf(entries []store.Entry) string {
	return hex.EncodeToString(leaf.Hash(entries[len(entries)-1].Text))
}

// scan looks at entries from next up to end, which were published at a time at the
// latest, and remembers that it did.
func (s *Survey) scan(ctx context.Context, next, end uint64, published time.Time) error {
	indexes := make([]uint64, 0, end-next)
	for i := next; i < end; i++ {
		indexes = append(indexes, i)
	}
	entries, err := s.cfg.Index.Entries(ctx, indexes)
	if err != nil {
		return err
	}
	changes := make([]change, len(entries))
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i := range entries {
		g.Go(func() (err error) {
			changes[i], err = s.read(reading, &entries[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	err = s.inBatch(ctx, func(b *batch) error {
		if err := b.take(changes, end, published); err != nil {
			return err
		}
		return b.exec("INSERT OR REPLACE INTO tip (one, hash) VALUES (1, ?)", tipOf(entries))
	})
	if err != nil {
		return fmt.Errorf("taking entries %d to %d: %w", next, end-1, err)
	}
	return nil
}

// change is what an entry changes.
type change struct {
	index uint64
	about []leaf.Digest    // subjects and outputs of who is heard
	key   leaf.Fingerprint // whose enrolment it changes; empty for none
	said  *said            // nil if it says nothing
}

// read returns what an entry changes.
func (s *Survey) read(ctx context.Context, e *store.Entry) (change, error) {
	c := change{index: e.Index}
	l, err := leaf.Parse(e.Text)
	if err != nil {
		return c, err
	}
	if event := keys.EventOfLeaf(l, e.Index); event != nil {
		c.key = event.Key
	}
	if l.Kind != leaf.KindAttestation {
		return c, nil
	}
	for _, k := range l.Keys {
		if s.ids[k] != 0 {
			c.about = append(l.Subjects, l.Outputs...)
			break
		}
	}
	att, err := s.attestation(ctx, e, l)
	if err != nil || att == nil {
		return c, err
	}
	c.said = saidBy(att)
	return c, nil
}

// attestation returns what an entry logs, or nil if that is passed over.
func (s *Survey) attestation(ctx context.Context, e *store.Entry, l *leaf.Leaf) (*attest.Attestation, error) {
	resp, err := s.cfg.Client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: l.Envelope.Hex()})
	if reason.Is(err, reason.AttestationNotFound) {
		return nil, nil // withdrawn: it says nothing any more
	}
	if err != nil && !reason.Is(err, reason.InternalError) {
		return nil, err
	}
	var att *attest.Attestation
	if err == nil {
		att, err = client.VerifyAttestation(resp)
	}
	if err != nil || !bytes.Equal(att.Text, e.Text) {
		// The store holds something else. Waiting does not mend this, and must not keep
		// later entries waiting.
		s.cfg.Warn(fmt.Errorf("passing over entry %d: its stored bytes are not what it logs (%v)", e.Index, err))
		return nil, nil
	}
	return att, nil
}
