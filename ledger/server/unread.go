package server

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc/peer"

	"github.com/cairnlog/cairn/ledger/door"
)

// unreadListener reserves what gRPC connections receive of messages that are not
// complete. The length of a message is known to gRPC alone: so what is reserved is
// what a connection received since none of its calls waited for its message, less the
// window that each of those calls has reserved when it came.
type unreadListener struct {
	net.Listener
	door *entrance
}

// Accept implements net.Listener.
func (l *unreadListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newUnreadConn(nc, l.door), nil
}

type unreadConn struct {
	net.Conn
	door *entrance

	mu       sync.Mutex
	waiting  map[*entry]struct{} // calls whose message is not there
	received int64               // since there are such calls
	reserved int64               // of pass, beyond the windows
	pass     *door.Pass
}

func newUnreadConn(nc net.Conn, e *entrance) *unreadConn {
	return &unreadConn{Conn: nc, door: e, waiting: make(map[*entry]struct{})}
}

// unreadAddr lets a call find its connection.
type unreadAddr struct {
	net.Addr
	conn *unreadConn
}

// RemoteAddr implements net.Conn.
func (c *unreadConn) RemoteAddr() net.Addr { return unreadAddr{c.Conn.RemoteAddr(), c} }

// begun counts a call that waits for its message, until done is called.
func begun(ctx context.Context, e *entry) (done func()) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return func() {}
	}
	a, ok := p.Addr.(unreadAddr)
	if !ok {
		return func() {}
	}
	c := a.conn
	c.mu.Lock()
	c.waiting[e] = struct{}{}
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, e)
		if len(c.waiting) == 0 {
			c.giveBack()
		}
	}
}

func (c *unreadConn) giveBack() {
	c.received, c.reserved = 0, 0
	if c.pass != nil {
		c.pass.Leave()
		c.pass = nil
	}
}

// reserveStep is how much is reserved at a time.
const reserveStep = 256 << 10

// Read implements net.Conn. Without room for what it received, the calls that wait for
// their messages are refused.
func (c *unreadConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		for _, e := range c.account(int64(n)) {
			e.stop()
		}
	}
	return n, err
}

// account adds what was received, and returns which calls to cut off: there is no room
// for what they sent.
func (c *unreadConn) account(n int64) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return nil
	}
	c.received += n
	excess := c.received - int64(len(c.waiting))*window
	if excess <= c.reserved {
		return nil
	}
	want := (excess + reserveStep - 1) / reserveStep * reserveStep
	room := false
	if c.pass == nil {
		c.pass, _ = c.door.Enter(want, nil)
		room = c.pass != nil
	} else {
		room = c.pass.Hold(want)
	}
	if !room {
		return slices.Collect(maps.Keys(c.waiting))
	}
	c.reserved = want
	return nil
}

// Close implements net.Conn.
func (c *unreadConn) Close() error {
	c.mu.Lock()
	c.giveBack()
	c.mu.Unlock()
	return c.Conn.Close()
}
