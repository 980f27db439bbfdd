package queue

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	defaultAttempts = 5
	maxAttempts     = 20
	// pruneEvery is after how many new jobs the oldest are looked at.
	pruneEvery = 64
	// maxPageBytes bounds a list; at least one job is given.
	maxPageBytes = 1 << 20
)

// Add queues a job. by is the name of the token's bearer, whose request ids are
// apart from those of others. If there is a job of the same request, it is the
// answer. Refusals are *reason.Error.
func (q *Queue) Add(ctx context.Context, req *cairnv1.QueueBuildRequest, by string) (b *cairnv1.Build, created bool, err error) {
	if err := q.forms.checkQueue(req); err != nil {
		return nil, false, err
	}
	err = q.write(ctx, func(t *tx) error {
		request := ""
		if req.GetRequestId() != "" {
			request = "bearer " + by + " " + req.GetRequestId()
		}
		b, created, err = t.add(context.WithoutCancel(ctx), req, by, request, q.cfg.MaxOpen)
		return err
	})
	return b, created, err
}

// add queues a job, unless there is one of the same request; empty is of none.
func (t *tx) add(ctx context.Context, req *cairnv1.QueueBuildRequest, by, request string, maxOpen int) (b *cairnv1.Build, created bool, err error) {
	if request != "" {
		j, err := scanJob(t.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE request = ?", request))
		if err == nil {
			return j.Build, false, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return nil, false, fmt.Errorf("looking for the request's build: %w", err)
		}
	}
	if err := t.room(ctx, maxOpen); err != nil {
		return nil, false, err
	}
	b = &cairnv1.Build{
		Spec: proto.CloneOf(req.GetSpec()), State: StateQueued, QueuedBy: by,
		MaxAttempts: req.GetMaxAttempts(), QueueTime: timestamppb.New(t.now),
	}
	if b.MaxAttempts == 0 {
		b.MaxAttempts = defaultAttempts
	}
	s := b.GetSpec()
	r, err := t.ExecContext(ctx, `INSERT INTO jobs (request, state, package, platform, engine, tree, priority, wake, token, ended, build)
		VALUES (nullif(?, ''), '', ?, ?, ?, ?, ?, 0, '', '', x'')`, request, s.GetPackage(), s.GetPlatform(), s.GetEngine(), s.GetTreeDigest(), s.GetPriority())
	if err != nil {
		return nil, false, fmt.Errorf("queueing a build: %w", err)
	}
	if b.Id, err = r.LastInsertId(); err != nil {
		return nil, false, err
	}
	for _, who := range excluded(s.GetExcludedOperators(), s.GetExcludedKeys()) {
		if _, err := t.ExecContext(ctx, "INSERT OR IGNORE INTO excluded (job, who) VALUES (?, ?)", b.Id, who); err != nil {
			return nil, false, fmt.Errorf("queueing a build: %w", err)
		}
	}
	if err := t.save(ctx, &job{Build: b, wake: t.now}); err != nil {
		return nil, false, err
	}
	if b.Id%pruneEvery == 0 {
		return b, true, t.prune(ctx)
	}
	return b, true, nil
}

// excluded returns the words by which table excluded knows operators and keys.
func excluded(operators, keys []string) []string {
	var who []string
	for _, o := range operators {
		who = append(who, "operator "+o)
	}
	for _, k := range keys {
		who = append(who, "key "+k)
	}
	return who
}

// room refuses a job for which there is none.
func (t *tx) room(ctx context.Context, most int) error {
	var open int
	if err := t.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'leased')").Scan(&open); err != nil {
		return fmt.Errorf("counting builds: %w", err)
	}
	if open >= most {
		return &reason.Error{
			Reason:     reason.Overloaded,
			Message:    fmt.Sprintf("the queue holds %d builds, as many as it takes", open),
			RetryAfter: time.Minute,
		}
	}
	return nil
}

