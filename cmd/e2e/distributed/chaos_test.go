package distributed

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// resumes is how soon after a fault there must be publications again.
const resumes = 10 * time.Second

// outcome is what became of a round.
type outcome struct {
	fault     string
	published time.Duration // from the fault until something later was published
	pause     time.Duration // the longest between two publications, from the fault to the end of the round
}

// TestChaos has faults happen to a log under load, one a round, CAIRN_CHAOS_ROUNDS
// of them, and wants every promise kept. Each kind comes once before any comes again;
// CAIRN_CHAOS_FAULT is a regular expression of those that do.
func TestChaos(t *testing.T) {
	r := newReal(t, 5*time.Second)
	only, err := regexp.Compile(os.Getenv("CAIRN_CHAOS_FAULT"))
	if err != nil {
		t.Fatalf("CAIRN_CHAOS_FAULT: %v", err)
	}
	faults := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !only.MatchString(f.name) })
	rounds := len(faults)
	if s := os.Getenv("CAIRN_CHAOS_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("CAIRN_CHAOS_ROUNDS=%s is not a positive number", s)
		}
		rounds = n
	}
	r.holdable()
	l := r.startLoad(8)
	var outcomes []outcome
	var order []int
	for n := range rounds {
		if len(order) == 0 {
			order = rand.Perm(len(faults))
		}
		outcomes = append(outcomes, r.round(l, n+1, faults[order[0]]))
		order = order[1:]
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	tree := r.settled()
	r.check(tree)
	if err := r.notes.unchecked(t.Context()); err != nil {
		t.Error(err)
	}
	r.audited()
	for _, f := range three {
		r.Stop(f)
	}
	t.Logf("%d rounds: %d entries acknowledged, 0 lost (%d acknowledgements, %d attempts without one); %d trees signed, %d notes published, none of them of another log\n%s",
		rounds, len(r.leaves), l.acked.Load(), l.again.Load(), len(r.notes.older()), r.notes.archived, table(outcomes))
}

// round has a fault happen, and wants what was promised before and after it.
func (r *real) round(l *load, n int, f fault) outcome {
	r.t.Helper()
	at, undo := f.strike(r)
	if err := l.probe(2 * n); err != nil {
		r.t.Fatalf("round %d, %s: nothing is published afterwards: %v", n, f.name, err)
	}
	o := outcome{fault: f.name, published: time.Since(at)}
	undo()
	if err := l.probe(2*n + 1); err != nil {
		r.t.Fatalf("round %d, %s, undone: nothing is published afterwards: %v", n, f.name, err)
	}
	tree := r.settled()
	o.pause = r.notes.pause(at)
	r.t.Logf("round %2d: %-68s published after %5.2fs, longest pause %5.2fs, %d entries", n, f.name, o.published.Seconds(), o.pause.Seconds(), tree.N)
	if o.published >= resumes || o.pause >= resumes {
		r.t.Errorf("round %d: publication resumed after %v, with a pause of %v, want less than %v", n, o.published, o.pause, resumes)
	}
	r.check(tree)
	if err := l.failed(); err != nil {
		r.t.Fatalf("round %d, %s: %v", n, f.name, err)
	}
	return o
}

// settled waits until all front ends show what was acknowledged until now, and
// returns the tree of one.
func (r *real) settled() (tree tlog.Tree) {
	r.t.Helper()
	size := int64(0)
	r.mu.Lock()
	for i := range r.leaves {
		size = max(size, i+1)
	}
	r.mu.Unlock()
	for _, f := range three {
		if r.Front(f).Gone() {
			r.t.Fatalf("front end %s ended with exit code %d\n%s", f, r.Front(f).Code(), r.Front(f).Stderr)
		}
		tree = r.covering(f, size)
	}
	return tree
}

// table is of the outcomes, by kind of fault.
func table(outcomes []outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-68s %6s %10s %10s %10s\n", "fault", "rounds", "published", "longest", "pause")
	for _, f := range faults {
		var n int
		var sum, longest, pause time.Duration
		for _, o := range outcomes {
			if o.fault == f.name {
				n++
				sum += o.published
				longest, pause = max(longest, o.published), max(pause, o.pause)
			}
		}
		if n > 0 {
			fmt.Fprintf(&b, "%-68s %6d %9.2fs %9.2fs %9.2fs\n", f.name, n, (sum / time.Duration(n)).Seconds(), longest.Seconds(), pause.Seconds())
		}
	}
	return b.String()
}
