package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/builder/queue"
	"github.com/cairnlog/cairn/builder/queue/bearer"
)

// buildsConfig is the queue of builds.
type buildsConfig struct {
	// Database is the file of the queue. It belongs to one log.
	Database string `yaml:"database"`
	// Tokens is a file with a line `TOKEN NAME` for each who may queue, cancel or
	// run builds. No one else may read it.
	Tokens string `yaml:"tokens"`
	// Reproduce is about the reproductions that logged builds ask for.
	Reproduce struct {
		// From are the operators, by URI, and the keys, by fingerprint, whose builds
		// are heard; "*" is everyone, and nobody if it is left out. An operator is
		// what an enrolment claims: a key's fingerprint is what it is.
		From []string `yaml:"from"`
	} `yaml:"reproduce"`
}

func (c *buildsConfig) check() error {
	if c != nil && (c.Database == "" || c.Tokens == "") {
		return errors.New("builds needs database and tokens")
	}
	return nil
}

// builds is the queue of builds and what keeps it going.
type builds struct {
	*queue.Service
	queue    *queue.Queue
	follower *queue.Follower // nil if nobody is heard
	warn     func(error)
}

// openBuilds opens the queue, if there is to be one.
func (l *ledger) openBuilds(ctx context.Context, s *storage) error {
	cfg := l.cfg
	if cfg.Builds == nil {
		return nil
	}
	tokens, err := bearer.ReadFile(cfg.Builds.Tokens)
	if err != nil {
		return usageError{err}
	}
	q, err := queue.Open(ctx, queue.Config{Path: cfg.Builds.Database, Origin: l.key.Signer.Name()})
	if err != nil {
		return err
	}
	l.closers = append(l.closers, q)
	l.builds = &builds{
		Service: queue.NewService(q, bearer.NewSet(tokens), s.index), queue: q,
		warn: func(err error) { l.logger.WarnContext(ctx, "trying again", slog.Any("err", err)) },
	}
	if len(cfg.Builds.Reproduce.From) > 0 {
		l.builds.follower = &queue.Follower{
			Queue: q, Index: s.index, Blobs: s.blobs, From: cfg.Builds.Reproduce.From, Warn: l.builds.warn,
			Published: l.awaitSize,
		}
	}
	return nil
}

// run keeps the queue going until ctx is done. Its failures are its own: the
// ledger goes on without it.
func (b *builds) run(ctx context.Context) {
	var g errgroup.Group
	g.Go(func() error { b.queue.Run(ctx, b.warn); return nil })
	if b.follower != nil {
		g.Go(func() error { b.follower.Run(ctx); return nil })
	}
	_ = g.Wait() // nil
}

// createDevToken writes the token of -dev, unless there is one.
func createDevToken(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	text := bearer.Format([]bearer.Token{{Secret: bearer.Generate(), Name: "dev"}})
	if err := os.WriteFile(path+".tmp", text, 0o600); err != nil {
		return fmt.Errorf("writing the token of workers: %w", err)
	}
	return os.Rename(path+".tmp", path)
}
