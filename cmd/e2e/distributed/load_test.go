package distributed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// rate is how many attestations a second the load makes; workers, by how many at
// once.
const (
	rate    = 200
	workers = 32
)

// load submits to all front ends, whatever happens to them: what one does not answer,
// or refuses for now, goes to another, until it is acknowledged.
type load struct {
	r       *real
	signers []signer
	next    atomic.Int64 // attestation
	acked   atomic.Int64
	again   atomic.Int64 // attempts that were not answered by an acknowledgement

	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	errs   []error
}

func (r *real) startLoad(keys int) *load {
	ctx, cancel := context.WithCancel(r.t.Context())
	l := &load{r: r, signers: r.newSigners(keys), cancel: cancel}
	tick := time.NewTicker(time.Second / rate)
	for range workers {
		l.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					l.one(ctx)
				}
			}
		})
	}
	r.t.Cleanup(func() { cancel(); l.wg.Wait(); tick.Stop() })
	return l
}

// stop waits until everything is acknowledged that was begun.
func (l *load) stop() error {
	l.cancel()
	l.wg.Wait()
	return l.failed()
}

func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// one submits a new attestation, and sometimes to two front ends at once.
func (l *load) one(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	i := int(l.next.Add(1))
	wait, times := "sequenced", 1
	if i%4 == 0 {
		wait = "published"
	}
	if i%10 == 0 {
		times = 2
	}
	raw, first := l.signers[i%len(l.signers)].about(i), rand.IntN(len(three))
	var answers [2]*cairnv1.SubmitAttestationResponse
	var wg sync.WaitGroup
	for n := range times {
		wg.Go(func() {
			var err error
			if answers[n], err = l.submit(ctx, raw, wait, first+n); err != nil {
				l.fail(fmt.Errorf("attestation %d: %w", i, err))
			}
		})
	}
	wg.Wait()
	if a, b := answers[0], answers[1]; a != nil && b != nil && a.GetIndex() != b.GetIndex() {
		l.fail(fmt.Errorf("attestation %d: at two front ends it is entry %d and entry %d", i, a.GetIndex(), b.GetIndex()))
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// submit asks one front end after the other.
func (l *load) submit(ctx context.Context, raw []byte, wait string, first int) (*cairnv1.SubmitAttestationResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i := first; ; i++ {
		resp, err := l.r.submitIn(ctx, three[i%len(three)], raw, wait)
		if err == nil {
			l.acked.Add(1)
			return resp, nil
		}
		if !mayPass(err) || ctx.Err() != nil {
			return nil, err
		}
		l.again.Add(1)
		if err := client.Sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// mayPass reports that another front end, or this one later, may acknowledge what
// one did not.
func mayPass(err error) bool {
	var unanswered *client.UnansweredError
	if errors.As(err, &unanswered) {
		return true
	}
	refused, ok := reason.Of(err)
	if !ok {
		return false
	}
	switch reason.Lookup(refused.Reason).Code {
	case reason.Unavailable, reason.DeadlineExceeded, reason.ResourceExhausted:
		return true
	}
	return false
}
