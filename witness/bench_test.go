package witness_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// BenchmarkAddCheckpoint is one log that asks for one cosignature after the
// other. The disk's fsync is most of it.
func BenchmarkAddCheckpoint(b *testing.B) {
	db, err := state.Create(b.Context(), filepath.Join(b.TempDir(), "state.db"), state.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	f := newFixture(b, func(c *witness.Config) { c.State = db })
	log := witnesstest.NewLog(origin)
	for size := int64(0); b.Loop(); size++ {
		b.StopTimer()
		request := log.Grow(1, "entry").Request(size, size+1)
		b.StartTimer()
		if a := f.add(request); a.Code != http.StatusOK {
			b.Fatalf("status %d %s", a.Code, a.Body)
		}
	}
}
