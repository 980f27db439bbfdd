package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// bubble runs a test in a world of its own, with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

func TestBuilding(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.work("alice", w.builds(5*time.Minute))
		first, second := w.add("core-go"), w.add("core-gcc")
		time.Sleep(11 * time.Minute)
		w.wantState(first, "done")
		w.wantState(second, "done")
		if b := w.get(first); b.GetAttempts() != 1 || b.GetResult().GetIndex() != 0 || b.GetOperator() != "https://alice.example" {
			t.Errorf("the build is %v", b)
		}
		if n := r.renewed.Load(); n < 55 || n > 65 {
			t.Errorf("renewed %d times in ten minutes", n)
		}
		want := "cairn: attempt 1 of build 1, by worker alice of https://alice.example\nbuilding core-go\n"
		if got := w.log(first); got != want {
			t.Errorf("the log is %q, want %q", got, want)
		}
		r.end(t)
	})
}

// TestKilledWorker: of a worker that vanishes, the job goes to another.
func TestKilledWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.add("core-go")
		r := w.work("alice", w.builds(time.Hour))
		time.Sleep(time.Minute)
		w.wantState(id, "leased")
		r.cut.Store(true) // nothing comes from it any more
		other := w.work("bob", w.builds(time.Minute))
		time.Sleep(3 * time.Minute)
		w.wantState(id, "done")
		if b := w.get(id); b.GetWorker() != "bob" || b.GetAttempts() != 2 {
			t.Errorf("the build is %v", b)
		}
		r.end(t)
		other.end(t)
		if len(w.leaves) != 1 {
			t.Errorf("%d attestations were logged", len(w.leaves))
		}
	})
}

// TestLostHeartbeat: a worker that cannot be heard for longer than its lease goes
// on, learns that its job was done by another, stops, and logs nothing.
func TestLostHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.add("core-go")
		r := w.work("alice", w.builds(5*time.Minute))
		time.Sleep(time.Minute)
		r.cut.Store(true)
		other := w.work("bob", w.builds(8*time.Minute))
		time.Sleep(5 * time.Minute) // alice has built it, and cannot confirm
		w.wantState(id, "leased")
		r.cut.Store(false)
		time.Sleep(10 * time.Minute)
		w.wantState(id, "done")
		if b := w.get(id); b.GetWorker() != "bob" || len(w.leaves) != 1 {
			t.Errorf("%d attestations; the build is %v", len(w.leaves), b)
		}
		r.end(t)
		other.end(t)
	})
}

// TestLedgerRestart: a ledger that is down for longer than a lease finds the job
// held as before.
func TestLedgerRestart(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.add("core-go")
		r := w.work("alice", w.builds(10*time.Minute))
		time.Sleep(time.Minute)
		w.stop()
		time.Sleep(5 * time.Minute)
		w.start()
		time.Sleep(6 * time.Minute)
		w.wantState(id, "done")
		if b := w.get(id); b.GetAttempts() != 1 || len(w.leaves) != 1 {
			t.Errorf("%d attestations; the build is %v", len(w.leaves), b)
		}
		r.end(t)
	})
}

// TestLedgerGone: a ledger that stays away costs the job after a while.
func TestLedgerGone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.add("core-go")
		causes := make(chan error, 1)
		r := w.work("alice", func(ctx context.Context, _ *Job, _ io.Writer) (*Outcome, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil, ctx.Err()
		}, func(c *Config) { c.Patience = 5 * time.Minute })
		time.Sleep(time.Minute)
		r.cut.Store(true)
		time.Sleep(4 * time.Minute)
		if len(causes) > 0 {
			t.Error("the job was given up too early")
		}
		time.Sleep(2 * time.Minute)
		select {
		case cause := <-causes:
			if !errors.Is(cause, ErrAway) {
				t.Errorf("the job ended by %v", cause)
			}
		default:
			t.Error("the job goes on")
		}
		r.end(t)
	})
}

func TestCancelledJob(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.add("core-go")
		r := w.work("alice", w.builds(time.Hour))
		time.Sleep(time.Minute)
		if _, err := w.service.CancelBuild(authorised(t.Context()), &cairnv1.CancelBuildRequest{Id: id}); err != nil {
			t.Fatal(err)
		}
		next := w.add("core-gcc")
		time.Sleep(11 * time.Second) // until the next renewal
		w.wantState(id, "cancelled")
		w.wantState(next, "leased")
		r.end(t)
		if len(w.leaves) != 0 {
			t.Errorf("%d attestations were logged", len(w.leaves))
		}
	})
}

// TestLostAnswer: a completion whose answer is lost is completed once.
func TestLostAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.add("core-go")
		r := w.work("alice", w.builds(time.Minute))
		r.deaf.Store(true)
		time.Sleep(2 * time.Minute)
		w.wantState(id, "done")
		if r.deaf.Load() || len(w.leaves) != 1 {
			t.Errorf("%d attestations were logged", len(w.leaves))
		}
		r.end(t)
	})
}

