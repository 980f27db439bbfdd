package witness_test

import (
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// TestTesseraClient has a Tessera log publish checkpoints that need our
// cosignature, which its own witness client collects.
func TestTesseraClient(t *testing.T) {
	signer := witnesstest.NewSigner("tessera.example/log", "tessera")
	log, err := witness.NewLog([]string{signer.VKey}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(c *witness.Config) { c.Logs = []witness.Log{log} })
	server := httptest.NewServer(f.mux)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tessera.NewWitness(f.VKey(), u)
	if err != nil {
		t.Fatal(err)
	}

	ctx := t.Context()
	driver, err := posix.New(ctx, posix.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(4, 10*time.Millisecond).
		WithWitnesses(tessera.NewWitnessGroup(1, w), &tessera.WitnessOptions{Timeout: 10 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 10*time.Millisecond)
	for i := range 3 {
		_, published, err := awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry([]byte{byte(i)})))
		if err != nil {
			t.Fatal(err)
		}
		c, err := evidence.Open(published, []note.Verifier{signer, f.Verifier()})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Sigs) != 2 || c.N != int64(i)+1 {
			t.Errorf("published size %d with %d signatures, want %d with 2", c.N, len(c.Sigs), i+1)
		}
	}
	if err := shutdown(ctx); err != nil {
		t.Error(err)
	}
	last, err := f.state.Latest(ctx, signer.Name())
	if err != nil || last == nil || last.Size != 3 {
		t.Errorf("latest record %+v, %v, want size 3", last, err)
	}
}
