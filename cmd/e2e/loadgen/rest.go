package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const dialPatience = 10 * time.Second

// restSender sends requests over a connection of its own, which it keeps. It
// knows just enough HTTP/1.1, so that the load costs little: net/http's client
// takes more time for a request than the ledger may take to answer it.
type restSender struct {
	addr string
	r    *bufio.Reader

	mu     sync.Mutex // guards conn and closed; not held while waiting
	conn   net.Conn
	closed bool
}

func openREST(addr string) (*restSender, error) {
	s := &restSender{addr: addr, r: bufio.NewReaderSize(nil, 4<<10)}
	return s, s.connect()
}

func (s *restSender) connect() error {
	conn, err := net.DialTimeout("tcp", s.addr, dialPatience)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(net.ErrClosed, conn.Close())
	}
	s.conn = conn
	s.r.Reset(conn)
	return nil
}

// send implements sender.
func (s *restSender) send(_ context.Context, wire []byte, keep bool) ([]byte, error) {
	if s.conn == nil {
		if err := s.connect(); err != nil {
			return nil, errors.New("cannot connect")
		}
	}
	resp, err := s.roundTrip(wire, keep)
	if err != nil || resp.close {
		s.disconnect()
	}
	if err != nil {
		return nil, fmt.Errorf("connection broke: %w", cause(err))
	}
	if resp.status/100 != 2 {
		return nil, fmt.Errorf("%d %s", resp.status, restReason(resp.body))
	}
	return resp.body, nil
}

// cause returns the innermost error: what wraps it holds ports and lengths,
// and would make each failure a reason of its own.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func (s *restSender) roundTrip(wire []byte, keep bool) (*response, error) {
	if _, err := s.conn.Write(wire); err != nil {
		return nil, fmt.Errorf("sending: %w", err)
	}
	return readResponse(s.r, keep)
}

func (s *restSender) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// close implements sender. It may be called while a send is under way.
func (s *restSender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// restReason returns the ledger's reason from the body of an error.
func restReason(body []byte) string {
	var status struct {
		Message string
		Details []struct{ Reason string }
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return fmt.Sprintf("%.60q", body)
	}
	for _, d := range status.Details {
		if d.Reason != "" {
			return d.Reason
		}
	}
	return fmt.Sprintf("%.80s", status.Message)
}

// restFrame returns a framer of submissions to a host.
func restFrame(host string) func([]byte) request {
	head := "POST /v1/attestations HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/octet-stream\r\nContent-Length: "
	return func(envelope []byte) request {
		wire := make([]byte, 0, len(head)+12+len(envelope))
		wire = append(wire, head...)
		wire = strconv.AppendInt(wire, int64(len(envelope)), 10)
		wire = append(wire, "\r\n\r\n"...)
		body := len(wire)
		return request{wire: append(wire, envelope...), body: body}
	}
}

// frameProof asks for the inclusion proof of an entry.
func frameProof(host string, index, size int64) request {
	wire := fmt.Appendf(nil, "GET /v1/log/proofs/inclusion?index=%d&size=%d HTTP/1.1\r\nHost: %s\r\n\r\n", index, size, host)
	return request{wire: wire, body: len(wire)}
}

func decodeREST(reply []byte) (*cairnv1.SubmitAttestationResponse, error) {
	m := &cairnv1.SubmitAttestationResponse{}
	if err := protojson.Unmarshal(reply, m); err != nil {
		return nil, fmt.Errorf("parsing an answer: %w", err)
	}
	return m, nil
}
