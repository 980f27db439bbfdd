package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// lease is a lease of a job, while the job runs.
type lease struct {
	client   Client
	build    *cairnv1.Build
	token    string
	length   time.Duration
	patience time.Duration
	log      *jobLog

	ctx  context.Context // of the job
	end  context.CancelCauseFunc
	stop context.Context // ends when the worker is told to stop
}

// newLease returns a lease whose job outlives ctx: it is given time to stop.
func newLease(ctx context.Context, w *worker, resp *cairnv1.LeaseBuildResponse) *lease {
	l := &lease{
		client: w.cfg.Client, build: resp.GetBuild(), token: resp.GetLeaseToken(), patience: w.cfg.Patience,
		length: max(time.Duration(resp.GetLeaseSeconds())*time.Second, time.Second),
	}
	l.log = newJobLog(l.build.GetLogSize(), func(ctx context.Context, offset int64, data []byte) (int64, error) {
		ctx, cancel := context.WithTimeout(ctx, l.length)
		defer cancel()
		r, err := l.client.AppendBuildLog(ctx, &cairnv1.AppendBuildLogRequest{
			Id: l.build.GetId(), LeaseToken: l.token, Offset: offset, Data: data,
		})
		return r.GetSize(), err
	})
	l.stop = ctx
	l.ctx, l.end = context.WithCancelCause(context.WithoutCancel(ctx))
	return l
}

// once asks the ledger once to renew the lease. known is whether it answered;
// the error then says why the lease is not held any more, or is nil.
func (l *lease) once(ctx context.Context) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.length/3)
	defer cancel()
	r, err := l.client.RenewLease(ctx, &cairnv1.RenewLeaseRequest{Id: l.build.GetId(), LeaseToken: l.token})
	switch {
	case err != nil:
		if e, ok := reason.Of(err); ok && (e.Reason == reason.BuildNotFound || hopeless(err)) {
			return true, fmt.Errorf("%w: %w", ErrLost, err)
		}
		return false, err
	case r.GetStatus() == "held":
		return true, nil
	case r.GetStatus() == "cancelled":
		return true, ErrCancelled
	}
	return true, ErrLost
}

// renew keeps the lease from ending until ctx is done, and ends the job when the
// ledger says that the lease has ended, or has been away for too long.
func (l *lease) renew(ctx context.Context) {
	t := time.NewTicker(l.length / 3)
	defer t.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		known, err := l.once(ctx)
		switch {
		case known && err == nil:
			heard = time.Now()
		case known:
			l.end(err)
			return
		case time.Since(heard) > l.patience:
			l.end(fmt.Errorf("%w: %w", ErrAway, err))
			return
		}
	}
}

// confirm renews the lease, and asks until there is an answer.
func (l *lease) confirm(ctx context.Context) error {
	for failed := 1; ; failed++ {
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		known, err := l.once(ctx)
		if known {
			if err != nil {
				l.end(err)
			}
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		rest(ctx, min(pauseAfter(failed), l.length/3))
	}
}

// complete tells the ledger what became of the job.
func (l *lease) complete(ctx context.Context, logger *slog.Logger, outcome *Outcome, err error) {
	cause := context.Cause(l.ctx)
	lost := errors.Is(cause, ErrLost) || errors.Is(cause, ErrCancelled) || errors.Is(cause, ErrAway)
	req := &cairnv1.CompleteBuildRequest{Id: l.build.GetId(), LeaseToken: l.token}
	switch {
	case err == nil: // it is logged: if the lease is lost, the ledger decides
		req.Outcome = &cairnv1.CompleteBuildRequest_Result{Result: &cairnv1.BuildResult{Envelope: string(outcome.Envelope)}}
	case lost:
		logger.WarnContext(ctx, "stopped a build", slog.Any("cause", cause))
		return
	case errors.Is(cause, ErrStopping):
		req.Outcome = &cairnv1.CompleteBuildRequest_Returned{Returned: true}
	default:
		req.Outcome = failed(err)
	}
	// Bounded by patience, and once the worker is told to stop, by farewell.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
	defer cancel()
	told := context.AfterFunc(l.stop, func() {
		rest(ctx, farewell)
		cancel()
	})
	defer told()
	l.log.flush(ctx)
	b, err := l.completeWith(ctx, req)
	if e, ok := reason.Of(err); ok && req.GetResult() != nil && (e.Reason == reason.AttestationNotFound || e.Reason == reason.ArgumentInvalid) {
		logger.ErrorContext(ctx, "the ledger refuses the result", slog.Any("err", err))
		req.Outcome = failed(&Failure{Kind: "RESULT_REFUSED", Err: err})
		b, err = l.completeWith(ctx, req)
	}
	if err != nil {
		logger.WarnContext(ctx, "the build was not completed", slog.Any("err", err))
		return
	}
	logger.InfoContext(ctx, "completed a build", slog.String("state", b.GetState()), slog.String("failure", b.GetFailure().GetKind()))
}

// completeWith asks until there is an answer or ctx ends.
func (l *lease) completeWith(ctx context.Context, req *cairnv1.CompleteBuildRequest) (*cairnv1.Build, error) {
	for n := 1; ; n++ {
		resp, err := l.client.CompleteBuild(ctx, req)
		if err == nil {
			return resp.GetBuild(), nil
		}
		e, ok := reason.Of(err)
		passing := !ok || e.RetryAfter > 0 || reason.Lookup(e.Reason).Exit == reason.ExitNotAsked
		if !passing || ctx.Err() != nil {
			return nil, err
		}
		rest(ctx, pauseAfter(n))
	}
}

// failed is the outcome of an attempt that ended with an error.
func failed(err error) *cairnv1.CompleteBuildRequest_Failure {
	f := &Failure{Kind: "WORKER_ERROR", Retryable: true, Err: err}
	_ = errors.As(err, &f)
	return &cairnv1.CompleteBuildRequest_Failure{Failure: &cairnv1.BuildFailure{
		Kind: f.Kind, Message: err.Error(), Retryable: f.Retryable,
	}}
}
