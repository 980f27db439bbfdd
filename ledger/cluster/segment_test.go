package cluster_test

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestSegmentsLeaveConnections has very many ask for segments, of which none is
// answered: the lease must be renewed all the same.
func TestSegmentsLeaveConnections(t *testing.T) {
	w := newWorld(t, nil)
	p := w.process("p", 0)
	tx, err := w.open().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	most := p.pool.Config().MaxConns
	asking := make(chan struct{})
	for n := range uint64(2 * most) {
		readers.Go(func() {
			asking <- struct{}{}
			_, _ = p.cluster.Segment(ctx, n)
		})
	}
	for range 2 * most {
		<-asking
	}
	for range 100 {
		renewing, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := p.pool.Exec(renewing, "UPDATE lease SET until = until")
		cancel()
		if err != nil {
			t.Fatalf("with %d of %d connections in use, the lease is not renewed: %v", p.pool.Stat().AcquiredConns(), most, err)
		}
	}
	if n := p.pool.Stat().AcquiredConns(); n >= most/2 {
		t.Errorf("readers of segments hold %d of %d connections", n, most)
	}
}
