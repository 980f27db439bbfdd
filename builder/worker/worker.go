// Package worker takes jobs from a ledger's queue of builds and runs them.
//
// Invariants:
//   - A job is worked on only under a lease: when the ledger says that it is
//     lost or cancelled, what works on it is stopped, and nothing is completed.
//   - A job that was leased is completed, failed or given back, unless the worker
//     is killed or the ledger stays away: then the lease runs out, and the ledger
//     gives the job to another.
//   - A ledger that is away for a while costs nothing but time: builds go on, and
//     what is to be said is said later.
//   - Memory is bounded: of a log that cannot be sent fast enough, the worker
//     drops bytes and says how many.
//
// That two workers log the same job is prevented by Do: it calls Job.Confirm
// right before it submits.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	// leaseWait is how long the ledger is asked to look for a job, in seconds.
	leaseWait = 20
	// firstPause and lastPause bound the pauses between calls that fail.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// farewell is how long a worker that was told to stop tries to tell the
	// ledger what became of its job.
	farewell = 10 * time.Second
)

// Client is the worker's side of the queue. *client.Client is one.
type Client interface {
	LeaseBuild(context.Context, *cairnv1.LeaseBuildRequest) (*cairnv1.LeaseBuildResponse, error)
	RenewLease(context.Context, *cairnv1.RenewLeaseRequest) (*cairnv1.RenewLeaseResponse, error)
	AppendBuildLog(context.Context, *cairnv1.AppendBuildLogRequest) (*cairnv1.AppendBuildLogResponse, error)
	CompleteBuild(context.Context, *cairnv1.CompleteBuildRequest) (*cairnv1.CompleteBuildResponse, error)
}

// Config is what a worker works with.
type Config struct {
	Client Client
	// Offer is what the worker can do, and for whom. How long the ledger is to
	// look for a job is not taken from it.
	Offer *cairnv1.LeaseBuildRequest
	// Do does a job and logs the attestation of what came out. It must return
	// soon after ctx ends; context.Cause says why it did. An error that is a
	// *Failure says what failed; any other is worth another attempt. What it
	// writes to log, the ledger keeps for everyone to read; writing never blocks.
	Do func(ctx context.Context, job *Job, log io.Writer) (*Outcome, error)
	// Slots is how many jobs run at the same time: 1.
	Slots int
	// Grace is how long jobs may go on once the worker is told to stop. Those
	// that do not end by then are given back; at once if it is 0.
	Grace time.Duration
	// Patience is how long the ledger may be away before a running job is given
	// up: 10 min.
	Patience time.Duration
	Logger   *slog.Logger
}

// Job is a job under a lease.
type Job struct {
	*cairnv1.Build
	lease *lease
}

// Confirm asks the ledger whether the worker still holds the job. Do calls it
// right before it logs anything: the job may have been given to another worker
// while the ledger could not be reached. It waits for an answer until ctx ends.
func (j *Job) Confirm(ctx context.Context) error { return j.lease.confirm(ctx) }

// Outcome is the attestation that completes a job.
type Outcome struct {
	Envelope leaf.Digest // sha256 of the bytes that the log holds
}

// Failure is an attempt that came to nothing.
type Failure struct {
	Kind      string // such as SOURCE_MISSING: capitals, digits and underscores
	Retryable bool   // whether another attempt may help
	Err       error
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// The causes of a job's context, when it ends.
var (
	ErrLost      = errors.New("the lease has ended")
	ErrCancelled = errors.New("the build was cancelled")
	ErrAway      = errors.New("the ledger has been away for too long")
	ErrStopping  = errors.New("the worker is stopping")
)

// Run takes jobs and does them until ctx ends and no job is under way. It
// returns early with a refusal that waiting cannot mend, such as an unknown
// token.
func Run(ctx context.Context, cfg Config) error {
	cfg.Slots = cmp.Or(cfg.Slots, 1)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Minute)
	w := &worker{cfg: cfg, offer: proto.CloneOf(cfg.Offer)}
	w.offer.WaitSeconds = leaseWait
	g, gctx := errgroup.WithContext(ctx)
	for range cfg.Slots {
		g.Go(func() error { return w.loop(gctx) })
	}
	return g.Wait()
}

type worker struct {
	cfg   Config
	offer *cairnv1.LeaseBuildRequest
}

// loop does one job after the other.
func (w *worker) loop(ctx context.Context) error {
	failed := 0
	for ctx.Err() == nil {
		resp, err := w.cfg.Client.LeaseBuild(ctx, w.offer)
		switch {
		case err == nil && resp.GetBuild() != nil:
			w.run(ctx, resp)
			fallthrough
		case err == nil:
			failed = 0
		case ctx.Err() != nil:
			return nil
		case hopeless(err):
			return fmt.Errorf("asking for a build: %w", err)
		default:
			failed++
			w.cfg.Logger.WarnContext(ctx, "no build could be had; trying again", slog.Any("err", err))
			rest(ctx, pauseAfter(failed))
		}
	}
	return nil
}

// hopeless reports whether a refusal is one that waiting does not mend.
func hopeless(err error) bool {
	e, ok := reason.Of(err)
	if !ok {
		return false
	}
	switch e.Reason {
	case reason.TokenRefused, reason.BuildsAbsent, reason.ArgumentInvalid:
		return true
	}
	return false
}

func pauseAfter(failed int) time.Duration {
	d := min(firstPause<<min(failed-1, 10), lastPause)
	return d + rand.N(d/4)
}

// rest waits, or returns early if ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// run does a job that was leased, and says what became of it.
func (w *worker) run(ctx context.Context, resp *cairnv1.LeaseBuildResponse) {
	l := newLease(ctx, w, resp)
	b := resp.GetBuild()
	logger := w.cfg.Logger.With(slog.Int64("build", b.GetId()), slog.String("package", b.GetSpec().GetPackage()))
	logger.InfoContext(ctx, "leased a build", slog.Int("attempt", int(b.GetAttempts())))
	renewing, stopRenewing := context.WithCancel(context.WithoutCancel(ctx))
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error { l.renew(renewing); return nil })
	g.Go(func() error { l.log.send(sending); return nil })
	stopDraining := context.AfterFunc(ctx, func() {
		rest(l.ctx, w.cfg.Grace)
		l.end(ErrStopping)
	})
	fmt.Fprintf(l.log, "cairn: attempt %d of build %d, by worker %s of %s\n", b.GetAttempts(), b.GetId(), b.GetWorker(), b.GetOperator())
	outcome, err := w.do(l)
	stopDraining()
	stopSending()
	// The lease is held until the ledger knows: what follows may take time.
	l.complete(ctx, logger, outcome, err)
	stopRenewing()
	l.end(nil)
	_ = g.Wait() // nil
}

// do calls Do. A panic is a failure of the job, not of the worker.
func (w *worker) do(l *lease) (outcome *Outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(l.log, "cairn: panic: %v\n%s", v, debug.Stack())
			outcome, err = nil, &Failure{Kind: "WORKER_PANIC", Retryable: true, Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	outcome, err = w.cfg.Do(l.ctx, &Job{Build: proto.CloneOf(l.build), lease: l}, l.log)
	if err == nil && outcome == nil {
		err = &Failure{Kind: "WORKER_ERROR", Err: errors.New("the worker came to no result and to no error")}
	}
	return outcome, err
}
