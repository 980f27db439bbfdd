package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestReadResponse(t *testing.T) {
	tests := []struct {
		name, text string
		want       response
	}{
		{"length", "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello", response{status: 201, body: []byte("hello")}},
		{"names in any case", "HTTP/1.1 200 OK\r\ncontent-LENGTH:2\r\nCONNECTION: Close\r\n\r\nhi", response{status: 200, body: []byte("hi"), close: true}},
		{"no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", response{status: 200}},
		{"no reason phrase", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", response{status: 200, body: []byte("x")}},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n", response{status: 200, body: []byte("hello world")}},
		{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", response{status: 200, body: []byte("0123456789")}},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", response{status: 204}},
		{"interim response first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", response{status: 200, body: []byte("x")}},
		{"body up to the end", "HTTP/1.1 200 OK\r\n\r\nall of it", response{status: 200, body: []byte("all of it"), close: true}},
		{"error", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", response{status: 503, body: []byte("{}")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReaderSize(strings.NewReader(tt.text), 16)
			if len(tt.text) > 16 {
				r = bufio.NewReaderSize(strings.NewReader(tt.text), 64)
			}
			got, err := readResponse(r, true)
			if err != nil {
				t.Fatal(err)
			}
			expectResponse(t, got, &tt.want)
			// All of it was read: the next response begins where this one ends.
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				t.Errorf("%q is left unread", rest)
			}

			std, err := http.ReadResponse(bufio.NewReader(strings.NewReader(tt.text[strings.LastIndex(tt.text, "HTTP/1.1"):])), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(std.Body)
			if err != nil || std.StatusCode != got.status || string(body) != string(got.body) {
				t.Errorf("net/http reads %d %q (%v), we %d %q", std.StatusCode, body, err, got.status, got.body)
			}

			r.Reset(strings.NewReader(tt.text))
			got, err = readResponse(r, false)
			if err != nil {
				t.Fatal(err)
			}
			if kept := len(got.body) > 0; kept != (tt.want.status/100 != 2) {
				t.Errorf("got body %q without keeping it; only that of an error is wanted", got.body)
			}
		})
	}
}

func expectResponse(t *testing.T, got, want *response) {
	t.Helper()
	if got.status != want.status || string(got.body) != string(want.body) || got.close != want.close {
		t.Errorf("got %d %q close %v, want %d %q close %v", got.status, got.body, got.close, want.status, want.body, want.close)
	}
}

// A response that is cut off anywhere is never taken for a whole one.
func TestReadResponseRefusesEveryPrefix(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
	} {
		for n := range len(text) {
			for _, keep := range []bool{true, false} {
				got, err := readResponse(bufio.NewReader(strings.NewReader(text[:n])), keep)
				if err == nil {
					t.Errorf("%q was read as %v, want an error", text[:n], got)
				}
			}
		}
	}
}

func TestReadResponseRefuses(t *testing.T) {
	tests := []struct{ name, text string }{
		{"another protocol", "SSH-2.0-OpenSSH\r\n\r\n"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"long status", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"},
		{"negative status", "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n"},
		{"header without colon", "HTTP/1.1 200 OK\r\nContent-Length 5\r\n\r\nhello"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello"},
		{"length and encoding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"encoding and length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
		{"another encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
		{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"},
		{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"},
		{"chunk that is longer than it says", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n"},
		{"chunk of no number", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"},
		{"huge chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"},
		{"endless header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 1<<16)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := readResponse(bufio.NewReader(strings.NewReader(tt.text)), true); err == nil {
				t.Errorf("got %d %q, want an error", got.status, got.body)
			}
		})
	}
}

// The sender against the standard library's server: bodies short enough for a
// length and long enough for chunks, refusals, and a server that hangs up.
func TestRESTSenderAgainstNetHTTP(t *testing.T) {
	long := strings.Repeat("long ", 2000)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/attestations", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch string(body) {
		case "long":
			_, _ = io.WriteString(w, long)
		case "refuse":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"code":14,"message":"no","details":[{"@type":"x"},{"reason":"OVERLOADED"}]}`)
		case "hang up":
			w.Header().Set("Connection", "close")
		default:
			_, _ = w.Write(body)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	done := make(chan error)
	go func() { done <- srv.Serve(listener) }()
	defer func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	s, err := openREST(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	frame := restFrame(listener.Addr().String())
	for _, step := range []struct{ send, want, failure string }{
		{"short", "short", ""},
		{"long", long, ""},
		{"refuse", "", "503 OVERLOADED"},
		{"short", "short", ""},
		{"hang up", "", ""},
		{"short", "short", ""},
	} {
		got, err := s.send(t.Context(), frame([]byte(step.send)).wire, true)
		if string(got) != step.want || (err == nil) != (step.failure == "") || err != nil && err.Error() != step.failure {
			t.Errorf("sending %q: got %.20q and error %v, want %.20q and %q", step.send, got, err, step.want, step.failure)
		}
	}
}

func TestRESTSenderNamesBrokenConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1<<10))
			_ = conn.Close()
		}
	}()
	s, err := openREST(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	frame := restFrame("x")
	for range 2 {
		if _, err := s.send(t.Context(), frame([]byte("x")).wire, true); err == nil || err.Error() != "connection broke: EOF" {
			t.Errorf("got error %v, want one that is the same each time", err)
		}
	}
	_ = listener.Close()
	if _, err := s.send(t.Context(), frame([]byte("x")).wire, true); err == nil || err.Error() != "cannot connect" {
		t.Errorf("got error %v, want cannot connect", err)
	}
	s.close()
}
