package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/migrate"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// migrated is what `migrate` prints.
type migrated struct {
	Origin string `json:"origin"`
	Tree   int64  `json:"tree"` // its id in Trillian
	// What was moved, if this run did so.
	Entries      uint64  `json:"entries,omitempty"`
	Published    uint64  `json:"published,omitempty"` // of the entries
	Root         string  `json:"root,omitempty"`      // of those that are published
	Attestations uint64  `json:"attestations,omitempty"`
	Keys         uint64  `json:"keys,omitempty"`
	Checkpoints  uint64  `json:"checkpoints,omitempty"`
	AuditSeconds float64 `json:"auditSeconds,omitempty"` // of the target
}

// migration moves the log of an embedded ledger to where front ends share it.
type migration struct {
	stdout, stderr io.Writer
	place, file    string // as they were named
	from           *embedded
	to             *distributed
	shown          *term.Progress
	after          func(migrate.Step) error // for tests
}

func migrateLog(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	m := &migration{stdout: stdout, stderr: stderr, shown: term.NewProgress(stderr)}
	if err := m.parse(args); err != nil {
		return err
	}
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	err := m.run(ctx)
	m.shown.Done()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted: the same command goes on from here")
	}
	return err
}

// parse reads the command line, and the keys and policies that it leads to.
func (m *migration) parse(args []string) error {
	fs := flag.NewFlagSet("cairn-ledger migrate", flag.ContinueOnError)
	fs.StringVar(&m.place, "from", "", "the `PLACE` of the ledger that is moved, and does not run: its directory, as of -dev, or its YAML file")
	cfg, err := parseShared(fs, args, m.stderr, "usage: cairn-ledger migrate -from DIR|CONFIG -config FILE\n\n"+
		"Moves the log of a ledger of one process to the front ends of FILE: the same\n"+
		"origin, entries and checkpoints. It is audited before and after; then the old\n"+
		"ledger signs no more. It goes on from where it was cut short.\n\n")
	if err != nil {
		return err
	}
	m.file = fs.Lookup("config").Value.String()
	if m.place == "" {
		return usageError{errors.New("give -from DIR or -from CONFIG")}
	}
	source, err := sourceConfig(m.place)
	if err != nil {
		return usageError{err}
	}
	logger := slog.New(slog.NewTextHandler(m.stderr, &slog.HandlerOptions{Level: max(cfg.LogLevel, slog.LevelWarn)}))
	from, err := newLedger(source, logger)
	if err != nil {
		return err
	}
	to, err := newLedger(cfg, logger)
	if err != nil {
		return err
	}
	if from.key.VKey != to.key.VKey {
		return usageError{fmt.Errorf("the key of %s is %s, and that of %s is %s: a log keeps its key", m.place, from.key.VKey, m.file, to.key.VKey)}
	}
	if source.Policy == "" {
		from.trust = to.trust // -dev has it on its command line
	}
	if from.trust.String() != to.trust.String() {
		return usageError{fmt.Errorf("the policy of %s is not that of %s: move with the same, and change it before or after", m.place, m.file)}
	}
	m.from, m.to = &embedded{ledger: from}, &distributed{ledger: to}
	return nil
}

// sourceConfig returns the configuration of a ledger by its directory or its file.
func sourceConfig(place string) (*config, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	c := devConfig(place)
	c.dev = false
	if !info.IsDir() {
		if c, err = readConfig(place); err != nil {
			return nil, err
		}
		if c.Distributed != nil {
			return nil, fmt.Errorf("%s has a `distributed`: only the log of a ledger of one process is moved", place)
		}
	}
	// What is missing would be made.
	for _, path := range []string{c.State, c.Log, c.Blobs} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s is no ledger: %w", place, err)
		}
	}
	return c, nil
}

// newLedger returns a ledger of which nothing is opened yet.
func newLedger(cfg *config, logger *slog.Logger) (l *ledger, err error) {
	l = &ledger{cfg: cfg, logger: logger, board: checkpoint.NewBoard(), watched: newWatched(cfg.evidencePattern())}
	if l.key, err = checkpoint.ReadKey(cfg.Key); err != nil {
		return nil, usageError{err}
	}
	if l.trust, err = loadPolicy(cfg.Policy, l.key); err != nil {
		return nil, usageError{err}
	}
	return l, nil
}

