package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// newNetwork returns a ledger that publishes once k of three witnesses, each of
// another project, have cosigned.
func newNetwork(t *testing.T, k int) (*ledger, string, []*witness) {
	t.Helper()
	l := newLedger(t)
	witnesses := []*witness{newCairnWitness(t, l, "cairn"), newOmniwitness(t, l), newLitewitness(t, l)}
	policy := writePolicy(t, l, k, witnesses...)
	return l.restart(t, policy), policy, witnesses
}

const all = "cairn omniwitness litewitness"

// TestAllCosign wants every checkpoint cosigned by all three, however much the
// log grows between two of them.
func TestAllCosign(t *testing.T) {
	t.Parallel()
	l, path, witnesses := newNetwork(t, 3)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	by := l.enrol(t)
	sizes := make(map[int64]bool)
	for _, n := range []int{1, 1, 2, 7, 1, 60, 3} {
		for _, r := range l.submitAll(t, by, n) {
			sizes[l.tree(t, r.Checkpoint).N] = true
			if _, _, err := torchwood.VerifyCheckpoint([]byte(r.Checkpoint), policy); err != nil {
				t.Errorf("torchwood refuses %q: %v", r.Checkpoint, err)
			}
			if who := cosigners(t, l, r.Checkpoint, witnesses...); who != all {
				t.Errorf("size %d is cosigned by %q, want %q", l.tree(t, r.Checkpoint).N, who, all)
			}
		}
	}
	if len(sizes) < 7 {
		t.Errorf("only %d checkpoints were seen", len(sizes))
	}
	t.Logf("%d checkpoints up to size %d, each cosigned by %s", len(sizes), l.tree(t, l.published(t)).N, all)
	l.Stop(t)
}

// submitAll submits n new attestations at once.
func (l *ledger) submitAll(t *testing.T, by *author, n int) []*cairnv1.SubmitAttestationResponse {
	t.Helper()
	rs, errs := make([]*cairnv1.SubmitAttestationResponse, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range rs {
		wg.Go(func() { rs[i], errs[i] = l.trySubmit(t.Context(), by.attestation()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("submitting %d at once: %v\n%s", n, err, l.Stderr)
	}
	for _, r := range rs {
		l.verify(t, r)
	}
	return rs
}

// TestQuorum kills the witnesses of a 2-of-3 quorum: one of them does not
// matter, two of them stop publication, and nothing else.
func TestQuorum(t *testing.T) {
	t.Parallel()
	l, _, witnesses := newNetwork(t, 2)
	by := l.enrol(t)
	l.submit(t, by)
	// No subtests: what they start would end with them.
	for i, w := range witnesses {
		w.Kill(t)
		others := append(slices.Clone(witnesses[:i]), witnesses[i+1:]...)
		want := others[0].name + " " + others[1].name
		for range 3 {
			r := l.submit(t, by)
			if who := cosigners(t, l, r.Checkpoint, witnesses...); who != want {
				t.Fatalf("without %s: cosigned by %q, want %q", w.name, who, want)
			}
		}
		w.start(t)
		l.awaitCosigned(t, by, witnesses)
		t.Logf("published without %s, and with it once it was back", w.name)
	}
	for i, alone := range witnesses {
		back, gone := witnesses[(i+1)%3], witnesses[(i+2)%3]
		back.Kill(t)
		gone.Kill(t)
		l.publishesOnceBack(t, by, back)
		gone.start(t)
		l.awaitCosigned(t, by, witnesses)
		t.Logf("published nothing with %s alone, and all once %s was back", alone.name, back.name)
	}
	l.Stop(t)
}

// awaitCosigned waits until the ledger publishes a checkpoint with the
// cosignatures of all witnesses. The quorum does not need the last one: it
// arrives late, and one that had failed is asked again when the log grows.
func (l *ledger) awaitCosigned(t *testing.T, by *author, witnesses []*witness) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e2etest.Patience)
	defer cancel()
	stream, err := l.WatchCheckpoints(ctx, &cairnv1.WatchCheckpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan string)
	go func() {
		defer close(published)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case published <- r.Checkpoint:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		l.submit(t, by)
		for again := time.After(5 * time.Second); again != nil; {
			select {
			case signed, ok := <-published:
				if !ok {
					t.Fatalf("no checkpoint is cosigned by all: %v\n%s", ctx.Err(), l.Stderr)
				}
				if cosigners(t, l, signed, witnesses...) == all {
					return
				}
			case <-again:
				again = nil
			}
		}
	}
}

// publishesOnceBack submits while there is no quorum, and wants it published
// only once a witness is back.
func (l *ledger) publishesOnceBack(t *testing.T, by *author, back *witness) {
	t.Helper()
	before := l.tree(t, l.published(t))
	raw := by.attestation()
	type answer struct {
		r   *cairnv1.SubmitAttestationResponse
		err error
	}
	pending := make(chan answer, 1)
	go func() {
		r, err := l.trySubmit(t.Context(), raw)
		pending <- answer{r, err}
	}()
	l.Stderr.Await(t, fmt.Sprintf("too few witnesses for size %d:", before.N+1))
	for _, signed := range []string{l.published(t), l.get(t, "/checkpoint")} {
		if after := l.tree(t, signed); after != before {
			t.Fatalf("size %d was published, after %d, without a quorum", after.N, before.N)
		}
	}
	if len(pending) > 0 {
		t.Fatalf("answered without a quorum: %v", <-pending)
	}
	back.start(t)
	a := <-pending
	if delayed(a.err) {
		// The ledger's patience with its witnesses was at an end first.
		a.r, a.err = l.trySubmit(t.Context(), raw)
	}
	if a.err != nil {
		t.Fatalf("with a quorum again: %v\n%s", a.err, l.Stderr)
	}
	l.verify(t, a.r)
	if a.r.Index != before.N {
		t.Errorf("logged at %d, want %d", a.r.Index, before.N)
	}
}

// delayed reports whether the ledger answered that it logged an entry, and that
// it is not published yet.
func delayed(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason == "PUBLICATION_DELAYED"
		}
	}
	return false
}

// get reads a path of the ledger.
func (l *ledger) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v, %q", path, resp.Status, err, body)
	}
	return string(body)
}
