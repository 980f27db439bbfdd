package server

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/cairnlog/cairn/ledger/door"
)

// pump sends n bytes from one end and reads them at the other.
func pump(from io.Writer, to io.Reader, n int) error {
	go func() { _, _ = from.Write(make([]byte, n)) }()
	_, err := io.CopyN(io.Discard, to, int64(n))
	return err
}

// What a connection receives of messages that are not complete is reserved.
func TestUnreadBytesAreReserved(t *testing.T) {
	e := newEntrance("submissions", 1<<20, time.Hour, time.Now)
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	c := newUnreadConn(ours, e)
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: c.RemoteAddr()})
	receive := func(n int) error { return pump(theirs, c, n) }
	held := func(want int64) {
		t.Helper()
		if got := e.Held(); got != want {
			t.Errorf("%d bytes are reserved, want %d", got, want)
		}
	}
	if err := receive(1 << 20); err != nil {
		t.Fatal(err)
	}
	held(0) // nobody waits for a message: what came is of messages that are there

	cut := 0
	call := func() *entry { return &entry{stop: func() { cut++ }} }
	first, second := begun(ctx, call()), begun(ctx, call())
	if err := receive(2 * window); err != nil {
		t.Fatal(err)
	}
	held(0) // the windows are reserved by the calls
	if err := receive(16 << 10); err != nil {
		t.Fatal(err)
	}
	held(reserveStep)
	first()
	first()
	held(reserveStep)
	second()
	held(0)

	defer begun(ctx, call())()
	full, _ := e.Enter(1<<20, nil)
	if full == nil {
		t.Fatal("the door is not empty")
	}
	if err := receive(window); err != nil || cut != 0 {
		t.Fatalf("%d calls were cut off in their windows, and %v", cut, err)
	}
	if err := receive(window); err != nil || cut == 0 {
		t.Errorf("%d calls were cut off for want of room, and %v", cut, err)
	}
	full.Leave()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	held(0)
}

// What is refused is refused with the time that was asked for.
func TestRefusalsSayWhen(t *testing.T) {
	e := newEntrance("submissions", 1, time.Hour, time.Now)
	for _, test := range []struct {
		wait    time.Duration
		seconds int
	}{{1, 1}, {time.Second, 1}, {1001 * time.Millisecond, 2}, {door.MaxWait, 30}, {time.Hour, 30}} {
		if seconds, r := e.refusal(test.wait); seconds != test.seconds || r.err == nil || len(r.body) == 0 {
			t.Errorf("to wait for %v: %d seconds, %v", test.wait, seconds, r)
		}
	}
}
