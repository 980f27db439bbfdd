package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// placedChannel is notified when entries are placed.
const placedChannel = "cairn_placed"

// PostgresSequence is an engine.Sequence in the database that front ends share.
// The entries that left its queue are those of the PostgresIndex in the same
// database, whose terms must contain those that entries are placed with; while it is
// rebuilt, or another version's, nothing is placed.
//
// All calls of Place, by whatever process, come one after the other: each holds the
// lock of queue_head until its commit is durable. So an entry is looked for among
// all that was placed before, first in the queue and then in the index, which has
// what left the queue meanwhile. The lock of a process that stopped is released by
// the server, which ends its transaction after some seconds. So that this is one
// transaction, and not each of those that waited for the lock when it stopped, a
// process asks for the lock once at a time.
type PostgresSequence struct {
	pool       *postgres.Pool
	turn       chan struct{}   // holds one element while something is placed
	ctx        context.Context // ends with Close
	end        context.CancelFunc
	placements func() <-chan struct{}
}

var _ engine.Sequence = (*PostgresSequence)(nil)

// NewPostgresSequence returns the sequence in a database. The pool stays the
// caller's.
func NewPostgresSequence(pool *postgres.Pool) *PostgresSequence {
	ctx, end := context.WithCancel(context.Background())
	return &PostgresSequence{pool, make(chan struct{}, 1), ctx, end, sync.OnceValue(func() <-chan struct{} { return pool.Listen(ctx, placedChannel) })}
}

// Close ends what Placements signals.
func (s *PostgresSequence) Close() error {
	s.end()
	return nil
}

// Placements implements engine.Sequence. It signals also whenever the connection
// that listens was made anew.
func (s *PostgresSequence) Placements() <-chan struct{} { return s.placements() }