// prune deletes the oldest jobs that have ended and are too many.
func (t *tx) prune(ctx context.Context) error {
	var all int
	if err := t.QueryRowContext(ctx, "SELECT count(*) FROM jobs").Scan(&all); err != nil {
		return fmt.Errorf("counting builds: %w", err)
	}
	if all <= t.q.cfg.MaxKept {
		return nil
	}
	return t.forEach(ctx, "SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') ORDER BY id LIMIT ?", []any{all - t.q.cfg.MaxKept}, func(j *job) error {
		if err := t.dropLog(ctx, j); err != nil {
			return err
		}
		for _, stmt := range []string{"DELETE FROM excluded WHERE job = ?", "DELETE FROM jobs WHERE id = ?"} {
			if _, err := t.ExecContext(ctx, stmt, j.Id); err != nil {
				return fmt.Errorf("deleting build %d: %w", j.Id, err)
			}
		}
		return nil
	})
}

// Get returns a job.
func (q *Queue) Get(ctx context.Context, id int64) (*cairnv1.Build, error) {
	j, err := loadJob(ctx, q.r, id)
	if err != nil {
		return nil, err
	}
	return j.Build, nil
}

// List returns jobs below the number before, or all if it is 0, the latest
// first: those in a state, and of a package, if these are given. They are at most
// limit, and few if they are large; more says whether others follow.
func (q *Queue) List(ctx context.Context, state, pkg string, before int64, limit int) (list []*cairnv1.Build, more bool, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	query, args := "SELECT "+jobColumns+" FROM jobs WHERE id < ?", []any{before}
	if state != "" {
		query, args = query+" AND state = ?", append(args, state)
	}
	if pkg != "" {
		query, args = query+" AND package = ?", append(args, pkg)
	}
	rows, err := q.r.QueryContext(ctx, query+" ORDER BY id DESC LIMIT ?", append(args, limit+1)...)
	if err != nil {
		return nil, false, fmt.Errorf("listing builds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	size := 0
	for rows.Next() {
		if len(list) == limit || size > maxPageBytes {
			return list, true, nil
		}
		j, err := scanJob(rows)
		if err != nil {
			return nil, false, fmt.Errorf("listing builds: %w", err)
		}
		list = append(list, j.Build)
		size += proto.Size(j.Build)
	}
	return list, false, rows.Err()
}

// Counts returns the number of jobs in each state.
func (q *Queue) Counts(ctx context.Context) (map[string]int, error) {
	rows, err := q.r.QueryContext(ctx, "SELECT state, count(*) FROM jobs GROUP BY state")
	if err != nil {
		return nil, fmt.Errorf("counting builds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	counts := make(map[string]int)
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, fmt.Errorf("counting builds: %w", err)
		}
		counts[state] = n
	}
	return counts, rows.Err()
}

// Cancel cancels a job that has not ended.
func (q *Queue) Cancel(ctx context.Context, id int64) (b *cairnv1.Build, err error) {
	err = q.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		j, err := t.load(ctx, id)
		if err != nil {
			return err
		}
		b = j.Build
		switch {
		case j.State == StateCancelled:
			return nil
		case Ended(j.State):
			return reason.Errorf(reason.BuildEnded, "build %d is %s", id, j.State)
		}
		t.end(j, StateCancelled)
		return t.save(ctx, j)
	})
	return b, err
}

// Lease gives a worker the next job that it can run, with the token of the
// lease; nil if there is none.
func (q *Queue) Lease(ctx context.Context, req *cairnv1.LeaseBuildRequest) (b *cairnv1.Build, token string, err error) {
	if err := q.forms.checkLease(req); err != nil {
		return nil, "", err
	}
	// Most who ask in vain need not wait for those who write.
	if id, err := next(ctx, q.r, req, q.cfg.Now()); id == 0 || err != nil {
		return nil, "", err
	}
	err = q.write(ctx, func(t *tx) error {
		b, token, err = t.lease(context.WithoutCancel(ctx), req)
		return err
	})
	return b, token, err
}

