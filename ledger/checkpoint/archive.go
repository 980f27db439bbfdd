package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/mod/sumdb/note"
)

// The archive keeps every signed note that was published, in the order of
// publication, in segments: files that only grow, named by their number in nine
// digits, each but the last with SegmentNotes notes. A note is framed by a line
// with its length in bytes:
//
//	195
//	log.example/2026
//	…
const (
	// SegmentNotes is the number of notes in a full segment.
	SegmentNotes = 1024
	// MaxNote is the most bytes of a note. C2SP wants room for 16 signatures;
	// this has it for 200 of Ed25519, or 12 of ML-DSA.
	MaxNote = 64 << 10
	// MaxSegment is the most bytes of a segment.
	MaxSegment = SegmentNotes * (MaxNote + maxFrame)
	// ArchiveDir is where an archive stands in a log's directory.
	ArchiveDir = "checkpoints"

	maxFrame = 6 // "65536\n"
)

// ErrTorn is wrapped where the data ends within a note.
var ErrTorn = errors.New("the archive ends within a note")

// SegmentName returns the file name of a segment.
func SegmentName(n uint64) string { return fmt.Sprintf("%09d", n) }

// AppendArchived appends a note with its frame.
func AppendArchived(b, signed []byte) []byte {
	b = strconv.AppendInt(b, int64(len(signed)), 10)
	b = append(b, '\n')
	return append(b, signed...)
}

// ReadArchived returns the first note of a segment's data, and what follows it.
// It accepts one encoding of each note, and only notes that are well-formed;
// what they say and who signed them is not looked at.
func ReadArchived(data []byte) (signed, rest []byte, err error) {
	frame, _, found := bytes.Cut(data[:min(len(data), maxFrame)], []byte("\n"))
	if !found && len(data) < maxFrame && isDigits(frame) {
		return nil, nil, ErrTorn
	}
	n, err := strconv.Atoi(string(frame))
	if !found || err != nil || n < 1 || n > MaxNote || strconv.Itoa(n) != string(frame) {
		return nil, nil, fmt.Errorf("%.8q is not the length of a note of 1 to %d bytes", frame, MaxNote)
	}
	rest = data[len(frame)+1:]
	if len(rest) < n {
		return nil, nil, fmt.Errorf("%w: %d bytes of %d", ErrTorn, len(rest), n)
	}
	signed, rest = rest[:n], rest[n:]
	var unverified *note.UnverifiedNoteError
	if _, err := note.Open(signed, nil); !errors.As(err, &unverified) {
		return nil, nil, fmt.Errorf("the note of %d bytes: %w", n, err)
	}
	return signed, rest, nil
}

func isDigits(b []byte) bool {
	return len(bytes.Trim(b, "0123456789")) == 0
}

// Archive is the archive of a log that is being published. Its methods may be
// called concurrently, but Add by one at a time.
//
// Invariant: what Segment shows is durable, and never changes.
type Archive struct {
	dir string

	mu   sync.Mutex
	last *os.File // the segment that grows; nil before the first note
	n    uint64   // its number
	size int64    // its durable bytes
	full int      // its notes
	have map[[sha256.Size]byte]bool
	err  error // the first failure of storage, after which nothing is added

	// write and sync are the disk, for tests to replace.
	write func(*os.File, []byte) (int, error)
	sync  func(*os.File) error
}

// OpenArchive opens the archive in dir, and makes the directory if it is
// missing. A note that was cut short at the end, by a crash while it was added,
// is removed: it was not published.
func OpenArchive(dir string) (*Archive, error) {
	a := &Archive{dir: dir, write: (*os.File).Write, sync: (*os.File).Sync}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("opening the archive of checkpoints in %s: %w", dir, err)
	}
	return a, nil
}

