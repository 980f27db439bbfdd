package compare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
)

// contextBytes are shown before the first byte that differs, and from it on.
const contextBytes = 16

// Bytes says how the bytes of two files differ.
type Bytes struct {
	// Compared is how many bytes of the longer file were compared.
	Compared int64 `json:"compared"`
	// Bounded says that the files go on beyond Compared.
	Bounded bool `json:"bounded,omitempty"`
	// First is the offset of the first byte that differs, or -1 if it is beyond
	// Compared.
	First int64 `json:"first"`
	// Differing is how many of the compared bytes differ, those included that only
	// the longer file has.
	Differing int64 `json:"differing"`
	// Offset is where Want and Got begin: bytes around the first that differs, in
	// hex.
	Offset int64  `json:"offset"`
	Want   string `json:"want"`
	Got    string `json:"got"`
	// Text says that both files look like text.
	Text bool `json:"text,omitempty"`
	// Lines is a unified diff of text, each line escaped to ASCII and cut off.
	Lines     []string `json:"lines,omitempty"`
	MoreLines int      `json:"moreLines,omitempty"` // that are left out
}

// compareBytes compares two files on disk, which hold at most FileBytes each.
func (o Options) compareBytes(ctx context.Context, paths pair[string]) (*Bytes, error) {
	w, err := os.Open(paths.want)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	g, err := os.Open(paths.got)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	b := &Bytes{First: -1}
	if err := b.scan(ctx, w, g); err != nil {
		return nil, err
	}
	if b.First >= 0 {
		b.Offset = max(0, b.First-contextBytes)
		if b.Want, err = hexAt(w, b.Offset); err != nil {
			return nil, err
		}
		if b.Got, err = hexAt(g, b.Offset); err != nil {
			return nil, err
		}
	}
	return b, o.lines(b, w, g)
}

// scan counts the bytes that differ.
func (b *Bytes) scan(ctx context.Context, w, g io.Reader) error {
	wr, gr := bufio.NewReaderSize(w, 1<<16), bufio.NewReaderSize(g, 1<<16)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		wb, werr := wr.Peek(wr.Size())
		gb, gerr := gr.Peek(gr.Size())
		for _, err := range []error{werr, gerr} {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		n := min(len(wb), len(gb))
		if n == 0 {
			n = max(len(wb), len(gb)) // the rest of the longer one
		}
		if n == 0 {
			return nil
		}
		if len(wb) < n || len(gb) < n || !bytes.Equal(wb[:n], gb[:n]) {
			for i := range n {
				if i >= len(wb) || i >= len(gb) || wb[i] != gb[i] {
					if b.First < 0 {
						b.First = b.Compared + int64(i)
					}
					b.Differing++
				}
			}
		}
		b.Compared += int64(n)
		// What was peeked at is there.
		_, _ = wr.Discard(min(n, len(wb)))
		_, _ = gr.Discard(min(n, len(gb)))
	}
}

func hexAt(f io.ReaderAt, offset int64) (string, error) {
	buf := make([]byte, 2*contextBytes)
	n, err := f.ReadAt(buf, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return hex.EncodeToString(buf[:n]), nil
}

// lines adds a diff of the lines, if both files are text and not too long.
func (o Options) lines(b *Bytes, w, g io.ReadSeeker) error {
	var texts [2][]byte
	for i, f := range []io.ReadSeeker{w, g} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		var err error
		if texts[i], err = io.ReadAll(io.LimitReader(f, o.TextBytes+1)); err != nil {
			return err
		}
	}
	b.Text = isText(texts[0]) && isText(texts[1])
	if !b.Text || int64(len(texts[0])) > o.TextBytes || int64(len(texts[1])) > o.TextBytes {
		return nil
	}
	// The first lines name the files, which the report does already.
	lines := bytes.Split(bytes.TrimSuffix(diff.Diff("want", texts[0], "got", texts[1]), []byte("\n")), []byte("\n"))
	for _, line := range lines[min(3, len(lines)):] {
		if len(b.Lines) == o.TextLines {
			b.MoreLines++
			continue
		}
		b.Lines = append(b.Lines, escapeLine(line))
	}
	return nil
}

// isText looks at the beginning of a file: it is text if it is UTF-8 without
// control characters beyond those of lines. Nothing is text, too.
func isText(b []byte) bool {
	const look = 8 << 10
	if len(b) > look {
		b = b[:look]
		// A rune may have been cut.
		for i := 0; i < utf8.UTFMax && len(b) > 0; i++ {
			if r, _ := utf8.DecodeLastRune(b); r != utf8.RuneError {
				break
			}
			b = b[:len(b)-1]
		}
	}
	if !utf8.Valid(b) {
		return false
	}
	return bytes.IndexFunc(b, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' && r != '\r' && r != '\f' && r != '\x1b'
	}) < 0
}

// escapeLine returns a line as graphic ASCII and spaces, cut off.
func escapeLine(line []byte) string {
	const longest = 200
	var b []byte
	for len(line) > 0 && len(b) < longest {
		r, n := utf8.DecodeRune(line)
		if r == '\\' || r < ' ' || r > '~' {
			q := strconv.QuoteToASCII(string(line[:n]))
			b = append(b, q[1:len(q)-1]...)
		} else {
			b = append(b, byte(r))
		}
		line = line[n:]
	}
	if len(line) > 0 {
		b = fmt.Appendf(b, "... and %d more bytes", len(line))
	}
	return string(b)
}