const selectNext = `SELECT id FROM jobs WHERE state = 'queued' AND wake <= ?1
	AND (platform = '' OR platform IN (SELECT value FROM json_each(?2)))
	AND (engine = '' OR engine IN (SELECT value FROM json_each(?3)))
	AND (?4 = '[]' OR tree IN (SELECT value FROM json_each(?4)))
	AND NOT EXISTS (SELECT 1 FROM excluded WHERE job = id AND who IN (SELECT value FROM json_each(?5)))
	ORDER BY priority DESC, id LIMIT 1`

// next returns the job that a worker is to be given; 0 if there is none.
func next(ctx context.Context, db queryer, req *cairnv1.LeaseBuildRequest, now time.Time) (id int64, err error) {
	err = db.QueryRowContext(ctx, selectNext, now.UnixNano(),
		list(req.GetPlatforms()), list(req.GetEngines()), list(req.GetTrees()),
		list(excluded([]string{req.GetOperator()}, []string{req.GetKey()}))).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("looking for a build: %w", err)
	}
	return id, nil
}

func (t *tx) lease(ctx context.Context, req *cairnv1.LeaseBuildRequest) (*cairnv1.Build, string, error) {
	id, err := next(ctx, t, req, t.now)
	if id == 0 || err != nil {
		return nil, "", err
	}
	j, err := t.load(ctx, id)
	if err != nil {
		return nil, "", err
	}
	j.State, j.token, j.NotBefore = StateLeased, rand.Text(), nil
	j.Attempts++
	j.Worker, j.Operator = req.GetWorker(), req.GetOperator()
	j.LeaseTime = timestamppb.New(t.now)
	t.hold(j)
	return j.Build, j.token, t.save(ctx, j)
}

// list is a list as SQLite's json_each takes it.
func list(words []string) string {
	b, err := json.Marshal(append([]string{}, words...))
	if err != nil {
		return "[]" // strings always encode
	}
	return string(b)
}

// The answers of Renew.
const (
	LeaseHeld      = "held"
	LeaseCancelled = "cancelled"
	LeaseLost      = "lost"
)

// Renew keeps a lease from ending, and says whether it still holds the job.
func (q *Queue) Renew(ctx context.Context, id int64, token string) (status string, end time.Time, err error) {
	err = q.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		j, err := t.load(ctx, id)
		if err != nil {
			return err
		}
		status, end = LeaseLost, time.Time{}
		switch {
		case j.holds(token) == nil:
			t.hold(j)
			status, end = LeaseHeld, j.wake
			return t.save(ctx, j)
		case j.State == StateCancelled:
			status = LeaseCancelled
		}
		return nil
	})
	return status, end, err
}

// Complete ends a lease. Of a result, whoever calls has checked that it is
// logged and of the job. It may be repeated: the worker may not have heard the
// answer.
func (q *Queue) Complete(ctx context.Context, req *cairnv1.CompleteBuildRequest) (b *cairnv1.Build, err error) {
	if err := q.forms.checkComplete(req); err != nil {
		return nil, err
	}
	err = q.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		j, err := t.load(ctx, req.GetId())
		if err != nil {
			return err
		}
		b = j.Build
		result := req.GetResult()
		if same(j.ended, req.GetLeaseToken()) || result != nil && j.State == StateDone && j.Result.GetEnvelope() == result.GetEnvelope() {
			return nil
		}
		if err := j.holds(req.GetLeaseToken()); err != nil {
			return err
		}
		j.ended = j.token
		t.complete(j, req)
		return t.save(ctx, j)
	})
	return b, err
}

func (t *tx) complete(j *job, req *cairnv1.CompleteBuildRequest) {
	switch {
	case req.GetResult() != nil:
		j.Result = proto.CloneOf(req.GetResult())
		t.end(j, StateDone)
	case req.GetFailure() != nil:
		f := proto.CloneOf(req.GetFailure())
		if len(f.Message) > maxMessage {
			f.Message = strings.ToValidUTF8(f.Message[:maxMessage], "")
		}
		t.fail(j, f)
	default: // given back
		j.Attempts--
		t.release(j, t.now)
	}
}

// states are the words that a list may be restricted to.
func states() []string {
	return []string{StateQueued, StateLeased, StateDone, StateFailed, StateCancelled}
}

func knownState(s string) bool { return slices.Contains(states(), s) }
