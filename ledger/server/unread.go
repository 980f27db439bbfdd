package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

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
	return &unreadConn{Conn: nc, door: l.door}, nil
}

type unreadConn struct {
	net.Conn
	door *entrance

	mu       sync.Mutex
	waiting  int   // calls whose message is not there
	received int64 // since there are such calls
	reserved int64 // of pass, beyond the windows
	pass     *door.Pass
}

// unreadAddr lets a call find its connection.
type unreadAddr struct {
	net.Addr
	conn *unreadConn
}

// RemoteAddr implements net.Conn.
func (c *unreadConn) RemoteAddr() net.Addr { return unreadAddr{c.Conn.RemoteAddr(), c} }

// begun counts a call that waits for its message, until done is called.
func begun(ctx context.Context) (done func()) {
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
	c.waiting++
	c.mu.Unlock()
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting--
		if c.waiting == 0 {
			c.giveBack()
		}
	})
}

func (c *unreadConn) giveBack() {
	c.received, c.reserved = 0, 0
	if c.pass != nil {
		c.pass.Leave()
		c.pass = nil
	}
}

var errNoRoom = errors.New("there was no room for what the connection sent")

// reserveStep is how much is reserved at a time.
const reserveStep = 256 << 10

// Read implements net.Conn. Without room, it waits: the peer is then not read from.
func (c *unreadConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.account(int64(n)) {
		for wait, waited := time.Millisecond, time.Duration(0); !c.account(0); wait *= 2 {
			if waited > bodyPatience {
				return 0, errNoRoom
			}
			time.Sleep(wait)
			waited += wait
		}
	}
	return n, err
}

// account adds what was received, and reports whether all of it is reserved.
func (c *unreadConn) account(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == 0 {
		return true
	}
	c.received += n
	excess := c.received - int64(c.waiting)*window
	if excess <= c.reserved {
		return true
	}
	want := (excess + reserveStep - 1) / reserveStep * reserveStep
	if c.pass == nil {
		if c.pass, _ = c.door.Enter(want, nil); c.pass == nil {
			return false
		}
	} else if !c.pass.Hold(want) {
		return false
	}
	c.reserved = want
	return true
}

// Close implements net.Conn.
func (c *unreadConn) Close() error {
	c.mu.Lock()
	c.giveBack()
	c.mu.Unlock()
	return c.Conn.Close()
}
