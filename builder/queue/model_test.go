package queue

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// model is the queue as simply as it can be put: what TestModel holds the real
// one to.
type model struct {
	jobs map[int64]*modelJob
}

type modelJob struct {
	state    string
	priority int32
	engine   string
	attempts int32
	max      int32
	wake     time.Time // end of the pause or the lease
	token    string
	ended    string
	envelope string
	log      string
	done     int // how often it was completed
}

const (
	modelAttempts = 3
	modelLease    = 30 * time.Second
	modelBackoff  = 20 * time.Second
)

// expire is what the passing of time does. The pause after a failure is random:
// it is learnt from the queue afterwards.
func (m *model) expire(now time.Time) {
	for _, j := range m.jobs {
		switch {
		case j.state == StateLeased && !j.wake.After(now):
			j.fail(true)
		case j.state == StateLeased && j.wake.After(now.Add(modelLease)):
			j.wake = now.Add(modelLease)
		case j.state == StateQueued && j.wake.After(now.Add(modelBackoff*5/4)):
			j.wake = now
		}
	}
}

func (j *modelJob) fail(retryable bool) {
	j.token, j.state = "", StateFailed
	if retryable && j.attempts < j.max {
		j.state, j.wake = StateQueued, time.Time{}
	}
}

// next is the job that a worker with these engines must be given.
func (m *model) next(now time.Time, engines []string) int64 {
	ids := slices.SortedFunc(maps.Keys(m.jobs), func(a, b int64) int {
		return cmp.Or(cmp.Compare(m.jobs[b].priority, m.jobs[a].priority), cmp.Compare(a, b))
	})
	for _, id := range ids {
		if j := m.jobs[id]; j.state == StateQueued && !j.wake.IsZero() && !j.wake.After(now) && slices.Contains(engines, j.engine) {
			return id
		}
	}
	return 0
}

func (m *model) clone() *model {
	c := &model{jobs: make(map[int64]*modelJob, len(m.jobs))}
	for id, j := range m.jobs {
		copied := *j
		c.jobs[id] = &copied
	}
	return c
}

// run is one random run.
type run struct {
	*bench
	*rand.Rand
	m      *model
	tokens []string // all that were ever given
	opened int
}

// TestModel does random things to a queue and to the model: they must agree
// after each, also after a crash at any point between two.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := &run{bench: newBench(t, modelConfig), Rand: rand.New(rand.NewPCG(seed, 4)), m: &model{jobs: map[int64]*modelJob{}}}
			for step := range 150 {
				what := r.step()
				r.agree(fmt.Sprintf("step %d, %s", step, what))
				if t.Failed() {
					return
				}
			}
			r.finish()
		})
	}
}

func modelConfig(c *Config) {
	c.Lease, c.MinBackoff, c.MaxBackoff = modelLease, 5*time.Second, modelBackoff
}

// step does one random thing.
func (r *run) step() string {
	steps := []struct {
		weight int
		name   string
		do     func()
	}{
		{4, "add", r.addJob},
		{6, "lease", r.leaseJob},
		{4, "renew", r.renewJob},
		{3, "log", r.logJob},
		{5, "complete", r.completeJob},
		{1, "cancel", r.cancelJob},
		{6, "wait", func() { r.now = r.now.Add(time.Duration(r.IntN(12)) * time.Second) }},
		{1, "clock jumps", func() { r.now = r.now.Add(time.Duration(r.IntN(240)-120) * time.Minute) }},
		{2, "tick", r.tickJobs},
		{1, "crash", r.crash},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := r.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.do()
			return s.name
		}
	}
	return ""
}

// attempt applies f to a copy of the model, in which time has passed, and keeps
// the copy if the queue's call succeeded: a refused call changes nothing.
func (r *run) attempt(call func() error, f func(*model) bool) {
	next := r.m.clone()
	next.expire(r.now)
	ok := f(next)
	err := call()
	if _, refused := reason.Of(err); ok != (err == nil) || err != nil && !refused {
		r.Errorf("the model takes the call: %v, the queue: %v", ok, err)
	}
	if err == nil {
		r.m = next
	}
}

