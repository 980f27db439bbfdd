package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestStraceStart breaks system calls of a start, on nothing and on what a
// killed ledger left, and wants the next start to succeed.
func TestStraceStart(t *testing.T) {
	needStrace(t)
	t.Run("first", func(t *testing.T) {
		breakStarts(t, func(t *testing.T) *startCase {
			dir := filepath.Join(t.TempDir(), "ledger")
			return &startCase{dir: dir, args: []string{"-dev", dir}, then: func(t *testing.T) { firstUse(t, dir) }}
		})
	})
	t.Run("after a kill", func(t *testing.T) {
		s := newSample(t)
		p := start(t, s.dir)
		r := newREST(t, p)
		// Entries that are neither indexed nor published when the kill comes.
		c := &crew{history: s.history, authors: []*author{s.author}}
		for range 20 {
			if err := s.history.submit(t.Context(), r, s.author.attestation(), "sequenced"); err != nil {
				t.Fatal(err)
			}
		}
		p.Kill(t)
		restore(t, s.dir, "", "index.db")
		breakStarts(t, func(t *testing.T) *startCase {
			v := s.copy(t)
			v.before = prefilled
			v.crew.authors = c.authors
			return &startCase{dir: v.dir, args: v.args, then: v.recover}
		})
	})
}

// startCase is a start to break, and what must be possible afterwards.
type startCase struct {
	dir  string
	args []string
	then func(*testing.T)
}

func breakStarts(t *testing.T, prepare func(*testing.T) *startCase) {
	t.Helper()
	places := make(map[string][]int)
	c := prepare(t)
	count := make(map[string]int)
	for _, call := range c.start(t, "") {
		count[call.name]++
		if call.file(c.dir) != "" {
			places[call.name] = append(places[call.name], count[call.name])
		}
	}
	for _, fault := range []string{"signal=KILL", "error=EIO"} {
		hits, runs := make(tally), 0
		for _, name := range slices.Sorted(maps.Keys(places)) {
			for _, nth := range spread(places[name], bound(4)) {
				runs++
				t.Run(fmt.Sprintf("%s/%s/%d", fault, name, nth), func(t *testing.T) {
					c := prepare(t)
					hit := name + " not reached"
					for _, call := range c.start(t, fmt.Sprintf("%s:%s:when=%d", name, fault, nth)) {
						if call.name == name && (call.end < 0 || call.broken) {
							hit = call.name + " of " + call.file(c.dir)
						}
					}
					hits[hit]++
					c.then(t)
				})
			}
		}
		t.Logf("%d starts with %s:%s", runs, fault, hits)
	}
}

// start starts the ledger under strace, and kills it once it is ready, if it
// ever is.
func (c *startCase) start(t *testing.T, inject string) []call {
	t.Helper()
	p, file := launchTraced(t, inject, c.args...)
	if p.TryReady(t, &p.readyLine) {
		p.Kill(t)
	}
	calls := endOfTrace(t, file, p)
	if code := p.Code(); code == 0 {
		t.Errorf("the start failed with exit code 0\n%s", p.Stderr)
	}
	return calls
}

// firstUse uses a ledger whose first start was broken.
func firstUse(t *testing.T, dir string) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "ledger.key"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	p := start(t, dir)
	if now, err := os.ReadFile(filepath.Join(dir, "ledger.key")); err != nil || len(key) > 0 && string(now) != string(key) {
		t.Errorf("the key changed, or %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "policy")); err != nil || string(b) != "log "+p.VKey+"\nquorum none\n" {
		t.Errorf("the policy is %q, %v", b, err)
	}
	c := newCrew(t, p, 1)
	c.work(t.Context(), t, p, 2, 4)
	p.Stop(t)
	p = start(t, dir)
	c.history.keep(t, p, c.history.entries)
	p.Stop(t)
	check(t, dir, p)
}
