package importer

import (
	"context"
	"iter"
)

// Fetches is how many files are got at a time from a service.
const Fetches = 8

// Parallel yields f of each of in, in their order, while it computes up to width
// of those that follow.
func Parallel[T, R any](ctx context.Context, in iter.Seq[T], width int, f func(context.Context, T) R) iter.Seq[R] {
	return func(yield func(R) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pending := make(chan chan R, width)
		go func() {
			defer close(pending)
			for v := range in {
				result := make(chan R, 1)
				select {
				case pending <- result:
				case <-ctx.Done():
					return
				}
				go func() { result <- f(ctx, v) }()
			}
		}()
		for result := range pending {
			if !yield(<-result) {
				cancel()
				for range pending { // so that in is not left running
				}
				return
			}
		}
	}
}
