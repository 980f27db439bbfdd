package rebuilderd

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/verify"
)

// status is what the table has of an artifact. Of several, the least is that of
// the package. The values are stored.
type status int

const (
	bad status = iota
	unknown
	good
)

var statuses = [...]string{bad: "BAD", unknown: "UNKWN", good: "GOOD"}

// statusOf returns what rebuilderd calls a verdict. What is accepted only by an
// exception is not reproduced.
func statusOf(v verify.Verdict) status {
	switch v {
	case verify.VerdictReproduced:
		return good
	case verify.VerdictDiffers, verify.VerdictFailed:
		return bad
	}
	return unknown
}

const (
	judgeBatch = 16               // artifacts that are judged before the log is followed again
	retryAfter = 60 * time.Second // of an artifact that could not be judged
)

// judgeSome judges some of the artifacts that are due.
func (s *Service) judgeSome(ctx context.Context) error {
	due, err := texts(ctx, s.r, "SELECT digest FROM artifacts WHERE due <= ? ORDER BY due, digest LIMIT ?", s.cfg.Now().Unix(), judgeBatch)
	if err != nil {
		return fmt.Errorf("reading what is due: %w", err)
	}
	for _, d := range due {
		if err := s.judge(ctx, leaf.Digest(d)); err != nil {
			return err
		}
	}
	return nil
}

// texts returns the rows of one column.
func texts(ctx context.Context, db *sql.DB, query string, args ...any) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// judgement is what came of judging an artifact.
type judgement struct {
	status status
	due    int64         // when it is to be judged again
	needs  []leaf.Digest // the artifacts about which it says something to log anything
}

// judge judges an artifact, and remembers what came of it. That it could not be
// judged is no error: it is not known to be good, and tried again later.
func (s *Service) judge(ctx context.Context, artifact leaf.Digest) error {
	names, err := texts(ctx, s.r, "SELECT DISTINCT purl FROM packages WHERE artifact = ? ORDER BY purl LIMIT 64", string(artifact))
	if err != nil {
		return fmt.Errorf("reading the names of %s: %w", artifact, err)
	}
	at := s.cfg.Now().UTC().Truncate(time.Second)
	j, err := s.verdict(ctx, artifact, names, at)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.cfg.Warn(fmt.Errorf("judging %s: %w", artifact, err))
		// What it needs stays what it was: it is judged again anyway.
		j = &judgement{status: unknown, due: at.Add(retryAfter).Unix(), needs: []leaf.Digest{artifact}}
	}
	return store.InTx(ctx, s.w, func(tx *sql.Tx) error { return save(ctx, tx, artifact, j) })
}

func save(ctx context.Context, tx *sql.Tx, artifact leaf.Digest, j *judgement) error {
	if _, err := tx.ExecContext(ctx, "UPDATE artifacts SET status = ?, due = ? WHERE digest = ?", j.status, j.due, string(artifact)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM needs WHERE artifact = ?", string(artifact)); err != nil {
		return err
	}
	for _, d := range j.needs {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO needs (digest, artifact) VALUES (?, ?)", string(d), string(artifact)); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "UPDATE meta SET changes = changes + 1")
	return err
}

// verdict collects what is logged about an artifact and its ancestry, and decides
// as `cairn verify` does.
func (s *Service) verdict(ctx context.Context, artifact leaf.Digest, names []string, at time.Time) (*judgement, error) {
	b, err := s.cfg.Client.Collect(ctx, artifact, names, s.cfg.Policy, client.CollectOptions{})
	if err != nil {
		return nil, err
	}
	ev, err := verify.Open(b, s.cfg.Policy, at)
	if err != nil {
		return nil, err
	}
	r := verify.Artifact(verify.Question{Artifact: artifact, Names: names, Policy: s.cfg.Policy, At: at}, ev)
	j := &judgement{status: statusOf(r.Verdict), due: never, needs: []leaf.Digest{artifact}}
	for _, c := range ev.Claims() {
		for _, list := range [][]leaf.Digest{strong(c.Claim.Subjects), strong(c.Claim.Outputs), strong(c.Claim.Materials)} {
			j.needs = append(j.needs, list...)
		}
	}
	// A build may rest on an exception, until that is over.
	for _, x := range s.cfg.Policy.Exceptions() {
		if !x.Over(at) {
			j.due = min(j.due, x.Until.Unix())
		}
	}
	return j, nil
}

func strong(rs []attest.Resource) []leaf.Digest {
	var list []leaf.Digest
	for i := range rs {
		list = append(list, rs[i].Strong()...)
	}
	return list
}
