package survey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

// staleAfter is how long entries may be published without being looked at before no
// verdict is told any more.
const staleAfter = 5 * time.Minute

// openedCheckpoint is a published checkpoint, as it was verified by the policy.
type openedCheckpoint struct {
	*checkpoint.Published
	origin string
	sigs   []note.Signature
	err    error
}

// Hears reports whether there is anybody who is heard.
func (s *Survey) Hears() bool { return len(s.heard) > 0 }

// Answerable returns why verdicts cannot be relied on now, or nil. Beside that, one
// that is due is not known.
func (s *Survey) Answerable() error {
	latest, err := s.cfg.Latest()
	if err != nil {
		return err
	}
	scanned, now := s.scanned.Load(), s.cfg.Now()
	current := s.current.Load()
	if current == 0 || scanned < uint64(latest.N) && now.Sub(time.Unix(current, 0)) > staleAfter {
		return fmt.Errorf("the verdicts are behind: %d of %d entries were looked at", scanned, latest.N)
	}
	if len(s.heard) == 0 {
		return nil // there are no verdicts
	}
	c := s.open(latest)
	err = c.err
	if err == nil {
		err = s.cfg.Policy.CheckAt(c.origin, c.sigs, now)
	}
	if err != nil {
		return fmt.Errorf("the ledger's checkpoint does not satisfy the policy for verdicts: %w", err)
	}
	return nil
}

// open verifies a checkpoint, each once.
func (s *Survey) open(p *checkpoint.Published) *openedCheckpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil || s.opened.Published != p {
		c, sigs, err := tlogproof.Open(p.Signed, s.cfg.Policy)
		s.opened = &openedCheckpoint{p, c.Origin, sigs, err}
	}
	return s.opened
}

var errExpired = errors.New("an exception of the policy is over, and what may have rested on it is being judged again")

// problem returns why no verdict is told now, or nil.
func (s *Survey) problem(ctx context.Context) (error, error) {
	if err := s.Answerable(); err != nil {
		return err, nil
	}
	expired, err := s.expired(ctx)
	if expired {
		return errExpired, err
	}
	return nil, err
}

// told is what is told of verdicts: nothing, while there is a problem.
type told struct{ nothing bool }

func (s *Survey) told(ctx context.Context) (told, error) {
	problem, err := s.problem(ctx)
	return told{problem != nil || err != nil}, err
}

func (t told) verdict(v verify.Verdict) verify.Verdict {
	if t.nothing {
		return verify.VerdictUnproven
	}
	return v
}

// counts makes counts those of what is told.
func (t told) counts(c Counts) Counts {
	if !t.nothing {
		return c
	}
	var all Counts
	for _, n := range c {
		all[verify.VerdictUnproven] += n
	}
	return all
}

// State says how far the table follows the log.
func (s *Survey) State(ctx context.Context) (State, error) {
	var st State
	err := s.r.QueryRowContext(ctx, "SELECT scanned, policy, (SELECT count(*) FROM artifacts WHERE heard = 1 AND due <= ?) FROM meta", s.cfg.Now().Unix()).
		Scan(&st.Scanned, &st.Policy, &st.Due)
	if err != nil {
		return State{}, err
	}
	if current := s.current.Load(); current != 0 {
		st.Current = unix(current)
	}
	st.Problem, err = s.problem(ctx)
	return st, err
}

// Listing is the artifacts that somebody who is heard claims to have built, by their
// names: one state of them.
type Listing struct {
	Scanned uint64 // entries that were looked at
	Changes uint64 // by who is heard; the same for the same state
	Due     int64  // artifacts that are to be judged again
	tx      *sql.Tx
	now     int64
}

// Named is an artifact by one of its names.
type Named struct {
	Package  string // look-up name
	Artifact leaf.Digest
	// Verdict is that of the artifact; unproven for one that was reproduced and is to be
	// judged again.
	Verdict verify.Verdict
	Entry   uint64 // the first that names it so
}

// List returns a Listing, which must be closed.
func (s *Survey) List(ctx context.Context) (*Listing, error) {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	l := &Listing{tx: tx, now: s.cfg.Now().Unix()}
	err = tx.QueryRowContext(ctx, "SELECT scanned, heard, (SELECT count(*) FROM artifacts WHERE heard = 1 AND due <= ?) FROM meta", l.now).Scan(&l.Scanned, &l.Changes, &l.Due)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Each calls f with what is named in a distribution.
func (l *Listing) Each(ctx context.Context, distribution string, f func(Named)) error {
	var n Named
	var due int64
	rows, err := l.tx.QueryContext(ctx, `SELECT p.name, a.digest, a.verdict, a.due, n.built - 1
		FROM packages p INDEXED BY packages_by_name JOIN named n ON n.package = p.id AND n.built > 0 JOIN artifacts a ON a.id = n.artifact
		WHERE p.listed = 1 AND p.distribution = ? ORDER BY p.name`, distribution)
	return eachRow(rows, err, []any{&n.Package, &n.Artifact, &n.Verdict, &due, &n.Entry}, func() {
		if due <= l.now && n.Verdict == verify.VerdictReproduced {
			n.Verdict = verify.VerdictUnproven
		}
		f(n)
	})
}

// Close ends the Listing.
func (l *Listing) Close() error { return l.tx.Rollback() }
