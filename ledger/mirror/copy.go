package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/internal/durable"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// stagingDir is where files are made. It is emptied when copying begins.
const stagingDir = indexDir + "/new"

// batchEntries is how many entries become durable together. Copying goes on from
// there after an interruption. Tests have it smaller.
var batchEntries = 4 * engine.TileWidth

// Options are what Copy may be told beside source and directory.
type Options struct {
	// Hold is given the source's checkpoint once the policy accepted it, and
	// before anything else is copied. Its error is Copy's.
	Hold func(ctx context.Context, signed string, c torchwood.Checkpoint) error
	// Progress is told how far the copy is, from one goroutine.
	Progress func(Progress)
}

// Progress says how far a copy is.
type Progress struct {
	Entries, Size int64 // copied so far, of
}

// Report is what was copied.
type Report struct {
	Origin     string
	Checkpoint string    // signed: what the copy is of now
	Tree       tlog.Tree // of it
	Entries    int64     // fetched now
	// Withheld is the attestations that the copy lacks, of any entry: no source
	// held them yet. Copy asks for them each time.
	Withheld int64
	// Recovered is the attestations that it lacked before, and has now.
	Recovered int64
	// Behind is the size of the source's checkpoint, if it is smaller than what
	// the copy had already.
	Behind *int64
	// Unarchived says that the source keeps no archive of its checkpoints.
	Unarchived bool
}