func (a *Archive) open() error {
	if err := os.Mkdir(a.dir, 0o755); err == nil {
		if err := syncDir(filepath.Dir(a.dir)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	for {
		_, err := os.Lstat(a.path(a.n))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		a.n++
	}
	if a.n == 0 {
		a.have = make(map[[sha256.Size]byte]bool)
		return nil
	}
	a.n--
	f, err := os.OpenFile(a.path(a.n), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	a.last = f
	if err := a.recover(); err != nil {
		return errors.Join(fmt.Errorf("segment %s: %w", SegmentName(a.n), err), f.Close())
	}
	return nil
}

func (a *Archive) path(n uint64) string { return filepath.Join(a.dir, SegmentName(n)) }

// recover reads the last segment and cuts off a torn note. A crash leaves at
// most one, at the very end; anything else is damage, and nothing is removed.
func (a *Archive) recover() error {
	data, err := io.ReadAll(io.LimitReader(a.last, MaxSegment+1))
	if err != nil {
		return err
	}
	if len(data) > MaxSegment {
		return fmt.Errorf("over the limit of %d bytes", MaxSegment)
	}
	a.have = make(map[[sha256.Size]byte]bool)
	rest := data
	for len(rest) > 0 {
		signed, after, err := ReadArchived(rest)
		if err != nil {
			if !tornEnd(rest, err) {
				return fmt.Errorf("byte %d: %w; put back the segment from a mirror or a backup", len(data)-len(rest), err)
			}
			break
		}
		a.have[sha256.Sum256(signed)] = true
		a.full++
		rest = after
	}
	a.size = int64(len(data) - len(rest))
	if len(rest) > 0 {
		if err := a.last.Truncate(a.size); err != nil {
			return err
		}
	}
	// What was written may not have been synced.
	return a.last.Sync()
}

// tornEnd reports whether data, which does not begin with a note, can be what a
// crash left of one: less than the note, or with bytes that never reached the
// disk, which read as zeros. A note has none.
func tornEnd(data []byte, err error) bool {
	return errors.Is(err, ErrTorn) || len(data) <= MaxNote+maxFrame && bytes.IndexByte(data, 0) >= 0
}

// Add implements Notes. After an error nothing more is added: what the
// disk then holds, only the next start finds out.
func (a *Archive) Add(_ context.Context, signed []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	if err := a.add(signed); err != nil {
		a.err = fmt.Errorf("archiving a checkpoint: %w", err)
		return a.err
	}
	return nil
}

// Ensure implements Notes: it adds a note unless one of the last segment's is the same.
func (a *Archive) Ensure(ctx context.Context, signed []byte) error {
	a.mu.Lock()
	have := a.have[sha256.Sum256(signed)]
	a.mu.Unlock()
	if have {
		return nil
	}
	return a.Add(ctx, signed)
}

// add adds a note. a.mu is held.
func (a *Archive) add(signed []byte) error {
	framed := AppendArchived(nil, signed)
	if _, _, err := ReadArchived(framed); err != nil {
		return err
	}
	fresh := a.last == nil || a.full >= SegmentNotes
	if fresh {
		if err := a.next(); err != nil {
			return err
		}
	}
	if _, err := a.write(a.last, framed); err != nil {
		return err
	}
	if err := a.sync(a.last); err != nil {
		return err
	}
	if fresh {
		if err := syncDir(a.dir); err != nil {
			return err
		}
	}
	a.size += int64(len(framed))
	a.full++
	a.have[sha256.Sum256(signed)] = true
	return nil
}

// next begins a segment.
func (a *Archive) next() error {
	n := a.n
	if a.last != nil {
		n++
	}
	f, err := os.OpenFile(a.path(n), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if a.last != nil {
		err = a.last.Close()
	}
	a.last, a.n, a.size, a.full, a.have = f, n, 0, 0, make(map[[sha256.Size]byte]bool)
	return err
}

// Segment opens a segment for reading: as much of it as is durable. It wraps
// fs.ErrNotExist if there is none of that number.
func (a *Archive) Segment(_ context.Context, n uint64) (io.ReadSeekCloser, error) {
	a.mu.Lock()
	last, size, some := a.n, a.size, a.last != nil
	a.mu.Unlock()
	if !some || n > last {
		return nil, fmt.Errorf("segment %s: %w", SegmentName(n), fs.ErrNotExist)
	}
	f, err := os.Open(a.path(n))
	if err != nil {
		return nil, err
	}
	if n < last {
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		size = info.Size()
	}
	return segment{io.NewSectionReader(f, 0, size), f}, nil
}

// segment is the durable part of a file.
type segment struct {
	io.ReadSeeker
	io.Closer
}

// Close closes the archive.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		return nil
	}
	return a.last.Close()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