// TestLateCompletion: a result that cannot be told at once is told later.
func TestLateCompletion(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var r *running
		r = w.work("alice", func(context.Context, *Job, io.Writer) (*Outcome, error) {
			r.cut.Store(true)
			return &Outcome{w.submit()}, nil
		})
		id := w.add("core-go")
		time.Sleep(20 * time.Second) // less than the lease
		w.wantState(id, "leased")
		r.cut.Store(false)
		time.Sleep(40 * time.Second)
		w.wantState(id, "done")
		if b := w.get(id); b.GetAttempts() != 1 || len(w.leaves) != 1 {
			t.Errorf("%d attestations; the build is %v", len(w.leaves), b)
		}
		r.end(t)
	})
}

// TestRace: many workers share many jobs, and each is done once.
func TestRace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const jobs = 30
		done := make([]atomic.Int32, jobs+1)
		do := func(ctx context.Context, job *Job, log io.Writer) (*Outcome, error) {
			done[job.GetId()].Add(1)
			return w.builds(time.Second)(ctx, job, log)
		}
		var workers []*running
		for i := range 3 {
			workers = append(workers, w.work(fmt.Sprint("worker", i), do, func(c *Config) { c.Slots = 2 }))
		}
		for i := range jobs {
			w.add(fmt.Sprint("core-", i))
		}
		time.Sleep(time.Minute)
		for id := int64(1); id <= jobs; id++ {
			w.wantState(id, "done")
			if n := done[id].Load(); n != 1 {
				t.Errorf("build %d was done %d times", id, n)
			}
		}
		for _, r := range workers {
			r.end(t)
		}
	})
}

// TestStopping: a worker that is told to stop gives its job back at once, or
// finishes it if it may.
func TestStopping(t *testing.T) {
	for _, test := range []struct {
		name  string
		grace time.Duration
		state string
		took  time.Duration
	}{
		{"at once", 0, "queued", 0},
		{"after a grace that is too short", 10 * time.Minute, "queued", 10 * time.Minute},
		{"within a grace", 2 * time.Hour, "done", 59 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.add("core-go")
				r := w.work("alice", w.builds(time.Hour), func(c *Config) { c.Grace = test.grace })
				time.Sleep(time.Minute)
				w.add("core-gcc") // not begun any more
				began := time.Now()
				r.end(t)
				if took := time.Since(began); took < test.took || took > test.took+5*time.Second {
					t.Errorf("stopping took %v, want %v", took, test.took)
				}
				w.wantState(id, test.state)
				w.wantState(id+1, "queued")
				if b := w.get(id); test.state == "queued" && (b.GetAttempts() != 0 || b.GetNotBefore() != nil) {
					t.Errorf("it was not given back as it was: %v", b)
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func() (*Outcome, error)
		state string
		kind  string
	}{
		{"an error", func() (*Outcome, error) { return nil, errors.New("disk full") }, "queued", "WORKER_ERROR"},
		{"a failure", func() (*Outcome, error) {
			return nil, fmt.Errorf("fetching: %w", &Failure{Kind: "SOURCE_MISSING", Err: errors.New("no mirror has it")})
		}, "failed", "SOURCE_MISSING"},
		{"a failure that may pass", func() (*Outcome, error) {
			return nil, &Failure{Kind: "DISK_FULL", Retryable: true, Err: errors.New("no space")}
		}, "queued", "DISK_FULL"},
		{"a panic", func() (*Outcome, error) { panic("nil map") }, "queued", "WORKER_PANIC"},
		{"nothing", func() (*Outcome, error) { return nil, nil }, "failed", "WORKER_ERROR"},
		{"an attestation that is not logged", func() (*Outcome, error) { return &Outcome{leaf.SHA256(nil)}, nil }, "failed", "RESULT_REFUSED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.add("core-go")
				r := w.work("alice", func(context.Context, *Job, io.Writer) (*Outcome, error) { return test.do() })
				time.Sleep(2 * time.Second)
				w.wantState(id, test.state)
				if f := w.get(id).GetFailure(); f.GetKind() != test.kind {
					t.Errorf("the failure is %v, want %s", f, test.kind)
				}
				r.end(t)
			})
		})
	}
}

// TestHopeless: what waiting does not mend ends the worker.
func TestHopeless(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.work("alice", w.builds(0), func(c *Config) { c.Offer.Platforms = nil })
		err := <-r.ended
		if e, ok := reason.Of(err); !ok || e.Reason != reason.ArgumentInvalid {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

// TestSlowLog: a log that the ledger cannot take is cut, and says so; the job
// does not wait for it.
func TestSlowLog(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var r *running
		r = w.work("alice", func(ctx context.Context, _ *Job, log io.Writer) (*Outcome, error) {
			line := strings.Repeat("x", 99) + "\n"
			r.cut.Store(true)
			for range 2 * maxHeld / len(line) {
				fmt.Fprint(log, line)
			}
			time.Sleep(10 * time.Second)
			r.cut.Store(false)
			time.Sleep(10 * time.Second)
			fmt.Fprint(log, "the end\n")
			return &Outcome{w.submit()}, nil
		})
		id := w.add("core-go")
		time.Sleep(time.Minute)
		w.wantState(id, "done")
		text := w.log(id)
		if len(text) > maxHeld+200 || !strings.Contains(text, "bytes of the log were dropped") || !strings.HasSuffix(text, "\nthe end\n") {
			t.Errorf("the log has %d bytes and ends with %q", len(text), text[max(0, len(text)-200):])
		}
		r.end(t)
	})
}