func (m *migration) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, m.to.close(), m.from.close()) }()
	// The lock of the signer's state comes before all else, and is held to the end.
	err = m.from.openGuard(ctx)
	if moved, ok := errors.AsType[*checkpoint.MovedError](err); ok {
		return m.finish(ctx, moved)
	}
	if err != nil {
		return err
	}
	if err := m.openSource(ctx); err != nil {
		return err
	}
	log, err := m.begin(ctx)
	if err != nil {
		return err
	}
	target, err := m.openTarget(ctx, log)
	if err != nil {
		return err
	}
	certificate, err := m.to.cfg.certificate()
	if err != nil {
		return err
	}
	src := m.from.cfg
	done, err := (&migrate.Move{
		From: migrate.Source{
			Log: m.from.log, Prover: m.from.prover, Blobs: m.from.blobs, Index: m.from.index,
			Archive: m.from.notes, State: m.from.state, Copy: audit.OpenLedger(m.place, src.Log, src.Blobs, src.Index),
		},
		To: *target, Policy: m.to.trust, Audit: audit.Options{Policy: m.to.trust, Certificate: certificate},
		Progress: func(what string, n, of uint64) { m.shown.Showf("%s: %d of %d", what, n, of) },
		After:    m.after,
	}).Run(ctx)
	if err != nil {
		return err
	}
	n := &done.After.Counts
	return m.tell(migrated{
		Origin: log.Origin, Tree: log.Tree, Entries: done.Size, Published: done.Published, Root: done.After.Checkpoint.Root,
		Attestations: n.Attestations.Load(), Keys: n.Keys.Load(), Checkpoints: n.Checkpoints.Load(), AuditSeconds: done.After.Seconds,
	})
}

// openSource opens the ledger as for a start, which mends what a crash left: its index
// is that of all entries then.
func (m *migration) openSource(ctx context.Context) error {
	if err := m.from.openLog(ctx); err != nil {
		return err
	}
	if err := m.from.openStore(ctx); err != nil {
		return err
	}
	if err := m.from.newIntake(ctx, &m.from.storage, func() {}); err != nil {
		return err
	}
	return m.from.newPublisher(ctx)
}

// begin makes the database that of the log, and no front end's yet.
func (m *migration) begin(ctx context.Context) (*postgres.Log, error) {
	d := m.to.cfg.Distributed
	objects, err := bucket.Open(ctx, d.Bucket)
	if err != nil {
		return nil, err
	}
	if err := objects.Close(); err != nil {
		return nil, err
	}
	if err := postgres.Migrate(ctx, d.Database); err != nil {
		return nil, err
	}
	if err := m.to.openPools(ctx); err != nil {
		return nil, err
	}
	conn, err := d.dial()
	if err != nil {
		return nil, usageError{err}
	}
	defer func() { _ = conn.Close() }()
	origin := m.to.key.Signer.Name()
	log, err := m.to.database.BeginMove(ctx, origin, func(ctx context.Context) (int64, error) {
		return engine.CreateTree(ctx, conn, origin)
	})
	if err == nil && !log.Moving {
		err = usageError{errors.New("the database is that of front ends already, which may have signed: a log moves to a database that `cairn-ledger init` was not run on")}
	}
	return log, err
}

func (m *migration) openTarget(ctx context.Context, log *postgres.Log) (*migrate.Target, error) {
	d := m.to
	if err := d.ofThisLog(ctx, log); err != nil {
		return nil, err
	}
	if err := d.openIndex(ctx); err != nil {
		return nil, err
	}
	if err := d.openLog(ctx, log.Tree); err != nil {
		return nil, err
	}
	if err := d.openCluster(); err != nil {
		return nil, err
	}
	if err := d.newIntake(ctx, &d.storage, func() {}); err != nil {
		return nil, err
	}
	return &migrate.Target{
		Name: fmt.Sprintf("tree %d of Trillian, bucket %s", log.Tree, d.objects),
		Pool: d.database, Sequence: d.sequence, Log: d.trillian, Prover: d.prover, Blobs: d.blobs, Index: d.index,
		Cluster: d.cluster, Objects: objects{d.objects}, Follow: d.follow,
	}, nil
}

// finish ends a move that was cut short at its very end, or says that it ended.
func (m *migration) finish(ctx context.Context, moved *checkpoint.MovedError) error {
	if err := m.to.openPools(ctx); err != nil {
		return errors.Join(moved, err)
	}
	log, err := m.to.database.AnyLog(ctx)
	if err != nil {
		return errors.Join(moved, err)
	}
	target, err := m.openTarget(ctx, log)
	if err != nil {
		return errors.Join(moved, err)
	}
	if err := migrate.Finish(ctx, moved, target, log.Moving); err != nil {
		return err
	}
	return m.tell(migrated{Origin: log.Origin, Tree: log.Tree})
}

// tell says what was done, and what is to be done.
func (m *migration) tell(done migrated) error {
	m.shown.Done()
	line, err := json.Marshal(done)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(m.stdout, "%s\n", line); err != nil {
		return err
	}
	file := m.file
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	_, err = fmt.Fprintf(m.stderr, "cairn-ledger: the log is moved, and %s signs no more\n"+
		"next: cairn-ledger -config %s   (on each front end; then send clients there)\n", m.place, file)
	return err
}
