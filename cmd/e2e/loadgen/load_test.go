package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPercentileIsNearestRank(t *testing.T) {
	upTo := func(n int) []time.Duration {
		var list []time.Duration
		for i := range n {
			list = append(list, time.Duration(i+1))
		}
		return list
	}
	tests := []struct {
		name string
		list []time.Duration
		p    int
		want time.Duration
	}{
		{"nothing", nil, 50, 0},
		{"one value is every percentile", upTo(1), 1, 1},
		{"one value is the last one too", upTo(1), 100, 1},
		{"median of an even number is the lower one", upTo(4), 50, 2},
		{"median of an odd number", upTo(5), 50, 3},
		{"99 of 100", upTo(100), 99, 99},
		{"99 of 101 rounds up", upTo(101), 99, 100},
		{"90 of 10", upTo(10), 90, 9},
		{"all of them", upTo(1000), 100, 1000},
		{"none of them is the first", upTo(10), 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := percentile(tt.list, tt.p); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// By definition: at least p percent of the values do not exceed it, and of
// nothing smaller in the list is that true.
func TestPercentileHoldsItsDefinition(t *testing.T) {
	for n := 1; n <= 50; n++ {
		list := make([]time.Duration, n)
		for i := range list {
			list[i] = time.Duration(i)
		}
		for p := 1; p <= 100; p++ {
			got := int(percentile(list, p))
			if (got+1)*100 < p*n {
				t.Errorf("%d%% of %d values: only %d do not exceed %d", p, n, got+1, got)
			}
			if got > 0 && got*100 >= p*n {
				t.Errorf("%d%% of %d values: %d is larger than it need be", p, n, got)
			}
		}
	}
}

// slowSender answers after a fixed time.
type slowSender struct {
	took   time.Duration
	fail   func(n int64) bool
	calls  *atomic.Int64
	closed atomic.Bool
}

func (s *slowSender) send(ctx context.Context, wire []byte, keep bool) ([]byte, error) {
	n := s.calls.Add(1)
	if !pause(ctx, s.took) {
		return nil, errors.New("cut off")
	}
	if s.fail != nil && s.fail(n) {
		return nil, errors.New("503 OVERLOADED")
	}
	if keep {
		return wire, nil
	}
	return nil, nil
}

func (s *slowSender) close() { s.closed.Store(true) }

func numbered(n int) []request {
	var list []request
	for i := range n {
		list = append(list, request{wire: fmt.Append(nil, i)})
	}
	return list
}

func TestWindowCountsOnlyWhatIsAnsweredInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		j := job{
			submitters: 5, requests: numbered(100_000), warmup: time.Second, window: 10 * time.Second,
			open: func(int) (sender, error) { return &slowSender{took: 100 * time.Millisecond, calls: &calls}, nil },
		}
		m, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Five submitters that wait for 100 ms each are answered 50 times a
		// second. What ends exactly with the window may fall on either side.
		if m.elapsed != 10*time.Second || m.answered < 495 || m.answered > 505 {
			t.Errorf("got %d answers in %v, want 500 in 10s", m.answered, m.elapsed)
		}
		if p := percentile(m.latencies, 50); p != 100*time.Millisecond {
			t.Errorf("got p50 %v, want 100ms", p)
		}
		if n := calls.Load(); n < 550 || n > 560 {
			t.Errorf("got %d requests sent, want those of 11s", n)
		}
		if m.ranOut || len(m.failures) > 0 {
			t.Errorf("got ran out %v and failures %v, want none", m.ranOut, m.failures)
		}
	})
}

func TestCountSendsEachRequestOnce(t *testing.T) {
	var calls atomic.Int64
	j := job{
		submitters: 7, requests: numbered(1000),
		open: func(int) (sender, error) { return &slowSender{calls: &calls}, nil },
	}
	m, err := j.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.answered != 1000 || calls.Load() != 1000 {
		t.Errorf("got %d answers to %d requests, want 1000", m.answered, calls.Load())
	}
	var got []string
	for _, s := range m.samples {
		if string(s.reply) != string(s.req.wire) {
			t.Errorf("sample of request %s has the answer to %s", s.req.wire, s.reply)
		}
		got = append(got, string(s.reply))
	}
	slices.Sort(got)
	if want := []string{"0", "100", "200", "300", "400", "500", "600", "700", "800", "900"}; !slices.Equal(got, want) {
		t.Errorf("got samples of %v, want %v", got, want)
	}
}

func TestFailuresAreCountedByReasonAndNotAsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		j := job{
			submitters: 1, requests: numbered(20),
			open: func(int) (sender, error) {
				return &slowSender{calls: &calls, fail: func(n int64) bool { return n%10 == 0 }}, nil
			},
		}
		m, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.answered != 18 || len(m.failures) != 1 || m.failures["503 OVERLOADED"] != 2 {
			t.Errorf("got %d answers and failures %v, want 18 and 2 of one reason", m.answered, m.failures)
		}
	})
}

func TestRunningOutEndsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		j := job{
			submitters: 1, requests: numbered(50), window: 10 * time.Second,
			open: func(int) (sender, error) { return &slowSender{took: 100 * time.Millisecond, calls: &calls}, nil },
		}
		m, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !m.ranOut || m.answered != 50 || m.elapsed != 5*time.Second {
			t.Errorf("got ran out %v with %d answers in %v, want 50 in 5s", m.ranOut, m.answered, m.elapsed)
		}
		j.requests = j.requests[:1]
		if _, err := j.run(t.Context()); err == nil {
			t.Error("a run that was over at once gave a measurement, want an error")
		}
	})
}

func TestInterruptEndsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := &slowSender{took: time.Hour, calls: &atomic.Int64{}}
		j := job{
			submitters: 1, requests: numbered(10), window: time.Minute,
			open: func(int) (sender, error) { return s, nil },
		}
		start := time.Now()
		if _, err := j.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want the context's", err)
		}
		if took := time.Since(start); took != time.Second || !s.closed.Load() {
			t.Errorf("got an end after %v, closed %v, want 1s and closed", took, s.closed.Load())
		}
	})
}

func TestRoundsAddUp(t *testing.T) {
	total := &measurement{}
	total.add(&measurement{answered: 2, elapsed: time.Second, latencies: []time.Duration{5, 9}, cpu: load{Server: 100},
		mem: memory{Peak: 9, Now: 1}, failures: map[string]int{"a": 1}})
	total.add(&measurement{answered: 1, elapsed: 3 * time.Second, latencies: []time.Duration{7}, cpu: load{Server: 20},
		mem: memory{Peak: 5, Now: 2}, failures: map[string]int{"a": 2}})
	if total.answered != 3 || total.elapsed != 4*time.Second || total.rate() != 0.75 {
		t.Errorf("got %d answers in %v, %v a second", total.answered, total.elapsed, total.rate())
	}
	if !slices.Equal(total.latencies, []time.Duration{5, 7, 9}) || total.cpu.Server != 40 {
		t.Errorf("got latencies %v and CPU %v, want them sorted and 40%%", total.latencies, total.cpu.Server)
	}
	if (total.mem != memory{Peak: 9, Now: 2}) || total.failures["a"] != 3 {
		t.Errorf("got memory %v and failures %v", total.mem, total.failures)
	}
}

func TestSplit(t *testing.T) {
	if got, want := split(250, 100), []int{100, 100, 50}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
