package gossip_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestDetectionTime prints how long it takes until a split view is detected,
// from the moment at which the second history was cosigned. Promise P5 is: with
// honest peers connected, 3 s if pushes arrive, and else 1.2 times the interval
// and 3 s.
func TestDetectionTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		sizes [2]int64
		push  bool
		bound time.Duration
	}{
		{"same size, pushed", [2]int64{300, 300}, true, 3 * time.Second},
		{"two sizes, pushed", [2]int64{40, 300}, true, 3 * time.Second},
		{"same size, pulled", [2]int64{300, 300}, false, interval*12/10 + 3*time.Second},
		{"two sizes, pulled", [2]int64{40, 300}, false, interval*12/10 + 3*time.Second},
	} {
		for _, n := range []int{5, 9, 32} {
			if testing.Short() && n > 9 {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d witnesses", tt.name, n), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					first, all := detect(t, n, tt.sizes, tt.push)
					t.Logf("%-18s %2d witnesses: first evidence after %8v, on all after %8v (bound %v)", tt.name, n, first, all, tt.bound)
					if all > tt.bound {
						t.Errorf("evidence on all after %v, want at most %v", all, tt.bound)
					}
				})
			})
		}
	}
}

// detect returns when the first and the last of n witnesses have evidence. The
// network takes 50 ms each way.
func detect(t *testing.T, n int, sizes [2]int64, push bool) (first, all time.Duration) {
	a, b := forkedLog()
	net := newNetwork(uint64(n))
	net.handlers[logHost] = b
	members := cluster(t, net, a, n, options{logURL: true})
	if !push {
		for _, m := range members {
			net.handlers[m.name] = withoutPost(m.mux)
		}
	}
	run(t, members...)
	for _, m := range members {
		m.mustAdd(t, a, 20)
	}
	time.Sleep(10 * interval) // so that nobody asks for the first time
	for i, m := range members {
		if i < n/2 {
			m.mustAdd(t, a, sizes[0])
		} else {
			m.mustAdd(t, b, sizes[1])
		}
	}
	start := time.Now()
	for since := time.Duration(0); since < 2*interval; since = time.Since(start) {
		synctest.Wait()
		have := 0
		for _, m := range members {
			if len(m.evidence(t)) > 0 {
				have++
			}
		}
		if have > 0 && first == 0 {
			first = since
		}
		if have == n {
			return first, since
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("not all have evidence after two rounds")
	return 0, 0
}
