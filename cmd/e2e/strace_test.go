package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// workload is how many attestations are submitted, one after the other, to a
// ledger with prefilled entries: enough to complete a tile and begin the next.
const (
	prefilled = 251
	workload  = 12
)

// A ledger that waits for no one to share its batches and checkpoints.
var impatient = []string{"batchWindow: 0s", "publishInterval: 1ms"}

// sample is a ledger to break copies of, and what it promised.
type sample struct {
	dir     string
	history *history
	author  *author
}

func newSample(t *testing.T) *sample {
	t.Helper()
	s := &sample{dir: filepath.Join(t.TempDir(), "ledger")}
	p := start(t, s.dir)
	c := newCrew(t, p, 1)
	c.work(t.Context(), t, p, 32, prefilled-1)
	p.Stop(t)
	if got := c.history.count(); got != prefilled {
		t.Fatalf("%d entries were acknowledged, want %d", got, prefilled)
	}
	s.history, s.author = c.history, c.authors[0]
	return s
}

// victim is one copy.
type victim struct {
	dir     string
	args    []string
	history *history
	before  int // entries that the sample had
	*crew
}

func (s *sample) copy(t *testing.T) *victim {
	t.Helper()
	dir := copyDir(t, s.dir)
	h := &history{
		audit:   &audit{verifier: s.history.audit.verifier, identities: make(map[[32]byte]int64)},
		entries: slices.Clone(s.history.entries), trees: maps.Clone(s.history.trees),
	}
	return &victim{
		dir: dir, args: configured(t, dir, impatient...), history: h, before: len(h.entries),
		crew: &crew{history: h, authors: []*author{s.author}},
	}
}

// submit submits n new attestations, and goes on after errors. It returns how
// many were acknowledged.
func (v *victim) submit(t *testing.T, by transport, n int) (acknowledged int) {
	t.Helper()
	for range n {
		raw := v.authors[0].attestation()
		// Far below the server's patience: whoever is not answered by then was
		// left waiting for a publisher that has ended.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := v.history.submit(ctx, by, raw, "")
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a submission was never answered: %v", err)
		}
		if err != nil {
			v.failed(t, raw, err)
			continue
		}
		acknowledged++
	}
	return acknowledged
}

// recover starts the victim again and wants all that it promised.
func (v *victim) recover(t *testing.T) {
	t.Helper()
	p := startWith(t, v.args...)
	v.history.keep(t, p, v.history.entries[v.before:])
	v.history.keep(t, p, spread(v.history.entries[:v.before], 5))
	v.again(t, p)
	v.history.consistent(t, p, spread(v.history.signed(t), 5))
	p.Stop(t)
	check(t, v.dir, p)
}

// place is one system call of the workload.
type place struct {
	after int    // submissions before it
	name  string // of the system call
	nth   int    // of that name, from when the submission began
}

// workloadPlaces traces the workload, and returns its calls by name. The calls
// of each submission are returned too.
func (s *sample) workloadPlaces(t *testing.T) (map[string][]place, [][]call, string) {
	t.Helper()
	v := s.copy(t)
	p := startWith(t, v.args...)
	r := newREST(t, p)
	places := make(map[string][]place)
	var traces [][]call
	for i := range workload {
		tr := attach(t, p, "")
		if v.submit(t, r, 1) != 1 {
			t.Fatalf("a submission failed while it was traced\n%s", p.Stderr)
		}
		calls := tr.detach(t)
		traces = append(traces, calls)
		count := make(map[string]int)
		for _, c := range calls {
			count[c.name]++
			// A write to a socket saves nothing: there is nothing to break.
			if c.file(v.dir) != "" {
				places[c.name] = append(places[c.name], place{i, c.name, count[c.name]})
			}
		}
	}
	p.Stop(t)
	return places, traces, v.dir
}

// bound is how many places of each system call are tried; CAIRN_STRACE_FULL
// tries all.
func bound(n int) int {
	if os.Getenv("CAIRN_STRACE_FULL") == "1" {
		return 1 << 30
	}
	return n
}

// tally counts what was hit, for the log.
type tally map[string]int

func (y tally) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(y)) {
		fmt.Fprintf(&b, "\n\t%4d %s", y[k], k)
	}
	return b.String()
}

