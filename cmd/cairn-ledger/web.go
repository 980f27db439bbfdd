package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/web"
)

// openWeb returns the dashboard.
func (l *ledger) openWeb(reads *query.Service) (http.Handler, error) {
	cfg := web.Config{
		Board: l.board, Reads: reads, Policy: l.trust, VKey: l.key.VKey, Logger: l.logger, Now: time.Now,
		Ready:    func() error { return l.server.Ready() },
		Evidence: func() ([]web.Evidence, error) { return readEvidence(l.cfg.evidencePattern()) },
	}
	if l.builds != nil {
		cfg.Builds = l.builds
	}
	if l.survey != nil {
		cfg.Survey = l.survey
	}
	return web.New(cfg)
}

// maxEvidence is how many files of evidence are shown.
const maxEvidence = 64

// readEvidence returns the files that match a pattern, the newest first. They are
// signed checkpoints: of one that is larger than any, the beginning is shown.
func readEvidence(pattern string) ([]web.Evidence, error) {
	list := []web.Evidence{}
	if pattern == "" {
		return list, nil
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("looking for evidence: %w", err)
	}
	type file struct {
		path string
		at   time.Time
	}
	var files []file
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for evidence: %w", err)
		}
		if info.Mode().IsRegular() {
			files = append(files, file{path, info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.path, b.path)) })
	for _, f := range files[:min(len(files), maxEvidence)] {
		text, err := readStart(f.path, checkpoint.MaxNote)
		if err != nil {
			return nil, fmt.Errorf("reading evidence: %w", err)
		}
		list = append(list, web.Evidence{Name: filepath.Base(f.path), At: f.at.UTC(), Text: text})
	}
	return list, nil
}

// readStart reads the beginning of a file.
func readStart(path string, most int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, most))
	return string(text), err
}