// Copy makes the directory a copy of the source, or brings it up to date. The
// source's checkpoint must satisfy the policy. A *ForkError or a
// *client.MisbehaviourError says that the source contradicts the copy, or itself.
func Copy(ctx context.Context, src *Source, dir string, pol torchwood.Policy, opts Options) (*Report, error) {
	if pol == nil {
		return nil, errors.New("copying a log: no policy says which log is believed")
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c := &copier{src: src, dir: dir, local: tiles{Dir(dir)}, opts: opts, batch: durable.NewBatch(dir, stagingDir), policy: pol, had: -1}
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	if c.report.Behind == nil {
		if err := c.copy(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.askAgain(ctx); err != nil {
		return nil, err
	}
	c.report.Withheld = int64(len(c.withheld))
	return &c.report, nil
}

// copy copies what the copy lacks, and then replaces its checkpoint.
func (c *copier) copy(ctx context.Context) error {
	if c.had < c.target.N {
		if err := c.entries(ctx); err != nil {
			return err
		}
	}
	if err := c.archive(ctx); err != nil {
		return err
	}
	if err := c.indexEntries(ctx); err != nil {
		return err
	}
	return c.batch.Replace("checkpoint", []byte(c.signed))
}

// lock makes the directory, and keeps other copiers out.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(dir, indexDir), 0o755); err != nil {
		return nil, fmt.Errorf("making the mirror's directory: %w", err)
	}
	if unlock, err = durable.Lock(filepath.Join(dir, indexDir, "lock")); err != nil {
		if errors.Is(err, durable.ErrLocked) {
			return nil, fmt.Errorf("%s is being copied to by another process", dir)
		}
		return nil, err
	}
	if err := durable.ClearMaking(dir, stagingDir); err != nil {
		unlock()
		return nil, fmt.Errorf("removing what an earlier copy left: %w", err)
	}
	return unlock, nil
}

// copier is one run of Copy.
type copier struct {
	src    *Source
	dir    string
	local  tiles
	policy torchwood.Policy
	opts   Options

	signed   string               // the source's checkpoint
	target   torchwood.Checkpoint // as read
	had      int64                // the size of the copy's; -1 if it has none
	progress progress
	tree     engine.Edge
	bundle   []byte // the entries of the last bundle, while it is not full
	batch    *durable.Batch
	wanted   []wanted // attestations of the batch
	withheld []wanted // attestations that no source held, by index
	early    int      // how many of these are not of entries of this run
	// lackedBefore is the entries whose attestations were withheld before.
	lackedBefore map[uint64]bool
	full         []tlog.Tile // that the batch has
	report       Report
}

// begin gets the checkpoint to copy up to, and holds it to what the copy has.
func (c *copier) begin(ctx context.Context) error {
	signed, err := c.src.Read(ctx, "checkpoint", maxNote)
	if err != nil {
		return unread("getting the checkpoint", err)
	}
	c.signed = string(signed)
	if c.target, err = client.VerifyCheckpoint(c.signed, c.policy); err != nil {
		return err
	}
	if c.opts.Hold != nil {
		if err := c.opts.Hold(ctx, c.signed, c.target); err != nil {
			return err
		}
	}
	if c.progress, err = readProgress(ctx, c.local); err != nil {
		return err
	}
	c.report = Report{Origin: c.target.Origin, Checkpoint: c.signed, Tree: c.target.Tree}
	if err := c.holdToCopy(ctx); err != nil {
		return err
	}
	if c.report.Behind != nil || c.had == c.target.N {
		return c.readWithheld(ctx, max(c.had, int64(c.progress.entries)))
	}
	// What is indexed beyond these is of a run that was cut short, and of a tree
	// that nobody may have signed since.
	c.progress.indexed = min(c.progress.indexed, max(c.progress.entries, uint64(max(c.had, 0))))
	c.tree.Full = c.putTile
	if err := c.tree.Load(ctx, c.local, c.progress.entries); err != nil {
		return err
	}
	if err := c.holdToProgress(ctx); err != nil {
		return err
	}
	return c.readWithheld(ctx, int64(c.progress.entries))
}

// holdToCopy holds the source's checkpoint to that of the copy.
func (c *copier) holdToCopy(ctx context.Context) error {
	b, err := c.local.Read(ctx, "checkpoint", maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	had, err := client.VerifyCheckpoint(string(b), nil)
	if err != nil {
		return fmt.Errorf("reading the copy's checkpoint: %w", err)
	}
	if had.Origin != c.target.Origin {
		return fmt.Errorf("%s is a mirror of log %q, and not of %q", c.dir, had.Origin, c.target.Origin)
	}
	c.had = had.N
	fork := &ForkError{Kept: string(b), Shown: c.signed, KeptTree: had.Tree, ShownTree: c.target.Tree}
	if c.target.N >= had.N {
		root, err := c.sourceRoot(ctx, had.N)
		if err == nil && root != had.Hash {
			return fork
		}
		return err
	}
	root, err := engine.NewProver(c.local).Root(ctx, uint64(c.target.N), uint64(had.N))
	if err != nil {
		return err
	}
	if tlog.Hash(root) != c.target.Hash {
		return fork
	}
	c.report.Behind = &c.target.N
	c.report.Checkpoint, c.report.Tree = string(b), had.Tree
	return nil
}

// holdToProgress holds the source's checkpoint to the one that entries were
// copied under, of a run that was interrupted. Then it is the one that they are
// copied under, if it is the larger: so all that is copied, and not only what is
// durable, is of the tree that the progress names.
func (c *copier) holdToProgress(ctx context.Context) error {
	under := torchwood.Checkpoint{}
	if c.progress.signed != "" {
		var err error
		if under, err = client.VerifyCheckpoint(c.progress.signed, nil); err != nil {
			return fmt.Errorf("reading %s: %w", progressPath, err)
		}
	}
	if c.progress.entries > uint64(c.target.N) {
		return fmt.Errorf("the source has %d entries, and %d are copied already: try again when it has caught up", c.target.N, c.progress.entries)
	}
	fork := &ForkError{Kept: c.progress.signed, Shown: c.signed, KeptTree: under.Tree, ShownTree: c.target.Tree}
	if c.progress.entries > 0 {
		if root, err := c.sourceRoot(ctx, int64(c.progress.entries)); err != nil || root != c.tree.Root() {
			return cmp.Or(err, error(fork))
		}
	}
	if under.N > c.target.N {
		return nil
	}
	if under.N > 0 {
		if root, err := c.sourceRoot(ctx, under.N); err != nil || root != under.Hash {
			return cmp.Or(err, error(fork))
		}
	}
	c.progress.signed = c.signed
	return c.batch.Replace(progressPath, c.progress.marshal())
}

// sourceRoot returns the root of the first entries in the tree that is copied, by
// the source's tiles, which are verified.
func (c *copier) sourceRoot(ctx context.Context, size int64) (tlog.Hash, error) {
	if size == c.target.N {
		return c.target.Hash, nil
	}
	root, err := tlog.TreeHash(size, torchwood.TileHashReaderWithContext(ctx, c.target.Tree, tiles{c.src}))
	if err != nil {
		return root, unread(fmt.Sprintf("reading the tiles of size %d", size), err)
	}
	return root, nil
}

// entries copies the entries that are missing.
func (c *copier) entries(ctx context.Context) error {
	start := int64(c.progress.entries)
	err := c.src.Entries(ctx, c.target.Tree, start, func(i int64, entry []byte) error { return c.entry(ctx, uint64(i), entry) })
	if err != nil {
		return err
	}
	if n := int64(c.tree.Size()); n != c.target.N {
		return client.Misbehaved("the source gave %d of %d entries", n, c.target.N)
	}
	if root := c.tree.Root(); root != c.target.Hash {
		return client.Misbehaved("the %d entries that the source gave have the root %s, its checkpoint has %s", c.target.N, root, c.target.Hash)
	}
	c.report.Entries = c.target.N - max(start, c.had)
	if len(c.bundle) > 0 {
		if err := c.putBundle(c.tree.Size(), int(c.tree.Size()%engine.TileWidth)); err != nil {
			return err
		}
	}
	if err := c.tree.Partial(c.putTile); err != nil {
		return err
	}
	return c.flush(ctx)
}

// entry takes the next entry, which is verified.
func (c *copier) entry(ctx context.Context, i uint64, entry []byte) error {
	l, err := leaf.Parse(entry)
	if err != nil {
		return &client.MisbehaviourError{Message: fmt.Sprintf("the leaf of entry %d does not parse", i), Err: err}
	}
	c.wanted = append(c.wanted, wanted{i, l.Envelope})
	if c.bundle, err = torchwood.AppendTileEntry(c.bundle, entry); err != nil {
		return err
	}
	if err := c.tree.Append(leaf.Hash(entry)); err != nil {
		return err
	}
	if c.tree.Size()%engine.TileWidth != 0 {
		return nil
	}
	if err := c.putBundle(i, engine.TileWidth); err != nil {
		return err
	}
	if c.tree.Size()%uint64(batchEntries) != 0 {
		return nil
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	if c.opts.Progress != nil {
		c.opts.Progress(Progress{Entries: int64(c.tree.Size()), Size: c.target.N})
	}
	return nil
}

// putBundle writes the bundle of an entry.
func (c *copier) putBundle(i uint64, width int) error {
	t := tlog.Tile{H: torchwood.TileHeight, L: -1, N: int64(i / engine.TileWidth), W: width}
	b := c.bundle
	c.bundle = nil
	return c.putFull(t, b)
}

func (c *copier) putTile(level, index uint64, hashes []byte) error {
	t := tlog.Tile{H: torchwood.TileHeight, L: int(level), N: int64(index), W: len(hashes) / hashSize}
	return c.putFull(t, hashes)
}

// flush gets the attestations of the batch, and makes all of it durable.
func (c *copier) flush(ctx context.Context) error {
	missing, err := c.attestations(ctx, c.wanted)
	if err != nil {
		return err
	}
	c.wanted = nil
	c.withheld = append(c.withheld, missing...)
	if err := c.saveWithheld(); err != nil {
		return err
	}
	if err := c.batch.Commit(); err != nil {
		return err
	}
	if err := c.prune(ctx); err != nil {
		return err
	}
	c.progress.entries = c.tree.Size() / engine.TileWidth * engine.TileWidth
	return c.batch.Replace(progressPath, c.progress.marshal())
}

// attestations copies attestations, and returns those that the source lacks.
func (c *copier) attestations(ctx context.Context, list []wanted) (missing []wanted, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	held := make([]bool, len(list))
	for i, w := range list {
		g.Go(func() (err error) {
			held[i], err = c.attestation(ctx, w.envelope)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, w := range list {
		if !held[i] {
			missing = append(missing, w)
		} else if c.lackedBefore[w.index] {
			c.report.Recovered++
		}
	}
	return missing, nil
}

// attestation copies an attestation, and returns whether the source has it. One
// that is there is looked at again: it may be of a run that was cut short.
func (c *copier) attestation(ctx context.Context, envelope leaf.Digest) (bool, error) {
	if _, err := (blobs{c.local}).Get(ctx, envelope); err == nil {
		return true, nil
	}
	raw, err := c.src.attestation(ctx, envelope)
	if err != nil || raw == nil {
		return false, err
	}
	if leaf.SHA256(raw) != envelope {
		return false, client.Misbehaved("asked for attestation %s, the answer is %s", envelope, leaf.SHA256(raw))
	}
	return true, c.batch.PutNow(store.AttestationPath(envelope), raw)
}
