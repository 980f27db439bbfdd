package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
)

const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-cache"
)

// tiles serves a log as C2SP tlog-tiles. A tile is immutable, since only what
// the published checkpoint covers is served; the checkpoint is not.
type tiles struct {
	log     engine.TileReader
	board   *checkpoint.Board
	refresh func(context.Context) error // as of Config
	alias   *checkpoint.Alias           // names and signs the checkpoint; nil for the log itself
	logger  *slog.Logger
}

func (t *tiles) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	latest := t.board.Latest()
	if latest == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "no checkpoint is published yet", http.StatusServiceUnavailable)
		return
	}
	signed := latest.Signed
	if t.alias != nil {
		var err error
		if signed, err = t.alias.Checkpoint(latest); err != nil {
			t.logger.ErrorContext(r.Context(), "signing a checkpoint", slog.Any("err", err))
			http.Error(w, "the checkpoint could not be signed", http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", cacheNever)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(signed)
}

// serveTile serves /tile/<level>/<index> and /tile/entries/<index>, each also
// with .p/<width>.
func (t *tiles) serveTile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	path := strings.TrimPrefix(r.URL.Path, "/")
	tile, err := torchwood.ParseTilePath(path)
	// The parser also takes the name that bundles have in Go's checksum database.
	if err != nil || torchwood.TilePath(tile) != path {
		http.Error(w, "no such tile path: see https://c2sp.org/tlog-tiles", http.StatusNotFound)
		return
	}
	level := uint64(max(tile.L, 0))
	stored, published := t.stored(level, uint64(tile.N))
	if (tile.W > stored || !published) && t.refresh != nil {
		// Another front end may have shown a checkpoint that covers it.
		if err := t.refresh(r.Context()); err != nil {
			t.logger.WarnContext(r.Context(), "looking for a later checkpoint", slog.Any("err", err))
		}
		stored, published = t.stored(level, uint64(tile.N))
	}
	if !published {
		http.Error(w, "no checkpoint is published yet", http.StatusServiceUnavailable)
		return
	}
	if tile.W > stored {
		http.Error(w, "the tile is not in the published tree", http.StatusNotFound)
		return
	}
	var body []byte
	if tile.L < 0 {
		if body, err = t.log.Entries(r.Context(), uint64(tile.N), stored); err == nil {
			body, err = cutEntries(body, tile.W)
		}
	} else if body, err = t.log.Tile(r.Context(), level, uint64(tile.N), stored); err == nil {
		body, err = cutHashes(body, tile.W)
	}
	if err != nil {
		t.logger.ErrorContext(r.Context(), "reading a published tile", slog.String("path", r.URL.Path), slog.Any("err", err))
		http.Error(w, "the tile could not be read", http.StatusInternalServerError)
		return
	}
	if err := holdBytes(r.Context(), len(body)); err != nil {
		writeError(r.Context(), nil, nil, w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", cacheForever)
	_, _ = w.Write(body)
}

// stored returns the width of a tile in the published tree, and whether there is
// one.
func (t *tiles) stored(level, index uint64) (width int, published bool) {
	latest := t.board.Latest()
	if latest == nil {
		return 0, false
	}
	return engine.TileWidthAt(level, index, uint64(latest.N)), true
}

var errShort = errors.New("the stored tile is shorter than the tree says")

func cutHashes(b []byte, width int) ([]byte, error) {
	const hashSize = 32
	if len(b) < width*hashSize {
		return nil, errShort
	}
	return b[:width*hashSize], nil
}

func cutEntries(b []byte, width int) ([]byte, error) {
	rest := b
	for range width {
		var err error
		if _, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, errors.Join(errShort, err)
		}
	}
	return b[:len(b)-len(rest)], nil
}