// TestStrace breaks system calls of the submit path, one at each run, and wants
// the ledger to be whole afterwards.
func TestStrace(t *testing.T) {
	needStrace(t)
	s := newSample(t)
	places, traces, dir := s.workloadPlaces(t)
	for _, name := range slices.Sorted(maps.Keys(places)) {
		t.Logf("%s: %d calls on files", name, len(places[name]))
	}
	t.Run("order", func(t *testing.T) {
		for i, calls := range traces {
			checkOrder(t, i, calls, dir)
		}
	})
	t.Run("kill", func(t *testing.T) {
		s.breakEach(t, places, "signal=KILL", "", bound(8), s.killed)
	})
	t.Run("EIO", func(t *testing.T) {
		s.breakEach(t, places, "error=EIO", "", bound(8), s.failed)
	})
	t.Run("ENOSPC", func(t *testing.T) {
		only := make(map[string][]place)
		for _, name := range []string{"openat", "write", "pwrite64", "mkdirat", "ftruncate"} {
			only[name] = places[name]
		}
		// A full disk stays full.
		s.breakEach(t, only, "error=ENOSPC", "+", bound(4), s.failed)
	})
}

// breakEach runs the workload once for each place, with a fault there.
func (s *sample) breakEach(t *testing.T, places map[string][]place, fault, more string, most int,
	run func(t *testing.T, at place, inject string) (hit string)) {
	t.Helper()
	hits, runs := make(tally), 0
	for _, name := range slices.Sorted(maps.Keys(places)) {
		for _, at := range spread(places[name], most) {
			runs++
			inject := fmt.Sprintf("%s:%s:when=%d%s", at.name, fault, at.nth, more)
			t.Run(fmt.Sprintf("%s/%d/%d", at.name, at.after, at.nth), func(t *testing.T) {
				hits[run(t, at, inject)]++
			})
		}
	}
	t.Logf("%d runs with %s:%s", runs, fault, hits)
}

// killed runs the workload with a kill. It returns where that hit.
func (s *sample) killed(t *testing.T, at place, inject string) string {
	v := s.copy(t)
	p := startWith(t, v.args...)
	r := newREST(t, p)
	if v.submit(t, r, at.after) != at.after {
		t.Fatalf("a submission failed before anything was broken\n%s", p.Stderr)
	}
	tr := attach(t, p, inject)
	v.submit(t, r, workload-at.after)
	p.Kill(t)
	calls := tr.calls(t)
	v.recover(t)
	// The call that was killed is the one that did not return.
	for _, c := range calls {
		if c.end < 0 && c.name == at.name {
			return c.name + " of " + c.file(v.dir)
		}
	}
	return at.name + " not reached"
}

// failed runs the workload with a failing call. It returns where that hit, and
// what became of the ledger.
func (s *sample) failed(t *testing.T, at place, inject string) string {
	v := s.copy(t)
	p := startWith(t, v.args...)
	r := newREST(t, p)
	if v.submit(t, r, at.after) != at.after {
		t.Fatalf("a submission failed before anything was broken\n%s", p.Stderr)
	}
	tr := attach(t, p, inject)
	acknowledged := v.submit(t, r, workload-at.after)
	became := "went on"
	if acknowledged < workload-at.after {
		became = "went on after a refusal"
		if len(v.refused) == 0 || v.halted() {
			p.Wait(t)
			became = fmt.Sprintf("ended with code %d", p.Code())
			if p.Code() <= 0 {
				t.Errorf("a ledger whose storage failed ended with code %d\n%s", p.Code(), p.Stderr)
			}
		}
	}
	p.Kill(t)
	calls := tr.calls(t)
	var hit string
	for _, c := range calls {
		if c.broken && hit == "" {
			hit = c.name + " of " + c.file(v.dir)
		}
	}
	if hit == "fsync of log/.state" {
		v.wantNotSigned(t, at.after+acknowledged)
	}
	v.recover(t)
	return hit + ": " + became
}

func (v *victim) halted() bool {
	return slices.ContainsFunc(v.refused, func(err error) bool {
		var r *refusal
		return errors.As(err, &r) && (r.reason == "LEDGER_HALTED" || r.reason == "PUBLICATION_DELAYED")
	})
}

// wantNotSigned checks that no tree was signed of which the disk did not
// confirm that it is there: a power loss may take it.
func (v *victim) wantNotSigned(t *testing.T, acknowledged int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, "signed"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\n%d\n", v.before+acknowledged); !strings.Contains(string(b), want) {
		t.Errorf("signed after a failed fsync:\n%s", b)
	}
}