func (r *run) addJob() {
	req := request(func(s *cairnv1.BuildSpec) {
		s.Priority, s.Engine = int32(r.IntN(3)), []string{"buildkit", "buildah"}[r.IntN(2)]
	})
	req.MaxAttempts = modelAttempts
	r.attempt(func() error {
		_, _, err := r.Add(r.Context(), req, "tester")
		return err
	}, func(m *model) bool {
		m.jobs[int64(len(m.jobs)+1)] = &modelJob{
			state: StateQueued, priority: req.Spec.Priority, engine: req.Spec.Engine, max: modelAttempts, wake: r.now,
		}
		return true
	})
}

func (r *run) leaseJob() {
	engines := [][]string{{"buildkit"}, {"buildah"}, {"buildkit", "buildah"}}[r.IntN(3)]
	if r.m.next(r.now, engines) == 0 { // nothing is written, so no time passes
		if job, _, err := r.Lease(r.Context(), worker(func(w *cairnv1.LeaseBuildRequest) { w.Engines = engines })); job != nil || err != nil {
			r.Errorf("leased %d, the model none, %v", job.GetId(), err)
		}
		return
	}
	var want int64
	r.attempt(func() error {
		job, token, err := r.Lease(r.Context(), worker(func(w *cairnv1.LeaseBuildRequest) { w.Engines = engines }))
		if job.GetId() != want {
			r.Errorf("leased %d, the model %d", job.GetId(), want)
		}
		r.tokens = append(r.tokens, token)
		return err
	}, func(m *model) bool {
		want = m.next(r.now, engines)
		return true
	})
	if want != 0 {
		j := r.m.jobs[want]
		j.state, j.attempts, j.token, j.wake = StateLeased, j.attempts+1, r.tokens[len(r.tokens)-1], r.now.Add(modelLease)
	}
}

// pick returns a job, and a token that is sometimes that of its lease.
func (r *run) pick() (id int64, token string) {
	if len(r.m.jobs) > 0 {
		id = int64(r.IntN(len(r.m.jobs)) + 1)
	}
	if r.IntN(10) > 0 { // most often one that is leased
		for i, j := range r.m.jobs {
			if j.state == StateLeased {
				id = i
				break
			}
		}
	}
	if j, ok := r.m.jobs[id]; ok && r.IntN(3) > 0 {
		return id, j.token
	}
	if len(r.tokens) == 0 {
		return id, "none"
	}
	return id, r.tokens[r.IntN(len(r.tokens))]
}

func (j *modelJob) heldBy(token string) bool {
	return j != nil && j.state == StateLeased && j.token == token && token != ""
}

func (r *run) renewJob() {
	id, token := r.pick()
	var want string
	r.attempt(func() error {
		status, _, err := r.Renew(r.Context(), id, token)
		if err == nil && status != want {
			r.Errorf("renewing %d: %s, the model %s", id, status, want)
		}
		return err
	}, func(m *model) bool {
		j := m.jobs[id]
		switch {
		case j == nil:
			return false
		case j.heldBy(token):
			want, j.wake = LeaseHeld, r.now.Add(modelLease)
		case j.state == StateCancelled:
			want = LeaseCancelled
		default:
			want = LeaseLost
		}
		return true
	})
}

func (r *run) logJob() {
	id, token := r.pick()
	data := fmt.Sprintf("line %d\n", r.IntN(1000))
	offset := 0
	if j := r.m.jobs[id]; j != nil {
		offset = max(0, len(j.log)-r.IntN(4)) // sometimes what is there already
		data = j.log[offset:] + data
	}
	r.attempt(func() error {
		_, err := r.AppendLog(r.Context(), id, token, int64(offset), []byte(data))
		return err
	}, func(m *model) bool {
		j := m.jobs[id]
		if !j.heldBy(token) {
			return false
		}
		j.log = j.log[:offset] + data
		return true
	})
}

func (r *run) completeJob() {
	id, token := r.pick()
	req := []*cairnv1.CompleteBuildRequest{
		result(id, token, envA), result(id, token, envB), failure(id, token, true), failure(id, token, false), returned(id, token),
	}[r.IntN(5)]
	r.attempt(func() error {
		_, err := r.Complete(r.Context(), req)
		return err
	}, func(m *model) bool {
		j, envelope := m.jobs[id], req.GetResult().GetEnvelope()
		switch {
		case j == nil:
			return false
		case token != "" && j.ended == token, envelope != "" && j.state == StateDone && j.envelope == envelope:
			return true // repeated
		case !j.heldBy(token):
			return false
		}
		j.ended, j.token = token, ""
		switch {
		case envelope != "":
			j.state, j.envelope, j.done = StateDone, envelope, j.done+1
		case req.GetFailure() != nil:
			j.fail(req.GetFailure().GetRetryable())
		default:
			j.state, j.attempts, j.wake = StateQueued, j.attempts-1, r.now
		}
		return true
	})
}

