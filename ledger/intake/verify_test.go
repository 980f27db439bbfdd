package intake

import (
	"context"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
)

// No more is verified at once than there are cores to it.
func TestVerificationIsBounded(t *testing.T) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	if cap(r.cores) == 0 {
		t.Fatal("nothing may be verified")
	}
	for range cap(r.cores) {
		r.cores <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Submit(ctx, a.about(1), "127.0.0.1")
	wantReason(t, "while all cores verify", err, reason.DeadlinePassed)
	<-r.cores
	r.submit(a.about(1))
	_ = r.stop()
}
