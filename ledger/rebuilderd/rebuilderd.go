// Package rebuilderd answers what rebuilderd's clients ask, from a ledger's own
// verdicts: GET /api/v0/pkgs/list, under a policy that the ledger's operator names.
//
// It follows the log, keeps a table of the packages that the policy's rebuilders
// name, and judges each artifact again when one of them logs something about it or
// its ancestry. Requests only read the table. The table can be deleted: it follows
// from the log.
//
// Invariants:
//   - A package is GOOD only if the verdict about each artifact that goes by its
//     name and version is reproduced, BAD if one of them differs or failed, and
//     else UNKWN: as long as it is not judged, and after an error, too.
//   - Who is no rebuilder of the policy changes nothing: neither what is listed
//     nor how.
//   - Nothing is answered that was judged on a checkpoint that the policy does not
//     accept now, nor while the log is not followed.
//   - A request costs one pass over the table, and few are served at once.
package rebuilderd

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/store"
)

// Config is what a Service works with.
type Config struct {
	Path   string // of the database
	Origin string // of the log
	// Policy says whose claims count, and what is enough of them. It must name
	// the log and rebuilders.
	Policy *policy.Policy
	// Client reads the log, and Index its leaves.
	Client *client.Client
	Index  store.Index
	// Latest returns the checkpoint that was published last, or why there is none.
	Latest func() (*checkpoint.Published, error)
	// Published returns the number of published entries, once it is at least
	// this.
	Published func(ctx context.Context, least uint64) (uint64, error)
	Now       func() time.Time
	// Warn is told what is tried again.
	Warn func(error)
}

// Service keeps the table, and is the handler of requests.
type Service struct {
	cfg      Config
	w, r     *sql.DB
	current  atomic.Int64 // when the log was last followed to its end, in Unix seconds; 0 for never
	scanned  atomic.Uint64
	requests chan struct{}
}

// maxRequests is how many requests are served at once: each may be of the whole
// table. The database has one more reader, which follows the log.
const maxRequests = 3

const schema = `
CREATE TABLE IF NOT EXISTS meta (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	origin  TEXT NOT NULL,
	policy  TEXT NOT NULL,
	scanned INTEGER NOT NULL,
	changes INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS packages (
	distro       TEXT NOT NULL,
	name         TEXT NOT NULL,
	version      TEXT NOT NULL,
	architecture TEXT NOT NULL,
	artifact     TEXT NOT NULL,
	url          TEXT NOT NULL,
	purl         TEXT NOT NULL,
	logged       INTEGER NOT NULL,
	PRIMARY KEY (distro, name, version, architecture, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS packages_by_artifact ON packages (artifact);
CREATE TABLE IF NOT EXISTS artifacts (
	digest TEXT PRIMARY KEY,
	status INTEGER NOT NULL,
	due    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS artifacts_by_due ON artifacts (due);
CREATE TABLE IF NOT EXISTS needs (
	digest   TEXT NOT NULL,
	artifact TEXT NOT NULL,
	PRIMARY KEY (digest, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS needs_by_artifact ON needs (artifact);
PRAGMA user_version = 1`

// Open opens the table, and creates it if it is missing. One that was made under
// another policy is made anew.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	if len(cfg.Policy.Rebuilders()) == 0 {
		return nil, errors.New("the policy for rebuilderd's clients names no rebuilder: by it, nothing is ever reproduced")
	}
	w, r, err := store.OpenSQLite(ctx, cfg.Path, "NORMAL", schema)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, w: w, r: r, requests: make(chan struct{}, maxRequests)}
	if err := store.InTx(ctx, w, func(tx *sql.Tx) error { return s.begin(ctx, tx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", cfg.Path, err), s.Close())
	}
	return s, nil
}

// begin makes the table that of the log and the policy.
func (s *Service) begin(ctx context.Context, tx *sql.Tx) error {
	var origin, policy string
	err := tx.QueryRowContext(ctx, "SELECT origin, policy FROM meta").Scan(&origin, &policy)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && origin != s.cfg.Origin {
		return fmt.Errorf("it is of log %q, and not of %q: name another file", origin, s.cfg.Origin)
	}
	if err == nil && policy == s.cfg.Policy.String() {
		return nil
	}
	for _, stmt := range []string{"DELETE FROM packages", "DELETE FROM artifacts", "DELETE FROM needs"} {
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	// What clients know under a number of changes must not come again.
	_, err = tx.ExecContext(ctx, `INSERT INTO meta (one, origin, policy, scanned, changes) VALUES (1, ?, ?, 0, 0)
		ON CONFLICT (one) DO UPDATE SET policy = excluded.policy, scanned = 0, changes = changes + 1`, s.cfg.Origin, s.cfg.Policy.String())
	return err
}

// Close closes the table.
func (s *Service) Close() error { return errors.Join(s.r.Close(), s.w.Close()) }

// never is when what is settled is judged again.
const never = int64(1) << 62

// pauseAfter is waited after a failure.
const pauseAfter = 5 * time.Second

// Run follows the log and judges until ctx is done.
func (s *Service) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.Step(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Warn(fmt.Errorf("keeping the table for rebuilderd's clients: %w", err))
			select {
			case <-time.After(pauseAfter):
			case <-ctx.Done():
			}
		}
	}
}

// Step follows the log to its end, and judges some of what is due. If nothing is,
// it waits for an entry, or until something is due.
func (s *Service) Step(ctx context.Context) error {
	due, err := s.nextDue(ctx)
	if err != nil {
		return err
	}
	if err := s.wait(ctx, due); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	return s.judgeSome(ctx)
}

// nextDue returns when something is to be judged next.
func (s *Service) nextDue(ctx context.Context) (int64, error) {
	var due int64
	if err := s.r.QueryRowContext(ctx, "SELECT coalesce(min(due), ?) FROM artifacts", never).Scan(&due); err != nil {
		return 0, fmt.Errorf("reading what is due: %w", err)
	}
	return due, nil
}

// wait returns when there is an entry to follow, or something due.
func (s *Service) wait(ctx context.Context, due int64) error {
	next, err := s.readScanned(ctx)
	if err != nil {
		return err
	}
	left := time.Unix(due, 0).Sub(s.cfg.Now())
	if due < never && left <= 0 {
		return nil
	}
	waiting := ctx
	if due < never {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	latest, err := s.cfg.Latest()
	if err == nil && uint64(latest.N) == next {
		s.current.Store(s.cfg.Now().Unix()) // before it waits, perhaps for long
	}
	if _, err := s.cfg.Published(waiting, next+1); err != nil && (ctx.Err() != nil || waiting.Err() == nil) {
		return err
	}
	return nil
}

func (s *Service) readScanned(ctx context.Context) (uint64, error) {
	var next uint64
	if err := s.r.QueryRowContext(ctx, "SELECT scanned FROM meta").Scan(&next); err != nil {
		return 0, fmt.Errorf("reading how far the log was followed: %w", err)
	}
	s.scanned.Store(next)
	return next, nil
}
