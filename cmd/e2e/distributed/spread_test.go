package distributed

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// newSigners returns people whose keys are enrolled.
func (w *world) newSigners(n int) []signer {
	w.t.Helper()
	signers := make([]signer, n)
	for i := range signers {
		signers[i] = newSigner(w.t)
		w.mustSubmit(three[i%len(three)], signers[i].enrolment())
	}
	return signers
}

// TestManyAttestations spreads attestations of several keys over three front ends,
// every tenth to two of them at once, which is one entry.
func TestManyAttestations(t *testing.T) {
	const attestations, keys = 50_000, 8
	r := newReal(t, time.Minute)
	signers := r.newSigners(keys)
	began := time.Now()
	var twice atomic.Int64
	var g errgroup.Group
	g.SetLimit(96)
	for i := range attestations {
		g.Go(func() error {
			raw, front := signers[i%keys].about(i), i%len(three)
			wait := "sequenced"
			if i%50 == 0 {
				wait = "published"
			}
			if i%10 != 0 {
				_, err := r.submit(three[front], raw, wait)
				return err
			}
			twice.Add(1)
			return r.submitTwice(raw, wait, three[front], three[(front+1)%len(three)])
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	sequenced := time.Since(began)
	var tree tlog.Tree
	for _, f := range three {
		tree = r.covering(f, attestations+keys)
		if tree.N != attestations+keys || len(r.leaves) != attestations+keys {
			t.Fatalf("front end %s publishes %d entries, and %d were acknowledged, of %d attestations", f, tree.N, len(r.leaves), attestations+keys)
		}
	}
	published := time.Since(began)
	r.check(tree)
	if err := r.notes.unchecked(t.Context()); err != nil {
		t.Error(err)
	}
	var indexes []int64
	older := r.notes.older()
	for i := int64(0); i < tree.N; i += 17 {
		indexes = append(indexes, i)
	}
	r.sameProofs(tree, append(indexes, 255, 256, 65535%tree.N, tree.N-1), older, three...)
	r.audited()
	t.Logf("%d attestations of %d keys over %d front ends, %d of them at two at once: acknowledged after %.1fs (%.0f/s), published after %.1fs; "+
		"%d entries; %d checkpoints, none of them of another log; %d proofs of inclusion and %d of consistency, the same from each front end; the audit of the bucket is clean",
		attestations, keys, len(three), twice.Load(), sequenced.Seconds(), attestations/sequenced.Seconds(), published.Seconds(),
		tree.N, len(older), len(indexes)+4, len(older))
}

// submitTwice submits to two front ends at once, and wants one entry.
func (w *world) submitTwice(raw []byte, wait string, fronts ...string) error {
	var answers [2]*cairnv1.SubmitAttestationResponse
	var errs [2]error
	var wg sync.WaitGroup
	for i, f := range fronts {
		wg.Go(func() { answers[i], errs[i] = w.submit(f, raw, wait) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if a, b := answers[0], answers[1]; a.GetIndex() != b.GetIndex() || a.GetCreated() == b.GetCreated() {
		return fmt.Errorf("front ends %v, at once: entries %d (made: %v) and %d (made: %v)", fronts, a.GetIndex(), a.GetCreated(), b.GetIndex(), b.GetCreated())
	}
	return nil
}
