package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/store/postgres"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Term is one process's time as publisher. It is the state of a Guard and the
// archive of a Publisher; both write only as long as nobody else has taken over.
// What was left undetermined by a failure, only the next Term finds out: there is
// a new Guard for each.
type Term struct {
	c     *Cluster
	epoch int64

	mu      sync.Mutex
	renewed time.Time // when the last renewal that succeeded was sent
	lost    error     // once the Term is over, for good
}

var (
	_ checkpoint.State = (*Term)(nil)
	_ checkpoint.Notes = (*Term)(nil)
)

// Epoch returns the number of the Term; every Term of the log has another, and
// later ones larger.
func (t *Term) Epoch() int64 { return t.epoch }

// Lost returns nil during the Term, and afterwards an error that wraps ErrLost. By
// this process's clock, a Term ends when the lease could not be renewed for as long
// as it lasts.
func (t *Term) Lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := time.Since(t.renewed); t.lost == nil && age >= t.c.cfg.Lease {
		t.lost = fmt.Errorf("%w: the lease of epoch %d was renewed %v ago", ErrLost, t.epoch, age.Round(time.Millisecond))
	}
	return t.lost
}

func (t *Term) lose(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost == nil {
		t.lost = err
	}
}

func (t *Term) extend(sent time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renewed = sent
}

func (t *Term) age() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.renewed)
}

// left returns how long the lease lasts, and no less than it takes for Lost to say
// so when that is over.
func (t *Term) left() time.Duration { return t.c.cfg.Lease - t.age() }

func (t *Term) over() error {
	return fmt.Errorf("%w: the lease of epoch %d was taken over", ErrLost, t.epoch)
}

// Load implements checkpoint.State. What it returns nobody else has changed since,
// or it fails with ErrLost.
func (t *Term) Load(ctx context.Context) ([]byte, error) {
	if err := t.Lost(); err != nil {
		return nil, err
	}
	text, epoch, err := t.c.signer(ctx)
	if err == nil && epoch != t.epoch {
		t.lose(t.over())
		err = t.Lost()
	}
	return text, err
}

// signer returns what was signed last, by whichever process, and the epoch in which
// that was read.
func (c *Cluster) signer(ctx context.Context) (text []byte, epoch int64, err error) {
	asking, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	if err := c.pool.QueryRow(asking, "SELECT text, epoch FROM signer, lease").Scan(&text, &epoch); err != nil {
		return nil, 0, fmt.Errorf("reading the signer's state: %w", postgres.Classify(ctx, err))
	}
	return text, epoch, nil
}

// swapState locks the lease's row before anything else: the condition on held is
// evaluated before the first row of signer is looked at.
const swapState = `WITH held AS (SELECT FROM lease WHERE epoch = $1 FOR UPDATE),
swapped AS (UPDATE signer SET text = $3 WHERE EXISTS (SELECT FROM held) AND text IS NOT DISTINCT FROM $2::bytea RETURNING true)
SELECT EXISTS (SELECT FROM held), EXISTS (SELECT FROM swapped)`

// Swap implements checkpoint.State. It fails with ErrLost if somebody else has taken
// over, and with ErrRollback if nobody has and the state is another nevertheless.
func (t *Term) Swap(ctx context.Context, old, text []byte) error {
	if err := t.Lost(); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, t.c.cfg.Lease)
	defer cancel()
	var held, swapped bool
	err := t.c.pool.QueryRow(asking, swapState, t.epoch, old, text).Scan(&held, &swapped)
	switch {
	case err != nil:
		return fmt.Errorf("storing the signer's state: %w", postgres.Classify(ctx, err))
	case !held:
		t.lose(t.over())
		return t.Lost()
	case !swapped:
		return fmt.Errorf("%w: the signer's state in the database changed, and nobody took over: was an older copy restored?", checkpoint.ErrRollback)
	}
	return nil
}

// Close implements checkpoint.State. The Term ends when what Lead called returns.
func (t *Term) Close() error { return nil }

// addNote numbers the notes without gaps, since who holds the lease is the only one
// to add any. If nevertheless two did, the second would fail for its number.
const addNote = `WITH held AS (SELECT FROM lease WHERE epoch = $1 FOR UPDATE),
last AS (SELECT seq, size, root FROM checkpoints ORDER BY seq DESC LIMIT 1),
added AS (INSERT INTO checkpoints (seq, size, root, note)
  SELECT coalesce((SELECT seq + 1 FROM last), 0), $2, $3, $4
  WHERE EXISTS (SELECT FROM held) AND NOT EXISTS (SELECT FROM last WHERE size > $2 OR size = $2 AND root <> $3) RETURNING true)
SELECT EXISTS (SELECT FROM held), EXISTS (SELECT pg_notify('` + channel + `', '') FROM added)`

// channel is where it is told that the archive grew.
const channel = "cairn_published"

// Add implements checkpoint.Notes: what it has added is published, and all processes
// are told. It fails with ErrLost if somebody else has taken over, and with
// ErrRollback for a note that is of a smaller tree than the last, or of another tree
// of that size.
func (t *Term) Add(ctx context.Context, signed []byte) error {
	tree, err := treeOf(signed)
	if err != nil {
		return fmt.Errorf("archiving a checkpoint: %w", err)
	}
	if err := t.Lost(); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, t.c.cfg.Lease)
	defer cancel()
	var held, added bool
	err = t.c.pool.QueryRow(asking, addNote, t.epoch, tree.N, tree.Hash[:], signed).Scan(&held, &added)
	switch {
	case err != nil:
		return fmt.Errorf("archiving a checkpoint: %w", postgres.Classify(ctx, err))
	case !held:
		t.lose(t.over())
		return t.Lost()
	case !added:
		return fmt.Errorf("%w: size %d with root %s cannot follow what is published", checkpoint.ErrRollback, tree.N, tree.Hash)
	}
	return nil
}

// Ensure implements checkpoint.Notes: it adds a note unless it is the last.
func (t *Term) Ensure(ctx context.Context, signed []byte) error {
	last, err := t.c.last(ctx)
	if err != nil {
		return err
	}
	if last != nil && string(last.note) == string(signed) {
		return nil
	}
	return t.Add(ctx, signed)
}

// treeOf returns the tree of a note that the archive can hold, whoever signed it.
func treeOf(signed []byte) (tlog.Tree, error) {
	if _, _, err := checkpoint.ReadArchived(checkpoint.AppendArchived(nil, signed)); err != nil {
		return tlog.Tree{}, err
	}
	c, _, err := tlogproof.Open(signed, nil)
	return c.Tree, err
}

// row is a row of the archive.
type row struct {
	note []byte
	at   time.Time
}

// last returns the newest row of the archive, or nil if there is none.
func (c *Cluster) last(ctx context.Context) (*row, error) {
	asking, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var r row
	err := c.pool.QueryRow(asking, "SELECT note, at FROM checkpoints ORDER BY seq DESC LIMIT 1").Scan(&r.note, &r.at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is published: %w", postgres.Classify(ctx, err))
	}
	return &r, nil
}
