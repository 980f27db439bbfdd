package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

var pendingMetric = regexp.MustCompile(`(?m)^cairn_ledger_pending_submissions (\d+)$`)

// pending returns once the ledger has n submissions under way.
func (p *process) pending(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(e2etest.Patience); ; {
		_, body := page(t, p, "GET", "/metrics")
		m := pendingMetric.FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("no metric of pending submissions in\n%s", body)
		}
		if got, err := strconv.Atoi(m[1]); err == nil && got >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s submissions are pending, never %d", m[1], n)
		}
	}
}

// TestStopAnswersWhatIsUnderWay stops a ledger that holds requests: each is
// answered as if nothing had happened.
func TestStopAnswersWhatIsUnderWay(t *testing.T) {
	const submitters = 32
	dir := t.TempDir()
	// The window is long enough for all to be in it when the ledger is stopped.
	args := configured(t, dir, "batchWindow: 1s")
	p := startWith(t, args...)
	c := newCrew(t, p, 2)
	transports := []transport{newREST(t, p), newRPC(t, p)}
	var wg sync.WaitGroup
	for s := range submitters {
		raw := c.authors[s%2].attestation()
		wg.Go(func() {
			wait := []string{"published", "sequenced"}[s/2%2]
			if err := c.history.submit(t.Context(), transports[s%2], raw, wait); err != nil {
				t.Errorf("a request under way, wait=%s: %v", wait, err)
			}
		})
	}
	p.pending(t, submitters)
	p.Stop(t)
	wg.Wait()
	if got, want := c.history.count(), len(c.authors)+submitters; got != want {
		t.Errorf("%d submissions were acknowledged, want %d", got, want)
	}
	p = startWith(t, args...)
	c.history.keep(t, p, c.history.entries)
	p.Stop(t)
}

// TestStopUnderLoad stops a ledger whose clients do not stop: it ends in time
// and with success, and who is not served is told so.
func TestStopUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	c := newCrew(t, p, 4)
	for range 2 {
		before := c.history.count()
		ctx, cancel := context.WithTimeout(t.Context(), e2etest.Patience)
		loaded := make(chan struct{})
		go func() {
			defer close(loaded)
			c.work(ctx, t, p, 32, 0)
		}()
		if err := newRPC(t, p).published(t.Context(), int64(before+100)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		p.Stop(t)
		// Connections that were opened and not used yet are waited for, 5 s long.
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("stopping took %v", took)
		}
		<-loaded
		cancel()
		p = start(t, dir)
		c.history.keep(t, p, c.history.entries[before:])
		c.again(t, p)
	}
	c.history.keep(t, p, c.history.entries)
	p.Stop(t)
	check(t, dir, p)
}

// TestStopAtOnce stops a ledger as early as its ready line allows.
func TestStopAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	for range 20 {
		start(t, dir).Stop(t)
	}
	// And before it.
	for i := range 20 {
		p := launch(t, "-dev", dir)
		timer := time.NewTimer(time.Duration(i) * time.Millisecond)
		select {
		case <-timer.C:
		case <-p.First():
		}
		p.Signal(t, syscall.SIGTERM)
		p.Wait(t)
		// Before the command has its handler, the signal ends it as any other.
		if code := p.Code(); code != 0 && code != -1 {
			t.Errorf("exit code %d after SIGTERM during the start\n%s", code, p.Stderr)
		}
	}
	start(t, dir).Stop(t)
}

// TestReadyInTime starts a ledger on nothing, and on a log with entries.
func TestReadyInTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	fresh := p.took
	c := newCrew(t, p, 4)
	c.work(t.Context(), t, p, 64, 2000)
	if len(c.unknown) > 0 {
		t.Fatalf("a submission was not taken: %v", c.refused)
	}
	p.Stop(t)
	p = start(t, dir)
	stopped := p.took
	p.Kill(t)
	p = start(t, dir)
	killed := p.took
	p.Stop(t)
	restore(t, dir, "", "index.db")
	p = start(t, dir)
	for when, took := range map[string]time.Duration{
		"on a new directory": fresh, "after 2,000 entries": stopped, "after it was killed": killed, "with its index to rebuild": p.took,
	} {
		if took > 2*time.Second {
			t.Errorf("ready %s after %v, want 2 s at most", when, took)
		}
		t.Logf("ready %s after %v", when, took)
	}
	c.history.keep(t, p, spread(c.history.entries, 100))
	p.Stop(t)
}

// TestStreamEnds follows checkpoints over both transports while the ledger
// grows, and until it stops.
func TestStreamEnds(t *testing.T) {
	p := start(t, t.TempDir())
	r, g := newREST(t, p), newRPC(t, p)
	a := enrolled(t, r)
	done := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		resp, err := r.http.Get(p.HTTP + "/v1/log/checkpoints:watch")
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = resp.Body.Close() }()
		b := make([]byte, 1<<20)
		n, err := resp.Body.Read(b)
		close(first)
		for err == nil {
			n, err = resp.Body.Read(b)
		}
		if n == len(b) {
			err = errors.New("an endless answer")
		}
		done <- err
	}()
	select {
	case <-first:
	case err := <-done:
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := r.submit(t.Context(), a.attestation(), "sequenced"); err != nil {
			t.Fatal(err)
		}
		if err := g.published(t.Context(), int64(2+i)); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop(t)
	if err := <-done; err == nil || fmt.Sprint(err) != "EOF" {
		t.Errorf("the stream ended with %v, want its end", err)
	}
}
