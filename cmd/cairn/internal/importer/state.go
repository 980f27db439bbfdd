package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// stateSchema is the first line of a state file.
const stateSchema = "cairn/import-state/v1"

// ErrOtherImport says that a state file is not of this import.
var ErrOtherImport = errors.New("the state is of another import")

// State is the names of the items that were logged, in a file, so that an import
// that was interrupted goes on where it was. It saves getting them from the
// source again, and nothing else: submitting twice is safe. A nil State has and
// keeps nothing.
//
// The file is text: the schema, the log's origin and the source, each on a line,
// and then the names. A last line without its newline was cut short and does not
// count.
type State struct {
	file *os.File

	mu    sync.RWMutex // guards names and the file's end
	names map[string]bool
}

// OpenState opens the state of the import of a source into a log, or begins it.
// An error wraps ErrOtherImport if the file is of another source or log.
func OpenState(path, origin, source string) (*State, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	s := &State{file: f, names: make(map[string]bool)}
	if err := s.read(origin, source); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// read reads the file and leaves its end after the last whole line.
func (s *State) read(origin, source string) error {
	header := stateSchema + "\n" + origin + "\n" + source + "\n"
	lines := bufio.NewReader(s.file)
	var end int64
	for i := 0; ; i++ {
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil {
			break
		}
		if i < 3 && line != strings.SplitAfter(header, "\n")[i] {
			return fmt.Errorf("%w: its line %d is %.80q", ErrOtherImport, i+1, strings.TrimSpace(line))
		}
		if i >= 3 {
			s.names[strings.TrimSuffix(line, "\n")] = true
		}
		end += int64(len(line))
	}
	if end < int64(len(header)) {
		end = 0
	}
	if err := s.file.Truncate(end); err != nil {
		return err
	}
	if _, err := s.file.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end == 0 {
		_, err := s.file.WriteString(header)
		return err
	}
	return nil
}

// Has reports whether the item with this name was logged.
func (s *State) Has(name string) bool {
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names[name]
}

// Add keeps the name of an item that was logged. A name of more than one line is
// not kept.
func (s *State) Add(name string) error {
	if s == nil || bytes.ContainsAny([]byte(name), "\r\n") {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = true
	if _, err := s.file.WriteString(name + "\n"); err != nil {
		return fmt.Errorf("keeping the state of the import: %w", pathCause(err))
	}
	return nil
}

// Close closes the file.
func (s *State) Close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}

func pathCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
