package store

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// PostgresIndex is an Index in the database that front ends share: one of them
// adds entries, all of them read. Its commits are not synced. What a crash of the
// server takes is read again from the log, and was in no published checkpoint: what
// the same database commits later and durably, as a publication, or that entries
// leave the queue, makes what was committed before durable too.
//
// While an index is rebuilt, Find, First and Entries fail with StorageUnavailable
// rather than answer with a part.
type PostgresIndex struct{ pool *postgres.Pool }

// OpenPostgresIndex returns the index in a database. The pool stays the caller's.
// An index of an earlier version is emptied: the log has it all.
func OpenPostgresIndex(ctx context.Context, pool *postgres.Pool) (*PostgresIndex, error) {
	if err := pool.InTx(ctx, func(tx pgx.Tx) error { return emptyIfOld(ctx, tx) }); err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	return &PostgresIndex{pool}, nil
}

func emptyIfOld(ctx context.Context, tx pgx.Tx) error {
	// Nothing is placed meanwhile: what asks the index sees all of it, or that it
	// is being rebuilt.
	if _, err := tx.Exec(ctx, lockQueue); err != nil {
		return err
	}
	var version int
	if err := tx.QueryRow(ctx, "SELECT version FROM index_head FOR UPDATE").Scan(&version); err != nil {
		return err
	}
	switch {
	case version > IndexVersion:
		return errIndexVersion(version)
	case version == IndexVersion:
		return nil
	}
	// TRUNCATE is seen by transactions that began before, so it is not for tables
	// that one transaction reads after another.
	_, err := tx.Exec(ctx, fmt.Sprintf(`TRUNCATE entries, terms; DELETE FROM keys; DELETE FROM endorsements; DELETE FROM key_changes;
		UPDATE index_head SET version = %d, size = 0`, IndexVersion))
	return err
}

func errIndexVersion(version int) error {
	return fmt.Errorf("the index has version %d, and this program knows %d: it was written by a newer one; upgrade this one", version, IndexVersion)
}

// indexState is a row of index_state.
type indexState struct {
	version       int
	size, trimmed uint64
}

// whole refuses an index of another version, and one that is being rebuilt.
func (s *indexState) whole() error {
	if s.version != IndexVersion {
		return errIndexVersion(s.version)
	}
	if s.size < s.trimmed {
		return &reason.Error{
			Reason: reason.StorageUnavailable, RetryAfter: retryRebuilt,
			Message: fmt.Sprintf("the index is being rebuilt: it has %d of %d entries", s.size, s.trimmed),
		}
	}
	return nil
}

