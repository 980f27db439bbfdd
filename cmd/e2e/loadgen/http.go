package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// response is an HTTP/1.1 response as far as a load needs it.
type response struct {
	status int
	body   []byte // if it was to be kept, or the status is not 2xx
	close  bool   // the connection takes no further request
}

// maxBody bounds what an answer may hold.
const maxBody = 8 << 20

// lengthChunked and lengthToEnd are lengths of bodies that no header gives.
const (
	lengthChunked = -1
	lengthToEnd   = -2
)

// readResponse reads one response, all of it, so that the next one can follow
// on the same connection. It refuses what two readers could read differently:
// several lengths, or a length and a transfer encoding.
func readResponse(r *bufio.Reader, keep bool) (*response, error) {
	for {
		resp, length, err := readHead(r)
		if err != nil {
			return nil, err
		}
		if resp.status/100 == 1 {
			continue // an interim response; the real one follows
		}
		if resp.status == 204 || resp.status == 304 {
			return resp, nil
		}
		b := body{r: r, keep: keep || resp.status/100 != 2}
		switch length {
		case lengthChunked:
			err = b.chunks()
		case lengthToEnd:
			resp.close = true
			err = b.toEnd()
		default:
			err = b.take(length)
		}
		resp.body = b.kept
		return resp, err
	}
}

// readHead reads the status line and the headers.
func readHead(r *bufio.Reader) (resp *response, length int64, err error) {
	line, err := readLine(r)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the status line: %w", err)
	}
	resp = &response{}
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " || len(line) > 12 && line[12] != ' ' {
		return nil, 0, fmt.Errorf("reading the status line: %w", fmt.Errorf("%.40q is none of HTTP/1.1", line))
	}
	if resp.status, err = strconv.Atoi(string(line[9:12])); err != nil || resp.status < 100 {
		return nil, 0, fmt.Errorf("reading the status line: %w", fmt.Errorf("invalid status in %.40q", line))
	}
	length = lengthToEnd
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, 0, fmt.Errorf("reading a header: %w", err)
		}
		if len(line) == 0 {
			return resp, length, nil
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return nil, 0, fmt.Errorf("reading a header: %w", fmt.Errorf("%.40q has no colon", line))
		}
		if length, err = resp.header(name, bytes.TrimSpace(value), length); err != nil {
			return nil, 0, fmt.Errorf("reading a header: %w", err)
		}
	}
}

// header takes one header into account, and returns the body's length.
func (resp *response) header(name, value []byte, length int64) (int64, error) {
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(value), 10, 31)
		if err != nil || n > maxBody {
			return 0, fmt.Errorf("content length %.20q is not a number up to %d", value, maxBody)
		}
		if length != lengthToEnd {
			return 0, errors.New("the body's length is given twice")
		}
		return int64(n), nil
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if length != lengthToEnd || !bytes.EqualFold(value, []byte("chunked")) {
			return 0, fmt.Errorf("transfer encoding %.20q", value)
		}
		return lengthChunked, nil
	case bytes.EqualFold(name, []byte("Connection")):
		resp.close = resp.close || bytes.EqualFold(value, []byte("close"))
	}
	return length, nil
}

var errLongLine = errors.New("line is too long")

// readLine returns a line without its end; it is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errLongLine
	}
	if err != nil {
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// body reads a response's body, and keeps it or not.
type body struct {
	r    *bufio.Reader
	keep bool
	kept []byte
	size int64
}

// take reads n bytes.
func (b *body) take(n int64) error {
	if b.size += n; b.size > maxBody {
		return fmt.Errorf("reading the body: %w", fmt.Errorf("it is over %d bytes", maxBody))
	}
	var err error
	if b.keep {
		had := len(b.kept)
		b.kept = append(b.kept, make([]byte, n)...)
		_, err = io.ReadFull(b.r, b.kept[had:])
	} else {
		_, err = b.r.Discard(int(n))
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return nil
}

// chunks reads a chunked body with its trailers.
func (b *body) chunks() error {
	for {
		line, err := readLine(b.r)
		if err != nil {
			return fmt.Errorf("reading a chunk's size: %w", err)
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
		if err != nil {
			return fmt.Errorf("reading a chunk's size: %w", err)
		}
		if n == 0 {
			return b.trailers()
		}
		if err := b.take(int64(n)); err != nil {
			return err
		}
		if line, err = readLine(b.r); err != nil || len(line) > 0 {
			return fmt.Errorf("reading the end of a chunk: %w", errors.Join(err, fmt.Errorf("got %.20q", line)))
		}
	}
}

func (b *body) trailers() error {
	for {
		line, err := readLine(b.r)
		if err != nil {
			return fmt.Errorf("reading a trailer: %w", err)
		}
		if len(line) == 0 {
			return nil
		}
	}
}

// toEnd reads until the connection ends.
func (b *body) toEnd() error {
	all, err := io.ReadAll(io.LimitReader(b.r, maxBody+1))
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if len(all) > maxBody {
		return fmt.Errorf("reading the body: %w", fmt.Errorf("it is over %d bytes", maxBody))
	}
	if b.keep {
		b.kept = all
	}
	return nil
}