// Place implements engine.Sequence. All of the entries are placed, or none. If the
// connection is lost while committing, the error is StorageUnavailable like that of
// any failure that passes, and placing them again finds out.
func (s *PostgresSequence) Place(ctx context.Context, entries []engine.Entry) ([]engine.Placed, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("placing %d entries: %w", len(entries), postgres.Classify(ctx, ctx.Err()))
	}
	var placed []engine.Placed
	err := s.pool.InTx(ctx, func(tx pgx.Tx) error {
		p := newPlacement(entries)
		if err := p.look(ctx, tx); err != nil {
			return err
		}
		var err error
		if placed, err = p.place(entries); err != nil {
			return err
		}
		return p.write(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("placing %d entries: %w", len(entries), err)
	}
	return placed, nil
}

type hash = [sha256.Size]byte

// placement is one call of Place: what the database knows of its entries, and what
// becomes of them.
type placement struct {
	asked, follows [][]byte // the terms and what is followed, as the queries take them
	next           uint64
	known          map[hash]knownEntry // by term
	latest         map[hash]uint64     // by mark

	// What is written: the leaves from first on.
	first      uint64
	leaves     [][]byte
	terms      [][]byte
	termsIdx   []uint64
	newMarks   map[hash]uint64
	markedKeys []hash // of newMarks, in the order of the entries
}

type knownEntry struct {
	index uint64
	leaf  []byte
}

func newPlacement(entries []engine.Entry) *placement {
	p := &placement{known: make(map[hash]knownEntry), latest: make(map[hash]uint64), newMarks: make(map[hash]uint64)}
	for i := range entries {
		p.asked = append(p.asked, byteStrings(entries[i].Terms)...)
		p.follows = append(p.follows, byteStrings(entries[i].Follows)...)
	}
	return p
}

// Looking for the terms goes through the keys, one by one, whatever the planner
// believes about the sizes of the tables.
const (
	queryQueued = `SELECT w.term, q.idx, q.leaf FROM unnest($1::bytea[]) AS w (term)
		CROSS JOIN LATERAL (SELECT idx FROM queue_terms t WHERE t.term = w.term LIMIT 1) t
		CROSS JOIN LATERAL (SELECT idx, leaf FROM queue WHERE queue.idx = t.idx LIMIT 1) q`
	queryIndexed = `SELECT w.term, e.idx, e.leaf FROM unnest($1::bytea[]) AS w (term)
		CROSS JOIN LATERAL (SELECT idx FROM terms t WHERE t.term = w.term ORDER BY idx LIMIT 1) t
		CROSS JOIN LATERAL (SELECT idx, leaf FROM entries WHERE entries.idx = t.idx LIMIT 1) e`
	queryMarks = `SELECT w.mark, m.idx FROM unnest($1::bytea[]) AS w (mark)
		CROSS JOIN LATERAL (SELECT idx FROM marks WHERE marks.mark = w.mark LIMIT 1) m`
)

// look takes the lock and reads what the database knows, the queue before the
// index: an entry leaves the first only when the second has it.
func (p *placement) look(ctx context.Context, tx pgx.Tx) error {
	var b pgx.Batch
	b.Queue(lockQueue).QueryRow(func(row pgx.Row) error { return row.Scan(&p.next) })
	b.Queue(queryQueued, p.asked).Query(p.learn)
	b.Queue("SELECT version, size, trimmed FROM index_state").QueryRow(func(row pgx.Row) error {
		var s indexState
		if err := row.Scan(&s.version, &s.size, &s.trimmed); err != nil {
			return err
		}
		if s.size > p.next {
			return fmt.Errorf("the index has %d entries, and only %d were placed: the tables are not of one time", s.size, p.next)
		}
		return s.whole()
	})
	b.Queue(queryIndexed, p.asked).Query(p.learn)
	if len(p.follows) > 0 {
		b.Queue(queryMarks, p.follows).Query(func(rows pgx.Rows) error {
			var mark []byte
			var idx uint64
			_, err := pgx.ForEachRow(rows, []any{&mark, &idx}, func() error {
				p.latest[hash(mark)] = idx
				return nil
			})
			return err
		})
	}
	return tx.SendBatch(ctx, &b).Close()
}

// learn reads rows of a term, and the entry that has it.
func (p *placement) learn(rows pgx.Rows) error {
	var term, leaf []byte
	var idx uint64
	_, err := pgx.ForEachRow(rows, []any{&term, &idx, &leaf}, func() error {
		if e, ok := p.known[hash(term)]; !ok || idx < e.index {
			p.known[hash(term)] = knownEntry{idx, leaf}
		}
		return nil
	})
	return err
}

// place decides what becomes of the entries, in their order.
func (p *placement) place(entries []engine.Entry) ([]engine.Placed, error) {
	p.first = p.next
	placed := make([]engine.Placed, len(entries))
	for i := range entries {
		e := &entries[i]
		if len(e.Follows) > 0 && e.Seen > p.first {
			return nil, fmt.Errorf("an entry follows %d entries, and only %d were placed: the database is an older copy", e.Seen, p.first)
		}
		if known, ok := p.find(e); ok {
			placed[i] = engine.Placed{Index: known.index, Leaf: known.leaf}
		} else if index, ok := p.changed(e); ok {
			placed[i] = engine.Placed{Index: index, Stale: true}
		} else {
			placed[i] = engine.Placed{Index: p.append(e), Leaf: e.Leaf, Created: true}
		}
	}
	return placed, nil
}

// find returns the first entry that has a term of e.
func (p *placement) find(e *engine.Entry) (first knownEntry, ok bool) {
	for _, t := range e.Terms {
		if k, has := p.known[t]; has && (!ok || k.index < first.index) {
			first, ok = k, true
		}
	}
	return first, ok
}

// changed returns the latest entry that e does not know of and that changed what
// it follows.
func (p *placement) changed(e *engine.Entry) (index uint64, ok bool) {
	for _, f := range e.Follows {
		if latest, has := p.latest[f]; has && latest >= e.Seen && (!ok || latest > index) {
			index, ok = latest, true
		}
	}
	return index, ok
}

// append gives the next index to e.
func (p *placement) append(e *engine.Entry) uint64 {
	index := p.next
	p.next++
	p.leaves = append(p.leaves, e.Leaf)
	for _, t := range e.Terms {
		if _, has := p.known[t]; has {
			continue // twice in e
		}
		p.known[t] = knownEntry{index, e.Leaf}
		p.terms = append(p.terms, t[:])
		p.termsIdx = append(p.termsIdx, index)
	}
	for _, m := range e.Marks {
		if _, has := p.newMarks[m]; !has {
			p.markedKeys = append(p.markedKeys, m)
		}
		p.newMarks[m], p.latest[m] = index, index
	}
	return index
}

// write writes what was placed, in one round trip.
func (p *placement) write(ctx context.Context, tx pgx.Tx) error {
	if len(p.leaves) == 0 {
		return nil
	}
	if p.next > math.MaxInt64 {
		return errors.New("the log has as many entries as the database can count")
	}
	var b pgx.Batch
	b.Queue("INSERT INTO queue (idx, leaf) SELECT $1 + n - 1, leaf FROM unnest($2::bytea[]) WITH ORDINALITY AS w (leaf, n)", p.first, p.leaves)
	b.Queue("INSERT INTO queue_terms (term, idx) SELECT * FROM unnest($1::bytea[], $2::bigint[])", p.terms, p.termsIdx)
	if len(p.markedKeys) > 0 {
		idx := make([]uint64, len(p.markedKeys))
		for i, m := range p.markedKeys {
			idx[i] = p.newMarks[m]
		}
		b.Queue(`INSERT INTO marks (mark, idx) SELECT * FROM unnest($1::bytea[], $2::bigint[])
			ON CONFLICT (mark) DO UPDATE SET idx = excluded.idx`, byteStrings(p.markedKeys), idx)
	}
	b.Queue("UPDATE queue_head SET next = $1", p.next)
	b.Queue("SELECT pg_notify($1, '')", placedChannel)
	return tx.SendBatch(ctx, &b).Close()
}

// Next implements engine.Sequence.
func (s *PostgresSequence) Next(ctx context.Context) (next uint64, err error) {
	err = s.pool.Read(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, "SELECT next FROM queue_head").Scan(&next) })
	if err != nil {
		return 0, fmt.Errorf("reading the next index: %w", err)
	}
	return next, nil
}

