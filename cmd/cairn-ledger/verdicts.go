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
	"github.com/cairnlog/cairn/ledger/survey"
)

// verdictsConfig is whose verdicts the dashboard shows and rebuilderd's clients are
// told, and where the table of packages is.
type verdictsConfig struct {
	// Policy is the file with the policy whose verdicts are told. It names this
	// log and its rebuilders; another one than what checkpoints must satisfy. Without
	// one, nobody is heard.
	Policy string `yaml:"policy"`
	// Database is the file of the table of packages. It can be deleted. Without
	// one, it is survey.db beside the index.
	Database string `yaml:"database"`
}

// surveyPath returns the file of the table of packages; empty for none.
func (c *config) surveyPath() string {
	switch {
	case c.Verdicts.Database != "":
		return c.Verdicts.Database
	case c.Distributed == nil:
		return filepath.Join(filepath.Dir(c.Index), "survey.db")
	}
	return ""
}

// openSurvey opens the table of packages, and what answers rebuilderd's clients if
// there is a policy to judge by. Under -dev that may be a -policy that names
// rebuilders.
func (l *ledger) openSurvey(ctx context.Context, s *storage, reads *query.Service) error {
	cfg, key := l.cfg, l.key
	var pol *policy.Policy
	if cfg.Verdicts.Policy != "" {
		var err error
		if pol, err = readVerdictPolicy(cfg.Verdicts.Policy, key); err != nil {
			return usageError{err}
		}
	} else if cfg.dev && len(l.trust.Rebuilders()) > 0 {
		pol = l.trust
	}
	path := cfg.surveyPath()
	switch {
	case path == "" && pol != nil: // the command line named it
		return usageError{errNoDatabase}
	case path == "":
		return nil
	}
	warn := func(err error) { l.logger.WarnContext(ctx, "trying again", slog.Any("err", err)) }
	sv, err := survey.Open(ctx, survey.Config{
		Path: path, Origin: key.Signer.Name(), Policy: pol, Client: client.NewLocal("this ledger", reads.Answer),
		Index: reads.Index, Archive: s.archive, Trust: l.trust, Latest: reads.Latest, Published: l.awaitSize, Now: time.Now, Warn: warn,
	})
	if err != nil {
		return err
	}
	l.survey = sv
	l.closers = append(l.closers, sv)
	if sv.Hears() {
		l.rebuilderd, err = rebuilderd.New(sv, warn)
	}
	return err
}

// readVerdictPolicy reads a policy that verdicts are told by. One that cannot be
// satisfied here is refused at once: by it, nothing would ever be good.
func readVerdictPolicy(path string, key *checkpoint.Key) (*policy.Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy for verdicts: %w", err)
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

// errNoDatabase is for a front end of several: its table needs a place.
var errNoDatabase = errors.New("verdicts needs database beside distributed: there is no index that it could stand beside")
