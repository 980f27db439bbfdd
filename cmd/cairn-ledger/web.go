package main

import (
	"net/http"
	"time"

	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/web"
)

// openWeb returns the dashboard.
func (l *ledger) openWeb(reads *query.Service) (http.Handler, error) {
	cfg := web.Config{
		Board: l.board, Reads: reads, Policy: l.trust, VKey: l.key.VKey, Logger: l.logger, Now: time.Now,
		Ready: func() error { return l.server.Ready() },
	}
	if l.builds != nil {
		cfg.Builds = l.builds
	}
	return web.New(cfg)
}