func (r *run) cancelJob() {
	id, _ := r.pick()
	r.attempt(func() error {
		_, err := r.Cancel(r.Context(), id)
		return err
	}, func(m *model) bool {
		j := m.jobs[id]
		if j == nil || j.state == StateDone || j.state == StateFailed {
			return false
		}
		j.state, j.token = StateCancelled, ""
		return true
	})
}

func (r *run) tickJobs() {
	r.attempt(func() error { return r.Tick(r.Context()) }, func(*model) bool { return true })
}

// crash goes on with a copy of the database as a kill would leave it: the file
// and its write-ahead log, not closed.
func (r *run) crash() {
	r.opened++
	dir := filepath.Join(r.TempDir(), "builds.db")
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(dir+suffix, r.path+suffix); err != nil && !os.IsNotExist(err) {
			r.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		r.Fatal(err)
	}
	r.path = dir
	r.open(modelConfig)
	for _, j := range r.m.jobs {
		if j.state == StateLeased {
			j.wake = r.now.Add(modelLease)
		}
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	_, err = io.Copy(out, in)
	return err
}

// agree compares all jobs, and learns the pauses that the queue chose.
func (r *run) agree(after string) {
	r.Helper()
	list, more, err := r.List(r.Context(), "", "", 0, 1000)
	if err != nil || more || len(list) != len(r.m.jobs) {
		r.Fatalf("after %s: %d jobs, the model has %d, %v", after, len(list), len(r.m.jobs), err)
	}
	for _, b := range list {
		j := r.m.jobs[b.GetId()]
		if b.GetState() != j.state || b.GetAttempts() != j.attempts || b.GetResult().GetEnvelope() != j.envelope || b.GetLogSize() != int64(len(j.log)) {
			r.Errorf("after %s: build %d is %s, %d attempts, %q, %d bytes of log; the model has %s, %d, %q, %d", after, b.GetId(), b.GetState(),
				b.GetAttempts(), b.GetResult().GetEnvelope(), b.GetLogSize(), j.state, j.attempts, j.envelope, len(j.log))
		}
		if j.done > 1 {
			r.Errorf("after %s: build %d was done %d times", after, b.GetId(), j.done)
		}
		if j.state == StateQueued && j.wake.IsZero() {
			j.wake = b.GetNotBefore().AsTime()
			if wait := j.wake.Sub(r.now); wait < 5*time.Second || wait > modelBackoff*5/4 {
				r.Errorf("after %s: build %d waits %v", after, b.GetId(), wait)
			}
		}
	}
}

// finish runs what is left, and checks that every job came to an end and that
// the logs are whole.
func (r *run) finish() {
	for range 4 * len(r.m.jobs) {
		r.now = r.now.Add(time.Minute)
		if err := r.Tick(r.Context()); err != nil {
			r.Fatal(err)
		}
		job, token, err := r.Lease(r.Context(), worker(func(w *cairnv1.LeaseBuildRequest) { w.Engines = []string{"buildkit", "buildah"} }))
		if err != nil {
			r.Fatal(err)
		}
		if job == nil {
			continue // all pause
		}
		if _, err := r.Complete(r.Context(), result(job.GetId(), token, envA)); err != nil {
			r.Fatal(err)
		}
	}
	for id, j := range r.m.jobs {
		job, err := r.Get(r.Context(), id)
		if err != nil || !Ended(job.GetState()) {
			r.Errorf("build %d never ended: %v, %v", id, job, err)
		}
		if got := readLog(r.bench, id); got != j.log {
			r.Errorf("the log of build %d is %q, want %q", id, got, j.log)
		}
	}
	r.Logf("%d jobs, %d crashes", len(r.m.jobs), r.opened)
}

// readLog returns what is kept of a log.
func readLog(b *bench, id int64) string {
	b.Helper()
	var text []byte
	for offset := int64(0); ; {
		start, data, err := b.ReadLog(b.Context(), id, offset)
		if err != nil {
			b.Fatal(err)
		}
		if data == nil {
			return string(text)
		}
		text = append(text, data...)
		offset = start + int64(len(data))
	}
}
