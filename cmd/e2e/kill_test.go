package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// number returns a positive number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is not a positive number", name, s)
	}
	return n
}

// TestKill kills the ledger under load, CAIRN_KILL_ROUNDS times, and wants all
// that it ever acknowledged back.
func TestKill(t *testing.T) {
	rounds := number(t, "CAIRN_KILL_ROUNDS", 20)
	seed := uint64(number(t, "CAIRN_SEED", int(rand.Uint32())+1))
	t.Logf("CAIRN_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	c := newCrew(t, p, 4)
	h := c.history
	var took time.Duration
	unanswered, recoveries := 0, 0
	for round := range rounds {
		before := h.count()
		killUnderLoad(t, c, p, 5*time.Millisecond+time.Duration(r.Int64N(int64(395*time.Millisecond))))
		if round%4 == 3 {
			// Recovery is killed too, before it is ready or just after.
			p := launch(t, "-dev", dir)
			kill := time.After(time.Duration(r.Int64N(int64(30 * time.Millisecond))))
			<-kill
			p.Kill(t)
			recoveries++
		}
		p = start(t, dir)
		took = max(took, p.took)
		h.keep(t, p, h.entries[before:])
		h.keep(t, p, some(r, h.entries[:before], 50))
		h.consistent(t, p, some(r, h.signed(t), 5))
		unanswered += c.again(t, p)
	}

	p.Kill(t)
	p = start(t, dir)
	h.fresh(t, p)
	h.keep(t, p, h.entries)
	trees := h.signed(t)
	h.consistent(t, p, trees)
	h.pairs(t, p, spread(trees, 40))
	p.Stop(t)
	t.Logf("%d kills under load and %d during recovery: %d entries acknowledged, 0 lost; "+
		"%d submissions unanswered and submitted again; %d retries, each with its first index; "+
		"%d checkpoints, 0 contradictions, %d consistency proofs; ready after %v at most",
		rounds, recoveries, len(h.entries), unanswered, h.retries, len(trees), h.proofs, took)
}

// killUnderLoad has a crew work until the ledger is killed after a while.
func killUnderLoad(t *testing.T, c *crew, p *process, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e2etest.Patience)
	defer cancel()
	timer := time.AfterFunc(after, func() { _ = p.Cmd.Process.Kill() })
	defer timer.Stop()
	c.work(ctx, t, p, 32, 0)
	p.Wait(t)
	if p.Code() != -1 {
		t.Fatalf("the ledger ended by itself, with code %d\n%s", p.Code(), p.Stderr)
	}
	for _, err := range c.refused {
		t.Fatalf("a ledger that is about to be killed refused: %v", err)
	}
}

// some returns n elements at random.
func some[T any](r *rand.Rand, all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	chosen := make([]T, n)
	for i := range chosen {
		chosen[i] = all[r.IntN(len(all))]
	}
	return chosen
}
