package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
)

const (
	indexDir       = "index"
	progressPath   = indexDir + "/progress"
	progressHeader = "cairn.mirror/v1"
)

// progress says how far a copy is. It is a file:
//
//	cairn.mirror/v1
//	entries <n>        full bundles that are verified and durable, in entries
//	indexed <n>        entries whose terms are in the index
//
//	<signed checkpoint in whose tree is all that was copied>
type progress struct {
	entries, indexed uint64
	signed           string
}

func (p progress) marshal() []byte {
	return fmt.Appendf(nil, "%s\nentries %d\nindexed %d\n\n%s", progressHeader, p.entries, p.indexed, p.signed)
}

func parseProgress(b []byte) (p progress, err error) {
	head, signed, _ := strings.Cut(string(b), "\n\n")
	p.signed = signed
	if _, err := fmt.Sscanf(head, progressHeader+"\nentries %d\nindexed %d", &p.entries, &p.indexed); err != nil {
		return p, errors.New("it is not the file of a mirror")
	}
	if string(p.marshal()) != string(b) || p.entries%engine.TileWidth != 0 {
		return p, errors.New("it is not written as it is here")
	}
	if c, err := client.VerifyCheckpoint(signed, nil); p.signed != "" && (err != nil || uint64(c.N) < p.entries) {
		return p, errors.New("its checkpoint does not cover its entries")
	}
	return p, nil
}

// readProgress reads how far the copy in a directory is; the zero progress if it
// was not begun.
func readProgress(ctx context.Context, files Files) (progress, error) {
	b, err := files.Read(ctx, progressPath, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return progress{}, nil
	}
	var p progress
	if err == nil {
		p, err = parseProgress(b)
	}
	if err != nil {
		return p, fmt.Errorf("reading %s: %w", progressPath, err)
	}
	return p, nil
}

// Ahead returns the size of the tree that the files of a mirror are of: the copy's
// own, or a larger one if a run is under way or was cut short. It is 0 if the
// files do not say.
func Ahead(ctx context.Context, files Files) uint64 {
	p, err := readProgress(ctx, files)
	if err != nil || p.signed == "" {
		return 0
	}
	c, err := client.VerifyCheckpoint(p.signed, nil)
	if err != nil {
		return 0
	}
	return uint64(c.N)
}

// A ForkError says that a source contradicts the copy: a log signed both
// checkpoints, and they cannot both be true.
type ForkError struct {
	Kept, Shown string // signed notes
	KeptTree    tlog.Tree
	ShownTree   tlog.Tree
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("the log contradicts itself: its checkpoint of size %d does not agree with that of size %d which the copy is of", e.ShownTree.N, e.KeptTree.N)
}

// Unwrap says that a fork is misbehaviour.
func (e *ForkError) Unwrap() error { return &client.MisbehaviourError{Message: e.Error()} }
