// Package source keeps the files that packages are built from, and fetches
// those that are missing.
//
// Invariants:
//   - A file is named by the SHA-256 of its bytes, and is in the store only after
//     they were seen to have it. Where it came from proves nothing.
//   - A file appears in the store whole and durable, or not at all, whatever
//     process dies when. Processes may share a store.
//   - Nothing is left out: a source that cannot be had is an error that says why
//     each of its mirrors did not give it.
//   - What a build sees depends on names, modes and bytes alone: modes are 0644 or
//     0755, times are 1.
package source

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cairnlog/cairn/builder/tree"
)

// Wanted is a source that a package names.
type Wanted struct {
	tree.Source
	// Package is the ID of the package, for messages.
	Package string
	// Dir is the package's directory, absolute, for mirrors that read a file of it.
	Dir string
}

// All returns what packages of a tree want, in the packages' order.
func All(t *tree.Tree, packages []*tree.Package) []Wanted {
	var list []Wanted
	for _, p := range packages {
		list = append(list, OfPackage(t.Root, p)...)
	}
	return list
}

// Progress is where the fetching of one source stands.
type Progress struct {
	Package string
	Source  string // its name
	File    string
	Mirror  string // what is being tried
	Done    int64  // bytes, with those kept from before
	Total   int64  // bytes; 0 if it is not known
	// Err says why the mirror failed; the next one follows, if there is one.
	Err error
	// Kept says that the file is now in the store.
	Kept bool
}

// WrongHash is a mirror that gave other bytes than the source's.
type WrongHash struct {
	Want, Got string // lower-case hex
	Size      int64  // of what it gave
}

func (e *WrongHash) Error() string {
	return fmt.Sprintf("wrong content: wanted sha256 %s, got %s, of %d bytes", e.Want, e.Got, e.Size)
}

// TooLarge is a file above the Fetcher's limit.
type TooLarge struct {
	Size  int64 // what the mirror announced, or gave so far
	Limit int64
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("%d bytes or more, at most %d are allowed", e.Size, e.Limit)
}

// Attempt is why one mirror did not give a source.
type Attempt struct {
	Mirror string
	Err    error
}

// Missing is one source that no mirror gave.
type Missing struct {
	Wanted
	Attempts []Attempt
}

// MissingError is what could not be fetched.
type MissingError struct{ Sources []Missing }

func (e *MissingError) Error() string {
	var b strings.Builder
	for _, m := range e.Sources {
		fmt.Fprintf(&b, "%s: no mirror gave source %s (%s, sha256 %s):\n", m.Package, m.Name, m.File, m.SHA256)
		for _, a := range m.Attempts {
			fmt.Fprintf(&b, "\t%s: %v\n", a.Mirror, a.Err)
		}
		if len(m.Attempts) == 0 {
			b.WriteString("\tit names no mirror\n")
		}
	}
	b.WriteString("put the files, or git repositories that have the commits, into a directory, and run: cairn-builder fetch --from DIR")
	return b.String()
}

// Unwrap returns the causes.
func (e *MissingError) Unwrap() []error {
	var list []error
	for _, m := range e.Sources {
		for _, a := range m.Attempts {
			list = append(list, a.Err)
		}
	}
	return list
}

// storeError is a failure of this machine: no other mirror would help.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func ours(format string, args ...any) error { return &storeError{fmt.Errorf(format, args...)} }

// isOurs reports whether an error is of this machine. The scratch directory is on
// the store's disk, so if that is full, it is so for all.
func isOurs(err error) bool {
	var s *storeError
	return errors.As(err, &s) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
