package survey

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// Bounds of what is told of rebuilders.
const (
	maxRebuilders   = 500
	maxEnvironments = 20
	maxLatest       = 100
	maxDays         = 366
)

// Rebuilders returns those who said something, the policy's first, without Days
// and Latest.
func (s *Survey) Rebuilders(ctx context.Context, limit int) ([]Profile, error) {
	var list []Profile
	err := s.inGlance(ctx, func(tx *sql.Tx, _ *glance) (err error) {
		q := &question{Survey: s, ctx: ctx, tx: tx}
		list, err = q.profiles("WHERE heard = 1 OR said > 0 ORDER BY heard DESC, said DESC, id LIMIT ?", max(0, min(limit, maxRebuilders)))
		return err
	})
	return list, err
}

// Profile returns all about one rebuilder.
func (s *Survey) Profile(ctx context.Context, key leaf.Fingerprint) (*Profile, error) {
	var p *Profile
	err := s.inGlance(ctx, func(tx *sql.Tx, _ *glance) error {
		q := &question{Survey: s, ctx: ctx, tx: tx}
		list, err := q.profiles("WHERE key = ?", string(key))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("key %.100s: %w", key, ErrNotFound)
		}
		p = &list[0]
		var id int64
		if _, err := q.row([]any{&id}, "SELECT id FROM keys WHERE key = ?", string(key)); err != nil {
			return err
		}
		if p.Days, err = q.days(id); err != nil {
			return err
		}
		p.Latest, err = q.scanStatements("SELECT "+statementColumns+" FROM statements s"+statementJoins+" WHERE s.key = ? ORDER BY s.entry DESC LIMIT ?", id, maxLatest)
		return err
	})
	return p, err
}

// profiles returns keys.
func (q *question) profiles(where string, args ...any) ([]Profile, error) {
	list := []Profile{}
	var ids []int64
	var id int64
	var p Profile
	var key leaf.Fingerprint
	var operator string
	err := q.each("SELECT id, key, operator, signed, inconclusive, failed, obtained, different, agrees, disagrees FROM keys "+where, args,
		[]any{&id, &key, &operator, &p.Words[Signed], &p.Words[Inconclusive], &p.Words[Failed], &p.Words[Obtained], &p.Words[Different], &p.Agrees, &p.Disagrees}, func() {
			p.Rebuilder = q.named(key, operator)
			list, ids = append(list, p), append(ids, id)
		})
	if err != nil {
		return nil, fmt.Errorf("reading rebuilders: %w", err)
	}
	for i := range list {
		p := &list[i]
		p.Days, p.Latest = []Day{}, []Statement{}
		if err := q.enrolment(p); err != nil {
			return nil, err
		}
		if p.Environments, err = q.environments(ids[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// enrolment fills in what the log says of a key.
func (q *question) enrolment(p *Profile) error {
	k, err := q.cfg.Index.Key(q.ctx, p.Key)
	if errors.Is(err, store.ErrNotFound) {
		return nil // its entries brought it
	}
	if err != nil {
		return fmt.Errorf("reading key %s: %w", p.Key, err)
	}
	p.URL, p.Enrolled, p.Revoked, p.Endorser = cut(k.URL, maxText), k.Enrolled, k.Revoked, k.Endorser
	return nil
}

func (q *question) environments(key int64) ([]Environment, error) {
	list := []Environment{}
	var text string
	var n int
	var failed error
	err := q.each("SELECT e.text, m.n FROM machines m JOIN environments e ON e.id = m.environment WHERE m.key = ? ORDER BY m.n DESC LIMIT ?",
		[]any{key, maxEnvironments}, []any{&text, &n}, func() {
			e := Environment{Statements: n}
			failed = errors.Join(failed, json.Unmarshal([]byte(text), &e.Values))
			list = append(list, e)
		})
	return list, errors.Join(err, failed)
}

// days returns the days of the last year on which a key logged something.
func (q *question) days(key int64) ([]Day, error) {
	list := []Day{}
	var day int64
	var word Word
	var n int
	since := q.cfg.Now().Unix()/86400 - maxDays
	err := q.each("SELECT day, word, n FROM days WHERE key = ? AND day > ? ORDER BY day", []any{key, since}, []any{&day, &word, &n}, func() {
		date := unix(day * 86400).Format(time.DateOnly)
		if len(list) == 0 || list[len(list)-1].Date != date {
			list = append(list, Day{Date: date})
		}
		list[len(list)-1].Words[word] += n
	})
	return list, err
}
