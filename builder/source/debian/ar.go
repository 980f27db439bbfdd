package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// archive reads the members of a Unix archive in turn, as deb(5) uses it:
// short names only.
type archive struct {
	r    io.Reader
	left int64 // of the current member
	pad  int64 // 1 if the current member ends at an odd offset
}

func newArchive(r io.Reader) (*archive, error) {
	var magic [len(arMagic)]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return nil, fmt.Errorf("reading the archive's magic: %w", noEOF(err))
	}
	if string(magic[:]) != arMagic {
		return nil, fmt.Errorf("not a Unix archive: it begins with %q", magic[:])
	}
	return &archive{r: r}, nil
}

// next skips to the next member, which Read then reads. After the last one it
// returns io.EOF.
func (a *archive) next() (name string, size int64, err error) {
	if skip := a.left + a.pad; skip > 0 {
		n, err := io.CopyN(io.Discard, a.r, skip)
		// The last member may lack its padding.
		if err != nil && (n < a.left || !errors.Is(err, io.EOF)) {
			return "", 0, fmt.Errorf("skipping an archive member: %w", noEOF(err))
		}
		a.left, a.pad = 0, 0
	}
	var h [arHeader]byte
	if _, err := io.ReadFull(a.r, h[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return "", 0, io.EOF
		}
		return "", 0, fmt.Errorf("reading an archive header: %w", err)
	}
	if !bytes.Equal(h[58:60], []byte("`\n")) {
		return "", 0, fmt.Errorf("archive header %q does not end as one", h[:])
	}
	field := strings.TrimRight(string(h[48:58]), " ")
	n, err := strconv.ParseUint(field, 10, 63)
	if err != nil {
		return "", 0, fmt.Errorf("size %q of an archive member: %w", field, err)
	}
	a.left, a.pad = int64(n), int64(n&1)
	return strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/"), a.left, nil
}

func (a *archive) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	if a.left > 0 {
		err = noEOF(err)
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// noEOF makes an end where there must be none an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
