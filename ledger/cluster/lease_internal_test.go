package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeepCountsFromBeforeItAsks: a Term is over once nothing that was asked for
// less than a lease ago was granted, however late the answers come. renewals say
// how long each takes and what it answers; after them the database is gone.
func TestKeepCountsFromBeforeItAsks(t *testing.T) {
	const lease = 3 * time.Second
	type renewal struct {
		takes time.Duration
		err   error
	}
	gone := errors.New("connection refused")
	for _, test := range []struct {
		name     string
		renewals []renewal
		want     time.Duration // when the Term ends
	}{
		{"never renewed", nil, lease},
		{"renewed once", []renewal{{0, nil}}, 1*time.Second + lease},
		{"the answer takes long", []renewal{{900 * time.Millisecond, nil}}, 1*time.Second + lease},
		{"two renewals", []renewal{{0, nil}, {0, nil}}, 2*time.Second + lease},
		{"renewed after a failure", []renewal{{0, gone}, {0, nil}}, 1500*time.Millisecond + lease},
		{"an answer does not come", []renewal{{time.Hour, nil}}, lease},
		{"taken over", []renewal{{0, nil}, {0, fmt.Errorf("%w: by b", ErrLost)}}, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				term := &Term{c: &Cluster{cfg: Config{Lease: lease}}, epoch: 7, renewed: began}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				serving, end := context.WithCancelCause(ctx)
				left := test.renewals
				go term.keep(ctx, lease, func(context.Context) error {
					if len(left) == 0 {
						return gone
					}
					r := left[0]
					left = left[1:]
					select {
					case <-time.After(r.takes): // whatever its ctx says
					case <-ctx.Done():
					}
					return r.err
				}, end)
				<-serving.Done()
				if got := time.Since(began); got != test.want {
					t.Errorf("the Term ended after %v, want %v", got, test.want)
				}
				if err := term.Lost(); !errors.Is(err, ErrLost) || !errors.Is(context.Cause(serving), ErrLost) {
					t.Errorf("Lost() = %v, and its context says %v", err, context.Cause(serving))
				}
				term.extend(time.Now())
				if term.Lost() == nil {
					t.Error("a Term that was lost begins again")
				}
			})
		})
	}
}

// TestLostDoesNotWaitForATimer: a process that was stopped may come to its next step
// before its timers fire.
func TestLostDoesNotWaitForATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := &Term{c: &Cluster{cfg: Config{Lease: time.Second}}, renewed: time.Now()}
		time.Sleep(time.Second - time.Nanosecond)
		if err := term.Lost(); err != nil {
			t.Errorf("Lost() = %v during the lease", err)
		}
		time.Sleep(time.Nanosecond)
		if err := term.Lost(); !errors.Is(err, ErrLost) {
			t.Errorf("Lost() = %v after the lease", err)
		}
		// Nothing is asked of the database, which there is none of here.
		if _, err := term.Load(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Load() = %v", err)
		}
		if err := term.Swap(t.Context(), nil, nil); !errors.Is(err, ErrLost) {
			t.Errorf("Swap() = %v", err)
		}
	})
}
