package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/engine"
)

const repairUsage = `usage: cairn-ledger repair trillian -config FILE [-new-tree]
       cairn-ledger repair tiles -config FILE

trillian  gives Trillian the leaves again that its database lost, from the entries
          in the bucket, which are compared with the published checkpoint first.
tiles     writes the tiles and entries again that the bucket lost, from Trillian's
          leaves, and compares them with the published checkpoint.

All front ends must be stopped: it refuses while one publishes, and none can
meanwhile. It may be run again, and goes on where it was interrupted.

`

const repairExamples = `
Trillian's database was restored from a backup:
  cairn-ledger repair trillian -config /etc/cairn/ledger.yaml
It was lost, and Trillian runs on an empty one:
  cairn-ledger repair trillian -new-tree -config /etc/cairn/ledger.yaml
`

// repaired is what `repair` prints.
type repaired struct {
	Origin string `json:"origin"`
	Tree   int64  `json:"tree"` // its id in Trillian
	Size   int64  `json:"size"` // of the published tree
	Root   string `json:"root"` // its base64
}

// repair is a log that a part of is given back what it lost.
type repair struct {
	*distributed
	what    string // trillian or tiles
	newTree bool
	tree    int64 // the log's tree in Trillian
}

// repairLog gives Trillian or the bucket back what it lost.
func repairLog(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	r, err := parseRepairArgs(args, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.saveEvidence(ctx, err), r.close()) }()
	if err := r.open(ctx); err != nil {
		return err
	}
	var published tlog.Tree
	err = r.cluster.Alone(ctx, func(ctx context.Context, t *cluster.Term) error {
		tree, signed, err := t.Published(ctx)
		if err != nil {
			return err
		}
		published = tree
		if r.what == "tiles" {
			return r.tiles(ctx, tree, signed)
		}
		return r.leaves(ctx, tree)
	})
	if err != nil {
		return fmt.Errorf("repairing %s: %w", r.what, err)
	}
	line, err := json.Marshal(repaired{Origin: r.key.Signer.Name(), Tree: r.tree, Size: published.N, Root: published.Hash.String()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", line)
	return err
}

// open opens what the front ends share, but nothing that serves. No policy is read:
// the log's own key decides what it published.
func (r *repair) open(ctx context.Context) (err error) {
	if r.key, err = checkpoint.ReadKey(r.cfg.Key); err != nil {
		return usageError{err}
	}
	if r.tree, err = r.openDatabase(ctx); err != nil {
		return err
	}
	if err := r.openLog(ctx, r.tree); err != nil {
		return err
	}
	return r.openCluster()
}

// leaves gives Trillian what it lacks of a published tree. A new tree is recorded
// before it has any leaves: a front end that begins before it has all refuses it, and
// a second run, without -new-tree, goes on.
func (r *repair) leaves(ctx context.Context, published tlog.Tree) error {
	if r.newTree {
		tree, err := engine.CreateTree(ctx, r.conn, r.key.Signer.Name())
		if err != nil {
			return err
		}
		if err := r.database.SetTree(ctx, r.tree, tree); err != nil {
			return err
		}
		r.logger.InfoContext(ctx, "the log is in another tree of Trillian's now", slog.Int64("tree", tree), slog.Int64("before", r.tree))
		r.tree = tree
		r.openTree(tree)
	}
	return r.trillian.Restore(ctx, published)
}

// tiles writes what the bucket lacks. The checkpoint is there before the tiles, which
// are held to it.
func (r *repair) tiles(ctx context.Context, published tlog.Tree, signed []byte) error {
	if err := r.trillian.Publish(ctx, signed); err != nil {
		return err
	}
	if err := r.trillian.Rewrite(ctx); err != nil {
		return err
	}
	root, err := r.prover.Root(ctx, uint64(published.N), uint64(published.N))
	if err != nil {
		return fmt.Errorf("comparing the tiles with what is published: %w", err)
	}
	if tlog.Hash(root) != published.Hash {
		return fmt.Errorf("%w: at size %d the tiles have the root %s, and the published checkpoint has %s",
			engine.ErrContradiction, published.N, tlog.Hash(root), published.Hash)
	}
	return r.cluster.NewArchiveCopy(objects{r.objects}).Copy(ctx)
}

func parseRepairArgs(args []string, stderr io.Writer) (*repair, error) {
	fs := flag.NewFlagSet("cairn-ledger repair", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, repairUsage)
		fs.PrintDefaults()
		fmt.Fprint(stderr, repairExamples)
	}
	r := &repair{}
	file := fs.String("config", "", "the YAML `FILE` of the front ends")
	fs.BoolVar(&r.newTree, "new-tree", false, "have Trillian make another tree for the log; only for trillian")
	if len(args) > 0 && slices.Contains([]string{"trillian", "tiles"}, args[0]) {
		r.what, args = args[0], args[1:]
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{err}
	}
	switch {
	case r.what == "":
		return nil, usageError{errors.New("say what is to be repaired: trillian or tiles, before the flags")}
	case fs.NArg() > 0:
		return nil, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	case *file == "":
		return nil, usageError{errors.New("give -config FILE")}
	case r.newTree && r.what != "trillian":
		return nil, usageError{errors.New("-new-tree is for `repair trillian`")}
	}
	cfg, err := readConfig(*file)
	if err != nil {
		return nil, usageError{err}
	}
	if cfg.Distributed == nil {
		return nil, usageError{fmt.Errorf("%s has no `distributed`: an embedded log is repaired from its backup, see docs/runbooks.md", *file)}
	}
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	r.distributed = &distributed{ledger: &ledger{cfg: cfg, logger: logger, board: checkpoint.NewBoard(), watched: newWatched(cfg.evidencePattern())}}
	return r, nil
}
