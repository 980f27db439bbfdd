// Package survey keeps a table of what a log says, for those who look rather than
// ask: which packages there are, who obtained them by building and who did not, how
// they stand by a policy that the ledger's operator names, what they are made from,
// and how the log and its witnesses' cosignatures grew.
//
// It follows the log, and judges an artifact again when somebody whom the policy
// hears logs something about it or its ancestry. Requests only read the table. The
// table can be deleted: it follows from the log.
//
// Invariants:
//   - A verdict is that of `cairn verify` by the policy, of an artifact by its own
//     digest alone: by another one that a claim gives it, none is told, and an exception
//     for a name that a claim gives it does not hold. Until an artifact is judged,
//     after an error, and where no policy names rebuilders, it is unproven or untried,
//     never good.
//   - Who is no rebuilder of the policy changes no verdict, and displaces nothing that
//     a rebuilder of it said. What others say is kept apart, as unheard.
//   - Texts in it are as their signers wrote them, within bounds: who shows them must
//     make them fit to be shown.
//   - A table of another log, or of more than this log has, answers nothing: a log of the
//     same origin may have been put in its place.
//   - While the log is not followed, or its checkpoint is not one that the policy
//     accepts, no verdict is told but unproven; nor is one that rested on an exception
//     of the policy that is over.
//   - A question costs a bounded number of rows, whatever the log holds; but to find
//     names by a part of them, names are passed over, for a bounded time.
package survey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/store"
)

// ErrNotFound is returned for packages, artifacts and keys that the log does not have.
var ErrNotFound = errors.New("not in the log")

// Config is what a Survey works with.
type Config struct {
	Path   string // of the database
	Origin string // of the log
	// Policy says whose claims count, and what is enough of them. If it names no
	// rebuilder, or is nil, nobody is heard and nothing is judged.
	Policy *policy.Policy
	// Client reads the log, and Index its leaves.
	Client *client.Client
	Index  store.Index
	// Archive has the published checkpoints; nil for none. Of their signatures,
	// those count that keys of Trust made: the ledger's policy.
	Archive Archive
	Trust   *policy.Policy
	// Latest returns the checkpoint that was published last, or why there is none.
	Latest func() (*checkpoint.Published, error)
	// Published returns the number of published entries, once it is at least
	// this.
	Published func(ctx context.Context, least uint64) (uint64, error)
	Now       func() time.Time
	// Warn is told what is tried again, and what is passed over.
	Warn func(error)
}

// Archive is the archive of published checkpoints, in the segments that package
// checkpoint describes.
type Archive interface {
	// Segment opens a segment for reading. It wraps fs.ErrNotExist if there is none
	// of that number.
	Segment(ctx context.Context, n uint64) (io.ReadSeekCloser, error)
}

// Survey keeps the table, and answers from it. Its questions may be asked
// concurrently; Run or Step is called by one.
type Survey struct {
	cfg     Config
	heard   []policy.Rebuilder         // none if nobody is heard
	ids     map[leaf.Fingerprint]int64 // of those who are heard, in the table of keys
	w, r    *sql.DB
	current atomic.Int64 // when the log was last followed to its end, in Unix seconds; 0 for never
	scanned atomic.Uint64
	ours    bool // whether the table was held to the log, by who calls Step

	mu      sync.Mutex
	opened  *openedCheckpoint // the latest, as it was verified
	glanced *glance           // of one state of the table
	counted map[string]*tally // of filters by text, of the same state

	searches chan struct{}
}

