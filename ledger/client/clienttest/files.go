package clienttest

import (
	"net/http"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// file serves a file of C2SP tlog-tiles: the checkpoint, a tile or a bundle.
func (l *Ledger) file(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path == "checkpoint" {
		signed, err := l.latest()
		if err != nil {
			writeError(w, err)
			return
		}
		_, _ = w.Write([]byte(signed))
		return
	}
	t, err := torchwood.ParseTilePath(path)
	level := uint64(max(t.L, 0))
	if err != nil || t.W > engine.TileWidthAt(level, uint64(t.N), uint64(len(l.entries))) {
		http.NotFound(w, r)
		return
	}
	b, err := l.tile(t)
	if err != nil {
		writeError(w, err)
		return
	}
	_, _ = w.Write(b)
}

func (l *Ledger) tile(t tlog.Tile) (b []byte, err error) {
	if t.L >= 0 {
		return tlog.ReadTileData(t, l)
	}
	for _, e := range l.entries[t.N*engine.TileWidth:][:t.W] {
		if b, err = torchwood.AppendTileEntry(b, e.att.Text); err != nil {
			return nil, err
		}
	}
	return b, nil
}
