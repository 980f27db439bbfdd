package gossip

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/witness/state"
)

// SelfCheck asks all peers what they saw this witness cosign, before it cosigns
// anything. If one knows more than the state, the state was rolled back, and the
// origin is refused from then on. It waits for the peers for the given time,
// and returns when all have answered. If fewer than need did, it asks again,
// until they have or ctx is done.
func (n *Node) SelfCheck(ctx context.Context, patience time.Duration, need int) error {
	for {
		answered := n.askAll(ctx, patience)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("asking peers what was cosigned: %w", err)
		}
		if answered >= need {
			break
		}
		n.logger.WarnContext(ctx, "waiting for peers before anything is cosigned", "answered", answered, "needed", need)
		if !wait(ctx, max(time.Second, patience)) {
			return fmt.Errorf("asking peers what was cosigned: %w", ctx.Err())
		}
	}
	for _, o := range n.order {
		r, err := n.config.State.Refused(ctx, o.log.Origin)
		if err != nil {
			return err
		}
		if r != nil {
			n.logger.ErrorContext(ctx, "refusing an origin until it is cleared", "origin", r.Origin, "cause", r.Cause, "why", r.Detail,
				"clear", fmt.Sprintf("cairn-witness … -clear %s", r.Origin))
		}
	}
	select {
	case <-n.config.State.Broken():
		return state.ErrBroken
	default:
		return nil
	}
}

// askAll asks all peers at once, and returns how many have answered for all
// origins.
func (n *Node) askAll(ctx context.Context, patience time.Duration) int {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var answered atomic.Int64
	var wg sync.WaitGroup
	for _, p := range n.peers {
		wg.Go(func() {
			ok := true
			for _, o := range n.order {
				// What it cosigned itself shows a fork of the log, if there is one.
				checkpoint := n.pullCheckpoint(ctx, p, o)
				self := n.pullSelf(ctx, p, o)
				if self != nil {
					n.logger.DebugContext(ctx, "a peer does not say what it saw us cosign", "peer", p.url, "checkpoint", checkpoint, "err", self)
					ok = false
				}
			}
			if ok {
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	return int(answered.Load())
}