// Size implements Index.
func (x *PostgresIndex) Size(ctx context.Context) (uint64, error) {
	var size uint64
	err := x.pool.Read(ctx, func(conn *pgx.Conn) (err error) {
		size, err = sizeOfPostgres(conn.QueryRow(ctx, "SELECT version, size FROM index_head"))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reading the size of the index: %w", err)
	}
	return size, nil
}

func sizeOfPostgres(row pgx.Row) (uint64, error) {
	var s indexState
	if err := row.Scan(&s.version, &s.size); err != nil {
		return 0, err
	}
	if s.version != IndexVersion {
		return 0, errIndexVersion(s.version)
	}
	return s.size, nil
}

// Add implements Index. Entries that are there are out of order, also for a front
// end that took over from another one whose Add was under way: it asks for Size and
// goes on from there. That whoever added them was replaced does not matter, since
// entries only follow the log.
func (x *PostgresIndex) Add(ctx context.Context, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	rows := termRows(entries)
	err := x.pool.InTx(ctx, func(tx pgx.Tx) error { return addEntries(ctx, tx, entries, rows) })
	if err != nil {
		return fmt.Errorf("indexing %d entries: %w", len(entries), err)
	}
	return nil
}

func addEntries(ctx context.Context, tx pgx.Tx, entries []Entry, rows []termRow) error {
	var b pgx.Batch
	b.Queue("SET LOCAL synchronous_commit = off")
	b.Queue("SELECT version, size FROM index_head FOR UPDATE").QueryRow(func(row pgx.Row) error {
		size, err := sizeOfPostgres(row)
		if err != nil {
			return err
		}
		return inOrder(entries, size)
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	var after pgx.Batch
	queueRows(&after, entries, rows)
	for i := range entries {
		queueKeys(&after, &entries[i])
	}
	after.Queue("UPDATE index_head SET size = $1", entries[len(entries)-1].Index+1)
	return tx.SendBatch(ctx, &after).Close()
}

// queueRows queues the rows of entries. They go by arrays and not by COPY, which
// would ask for the types of the columns first, each time, while a publication waits.
func queueRows(b *pgx.Batch, entries []Entry, rows []termRow) {
	texts := make([][]byte, len(entries))
	for i := range entries {
		texts[i] = entries[i].Text
	}
	terms, indexes := make([][]byte, len(rows)), make([]uint64, len(rows))
	for i := range rows {
		terms[i], indexes[i] = rows[i].term[:], rows[i].idx
	}
	b.Queue("INSERT INTO entries (idx, leaf) SELECT $1 + n - 1, leaf FROM unnest($2::bytea[]) WITH ORDINALITY AS w (leaf, n)", entries[0].Index, texts)
	b.Queue("INSERT INTO terms (term, idx) SELECT * FROM unnest($1::bytea[], $2::bigint[])", terms, indexes)
}

// queueKeys queues what an entry changes about keys.
func queueKeys(b *pgx.Batch, e *Entry) {
	c := e.Keys
	if c == nil {
		return
	}
	b.Queue("INSERT INTO key_changes (idx) VALUES ($1)", e.Index)
	b.Queue(`INSERT INTO keys (fingerprint, pem, operator, url, enrolled, endorser, revoked, withdrawn, changed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (fingerprint) DO UPDATE SET (pem, operator, url, enrolled, endorser, revoked, withdrawn, changed) =
		(excluded.pem, excluded.operator, excluded.url, excluded.enrolled, excluded.endorser, excluded.revoked, excluded.withdrawn, excluded.changed)`,
		keyRow(&c.Key)...)
	if c.Ended || c.Withdrawn != "" {
		b.Queue("DELETE FROM endorsements WHERE key = $1 AND ($2 OR endorser = $3)", string(c.Key.Fingerprint), c.Ended, string(c.Withdrawn))
	}
	if c.Endorsed != nil {
		b.Queue("INSERT INTO endorsements (key, endorser, idx, operator, url) VALUES ($1, $2, $3, $4, $5)", endorsementRow(c.Endorsed)...)
	}
}

// Find implements Index.
func (x *PostgresIndex) Find(ctx context.Context, t Term, from uint64, limit int) ([]uint64, error) {
	if from > math.MaxInt64 {
		return nil, nil
	}
	indexes, err := x.answer(ctx, `SELECT version, size, trimmed, f.idx FROM index_state LEFT JOIN LATERAL
		(SELECT idx FROM terms WHERE term = $1 AND idx >= $2 ORDER BY idx LIMIT $3) f ON true ORDER BY f.idx`,
		t[:], from, limit)
	if err != nil {
		return nil, fmt.Errorf("looking up entries: %w", err)
	}
	if len(indexes) == 1 && indexes[0] == NoEntry {
		return nil, nil
	}
	return indexes, nil
}

// First implements Index.
func (x *PostgresIndex) First(ctx context.Context, terms []Term) ([]uint64, error) {
	indexes, err := x.answer(ctx, `SELECT version, size, trimmed, f.idx
		FROM index_state CROSS JOIN unnest($1::bytea[]) WITH ORDINALITY AS w (term, n)
		LEFT JOIN LATERAL (SELECT idx FROM terms WHERE terms.term = w.term ORDER BY idx LIMIT 1) f ON true ORDER BY w.n`,
		byteStrings(terms))
	if err != nil {
		return nil, fmt.Errorf("looking up entries: %w", err)
	}
	return indexes, nil
}

// byteStrings returns hashes as the driver takes them.
func byteStrings[H ~[TermSize]byte](hashes []H) [][]byte {
	b := make([][]byte, len(hashes))
	for i := range hashes {
		b[i] = hashes[i][:]
	}
	return b
}

// answer runs a query whose rows are the state of the index and an index or null,
// which is NoEntry, and fails if that state is not whole.
func (x *PostgresIndex) answer(ctx context.Context, query string, args ...any) (indexes []uint64, err error) {
	err = x.pool.Read(ctx, func(conn *pgx.Conn) error {
		indexes = nil
		rows, err := conn.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		var s indexState
		var idx *uint64
		_, err = pgx.ForEachRow(rows, []any{&s.version, &s.size, &s.trimmed, &idx}, func() error {
			if idx == nil {
				indexes = append(indexes, NoEntry)
			} else {
				indexes = append(indexes, *idx)
			}
			return s.whole()
		})
		return err
	})
	return indexes, err
}

// Entries implements Index.
func (x *PostgresIndex) Entries(ctx context.Context, indexes []uint64) ([]Entry, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	for _, i := range indexes {
		if i > math.MaxInt64 {
			return nil, fmt.Errorf("entry %d: %w", i, ErrNotFound)
		}
	}
	var entries []Entry
	err := x.pool.Read(ctx, func(conn *pgx.Conn) (err error) {
		entries, err = entriesOf(ctx, conn, indexes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading entries: %w", err)
	}
	return entries, nil
}

func entriesOf(ctx context.Context, conn *pgx.Conn, indexes []uint64) ([]Entry, error) {
	rows, err := conn.Query(ctx, `SELECT version, size, trimmed, e.leaf
		FROM index_state CROSS JOIN unnest($1::bigint[]) WITH ORDINALITY AS w (idx, n)
		LEFT JOIN LATERAL (SELECT leaf FROM entries WHERE entries.idx = w.idx LIMIT 1) e ON true ORDER BY w.n`, indexes)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(indexes))
	var s indexState
	var text []byte
	_, err = pgx.ForEachRow(rows, []any{&s.version, &s.size, &s.trimmed, &text}, func() error {
		if err := s.whole(); err != nil {
			return err
		}
		i := indexes[len(entries)]
		if text == nil {
			return fmt.Errorf("entry %d: %w", i, ErrNotFound)
		}
		entries = append(entries, Entry{Index: i, Text: text})
		return nil
	})
	return entries, err
}

// Key implements Index.
func (x *PostgresIndex) Key(ctx context.Context, fp leaf.Fingerprint) (*Key, error) {
	var k *Key
	err := x.pool.Read(ctx, func(conn *pgx.Conn) (err error) {
		k, err = ScanKey(conn.QueryRow(ctx, SelectKeys+"WHERE fingerprint = $1", string(fp)))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("key %s: %w", fp, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", fp, err)
	}
	return k, nil
}

func collect[T any](ctx context.Context, tx pgx.Tx, query string, scan func(Row) (*T, error)) ([]T, error) {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows([]T(nil), rows, func(row pgx.CollectableRow) (t T, err error) {
		p, err := scan(row)
		if err == nil {
			t = *p
		}
		return t, err
	})
}

// Close implements Index. The pool stays open.
func (x *PostgresIndex) Close() error { return nil }
