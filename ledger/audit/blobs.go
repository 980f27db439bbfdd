package audit

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Bounds of what is read ahead.
const (
	blobPage     = 512
	maxAhead     = 4096     // attestations
	aheadPages   = 6        // for one that is not there
	maxAheadSize = 64 << 20 // bytes
)

// blobs reads a ledger's attestations. They were stored in the order in which
// they were logged, or nearly, and looking each up would cost several times what
// reading them in their order does. So the table is read from front to back, and
// what is asked for out of order is looked up.
type blobs struct {
	path   string
	db     *sql.DB
	page   *sql.Stmt
	lookup *sql.Stmt

	next  int64 // the row to read next
	began bool
	ended bool
	ahead map[[32]byte][]byte
	order [][32]byte // of ahead, oldest first
	size  int
}

func newBlobs(path string) *blobs {
	return &blobs{path: path, ahead: make(map[[32]byte][]byte)}
}

func (b *blobs) open(ctx context.Context) error {
	if b.db != nil {
		return nil
	}
	db, err := openDatabase(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoAttestations
	}
	if err != nil {
		return damagedDatabase(ctx, ledgerBlobs, err)
	}
	// One that is longer than any attestation is not read.
	const bytes = "CASE WHEN length(bytes) <= ? THEN bytes ELSE x'' END"
	if b.page, err = db.PrepareContext(ctx, "SELECT id, sha256, "+bytes+" FROM blobs WHERE id >= ? ORDER BY id LIMIT ?"); err == nil {
		b.lookup, err = db.PrepareContext(ctx, "SELECT id, "+bytes+" FROM blobs WHERE sha256 = ?")
	}
	if err != nil {
		return errors.Join(damagedDatabase(ctx, ledgerBlobs, err), db.Close())
	}
	b.db = db
	return nil
}

// get returns attestations, nil for each that is missing.
func (b *blobs) get(ctx context.Context, envelopes []leaf.Digest) ([][]byte, error) {
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	raws := make([][]byte, len(envelopes))
	for i, e := range envelopes {
		var err error
		if raws[i], err = b.one(ctx, [32]byte(e.Bytes())); err != nil {
			return nil, damagedDatabase(ctx, ledgerBlobs, err)
		}
	}
	return raws, nil
}

func (b *blobs) one(ctx context.Context, key [32]byte) ([]byte, error) {
	if !b.began { // perhaps behind the first, in an audit that goes on
		b.began = true
		id, raw, err := b.find(ctx, key)
		if err != nil || raw == nil {
			return raw, err
		}
		b.next = id + 1
		return raw, nil
	}
	for pages := 0; ; pages++ {
		if raw, ok := b.ahead[key]; ok {
			delete(b.ahead, key)
			b.size -= len(raw)
			return raw, nil
		}
		if b.ended || pages == aheadPages {
			_, raw, err := b.find(ctx, key)
			return raw, err
		}
		if err := b.read(ctx); err != nil {
			return nil, err
		}
	}
}

func (b *blobs) find(ctx context.Context, key [32]byte) (id int64, raw []byte, err error) {
	err = b.lookup.QueryRowContext(ctx, attest.MaxEnvelope, key[:]).Scan(&id, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err == nil && raw == nil {
		raw = []byte{}
	}
	return id, raw, err
}

// read reads a page ahead.
func (b *blobs) read(ctx context.Context) error {
	rows, err := b.page.QueryContext(ctx, attest.MaxEnvelope, b.next, blobPage)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var key sql.RawBytes
		var raw []byte
		if err := rows.Scan(&b.next, &key, &raw); err != nil {
			return err
		}
		b.next++
		n++
		if len(key) == 32 {
			b.keep([32]byte(key), raw)
		}
	}
	b.ended = n < blobPage
	return rows.Err()
}

// keep keeps an attestation for when it is asked for, and lets the oldest go if
// there are too many.
func (b *blobs) keep(key [32]byte, raw []byte) {
	if raw == nil {
		raw = []byte{}
	}
	b.ahead[key] = raw
	b.order = append(b.order, key)
	b.size += len(raw)
	for len(b.order) > 0 && (len(b.ahead) > maxAhead || b.size > maxAheadSize || len(b.order) > 4*maxAhead) {
		oldest := b.order[0]
		b.order = b.order[1:]
		if raw, ok := b.ahead[oldest]; ok && oldest != key {
			delete(b.ahead, oldest)
			b.size -= len(raw)
		}
	}
}

func (b *blobs) close() error {
	if b.db == nil {
		return nil
	}
	return errors.Join(b.page.Close(), b.lookup.Close(), b.db.Close())
}
