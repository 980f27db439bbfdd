package cli

import (
	"context"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/client"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func (a *app) newLogConsistency() *cobra.Command {
	return &cobra.Command{
		Use:   "consistency FROM [TO]",
		Short: "Verify that the log only grew",
		Long: `Consistency gets the proof that the tree TO extends the tree FROM, and verifies
it. Each is a file with a checkpoint that was kept, or a tree size; without TO,
it is the latest checkpoint. TO itself is held to the latest checkpoint too.

Only a kept checkpoint holds the log to what it said before: the tree of a bare
size is as the log shows it now.

The exit code is 5 if the log shrank, or does not extend what was kept.`,
		Example: `  cairn log checkpoint > last.checkpoint     # today
  cairn log consistency last.checkpoint      # tomorrow
  cairn log consistency 10 20`,
		Args: cmdline.Takes(1, 2),
		RunE: a.run(a.consistency),
	}
}

// consistencyAnswer is the JSON of cairn log consistency.
type consistencyAnswer struct {
	Schema string `json:"schema"` // cairn/consistency/v1
	// Consistent is always true: otherwise the answer is a failure.
	Consistent bool           `json:"consistent"`
	From       treeView       `json:"from"`
	To         treeView       `json:"to"`
	Checkpoint checkpointView `json:"checkpoint"` // the latest
}

type treeView struct {
	Size int64  `json:"size"`
	Root string `json:"rootHash"`
	// Kept says whether it is of a checkpoint that was kept, rather than as the
	// log shows it now.
	Kept bool `json:"kept"`
}

// tree is one end of a consistency proof.
type tree struct {
	tlog.Tree
	kept bool
}

func (t tree) view() treeView { return treeView{t.N, t.Hash.String(), t.kept} }

func (a *app) consistency(ctx context.Context, args []string) error {
	ends := make([]any, len(args)) // a size, or a checkpoint that was kept
	for i, arg := range args {
		var err error
		if ends[i], err = parseTree(arg); err != nil {
			return err
		}
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	signed, latest, err := o.latest(ctx)
	if err != nil {
		return err
	}
	trees := []tree{{}, {Tree: latest.Tree}}
	for i, end := range ends {
		if trees[i], err = o.tree(ctx, end, latest.Tree); err != nil {
			return err
		}
	}
	from, to := trees[0], trees[1]
	if from.N > to.N {
		return cmdline.Usagef("give the smaller one first", "FROM is of size %d, TO of size %d", from.N, to.N)
	}
	if err := o.extends(ctx, from.Tree, to.Tree); err != nil {
		return err
	}
	if err := o.extends(ctx, to.Tree, latest.Tree); err != nil {
		return err
	}
	v := consistencyAnswer{"cairn/consistency/v1", true, from.view(), to.view(), o.viewCheckpoint(signed, latest)}
	a.Answer(v, func(p term.Printer) {
		p.Printf("%s: size %d extends size %d of %s\n", p.Paint(term.Good, "consistent"), to.N, from.N, o.origin)
	})
	return nil
}

// parseTree reads a size or a kept checkpoint.
func parseTree(arg string) (any, error) {
	n, err := parseName(arg)
	switch {
	case err != nil:
		return nil, err
	case n.kind == byIndex && n.origin == "":
		return n.index, nil
	case n.kind != byFile:
		return nil, cmdline.Usagef("give a size, or a file that `cairn log checkpoint` wrote", "%q names no tree", arg)
	}
	b, err := cmdline.ReadSmall("checkpoint", n.path)
	return string(b), err
}

// tree returns the tree of one end. A kept checkpoint is held to the policy
// like the ledger's own.
func (o *online) tree(ctx context.Context, end any, latest tlog.Tree) (tree, error) {
	if size, ok := end.(int64); ok {
		t, err := o.treeAt(ctx, size, latest)
		return tree{Tree: t}, err
	}
	c, err := client.VerifyCheckpoint(end.(string), o.policy)
	if err != nil {
		return tree{}, cmdline.Usagef("give a file that `cairn log checkpoint` wrote, and the policy for its log", "the kept checkpoint: %w", err)
	}
	if c.Origin != o.origin {
		return tree{}, cmdline.Usagef("give --ledger URL of that log", "the kept checkpoint is of log %q, and the ledger at %s serves %q", c.Origin, o.URL(), o.origin)
	}
	if c.N > latest.N {
		return tree{}, shrank(c, latest)
	}
	return tree{c.Tree, true}, nil
}

func shrank(kept torchwood.Checkpoint, latest tlog.Tree) error {
	return client.Misbehaved("the log shrank: a checkpoint of size %d was kept, the latest is of size %d", kept.N, latest.N)
}

// treeAt returns the tree of a size as the log shows it now, from its last
// entry.
func (o *online) treeAt(ctx context.Context, size int64, latest tlog.Tree) (tlog.Tree, error) {
	switch {
	case size == latest.N:
		return latest, nil
	case size > latest.N:
		return tlog.Tree{}, cmdline.Usagef("give a size that is published: `cairn log checkpoint` says", "size %d is beyond the latest checkpoint's, %d", size, latest.N)
	case size == 0:
		return client.RootAt(0, nil, nil)
	}
	e, err := o.entry(ctx, size-1)
	if err != nil {
		return tlog.Tree{}, err
	}
	index := size - 1
	resp, err := o.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &index, Size: size})
	if err != nil {
		return tlog.Tree{}, err
	}
	return client.RootAt(size, []byte(e.text), resp.GetInclusionProof())
}

// extends gets and verifies the proof that one tree extends the other.
func (o *online) extends(ctx context.Context, from, to tlog.Tree) error {
	var path [][]byte
	if from.N > 0 && from.N < to.N {
		resp, err := o.GetConsistencyProof(ctx, &cairnv1.GetConsistencyProofRequest{From: from.N, To: to.N})
		if err != nil {
			return err
		}
		path = resp.GetConsistencyProof()
	}
	return client.VerifyConsistency(from, to, path)
}
