// Package mirror copies a ledger into a directory, verifying what it copies, and
// answers from such a copy what a ledger's readers ask.
//
// A mirror is files only, so that any web server can serve it:
//
//	checkpoint                       the signed note that all else is verified against
//	tile/<L>/<N>[.p/<W>]             C2SP tlog-tiles
//	tile/entries/<N>[.p/<W>]
//	attestations/<2 hex>/<64 hex>    by the SHA-256 of the envelope
//	checkpoints/<segment>            the ledger's archive of what it published
//	index/progress                   how far the copy is
//	index/withheld                   the attestations that no source held yet
//	index/new/                       files in the making
//	index/terms/<3 hex>              where an entry is, by what it is about
//
// Invariants of the copy:
//   - The checkpoint satisfies the policy, and is replaced last: what it covers
//     stands complete in the directory, at any time and after any crash.
//   - Every entry is proven to be in a tree that satisfied the policy before it is
//     written, and every attestation is the one that its entry names. Hash tiles
//     are computed here from the entries.
//   - The copy never goes backwards. A source that contradicts the copy changes
//     nothing in it.
//   - What was verified is not fetched again after an interruption.
//   - What a run that was cut short left is of a tree that satisfied the policy,
//     and that the progress names; see Ahead.
//
// Who reads a mirror need not trust it: its answers are held to the checkpoint as
// a ledger's are.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// MaxShard bounds a file of the index.
const MaxShard = 256 << 20

// Limits of other files.
const (
	maxNote   = 1 << 20
	maxBundle = engine.TileWidth * (leaf.MaxSize + 2)
	hashSize  = tlog.HashSize

	atOnce = 16 // files that are asked for at a time
)

// Files are the files of a mirror.
type Files interface {
	// Read returns the file at a path. It wraps fs.ErrNotExist if there is none,
	// and ErrTooLong if it has more than limit bytes.
	Read(ctx context.Context, path string, limit int64) ([]byte, error)
}

// ErrTooLong is that a file is over its limit.
var ErrTooLong = errors.New("over the limit")

// Dir returns the files in a directory.
func Dir(path string) Files { return dirFiles(path) }

type dirFiles string

func (d dirFiles) Read(_ context.Context, path string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readLimited(f, path, limit)
}

func readLimited(r io.Reader, path string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %w of %d bytes", path, ErrTooLong, limit)
	}
	return b, nil
}

// Web returns the files under a URL. A request goes to its host and no other.
func Web(url string, opts client.Options) Files {
	h := http.Client{}
	if opts.HTTP != nil {
		h = *opts.HTTP
	}
	h.Timeout = opts.Timeout
	if h.Timeout <= 0 {
		h.Timeout = client.DefaultTimeout
	}
	h.CheckRedirect = client.SameHost
	return &webFiles{strings.TrimSuffix(url, "/"), &h, opts.UserAgent}
}

type webFiles struct {
	base  string
	http  *http.Client
	agent string
}

func (w *webFiles) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	url := w.base + "/" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	if w.agent != "" {
		req.Header.Set("User-Agent", w.agent)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, &client.UnansweredError{URL: url, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden: // as object stores answer
		return nil, fmt.Errorf("%s: %w", url, fs.ErrNotExist)
	default:
		return nil, &client.UnansweredError{URL: url, Err: fmt.Errorf("status %s", resp.Status)}
	}
	b, err := readLimited(resp.Body, path, limit)
	if err != nil {
		return nil, &client.UnansweredError{URL: url, Err: err}
	}
	return b, nil
}

// tiles reads a log's tiles from files, as torchwood and engine want them. A
// partial tile may have been deleted once the full one was there.
type tiles struct{ Files }

func (t tiles) read(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	limit := int64(engine.TileWidth * hashSize)
	if tile.L < 0 {
		limit = maxBundle
	}
	b, err := t.Read(ctx, torchwood.TilePath(tile), limit)
	if tile.W == engine.TileWidth || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	whole := tile
	whole.W = engine.TileWidth
	full, ferr := t.Read(ctx, torchwood.TilePath(whole), limit)
	if ferr != nil {
		return nil, err
	}
	return cut(full, tile)
}

// cut returns what a narrower tile has of a full one.
func cut(full []byte, tile tlog.Tile) ([]byte, error) {
	rest := full
	for range tile.W {
		var err error
		if tile.L >= 0 && len(rest) >= hashSize {
			rest = rest[hashSize:]
		} else if tile.L >= 0 {
			return nil, fmt.Errorf("%s is too short", torchwood.TilePath(tile))
		} else if _, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, fmt.Errorf("%s: %w", torchwood.TilePath(tile), err)
		}
	}
	return full[:len(full)-len(rest)], nil
}

// ReadTiles implements torchwood.TileReader.
func (t tiles) ReadTiles(ctx context.Context, wanted []tlog.Tile) ([][]byte, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	data := make([][]byte, len(wanted))
	for i, tile := range wanted {
		g.Go(func() (err error) {
			data[i], err = t.read(ctx, tile)
			return err
		})
	}
	return data, g.Wait()
}

// Tile implements engine.TileReader.
func (t tiles) Tile(ctx context.Context, level, index uint64, width int) ([]byte, error) {
	return t.read(ctx, tlog.Tile{H: torchwood.TileHeight, L: int(level), N: int64(index), W: width})
}

// Entries implements engine.TileReader.
func (t tiles) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	return t.read(ctx, tlog.Tile{H: torchwood.TileHeight, L: -1, N: int64(index), W: width})
}

// SaveTiles implements torchwood.TileReader.
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadEndpoint implements torchwood.TileReader.
func (t tiles) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return t.Read(ctx, path, maxNote)
}
