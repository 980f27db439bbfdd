package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/rebuilderd"
)

// rebuilderdConfig is what rebuilderd's clients are answered by.
type rebuilderdConfig struct {
	// Policy is the file with the policy whose verdicts are told. It names this
	// log and its rebuilders; another one than what checkpoints must satisfy.
	Policy string `yaml:"policy"`
	// Database is the file of the table of packages. It can be deleted. Without
	// one, it is rebuilderd.db beside the index.
	Database string `yaml:"database"`
}

func (c *rebuilderdConfig) check() error {
	if c != nil && c.Policy == "" {
		return errors.New("rebuilderd needs policy")
	}
	return nil
}

// openRebuilderd opens the table of packages, if rebuilderd's clients are to be
// answered. Under -dev they are by a -policy that names rebuilders, too.
func (l *ledger) openRebuilderd(ctx context.Context, reads *query.Service) error {
	cfg, key, trust := l.cfg, l.key, l.trust
	pol, path := trust, filepath.Join(filepath.Dir(cfg.Index), "rebuilderd.db")
	if c := cfg.Rebuilderd; c != nil {
		var err error
		if pol, err = readVerdictPolicy(c.Policy, key); err != nil {
			return usageError{err}
		}
		override(&path, c.Database)
	} else if !cfg.dev || len(trust.Rebuilders()) == 0 {
		return nil
	}
	var err error
	l.rebuilderd, err = rebuilderd.Open(ctx, rebuilderd.Config{
		Path: path, Origin: key.Signer.Name(), Policy: pol, Client: client.NewLocal("this ledger", reads.Answer),
		Index: reads.Index, Latest: reads.Latest, Published: l.awaitSize, Now: time.Now,
		Warn: func(err error) { l.logger.WarnContext(ctx, "trying again", slog.Any("err", err)) },
	})
	if err != nil {
		return err
	}
	l.closers = append(l.closers, l.rebuilderd)
	return nil
}

// readVerdictPolicy reads a policy that verdicts are told by. One that cannot be
// satisfied here is refused at once: by it, nothing would ever be good.
func readVerdictPolicy(path string, key *checkpoint.Key) (*policy.Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading rebuilderd's policy: %w", err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing policy %s: %w", path, err)
	}
	if _, err := p.Verifier(key.Signer.Name(), key.Signer.KeyHash()); err != nil {
		return nil, fmt.Errorf("policy %s does not name this log: add the line `log %s`", path, key.VKey)
	}
	if len(p.Rebuilders()) == 0 {
		return nil, fmt.Errorf("policy %s names no rebuilder: by it, nothing is ever reproduced; see docs/policy.md", path)
	}
	return p, nil
}
