package rebuilderd

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// followBatch is how many entries are looked at in one transaction.
const followBatch = 256

// follow looks at all published entries that it did not look at yet.
func (s *Service) follow(ctx context.Context) error {
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
		if err := s.scan(ctx, next, end); err != nil {
			return err
		}
		next = end
		s.scanned.Store(next)
	}
	s.current.Store(begun.Unix())
	return nil
}

// change is what an entry of a rebuilder changes.
type change struct {
	index    uint64
	about    []leaf.Digest // subjects and outputs
	packages []named
}

// named is an artifact that a claim calls a package.
type named struct {
	pkg
	artifact leaf.Digest
}

// scan looks at entries from next up to end, and remembers that it did.
func (s *Service) scan(ctx context.Context, next, end uint64) error {
	indexes := make([]uint64, 0, end-next)
	for i := next; i < end; i++ {
		indexes = append(indexes, i)
	}
	entries, err := s.cfg.Index.Entries(ctx, indexes)
	if err != nil {
		return err
	}
	var changes []change
	for i := range entries {
		c, err := s.read(ctx, &entries[i])
		if err != nil {
			return err
		}
		if len(c.about) > 0 {
			changes = append(changes, c)
		}
	}
	err = store.InTx(ctx, s.w, func(tx *sql.Tx) error {
		for i := range changes {
			if err := apply(ctx, tx, &changes[i]); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "UPDATE meta SET scanned = ?, changes = changes + ?", end, min(len(changes), 1))
		return err
	})
	if err != nil {
		return fmt.Errorf("taking entries %d to %d: %w", next, end-1, err)
	}
	return nil
}

// read returns what an entry changes: nothing, if no rebuilder signed it.
func (s *Service) read(ctx context.Context, e *store.Entry) (change, error) {
	l, err := leaf.Parse(e.Text)
	if err != nil {
		return change{}, err
	}
	heard := slices.ContainsFunc(l.Keys, func(k leaf.Fingerprint) bool {
		_, ok := s.cfg.Policy.Rebuilder(k)
		return ok
	})
	if l.Kind != leaf.KindAttestation || !heard {
		return change{}, nil
	}
	c := change{index: e.Index, about: append(slices.Clone(l.Subjects), l.Outputs...)}
	if len(l.Names) == 0 || l.Claim != leaf.ClaimBuild && l.Claim != leaf.ClaimReproduction {
		return c, nil
	}
	resp, err := s.cfg.Client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: l.Envelope.Hex()})
	if reason.Is(err, reason.AttestationNotFound) {
		return c, nil // withdrawn: it names nothing any more
	}
	if err != nil {
		return c, err
	}
	att, err := client.VerifyAttestation(resp)
	if err != nil || !bytes.Equal(att.Text, e.Text) {
		// Waiting does not mend this, and must not keep later entries waiting.
		s.cfg.Warn(fmt.Errorf("passing over entry %d: its stored bytes are not what it logs (%v)", e.Index, err))
		return c, nil
	}
	for i := range att.Claim.Subjects {
		r := &att.Claim.Subjects[i]
		if p, ok := packageOf(r.URI); ok && len(r.Strong()) > 0 {
			c.packages = append(c.packages, named{p, r.Strong()[0]})
		}
	}
	return c, nil
}

// apply makes the artifacts due that a change is about, or rest on what it is
// about, and lists those that it names.
func apply(ctx context.Context, tx *sql.Tx, c *change) error {
	for _, d := range c.about {
		if _, err := tx.ExecContext(ctx, "UPDATE artifacts SET due = 0 WHERE digest IN (SELECT artifact FROM needs WHERE digest = ?)", string(d)); err != nil {
			return err
		}
	}
	for _, n := range c.packages {
		if _, err := tx.ExecContext(ctx, `INSERT INTO packages (distro, name, version, architecture, artifact, url, purl, logged)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET url = iif(url = '', excluded.url, url)`,
			n.distro, n.name, n.version, n.architecture, string(n.artifact), n.url, n.purl, c.index); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO artifacts (digest, status, due) VALUES (?, ?, 0) ON CONFLICT DO UPDATE SET due = 0",
			string(n.artifact), unknown); err != nil {
			return err
		}
	}
	return nil
}
