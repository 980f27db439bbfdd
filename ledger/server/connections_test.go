package server

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Bodies that are sent slowly must not keep all connections for themselves, however
// little memory they hold.
func TestRefusedConnectionsMakeRoom(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	d := newDoors(Capacity{Submissions: 1 << 20, Calls: 1 << 20, HTTPConnections: 1}, func() time.Time { return now })
	cut := make(map[string]int)
	for name, e := range map[string]*entrance{"submission": d.submissions, "call": d.calls} {
		if p, _ := e.Enter(1, func() { cut[name]++ }); p == nil {
			t.Fatalf("no room for a %s", name)
		}
	}
	now = now.Add(bodyPatience)
	client, server := net.Pipe()
	refused := make(chan struct{})
	go func() {
		defer close(refused)
		d.refuseConnection(server)
		_ = server.Close()
	}()
	answer, err := io.ReadAll(client)
	<-refused
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("answered with %q, %v", answer, err)
	}
	if cut["submission"] != 1 || cut["call"] != 1 {
		t.Errorf("cut off: %v, want one of each", cut)
	}
}
