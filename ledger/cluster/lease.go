package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// The server's clock decides when a lease ends, and it decides late: the holder
// counts from before it asked. A process may succeed itself at once; the new epoch
// fences off what it had under way.
const (
	takeLease = `UPDATE lease SET epoch = epoch + 1, holder = $1, until = clock_timestamp() + $2::interval
WHERE until < clock_timestamp() OR until > clock_timestamp() + $3::interval OR holder = $1 RETURNING epoch`
	renewLease   = `UPDATE lease SET until = clock_timestamp() + $2::interval WHERE epoch = $1`
	releaseLease = `UPDATE lease SET until = '-infinity' WHERE epoch = $1`
)

// Lead calls f whenever this process becomes the publisher, until ctx ends; then it
// waits for f. The ctx of f ends with its Term, or with ctx; in the latter case the
// lease is kept until f returns, and given back then, so that another process need
// not wait for its end.
//
// An error of f that may pass ends the Term: StorageUnavailable, ErrLost, and what
// Explain finds to be no rollback. Lead returns any other, since only a person can
// help; it returns nil when ctx ends.
func (c *Cluster) Lead(ctx context.Context, f func(context.Context, *Term) error) error {
	quiet := false // whether a failure was told already
	for ctx.Err() == nil {
		t, err := c.campaign(ctx)
		pause := c.cfg.Lease / 6
		switch {
		case err != nil && ctx.Err() == nil && !quiet:
			c.cfg.Logger.WarnContext(ctx, "asking to publish, and asking again", slog.Any("err", err))
		case t != nil:
			failed, err := c.serve(ctx, t, f)
			if err != nil {
				return err
			}
			if failed { // the others ask thrice in that time
				pause = c.cfg.Lease / 2
			}
		}
		quiet = err != nil
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// campaign takes the lease if nobody has it. It returns nil if somebody has.
func (c *Cluster) campaign(ctx context.Context) (*Term, error) {
	asking, cancel := context.WithTimeout(ctx, c.cfg.Lease)
	defer cancel()
	sent, epoch := time.Now(), int64(0)
	err := c.pool.QueryRow(asking, takeLease, c.holder, c.cfg.Lease, MaxLease).Scan(&epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("taking the lease: %w", postgres.Classify(ctx, err))
	}
	return &Term{c: c, epoch: epoch, renewed: sent}, nil
}

// serve runs f for a Term. It returns whether f failed, and an error that is not to
// be tried again.
func (c *Cluster) serve(ctx context.Context, t *Term, f func(context.Context, *Term) error) (failed bool, err error) {
	log := c.cfg.Logger.With(slog.Int64("epoch", t.epoch))
	log.InfoContext(ctx, "this process publishes")
	err = c.hold(ctx, t, f)
	switch {
	case err == nil:
		log.InfoContext(ctx, "this process publishes no more")
		return false, nil
	case errors.Is(err, checkpoint.ErrRollback):
		return true, err
	case errors.Is(err, ErrLost), isUnavailable(err), ctx.Err() != nil && errors.Is(err, context.Canceled):
		log.WarnContext(ctx, "this process publishes no more", slog.Any("err", err))
		return true, nil
	}
	return true, err
}

// hold runs f for a Term, whose lease it renews meanwhile and gives back in the end.
// The error is that of f, explained; it wraps ErrLost if the Term ended before f did.
func (c *Cluster) hold(ctx context.Context, t *Term, f func(context.Context, *Term) error) error {
	serving, end := context.WithCancelCause(ctx)
	defer end(nil)
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		t.keep(keeping, c.cfg.Lease, t.renew, end)
	})
	c.term.Store(t)
	err := f(serving, t)
	if err != nil && serving.Err() != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) {
		err = errors.Join(context.Cause(serving), err)
	}
	c.term.Store(nil)
	stop()
	wg.Wait()
	t.release(context.WithoutCancel(ctx))

	explaining, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
	defer cancel()
	return c.Explain(explaining, err)
}

// keep renews the lease until ctx ends, and calls end once the Term is lost. An
// answer to renew that does not come does not delay that.
func (t *Term) keep(ctx context.Context, lease time.Duration, renew func(context.Context) error, end func(error)) {
	expiry := time.AfterFunc(t.left(), func() {
		// It may have been renewed just now.
		if lost := t.Lost(); lost != nil {
			end(lost)
		}
	})
	defer expiry.Stop()
	wait := lease / 3
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		sent := time.Now()
		asking, cancel := context.WithTimeout(ctx, lease/3)
		err := renew(asking)
		cancel()
		switch {
		case err == nil:
			t.extend(sent)
			wait = lease / 3
		case errors.Is(err, ErrLost):
			t.lose(err)
		default:
			wait = lease / 6
		}
		if lost := t.Lost(); lost != nil {
			end(lost)
			return
		}
		expiry.Reset(t.left())
	}
}

// renew extends the lease in the database.
func (t *Term) renew(ctx context.Context) error {
	done, err := t.c.pool.Exec(ctx, renewLease, t.epoch, t.c.cfg.Lease)
	if err != nil {
		return fmt.Errorf("renewing the lease: %w", err)
	}
	if done.RowsAffected() == 0 {
		return t.over()
	}
	return nil
}

// release gives the lease back. What fails is not told: the lease ends by itself.
func (t *Term) release(ctx context.Context) {
	t.lose(fmt.Errorf("%w: the lease of epoch %d was given back", ErrLost, t.epoch))
	ctx, cancel := context.WithTimeout(ctx, t.c.cfg.Lease)
	defer cancel()
	_, _ = t.c.pool.Exec(ctx, releaseLease, t.epoch)
}
