package door

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// Connections bounds how many connections a listener has open. The one that has
// been idle for longest is closed to make room for a new one; if none is idle, the
// new one is refused.
type Connections struct {
	limit  int
	refuse func(net.Conn)

	mu      sync.Mutex
	open    int
	idle    list.List // of *conn, longest first
	refused uint64
	// answering bounds how many are refused with an answer at a time; others are
	// closed without one.
	answering chan struct{}
}

// NewConnections returns a bound. A connection that is refused is handed to refuse,
// which may answer, for a short time; nil is for no answer.
func NewConnections(limit int, refuse func(net.Conn)) *Connections {
	return &Connections{limit: limit, refuse: refuse, answering: make(chan struct{}, max(1, limit/16))}
}

// Listener returns l with the bound applied.
func (c *Connections) Listener(l net.Listener) net.Listener { return &listener{l, c} }

// State is the ConnState of an http.Server that serves the listener. Without it, no
// connection is known to be idle.
func (c *Connections) State(nc net.Conn, s http.ConnState) {
	k, ok := nc.(*conn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.busy()
	// A connection that is idle is so from its last answer on; a new one, on which
	// nothing was sent, is idle, too.
	if (s == http.StateIdle || s == http.StateNew) && !k.closed {
		k.place = c.idle.PushBack(k)
	}
}

// Open returns how many connections are open.
func (c *Connections) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Refused returns how many connections were refused so far.
func (c *Connections) Refused() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

type listener struct {
	net.Listener
	*Connections
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if k := l.admit(nc); k != nil {
			return k, nil
		}
		l.turnAway(nc)
	}
}

func (c *Connections) admit(nc net.Conn) *conn {
	c.mu.Lock()
	var victim *conn
	if c.open >= c.limit {
		first := c.idle.Front()
		if first == nil {
			c.refused++
			c.mu.Unlock()
			return nil
		}
		victim = first.Value.(*conn)
		victim.forget()
	}
	c.open++
	c.mu.Unlock()
	if victim != nil {
		_ = victim.Conn.Close()
	}
	return &conn{Conn: nc, all: c}
}

func (c *Connections) turnAway(nc net.Conn) {
	if c.refuse == nil {
		_ = nc.Close()
		return
	}
	select {
	case c.answering <- struct{}{}:
		go func() {
			defer func() { <-c.answering }()
			defer func() { _ = nc.Close() }()
			c.refuse(nc)
		}()
	default:
		_ = nc.Close()
	}
}

// conn is a connection that is counted until it is closed.
type conn struct {
	net.Conn
	all    *Connections
	place  *list.Element // among the idle
	closed bool
}

func (k *conn) busy() {
	if k.place != nil {
		k.all.idle.Remove(k.place)
		k.place = nil
	}
}

func (k *conn) forget() {
	k.busy()
	if !k.closed {
		k.closed = true
		k.all.open--
	}
}

// Close implements net.Conn.
func (k *conn) Close() error {
	k.all.mu.Lock()
	k.forget()
	k.all.mu.Unlock()
	return k.Conn.Close()
}

// CloseWrite lets net/http end a connection so that its last answer arrives.
func (k *conn) CloseWrite() error {
	if h, ok := k.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
