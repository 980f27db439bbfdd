package seen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// maxTrees is how many trees are remembered beside the checkpoint. They are
// what lets a mirror lag behind; the smallest are forgotten first.
const maxTrees = 1024

// record is what is remembered of one log. It is a file:
//
//	cairn.seen/v1
//	log <vkey>
//	tree <size> <base64 root>      0..1024, ascending, below the checkpoint's
//
//	<signed checkpoint>
type record struct {
	vkey  string
	head  *Checkpoint // nil if nothing is remembered
	trees []tlog.Tree // ascending; head extends each
}

const recordHeader = "cairn.seen/v1"

func (r *record) marshal() []byte {
	if r.head == nil {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nlog %s\n", recordHeader, r.vkey)
	for _, t := range r.trees {
		fmt.Fprintf(&b, "tree %d %s\n", t.N, t.Hash)
	}
	fmt.Fprintf(&b, "\n%s", r.head.Signed)
	return []byte(b.String())
}

func parse(b []byte) (*record, error) {
	head, signed, ok := strings.Cut(string(b), "\n\n")
	_, err := note.Open([]byte(signed), nil)
	var unverified *note.UnverifiedNoteError // as it must be: there are no keys here
	if !ok || !errors.As(err, &unverified) {
		return nil, errors.New("it does not end in a signed checkpoint")
	}
	c, err := tlogproof.ParseCheckpoint(unverified.Note.Text)
	if err != nil {
		return nil, err
	}
	r := &record{head: &Checkpoint{Signed: signed, Tree: c.Tree}}
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || lines[0] != recordHeader || !strings.HasPrefix(lines[1], "log ") {
		return nil, fmt.Errorf("it does not begin with %q and the log", recordHeader)
	}
	r.vkey = strings.TrimPrefix(lines[1], "log ")
	r.head.VKey = r.vkey
	for _, line := range lines[2:] {
		var t tlog.Tree
		var root string
		if _, err := fmt.Sscanf(line, "tree %d %s", &t.N, &root); err != nil {
			return nil, fmt.Errorf("invalid line %.160q", line)
		}
		if t.Hash, err = tlog.ParseHash(root); err != nil {
			return nil, fmt.Errorf("invalid line %.160q", line)
		}
		r.trees = append(r.trees, t)
	}
	if string(r.marshal()) != string(b) || !r.ascends() {
		return nil, errors.New("it is not written as it is here")
	}
	return r, nil
}

func (r *record) ascends() bool {
	all := append(slices.Clone(r.trees), r.head.Tree)
	for i := 1; i < len(all); i++ {
		if all[i-1].N >= all[i].N {
			return false
		}
	}
	return len(r.trees) <= maxTrees && all[0].N >= 0
}

// with returns what is to be remembered once c is, or r itself if that is
// nothing new.
func (r *record) with(ctx context.Context, c Checkpoint, extends Extends) (*record, error) {
	if r.head == nil {
		return &record{vkey: r.vkey, head: &c}, nil
	}
	if known, ok := r.at(c.N); ok {
		if known != c.Hash {
			return nil, client.Misbehaved("the log contradicts itself: size %d has the root %s, and had %s before", c.N, c.Hash, known)
		}
		return r, nil
	}
	if c.N > r.head.N {
		if err := extends(ctx, r.head.Tree, c.Tree); err != nil {
			return nil, r.doubted(c, err)
		}
		now := &record{vkey: r.vkey, head: &c, trees: append(slices.Clone(r.trees), r.head.Tree)}
		now.trees = now.trees[max(0, len(now.trees)-maxTrees):]
		return now, nil
	}
	if err := extends(ctx, c.Tree, r.head.Tree); err != nil {
		return nil, r.doubted(c, err)
	}
	if len(r.trees) == maxTrees && c.N < r.trees[0].N {
		return r, nil
	}
	i := sort.Search(len(r.trees), func(i int) bool { return r.trees[i].N > c.N })
	now := &record{vkey: r.vkey, head: r.head, trees: slices.Insert(slices.Clone(r.trees), i, c.Tree)}
	now.trees = now.trees[max(0, len(now.trees)-maxTrees):]
	return now, nil
}

// at returns the root that is remembered for a size.
func (r *record) at(size int64) (tlog.Hash, bool) {
	if size == r.head.N {
		return r.head.Hash, true
	}
	i := sort.Search(len(r.trees), func(i int) bool { return r.trees[i].N >= size })
	if i < len(r.trees) && r.trees[i].N == size {
		return r.trees[i].Hash, true
	}
	return tlog.Hash{}, false
}

// doubted says what an error of extends means.
func (r *record) doubted(c Checkpoint, err error) error {
	var bad *client.MisbehaviourError
	switch {
	case errors.As(err, &bad):
		return &client.MisbehaviourError{
			Message: fmt.Sprintf("the log contradicts itself: its checkpoint of size %d does not agree with that of size %d which was seen before", c.N, r.head.N),
			Err:     err,
		}
	case c.N < r.head.N:
		return &BehindError{Shown: c.N, Remembered: r.head.N, Err: err}
	}
	return fmt.Errorf("holding the log to its checkpoint of size %d: %w", r.head.N, err)
}
