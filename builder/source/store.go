package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// epoch is the time of each file in a store and in a build context, as
// SOURCE_DATE_EPOCH has it. Whoever writes to a file of the store, also through
// a link from a context, changes its time: so Has notices.
var epoch = time.Unix(1, 0)

// fileMode is that of each file in the store: contexts hold links to them, and
// an image shows the mode.
const fileMode = 0o644

// leftover is the age at which what is neither stored nor being written is
// removed. No download pauses that long.
const leftover = 7 * 24 * time.Hour

// Store is a directory of files by their hash:
//
//	sha256/<2 hex>/<64 hex>   files, 0644, of time 1
//	partial/<64 hex>          what is there so far of files being fetched
//	scratch/                  files without a use after the process that made them
type Store struct {
	dir string
	// write is os.File's, but for tests of full disks.
	write func(f *os.File, p []byte) (int, error)
}

// Open opens the store in dir, and makes it if there is none.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening source store: %w", err)
	}
	for _, d := range []string{"sha256", "partial", "scratch"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("opening source store: %w", err)
		}
	}
	s := &Store{dir: dir, write: (*os.File).Write}
	if err := s.sweep(time.Now().Add(-leftover)); err != nil {
		return nil, fmt.Errorf("opening source store: %w", err)
	}
	return s, nil
}

// sweep removes what processes that were killed have left behind, if nothing
// happened to it since the given time.
func (s *Store) sweep(before time.Time) error {
	for _, d := range []string{"partial", "scratch"} {
		list, err := os.ReadDir(filepath.Join(s.dir, d))
		if err != nil {
			return err
		}
		for _, entry := range list {
			path := filepath.Join(s.dir, d, entry.Name())
			// Not the time of its content, which is set back before it is stored.
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					continue // whoever used it is done
				}
				return err
			}
			if time.Unix(st.Ctim.Unix()).Before(before) {
				if err := os.RemoveAll(path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) scratch() string { return filepath.Join(s.dir, "scratch") }

// Path returns where the file with the given SHA-256 is, or would be. A sum that
// is not 64 lower-case hex digits has no file: its path is of one that cannot be.
func (s *Store) Path(sum string) string {
	if !hexSum.MatchString(sum) {
		return filepath.Join(s.dir, "sha256", "none", "none")
	}
	return filepath.Join(s.dir, "sha256", sum[:2], sum)
}

// Has reports whether the store holds the file. One that was touched since it
// was stored is hashed again: if it is still what it was, its mode and time are
// set right; if not, the store does not have it.
func (s *Store) Has(sum string) bool {
	path := s.Path(sum)
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	if untouched(fi) {
		return true
	}
	got, _, err := hashFile(path)
	return err == nil && got == sum && seal(path) == nil
}

func untouched(fi fs.FileInfo) bool {
	return fi.Mode() == fileMode && fi.ModTime().Equal(epoch)
}

// seal gives a file of the store its mode and time.
func seal(path string) error {
	if err := os.Chmod(path, fileMode); err != nil {
		return err
	}
	return os.Chtimes(path, epoch, epoch)
}

// Add stores what r gives, if it has the given SHA-256; otherwise the error is a
// *WrongHash. It is not read if the store has it.
func (s *Store) Add(ctx context.Context, sum string, r io.Reader) error {
	if s.Has(sum) {
		return nil
	}
	p, err := s.partial(ctx, sum)
	if err != nil {
		return err
	}
	defer p.close()
	if p.done {
		return nil
	}
	if err := p.reset(); err != nil {
		return err
	}
	if _, err := io.Copy(p, contextReader{ctx, r}); err != nil {
		return err
	}
	return p.commit()
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Damage is a file of the store that is not what its name says.
type Damage struct {
	Path string
	Got  string // the SHA-256 of what is there, if it could be read
	Err  error  // why it could not be read, or what else is wrong
}

func (d Damage) String() string {
	if d.Err != nil {
		return fmt.Sprintf("%s: %v", d.Path, d.Err)
	}
	return fmt.Sprintf("%s: content has sha256 %s", d.Path, d.Got)
}

// Report is what Check saw. With no files it says nothing good.
type Report struct {
	Files  int
	Bytes  int64
	Damage []Damage // by path
}

// Check hashes every file of the store. It removes nothing: a damaged file is
// replaced when its source is next fetched.
func (s *Store) Check(ctx context.Context) (*Report, error) {
	var mu sync.Mutex
	report := new(Report)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	root := filepath.Join(s.dir, "sha256")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		g.Go(func() error {
			size, damage := s.checkFile(path, d)
			mu.Lock()
			defer mu.Unlock()
			report.Files++
			report.Bytes += size
			if damage != nil {
				report.Damage = append(report.Damage, *damage)
			}
			return nil
		})
		return nil
	})
	if err := errors.Join(err, g.Wait()); err != nil {
		return nil, fmt.Errorf("checking the source store: %w", err)
	}
	slices.SortFunc(report.Damage, func(a, b Damage) int { return strings.Compare(a.Path, b.Path) })
	return report, nil
}

func (s *Store) checkFile(path string, d fs.DirEntry) (int64, *Damage) {
	if !d.Type().IsRegular() {
		return 0, &Damage{Path: path, Err: fmt.Errorf("is a %s, not a file", d.Type())}
	}
	if path != s.Path(d.Name()) {
		return 0, &Damage{Path: path, Err: errors.New("is not named by a hash, in the directory of its first two digits")}
	}
	got, size, err := hashFile(path)
	if err != nil {
		return 0, &Damage{Path: path, Err: err}
	}
	if got != d.Name() {
		// The damage may be of the disk, with the time as it was. Without this mark,
		// Has would go on to trust it.
		err := os.Chtimes(path, time.Time{}, time.Unix(0, 0))
		return size, &Damage{Path: path, Got: got, Err: err}
	}
	return size, nil
}

// hashFile returns the SHA-256 of a file, in hex, and its size.
func hashFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, onlyReader{f}, make([]byte, 1<<18))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", 0, fmt.Errorf("hashing %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}

// onlyReader hides that a file can copy itself, so that the buffer given is used.
type onlyReader struct{ io.Reader }
