package distributed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/torchwood"
	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// notes is every checkpoint that was seen anywhere, and the log that all of them
// must be of: computed here, from the entries in the bucket.
type notes struct {
	w *world

	mu       sync.Mutex
	trees    map[tlog.Tree]string         // that were signed, to where one was seen first
	served   map[[sha256.Size]byte]string // notes that a front end showed, to which
	archive  map[[sha256.Size]byte]bool   // notes of the archive, as far as it was read
	archived int                          // how many
	last     tlog.Tree                    // of them
	errs     []error                      // of notes that are none
	grown    []growth

	hashes hashes // of the entries, as sumdb stores them
	size   int64
}

// growth is when a larger tree was first seen to be published.
type growth struct {
	at   time.Time
	size int64
}

// hashes are stored hashes in memory.
type hashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(h)) {
			return nil, fmt.Errorf("hash %d of %d", x, len(h))
		}
		out[i] = h[x]
	}
	return out, nil
}

func newNotes(w *world) *notes {
	return &notes{w: w, trees: make(map[tlog.Tree]string), served: make(map[[sha256.Size]byte]string), archive: make(map[[sha256.Size]byte]bool)}
}

// signed takes a note that was seen somewhere.
func (n *notes) signed(where string, signed []byte) tlog.Tree {
	tree, err := n.w.tree(string(signed))
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.errs = append(n.errs, fmt.Errorf("%s: %w", where, err))
	} else if _, ok := n.trees[tree]; !ok {
		n.trees[tree] = where
	}
	return tree
}

// watch looks at the checkpoint of front ends, until the test ends.
func (n *notes) watch(fronts ...string) {
	var wg sync.WaitGroup
	for _, f := range fronts {
		url := n.w.Front(f).URL + "/checkpoint"
		wg.Go(func() {
			var before []byte
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for n.w.t.Context().Err() == nil {
				if signed, err := get(n.w.t.Context(), url); err == nil && !bytes.Equal(before, signed) {
					before = signed
					n.shown("front end "+f, signed)
				}
				<-tick.C
			}
		})
	}
	n.w.t.Cleanup(wg.Wait)
}

// shown takes a note that a front end shows.
func (n *notes) shown(where string, signed []byte) {
	tree := n.signed(where, signed)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.served[sha256.Sum256(signed)] = where
	if len(n.grown) == 0 || tree.N > n.grown[len(n.grown)-1].size {
		n.grown = append(n.grown, growth{time.Now(), tree.N})
	}
}

// pause returns the longest time between two publications, from some time until now.
func (n *notes) pause(from time.Time) (longest time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.grown {
		if g.at.After(from) {
			longest, from = max(longest, g.at.Sub(from)), g.at
		}
	}
	return longest
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return body, err
}

// check reads the log of a tree, which is published, and holds to it what was
// acknowledged and every note that was seen: of a front end, of the archive, of what
// witnesses were asked to cosign, and of what they did.
func (r *real) check(tree tlog.Tree) {
	r.t.Helper()
	for i, w := range r.witnesses {
		if signed, err := get(r.t.Context(), w.url+latest()); err != nil {
			r.t.Errorf("what witness %d cosigned last: %v", i, err)
		} else {
			r.notes.signed(fmt.Sprintf("witness %d", i), signed)
		}
	}
	if err := errors.Join(r.notes.readArchive(r.t.Context()), r.notes.readLog(r.Bucket, tree), r.notes.wrong(tree), r.lost()); err != nil {
		r.t.Fatal(err)
	}
}

// readArchive reads what was added to the archive, whose sizes must not go back.
func (n *notes) readArchive(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, n.w.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "SELECT note FROM checkpoints WHERE seq >= $1 ORDER BY seq", n.archived)
	if err != nil {
		return err
	}
	var signed []byte
	_, err = pgx.ForEachRow(rows, []any{&signed}, func() error {
		tree := n.signed("the archive", signed)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.archive[sha256.Sum256(signed)] = true
		if tree.N < n.last.N {
			return fmt.Errorf("size %d is archived after size %d", tree.N, n.last.N)
		}
		n.last = tree
		n.archived++
		return nil
	})
	return err
}

// readLog reads the entries of a tree, as far as they are new, and compares its root.
func (n *notes) readLog(bucket string, tree tlog.Tree) error {
	for n.size < tree.N {
		at := n.size / torchwood.TileWidth
		tile := tlog.Tile{H: torchwood.TileHeight, L: -1, N: at, W: torchwood.TileWidth}
		bundle, err := os.ReadFile(filepath.Join(bucket, torchwood.TilePath(tile)))
		if errors.Is(err, os.ErrNotExist) {
			tile.W = int(tree.N - at*torchwood.TileWidth)
			bundle, err = os.ReadFile(filepath.Join(bucket, torchwood.TilePath(tile)))
		}
		if err != nil {
			return fmt.Errorf("reading the entries of the tree of size %d: %w", tree.N, err)
		}
		for i := at * torchwood.TileWidth; i < min(tree.N, (at+1)*torchwood.TileWidth); i++ {
			var leaf []byte
			if leaf, bundle, err = torchwood.ReadTileEntry(bundle); err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
			if i < n.size {
				continue
			}
			stored, err := tlog.StoredHashes(i, leaf, n.hashes)
			if err != nil {
				return err
			}
			n.hashes = append(n.hashes, stored...)
			n.size++
		}
	}
	return nil
}

// wrong returns what is wrong with the notes that were seen, up to a tree whose
// entries were read. A later note is looked at when its entries were read.
func (n *notes) wrong(tree tlog.Tree) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	errs := n.errs
	for seen, where := range n.trees {
		if seen.N > n.size || where == checked {
			continue
		}
		root, err := tlog.TreeHash(seen.N, n.hashes)
		if err != nil {
			return err
		}
		if root != seen.Hash {
			errs = append(errs, fmt.Errorf("%s: size %d with root %v, but the log has %v", where, seen.N, seen.Hash, root))
			continue
		}
		n.trees[seen] = checked
	}
	if n.trees[tree] != checked {
		errs = append(errs, fmt.Errorf("the log is not that of the tree of size %d", tree.N))
	}
	return errors.Join(errs...)
}

// checked is in the place of where a tree was seen, once it is known to be right.
const checked = ""

// unchecked returns what cannot be right at the end, when nothing more is signed: a
// signed tree that the log did not reach, and a note that was shown, but not archived.
func (n *notes) unchecked(ctx context.Context) error {
	n.mu.Lock()
	served := maps.Clone(n.served)
	n.mu.Unlock()
	errs := n.readArchive(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	for seen, where := range n.trees {
		if where != checked {
			errs = errors.Join(errs, fmt.Errorf("%s: size %d was signed, but the log has %d entries", where, seen.N, n.size))
		}
	}
	for sum, where := range served {
		if !n.archive[sum] {
			errs = errors.Join(errs, fmt.Errorf("%s showed a note that is not in the archive", where))
		}
	}
	return errs
}

// older returns the trees that were signed, but the empty one.
func (n *notes) older() (trees []tlog.Tree) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for seen := range n.trees {
		if seen.N > 0 {
			trees = append(trees, seen)
		}
	}
	return trees
}

// lost returns what was acknowledged, and is not in the log that was read, at its
// index and with its leaf.
func (r *real) lost() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, leaf := range r.leaves {
		if i < r.notes.size && r.notes.hashes[tlog.StoredHashIndex(0, i)] != tlog.RecordHash([]byte(leaf)) {
			return fmt.Errorf("entry %d was acknowledged, but the log has another one there:\n%s", i, leaf)
		}
	}
	return nil
}
