package queue

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	treeA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	treeB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	keyA  = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	keyB  = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	envA  = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	envB  = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
)

// bench is a queue with a clock of its own.
type bench struct {
	testing.TB
	*Queue
	path string
	now  time.Time
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{TB: t, path: filepath.Join(t.TempDir(), "builds.db"), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b.open(change...)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) open(change ...func(*Config)) {
	b.Helper()
	cfg := Config{Path: b.path, Origin: "queue.example/log", Now: func() time.Time { return b.now }}
	for _, f := range change {
		f(&cfg)
	}
	q, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Queue = q
}

func request(change ...func(*cairnv1.BuildSpec)) *cairnv1.QueueBuildRequest {
	s := &cairnv1.BuildSpec{Kind: KindBuild, TreeDigest: treeA, Package: "core-go", Platform: "linux/amd64", Engine: "buildkit"}
	for _, f := range change {
		f(s)
	}
	return &cairnv1.QueueBuildRequest{Spec: s}
}

func worker(change ...func(*cairnv1.LeaseBuildRequest)) *cairnv1.LeaseBuildRequest {
	w := &cairnv1.LeaseBuildRequest{
		Worker: "w1", Operator: "https://bob.example", Key: keyB,
		Platforms: []string{"linux/amd64"}, Engines: []string{"buildkit"},
	}
	for _, f := range change {
		f(w)
	}
	return w
}

func (b *bench) add(req *cairnv1.QueueBuildRequest) int64 {
	b.Helper()
	job, created, err := b.Add(b.Context(), req, "tester")
	if err != nil || !created {
		b.Fatalf("queueing: %v, created %v, %v", job, created, err)
	}
	return job.GetId()
}

// lease leases the next job, 0 if there is none.
func (b *bench) lease(w *cairnv1.LeaseBuildRequest) (id int64, token string) {
	b.Helper()
	job, token, err := b.Lease(b.Context(), w)
	if err != nil {
		b.Fatal(err)
	}
	return job.GetId(), token
}

func (b *bench) wantState(id int64, state string, attempts int32) *cairnv1.Build {
	b.Helper()
	job, err := b.Get(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	if job.GetState() != state || job.GetAttempts() != attempts {
		b.Errorf("build %d is %s after %d attempts, want %s after %d", id, job.GetState(), job.GetAttempts(), state, attempts)
	}
	return job
}

func wantReason(t testing.TB, what string, err error, want reason.Reason) {
	t.Helper()
	if e, ok := reason.Of(err); !ok || e.Reason != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func result(id int64, token, envelope string) *cairnv1.CompleteBuildRequest {
	return &cairnv1.CompleteBuildRequest{Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Result{
		Result: &cairnv1.BuildResult{Envelope: envelope}}}
}

func failure(id int64, token string, retryable bool) *cairnv1.CompleteBuildRequest {
	return &cairnv1.CompleteBuildRequest{Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Failure{
		Failure: &cairnv1.BuildFailure{Kind: "SOURCE_MISSING", Message: "no mirror has it", Retryable: retryable}}}
}

func returned(id int64, token string) *cairnv1.CompleteBuildRequest {
	return &cairnv1.CompleteBuildRequest{Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Returned{Returned: true}}
}

func TestPriorityThenAge(t *testing.T) {
	b := newBench(t)
	for _, priority := range []int32{0, 5, -1, 5, 0} {
		b.add(request(func(s *cairnv1.BuildSpec) { s.Priority = priority }))
	}
	for _, want := range []int64{2, 4, 1, 5, 3, 0} {
		if got, _ := b.lease(worker()); got != want {
			t.Errorf("leased %d, want %d", got, want)
		}
	}
}

func TestMatching(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		name string
		spec func(*cairnv1.BuildSpec)
		work func(*cairnv1.LeaseBuildRequest)
		want bool
	}{
		{"all fits", func(*cairnv1.BuildSpec) {}, func(*cairnv1.LeaseBuildRequest) {}, true},
		{"another platform", func(s *cairnv1.BuildSpec) { s.Platform = "linux/386" }, func(*cairnv1.LeaseBuildRequest) {}, false},
		{"one of its platforms", func(s *cairnv1.BuildSpec) { s.Platform = "linux/386" },
			func(w *cairnv1.LeaseBuildRequest) { w.Platforms = []string{"linux/amd64", "linux/386"} }, true},
		{"any platform", func(s *cairnv1.BuildSpec) { s.Platform = "" }, func(*cairnv1.LeaseBuildRequest) {}, true},
		{"another engine", func(s *cairnv1.BuildSpec) { s.Engine = "buildah" }, func(*cairnv1.LeaseBuildRequest) {}, false},
		{"any engine", func(s *cairnv1.BuildSpec) { s.Engine = "" }, func(*cairnv1.LeaseBuildRequest) {}, true},
		{"a tree that it has", func(*cairnv1.BuildSpec) {}, func(w *cairnv1.LeaseBuildRequest) { w.Trees = []string{treeB, treeA} }, true},
		{"a tree that it has not", func(*cairnv1.BuildSpec) {}, func(w *cairnv1.LeaseBuildRequest) { w.Trees = []string{treeB} }, false},
		{"its own operator's claim", func(s *cairnv1.BuildSpec) { s.ExcludedOperators = []string{"https://bob.example"} },
			func(*cairnv1.LeaseBuildRequest) {}, false},
		{"its own key's claim", func(s *cairnv1.BuildSpec) { s.ExcludedKeys = []string{keyA, keyB} }, func(*cairnv1.LeaseBuildRequest) {}, false},
		{"another's claim", func(s *cairnv1.BuildSpec) {
			s.ExcludedOperators, s.ExcludedKeys = []string{"https://alice.example"}, []string{keyA}
		}, func(*cairnv1.LeaseBuildRequest) {}, true},
	} {
		id := b.add(request(test.spec))
		if got, _ := b.lease(worker(test.work)); (got == id) != test.want {
			t.Errorf("%s: leased %d of %d, want %v", test.name, got, id, test.want)
		}
		if _, err := b.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeaseEndsWithoutRenewal(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MinBackoff, c.MaxBackoff = 4*time.Second, 10*time.Second })
	req := request()
	req.MaxAttempts = 3
	id := b.add(req)
	for attempt, least := range []time.Duration{4 * time.Second, 8 * time.Second} {
		got, token := b.lease(worker())
		if got != id {
			t.Fatalf("attempt %d leased %d", attempt, got)
		}
		b.now = b.now.Add(29 * time.Second)
		if status, end, err := b.Renew(t.Context(), id, token); status != LeaseHeld || err != nil || !end.Equal(b.now.Add(30*time.Second)) {
			t.Fatalf("renewed in time: %s until %v, %v", status, end, err)
		}
		b.now = b.now.Add(30 * time.Second)
		if err := b.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		job := b.wantState(id, StateQueued, int32(attempt+1))
		wait := job.GetNotBefore().AsTime().Sub(b.now)
		if wait < least || wait > least*5/4 || job.GetFailure().GetKind() != "LEASE_EXPIRED" {
			t.Errorf("after attempt %d: again in %v, want from %v; failure %v", attempt+1, wait, least, job.GetFailure())
		}
		if status, _, err := b.Renew(t.Context(), id, token); status != LeaseLost || err != nil {
			t.Errorf("renewed too late: %s, %v", status, err)
		}
		_, err := b.Complete(t.Context(), result(id, token, envA))
		wantReason(t, "completing too late", err, reason.LeaseLost)
		if got, _ := b.lease(worker()); got != 0 {
			t.Errorf("leased %d during its pause", got)
		}
		b.now = b.now.Add(wait)
	}
	_, _ = b.lease(worker())
	b.now = b.now.Add(time.Hour)
	if err := b.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantState(id, StateFailed, 3)
}

func TestCompletion(t *testing.T) {
	b := newBench(t)
	id := b.add(request())
	_, token := b.lease(worker())
	_, err := b.Complete(t.Context(), result(id, "another", envA))
	wantReason(t, "another token", err, reason.LeaseLost)
	_, err = b.Complete(t.Context(), result(id, "", envA))
	wantReason(t, "no token", err, reason.LeaseLost)
	for range 2 { // the second is the retry of a worker that did not hear the answer
		job, err := b.Complete(t.Context(), result(id, token, envA))
		if err != nil || job.GetState() != StateDone || job.GetResult().GetEnvelope() != envA {
			t.Fatalf("completed: %v, %v", job, err)
		}
	}
	if job, err := b.Complete(t.Context(), result(id, "stale", envA)); err != nil || job.GetState() != StateDone {
		t.Errorf("the same attestation again: %v, %v", job, err)
	}
	_, err = b.Complete(t.Context(), result(id, "stale", envB))
	wantReason(t, "another attestation", err, reason.LeaseLost)
	_, err = b.Cancel(t.Context(), id)
	wantReason(t, "cancelling what is done", err, reason.BuildEnded)
	b.wantState(id, StateDone, 1)
	_, err = b.Complete(t.Context(), result(99, token, envA))
	wantReason(t, "an unknown build", err, reason.BuildNotFound)
}

func TestFailureAndReturn(t *testing.T) {
	b := newBench(t)
	req := request()
	req.MaxAttempts = 2
	id := b.add(req)
	_, token := b.lease(worker())
	for range 2 {
		if job, err := b.Complete(t.Context(), returned(id, token)); err != nil || job.GetState() != StateQueued || job.GetAttempts() != 0 {
			t.Fatalf("given back: %v, %v", job, err)
		}
	}
	_, token = b.lease(worker()) // at once
	long := failure(id, token, true)
	long.GetFailure().Message = strings.Repeat("é", maxMessage)
	for range 2 {
		job, err := b.Complete(t.Context(), long)
		if err != nil || job.GetState() != StateQueued || job.GetAttempts() != 1 || len(job.GetFailure().GetMessage()) > maxMessage {
			t.Fatalf("failed: %v, %v", job.GetState(), err)
		}
	}
	b.now = b.now.Add(time.Minute)
	_, token = b.lease(worker())
	if _, err := b.Complete(t.Context(), failure(id, token, true)); err != nil {
		t.Fatal(err)
	}
	b.wantState(id, StateFailed, 2)

	final := b.add(request())
	_, token = b.lease(worker())
	if _, err := b.Complete(t.Context(), failure(final, token, false)); err != nil {
		t.Fatal(err)
	}
	b.wantState(final, StateFailed, 1)
}

func TestCancelling(t *testing.T) {
	b := newBench(t)
	id := b.add(request())
	_, token := b.lease(worker())
	for range 2 {
		if job, err := b.Cancel(t.Context(), id); err != nil || job.GetState() != StateCancelled {
			t.Fatalf("cancelled: %v, %v", job, err)
		}
	}
	if status, _, err := b.Renew(t.Context(), id, token); status != LeaseCancelled || err != nil {
		t.Errorf("renewed: %s, %v", status, err)
	}
	_, err := b.Complete(t.Context(), result(id, token, envA))
	wantReason(t, "completing what is cancelled", err, reason.LeaseLost)
	_, err = b.AppendLog(t.Context(), id, token, 0, []byte("x"))
	wantReason(t, "the log of what is cancelled", err, reason.LeaseLost)
	_, err = b.Cancel(t.Context(), 99)
	wantReason(t, "an unknown build", err, reason.BuildNotFound)
}

func TestRequestIDs(t *testing.T) {
	b := newBench(t)
	req := request()
	req.RequestId = "nightly"
	id := b.add(req)
	again, created, err := b.Add(t.Context(), req, "tester")
	if err != nil || created || again.GetId() != id {
		t.Errorf("again: %v, created %v, %v", again, created, err)
	}
	if other, created, err := b.Add(t.Context(), req, "another"); err != nil || !created || other.GetId() == id {
		t.Errorf("the same id of another bearer: %v, created %v, %v", other, created, err)
	}
}

// TestClock has the clock jump: back, a lease still ends within its length; ahead,
// the job is given out again, and only once.
func TestClock(t *testing.T) {
	b := newBench(t)
	id := b.add(request())
	_, stale := b.lease(worker())
	b.now = b.now.Add(-24 * time.Hour)
	if err := b.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(30 * time.Second)
	if err := b.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantState(id, StateQueued, 1)
	b.now = b.now.Add(-24 * time.Hour) // its pause lies a day ahead
	if err := b.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, token := b.lease(worker())
	if got != id {
		t.Fatalf("leased %d", got)
	}
	b.now = b.now.Add(24 * time.Hour)
	_, err := b.Complete(t.Context(), result(id, token, envA))
	wantReason(t, "a lease that the clock jumped over", err, reason.LeaseLost)
	_, err = b.Complete(t.Context(), result(id, stale, envB))
	wantReason(t, "an older lease", err, reason.LeaseLost)
}

func TestOpeningAgain(t *testing.T) {
	b := newBench(t)
	id := b.add(request())
	_, token := b.lease(worker())
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour) // while the ledger was away, nobody could renew
	b.open()
	if status, _, err := b.Renew(t.Context(), id, token); status != LeaseHeld || err != nil {
		t.Errorf("after a restart the lease is %s, %v", status, err)
	}
	if _, err := Open(t.Context(), Config{Path: b.path, Origin: "other.example/log"}); err == nil || !strings.Contains(err.Error(), "queue.example/log") {
		t.Errorf("opened for another log: %v", err)
	}
	if _, err := b.w.ExecContext(t.Context(), "PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Path: b.path, Origin: "queue.example/log"}); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("opened with a newer schema: %v", err)
	}
}

func TestBounds(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxOpen, c.MaxKept = 3, 100 })
	for range 3 {
		b.add(request())
	}
	_, _, err := b.Add(t.Context(), request(), "tester")
	wantReason(t, "one too many", err, reason.Overloaded)
	for range 2 * pruneEvery {
		id, token := b.lease(worker())
		if _, err := b.AppendLog(t.Context(), id, token, 0, []byte("log\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Complete(t.Context(), result(id, token, envA)); err != nil {
			t.Fatal(err)
		}
		b.add(request())
	}
	counts, err := b.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if all := counts[StateDone] + counts[StateQueued]; counts[StateQueued] != 3 || all > 100+pruneEvery {
		t.Errorf("the queue holds %v", counts)
	}
	_, err = b.Get(t.Context(), 1)
	wantReason(t, "the oldest", err, reason.BuildNotFound)
	var bytes, left int64
	if err := b.r.QueryRow("SELECT log_bytes, (SELECT sum(length(bytes)) FROM logs) FROM meta").Scan(&bytes, &left); err != nil || bytes != left {
		t.Errorf("%d bytes of logs are accounted for, %d are there, %v", bytes, left, err)
	}
}

// TestStopped: a call whose context has ended changes nothing.
func TestStopped(t *testing.T) {
	b := newBench(t)
	b.add(request())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if job, _, err := b.Lease(ctx, worker()); err == nil {
		t.Errorf("leased %v", job)
	}
	b.wantState(1, StateQueued, 0)
}
