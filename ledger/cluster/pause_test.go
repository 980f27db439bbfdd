package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// TestPausedPublisher stops a publisher at each point of a publication, and lets it
// go on after another process has taken over and published: of its own leaves, so
// that all the paused one might still do would be a fork. By its own clock, the
// paused one still has its lease.
func TestPausedPublisher(t *testing.T) {
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, nil)
			a := w.process("a", cluster.MaxLease).start()
			await(t, "a's term", a.terms)
			a.publishUntil(3)
			reached, resume := a.stopAt(point)
			a.grow <- struct{}{}
			await(t, "the point", reached)
			b := w.process("b", 2*time.Second).start()
			w.expire()
			await(t, "b's term", b.terms)
			b.publishUntil(9)

			resume()
			a.grow <- struct{}{} // it tries again, and finds out
			await(t, "the end of a's term", a.ended)
			w.awaitBucket() // a may have written an older one over b's
			a.publishUntil(uint64(b.board.Latest().N)+2, b)
			b.end()
			a.end()
			w.checkPast()
			w.checkBucket()
		})
	}
}

// TestDatabaseRestarts stops the database while a publisher is at each point of a
// publication. Nobody else is there to take over.
func TestDatabaseRestarts(t *testing.T) {
	server := pgtest.Start(t, "fsync=off") // a process is killed, not the machine
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, server)
			a := w.process("a", 2*time.Second).start()
			a.publishUntil(3)
			reached, resume := a.stopAt(point)
			a.grow <- struct{}{}
			await(t, "the point", reached)
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
			resume()
			a.publishUntil(8)
			a.end()
			w.checkPast()
			w.checkBucket()
		})
	}
}

// TestStorageGetsTheNewest: a publisher that wrote its checkpoint to the log's storage
// while another archived a later one, writes that.
func TestStorageGetsTheNewest(t *testing.T) {
	w := newWorld(t, nil)
	p := w.process("p", cluster.MaxLease)
	p.run(func(ctx context.Context) error { return p.cluster.Lead(ctx, p.publish) })
	p.publishUntil(1)
	reached, resume := p.stopAt(beforeStore)
	p.appendOne()
	await(t, "the point", reached)
	later := grown(history{}, "later", 99).tree(99)
	w.archive(later, w.note(later))
	resume()
	w.awaitBucket()
}
