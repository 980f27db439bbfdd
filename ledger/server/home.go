package server

import (
	_ "embed"
	"log/slog"
	"net/http"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

//go:embed home.html
var homeHTML string

// home is the ledger's front page: who it is, how far it is, where to look.
type home struct {
	VKey   string
	Latest *checkpoint.Published // nil before the first publication
	Ready  error
}

func (s *Server) serveHome(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("Cache-Control", cacheNever)
	if err := s.home.Execute(w, home{VKey: s.cfg.VKey, Latest: s.cfg.Board.Latest(), Ready: s.ready()}); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "writing the front page", slog.Any("err", err))
	}
}
