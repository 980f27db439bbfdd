// Package seen remembers the checkpoints that were verified, and holds logs to
// them: a log that shows one thing today and another tomorrow contradicts what is
// remembered here, whoever else it fools.
//
// Invariants:
//   - What is remembered of a log is one checkpoint, the largest that was held,
//     and older trees that it was proven to extend. It never goes backwards,
//     however many processes hold checkpoints at a time.
//   - A checkpoint is good only if it is one of these trees, or a proof shows
//     that it extends the one remembered, or the other way round. Where there is
//     neither, it is not good: a log cannot escape by showing nothing.
//   - A contradiction is kept on disk, as both signed notes, before it is told.
//
// Who signs for a log is the caller's to verify. A log is its key: one that
// changes it is another log.
package seen

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// Store is a directory of remembered checkpoints. It is made when there is
// something to remember.
type Store struct{ dir string }

// New returns the store in a directory.
func New(dir string) *Store { return &Store{dir} }

// Checkpoint is one that was verified.
type Checkpoint struct {
	VKey   string // of the log that signed it
	Signed string // the note
	tlog.Tree
}

// Extends gets and verifies the proof that the tree to extends the tree from. A
// *client.MisbehaviourError says that it does not; any other error, that it could
// not be found out.
type Extends func(ctx context.Context, from, to tlog.Tree) error

// Held says how a checkpoint stands to what is remembered.
type Held struct {
	// Largest is the size that is remembered of the log now. It is above that of
	// the checkpoint if whoever showed it lags behind.
	Largest int64
}

// A ContradictionError says that two checkpoints that a log signed cannot both
// be true. It is a *client.MisbehaviourError too.
type ContradictionError struct {
	Remembered, Shown string // signed notes
	Dir               string // where both are kept
	Err               *client.MisbehaviourError
}

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("%v; both checkpoints are kept in %s", e.Err, e.Dir)
}

// Unwrap returns the cause.
func (e *ContradictionError) Unwrap() error { return e.Err }

// A BehindError says that a checkpoint is smaller than the one remembered, and
// that nobody showed that they agree.
type BehindError struct {
	Shown, Remembered int64 // sizes
	Err               error // of whoever was asked for the proof
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("the checkpoint is of size %d, and one of size %d was seen before: that they agree is not shown: %v", e.Shown, e.Remembered, e.Err)
}

// Unwrap returns the cause.
func (e *BehindError) Unwrap() error { return e.Err }

var (
	// ErrNotRemembered is wrapped where a checkpoint is good, and cannot be kept.
	ErrNotRemembered = errors.New("the checkpoint is not remembered")
	// ErrUnreadable is wrapped where what is remembered cannot be read, or is
	// damaged: then no checkpoint is good.
	ErrUnreadable = errors.New("what is remembered of the log cannot be read")
)

// maxRaces is how often what is remembered may change while a proof is asked
// for. Each time, another process was faster.
const maxRaces = 100

// Hold holds a verified checkpoint to what is remembered of its log, and
// remembers it. The errors are *ContradictionError, *BehindError, those of
// extends, those of reading the store, and ErrNotRemembered.
func (s *Store) Hold(ctx context.Context, c Checkpoint, extends Extends) (Held, error) {
	for range maxRaces {
		old, err := s.read(c.VKey)
		if err != nil {
			return Held{}, err
		}
		now, err := old.with(ctx, c, extends)
		var bad *client.MisbehaviourError
		if errors.As(err, &bad) {
			return Held{}, s.Keep(old.head.Signed, c.Signed, bad)
		}
		if err != nil {
			return Held{}, err
		}
		if now == old {
			return Held{Largest: old.head.N}, nil
		}
		if swapped, err := s.swap(old, now); err != nil || swapped {
			return Held{Largest: now.head.N}, err
		}
	}
	return Held{}, errors.New("remembering a checkpoint: others remember theirs all the time")
}

// Remembered returns the largest checkpoint of a log that was held, or nil.
func (s *Store) Remembered(vkey string) (*Checkpoint, error) {
	r, err := s.read(vkey)
	if err != nil || r.head == nil {
		return nil, err
	}
	return r.head, nil
}

func (s *Store) path(vkey string) string {
	h := sha256.Sum256([]byte(vkey))
	return filepath.Join(s.dir, hex.EncodeToString(h[:])+".seen")
}

func (s *Store) read(vkey string) (*record, error) {
	path := s.path(vkey)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return &record{vkey: vkey}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	r, err := parse(b)
	if err == nil && r.vkey != vkey {
		err = fmt.Errorf("it is about log %.160q", r.vkey)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreadable, path, err)
	}
	return r, nil
}

// swap replaces old by now, unless it is old no more. Only here is the store
// locked, never while anybody is asked.
func (s *Store) swap(old, now *record) (swapped bool, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotRemembered, err)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotRemembered, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	current, err := s.read(old.vkey)
	if err != nil || string(current.marshal()) != string(old.marshal()) {
		return false, err
	}
	if err := durable.WriteFile(s.path(now.vkey), now.marshal(), 0o600); err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotRemembered, err)
	}
	return true, nil
}

// Keep keeps two signed notes that contradict each other, and returns the
// *ContradictionError that says so. The directory is named by what is in it.
func (s *Store) Keep(remembered, shown string, bad *client.MisbehaviourError) error {
	h := sha256.Sum256([]byte(remembered + "\n" + shown))
	e := &ContradictionError{
		Remembered: remembered, Shown: shown, Err: bad,
		Dir: filepath.Join(s.dir, "contradiction-"+hex.EncodeToString(h[:8])),
	}
	err := os.MkdirAll(e.Dir, 0o700)
	if err == nil {
		err = durable.WriteFile(filepath.Join(e.Dir, "remembered.checkpoint"), []byte(e.Remembered), 0o600)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(e.Dir, "shown.checkpoint"), []byte(e.Shown), 0o600)
	}
	if err != nil {
		// The contradiction matters more than that it could not be kept.
		return &client.MisbehaviourError{
			Message: fmt.Sprintf("%v; keeping both checkpoints: %v; remembered was\n%s\nand shown is\n%s", bad, err, e.Remembered, e.Shown),
		}
	}
	return e
}