// Open opens the table, and creates it if it is missing. One that was made under
// another policy, or by another version, is made anew.
func Open(ctx context.Context, cfg Config) (*Survey, error) {
	if err := registered(); err != nil {
		return nil, fmt.Errorf("adding to SQLite: %w", err)
	}
	w, r, err := store.OpenSQLite(ctx, cfg.Path, "NORMAL", metaSchema)
	if err != nil {
		return nil, err
	}
	// What is written is little at a time; memory is better used elsewhere.
	if _, err := w.ExecContext(ctx, "PRAGMA cache_size(-8192)"); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", cfg.Path, err), w.Close(), r.Close())
	}
	s := &Survey{cfg: cfg, w: w, r: r, ids: make(map[leaf.Fingerprint]int64), searches: make(chan struct{}, maxSearches)}
	if cfg.Policy != nil {
		s.heard = cfg.Policy.Rebuilders()
	}
	for i, b := range s.heard {
		s.ids[b.Key] = int64(i) + 1
	}
	if err := store.InTx(ctx, w, func(tx *sql.Tx) error { return s.begin(ctx, tx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", cfg.Path, err), s.Close())
	}
	return s, nil
}

// begin makes the table that of the log and the policy.
func (s *Survey) begin(ctx context.Context, tx *sql.Tx) error {
	var origin, policy string
	var version int
	err := tx.QueryRowContext(ctx, "SELECT origin, policy, version FROM meta").Scan(&origin, &policy, &version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && origin != s.cfg.Origin {
		return fmt.Errorf("it is of log %q, and not of %q: name another file", origin, s.cfg.Origin)
	}
	judgedBy := ""
	if len(s.heard) > 0 {
		judgedBy = s.cfg.Policy.String()
	}
	if err == nil && policy == judgedBy && version == schemaVersion {
		return nil
	}
	for _, table := range tables {
		if _, err := tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+table); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	for i, b := range s.heard {
		if _, err := tx.ExecContext(ctx, "INSERT INTO keys (id, key, heard, operator) VALUES (?, ?, 1, ?)", i+1, string(b.Key), b.Operator); err != nil {
			return err
		}
	}
	// What clients know under a number of changes must not come again.
	_, err = tx.ExecContext(ctx, `INSERT INTO meta (one, origin, policy, version, scanned, changes, heard, segment, offset) VALUES (1, ?, ?, ?, 0, 0, 0, 0, 0)
		ON CONFLICT (one) DO UPDATE SET policy = excluded.policy, version = excluded.version, scanned = 0, changes = changes + 1, heard = heard + 1,
			segment = 0, offset = 0`, s.cfg.Origin, judgedBy, schemaVersion)
	return err
}

// Close closes the table.
func (s *Survey) Close() error { return errors.Join(s.r.Close(), s.w.Close()) }

// never is when what is settled is judged again.
const never = int64(1) << 62

// pauseAfter is waited after a failure.
const pauseAfter = 5 * time.Second

// archivePause is between two looks at the archive: late cosignatures come without
// an entry.
const archivePause = 5 * time.Second

// Run follows the log and the archive, and judges, until ctx is done.
func (s *Survey) Run(ctx context.Context) {
	s.tryArchive(ctx) // which tells when the entries were published
	var archive sync.WaitGroup
	defer archive.Wait()
	archive.Go(func() {
		for tick := time.NewTicker(archivePause); ; {
			select {
			case <-tick.C:
				s.tryArchive(ctx)
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	})
	for ctx.Err() == nil {
		if err := s.Step(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Warn(fmt.Errorf("keeping the table of packages: %w", err))
			select {
			case <-time.After(pauseAfter):
			case <-ctx.Done():
			}
		}
	}
}

// Step follows the log to its end, and judges some of what is due. If nothing is,
// it waits for an entry, or until something is due.
func (s *Survey) Step(ctx context.Context) error {
	if err := s.claim(ctx); err != nil {
		return err
	}
	due, err := s.nextDue(ctx)
	if err != nil {
		return err
	}
	if err := s.wait(ctx, due); err != nil {
		return err
	}
	if err := s.expire(ctx); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	return s.judgeSome(ctx)
}

// nextDue returns when something is to be judged next.
func (s *Survey) nextDue(ctx context.Context) (int64, error) {
	var due int64
	if err := s.r.QueryRowContext(ctx, "SELECT coalesce(min(due), ?) FROM artifacts WHERE heard = 1", never).Scan(&due); err != nil {
		return 0, fmt.Errorf("reading what is due: %w", err)
	}
	return due, nil
}

// wait returns when there is an entry to follow, or something due.
func (s *Survey) wait(ctx context.Context, due int64) error {
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

func (s *Survey) readScanned(ctx context.Context) (uint64, error) {
	var next uint64
	if err := s.r.QueryRowContext(ctx, "SELECT scanned FROM meta").Scan(&next); err != nil {
		return 0, fmt.Errorf("reading how far the log was followed: %w", err)
	}
	s.scanned.Store(next)
	return next, nil
}
