package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
	"github.com/cairnlog/cairn/ledger/engine/enginetest/trilliantest"
)

// world is what several processes share.
type world struct {
	server   *trilliantest.Server
	conn     *grpc.ClientConn
	sequence enginetest.Sequence
	bucket   enginetest.Bucket
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	w.server, w.conn = trilliantest.Start(t)
	return w
}

// config is for a test: nothing waits long.
func (w *world) config() engine.TrillianConfig {
	return engine.TrillianConfig{
		Conn: w.conn, Tree: trilliantest.Tree, Sequence: &w.sequence, Bucket: &w.bucket,
		Poll: time.Millisecond, Idle: 5 * time.Millisecond, Stall: 50 * time.Millisecond, Collect: 5 * time.Millisecond,
	}
}

// process is one that runs a log.
type process struct {
	*engine.Trillian
	cancel context.CancelFunc
	ended  chan error
}

// run opens a log and runs it.
func (w *world) run(t *testing.T) *process {
	t.Helper()
	return start(t, engine.OpenTrillian(w.config()))
}

func start(t *testing.T, log *engine.Trillian) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{Trillian: log, cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- p.Run(ctx) }()
	t.Cleanup(cancel)
	return p
}

// Close ends the process in good order.
func (p *process) Close() error {
	if err := p.Trillian.Close(); err != nil {
		return err
	}
	p.cancel()
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func TestTrillian(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) func() engine.Log {
		w := newWorld(t)
		return func() engine.Log { return w.run(t) }
	})
}
