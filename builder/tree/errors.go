package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Error is something in a tree that is not as it must be. The errors of this
// package are of this type, or several of them joined, in the order of files
// and lines.
type Error struct {
	File string // relative to the tree's root, with slashes
	Line int    // 1-based; 0 if it is not known
	Key  string // of package.toml, such as sources.gcc.hash; may be empty
	Err  error
}

func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, e.Line)
	}
	if e.Key != "" {
		at += ": " + e.Key
	}
	return at + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// problems collects errors, so that a tree's are all told at once.
type problems []*Error

func (p *problems) add(file string, line int, key, format string, args ...any) {
	*p = append(*p, &Error{File: file, Line: line, Key: key, Err: fmt.Errorf(format, args...)})
}

// join returns the errors as one, each once, or nil if there are none.
func (p problems) join() error {
	slices.SortStableFunc(p, func(a, b *Error) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	p = slices.CompactFunc(p, func(a, b *Error) bool { return a.Error() == b.Error() })
	all := make([]error, len(p))
	for i, e := range p {
		all[i] = e
	}
	return errors.Join(all...)
}

// parserError gives an error of BuildKit's parser file and line, and takes the
// line out of its text.
func parserError(file string, err error) *Error {
	e := &Error{File: file, Err: err}
	var at *parser.LocationError
	if errors.As(err, &at) {
		e.Err = errors.New(strings.ReplaceAll(at.Error(), "\n", " "))
		if len(at.Locations) > 0 && len(at.Locations[0]) > 0 {
			e.Line = at.Locations[0][0].Start.Line
		}
	}
	return e
}