// Read implements engine.Sequence.
func (s *PostgresSequence) Read(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	if from > math.MaxInt64 {
		return nil, nil
	}
	var leaves [][]byte
	err := s.pool.Read(ctx, func(conn *pgx.Conn) (err error) {
		leaves, err = readQueue(ctx, conn, from, max(limit, 1))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading placed leaves: %w", err)
	}
	return leaves, nil
}

func readQueue(ctx context.Context, conn *pgx.Conn, from uint64, limit int) (leaves [][]byte, err error) {
	rows, err := conn.Query(ctx, `SELECT trimmed, q.idx, q.leaf FROM queue_tail LEFT JOIN LATERAL
		(SELECT idx, leaf FROM queue WHERE idx >= $1 ORDER BY idx LIMIT $2) q ON true ORDER BY q.idx`, from, limit)
	if err != nil {
		return nil, err
	}
	var trimmed uint64
	var idx *uint64
	var leaf []byte
	_, err = pgx.ForEachRow(rows, []any{&trimmed, &idx, &leaf}, func() error {
		want := from + uint64(len(leaves))
		switch {
		case trimmed > from:
			return fmt.Errorf("leaf %d left the queue, which begins at %d: %w", from, trimmed, engine.ErrNotFound)
		case idx == nil:
			return nil
		case *idx != want:
			return fmt.Errorf("the queue has no leaf %d, but %d", want, *idx)
		}
		leaves = append(leaves, leaf)
		return nil
	})
	return leaves, err
}

// Trim implements engine.Sequence. It refuses to remove what the index does not
// have.
func (s *PostgresSequence) Trim(ctx context.Context, below uint64) error {
	err := s.pool.InTx(ctx, func(tx pgx.Tx) error { return trim(ctx, tx, below) })
	if err != nil {
		return fmt.Errorf("removing the leaves below %d from the queue: %w", below, err)
	}
	return nil
}

func trim(ctx context.Context, tx pgx.Tx, below uint64) error {
	var trimmed uint64
	if err := tx.QueryRow(ctx, "SELECT trimmed FROM queue_tail FOR UPDATE").Scan(&trimmed); err != nil {
		return err
	}
	if below <= trimmed {
		return nil
	}
	size, err := sizeOfPostgres(tx.QueryRow(ctx, "SELECT version, size FROM index_head"))
	if err != nil {
		return err
	}
	if size < below {
		return fmt.Errorf("the index has %d entries", size)
	}
	// From where the last call ended: what that one removed may still be in the way.
	var b pgx.Batch
	b.Queue("DELETE FROM queue WHERE idx >= $1 AND idx < $2", trimmed, below)
	b.Queue("DELETE FROM queue_terms WHERE idx >= $1 AND idx < $2", trimmed, below)
	b.Queue("UPDATE queue_tail SET trimmed = $1", below)
	return tx.SendBatch(ctx, &b).Close()
}
