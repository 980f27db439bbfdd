package door_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/door"
)

// serve serves with a bound of limit connections. Requests to /wait are answered once
// the returned channel is closed; entered has an item for each that has begun.
func serve(t *testing.T, limit int) (c *door.Connections, addr string, entered chan struct{}, release chan struct{}) {
	t.Helper()
	c = door.NewConnections(limit, func(nc net.Conn) {
		_, _ = io.WriteString(nc, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	entered, release = make(chan struct{}, limit), make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ConnState: c.State, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- struct{}{}
			<-release
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(c.Listener(l))
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return c, l.Addr().String(), entered, release
}

type dialled struct {
	net.Conn
	*bufio.Reader
}

func dial(t *testing.T, addr string) *dialled {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &dialled{nc, bufio.NewReader(nc)}
}

func (d *dialled) send(t *testing.T, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(d.Conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

func (d *dialled) wants(t *testing.T, status int) {
	t.Helper()
	resp, err := http.ReadResponse(d.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != status {
		t.Fatalf("status %d, want %d", resp.StatusCode, status)
	}
}

func TestBusyConnectionsAreNotClosed(t *testing.T) {
	c, addr, entered, release := serve(t, 2)
	busy := []*dialled{dial(t, addr), dial(t, addr)}
	for _, b := range busy {
		b.send(t, "/wait")
		<-entered
	}
	dial(t, addr).wants(t, http.StatusServiceUnavailable)
	if c.Open() != 2 || c.Refused() != 1 {
		t.Errorf("%d are open and %d were refused, want 2 and 1", c.Open(), c.Refused())
	}
	close(release)
	for _, b := range busy {
		b.wants(t, http.StatusOK)
	}
}

func TestTheIdleMakeRoom(t *testing.T) {
	c, addr, entered, release := serve(t, 2)
	busy, idle := dial(t, addr), dial(t, addr)
	idle.send(t, "/")
	idle.wants(t, http.StatusOK)
	busy.send(t, "/wait")
	<-entered
	// That a connection is idle is known a moment after its answer was read.
	var third *dialled
	for third == nil {
		d := dial(t, addr)
		d.send(t, "/")
		resp, err := http.ReadResponse(d.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			third = d
		}
	}
	if _, err := idle.ReadByte(); err == nil {
		t.Error("the idle connection is open")
	}
	close(release)
	busy.wants(t, http.StatusOK)
	third.send(t, "/")
	third.wants(t, http.StatusOK)
	if c.Open() != 2 {
		t.Errorf("%d are open, want 2", c.Open())
	}
}

// What never sent anything is idle as well.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	_, addr, _, _ := serve(t, 3)
	for range 3 {
		dial(t, addr)
	}
	for range 5 {
		d := dial(t, addr)
		d.send(t, "/")
		d.wants(t, http.StatusOK)
	}
}
