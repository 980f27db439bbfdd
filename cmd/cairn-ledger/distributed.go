package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// distributed is one front end of a log that several share: a database, a bucket
// and Trillian have all of it, and nothing is kept here.
type distributed struct {
	*ledger
	storage
	// database is for everything but the lease, which has connections of its own:
	// who waits for one behind a load of submissions loses it.
	database, lease *postgres.Pool
	objects         *bucket.Bucket
	conn            *grpc.ClientConn // to Trillian
	sequence        *store.PostgresSequence
	trillian        *engine.Trillian
	cluster         *cluster.Cluster
	publisher       atomic.Pointer[checkpoint.Publisher] // while this process publishes
}

// objects is a bucket as the engine needs it.
type objects struct{ *bucket.Bucket }

// Put implements engine.Bucket.
func (o objects) Put(ctx context.Context, list []engine.Object) error {
	converted := make([]bucket.Object, len(list))
	for i := range list {
		converted[i] = bucket.Object(list[i])
	}
	return o.Bucket.Put(ctx, converted)
}

// closer closes what cannot fail to.
type closer func()

func (c closer) Close() error { c(); return nil }

// openDistributed opens what the front ends share. It must be that of this log.
func (l *ledger) openDistributed(ctx context.Context) (*storage, error) {
	d := &distributed{ledger: l}
	tree, err := d.openDatabase(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.openLog(ctx, tree); err != nil {
		return nil, err
	}
	if err := d.openCluster(); err != nil {
		return nil, err
	}
	if err := l.newIntake(ctx, &d.storage, func() {}); err != nil {
		return nil, err
	}
	l.publish = d.publish
	return &d.storage, nil
}

// openDatabase opens the database, and returns the log's tree in Trillian.
func (d *distributed) openDatabase(ctx context.Context) (tree int64, err error) {
	if err := d.openPools(ctx); err != nil {
		return 0, err
	}
	log, err := d.database.Log(ctx)
	if errors.Is(err, postgres.ErrNoLog) || errors.Is(err, postgres.ErrMoving) {
		return 0, usageError{err}
	}
	if err != nil {
		return 0, err
	}
	if err := d.ofThisLog(ctx, log); err != nil {
		return 0, err
	}
	return log.Tree, d.openIndex(ctx)
}

func (d *distributed) openPools(ctx context.Context) (err error) {
	for _, pool := range []**postgres.Pool{&d.database, &d.lease} {
		if *pool, err = postgres.Open(ctx, d.cfg.Distributed.Database); err != nil {
			return err
		}
		d.closers = append(d.closers, closer((*pool).Close))
	}
	return nil
}

// ofThisLog refuses a database that is another log's, by its origin or its key.
func (d *distributed) ofThisLog(ctx context.Context, log *postgres.Log) error {
	if origin := d.key.Signer.Name(); log.Origin != origin {
		return usageError{fmt.Errorf("the database is that of log %s, but the key is that of %s", log.Origin, origin)}
	}
	return bindKey(ctx, d.database, d.key)
}

func (d *distributed) openIndex(ctx context.Context) error {
	index, err := store.OpenPostgresIndex(ctx, d.database)
	if err != nil {
		return err
	}
	d.index = index
	return nil
}

// bindKey refuses a key that is not the log's: it would sign the same log.
func bindKey(ctx context.Context, pool *postgres.Pool, key *checkpoint.Key) error {
	err := pool.BindKey(ctx, key.VKey)
	if errors.Is(err, postgres.ErrOtherKey) {
		return usageError{err}
	}
	return err
}

func (d *distributed) openLog(ctx context.Context, tree int64) (err error) {
	if d.objects, err = bucket.Open(ctx, d.cfg.Distributed.Bucket); err != nil {
		return err
	}
	d.closers = append(d.closers, d.objects)
	d.blobs = store.NewBucketBlobs(d.objects)
	conn, err := d.cfg.Distributed.dial()
	if err != nil {
		return usageError{err}
	}
	d.closers = append(d.closers, conn)
	d.conn = conn
	d.openTree(tree)
	return nil
}

// openTree opens the log in one of Trillian's trees.
func (d *distributed) openTree(tree int64) {
	d.sequence = store.NewPostgresSequence(d.database)
	d.closers = append(d.closers, d.sequence)
	d.watched.placed = d.sequence.Next
	d.trillian = engine.OpenTrillian(engine.TrillianConfig{
		Conn: d.conn, Tree: tree, Sequence: d.sequence, Bucket: objects{d.objects}, Log: d.logger,
		Grew: func(uint64) { d.grew() },
	})
	d.watched.size = d.trillian.Integrated // a scrape is no reason to write tiles
	d.closers = append(d.closers, d.trillian)
	d.log, d.prover = d.trillian, engine.NewProver(d.trillian)
}

// dial connects to Trillian's log servers, once it is used.
func (c *distributedConfig) dial() (*grpc.ClientConn, error) {
	if c.TrillianCA == "" {
		return engine.DialTrillian(c.Trillian, nil)
	}
	creds, err := credentials.NewClientTLSFromFile(c.TrillianCA, "")
	if err != nil {
		return nil, fmt.Errorf("reading the certificates that Trillian's log servers are trusted by: %w", err)
	}
	return engine.DialTrillian(c.Trillian, creds)
}

func (d *distributed) openCluster() error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this front end: %w", err)
	}
	d.cluster, err = cluster.New(cluster.Config{
		Pool: d.lease, Log: d.trillian, Proofs: d.prover, Board: d.board, Policy: d.trust, Verifier: d.key.Verifier,
		Name: fmt.Sprintf("%s/%d", host, os.Getpid()), Lease: d.cfg.Distributed.Lease, Logger: d.logger,
	})
	if err != nil {
		return err
	}
	d.archive, d.refresh, d.watched.epoch = d.cluster, d.cluster.Refresh, d.cluster.Epoch
	return nil
}

func (d *distributed) grew() {
	if p := d.publisher.Load(); p != nil {
		p.Grew()
	}
}

// publish shows what is published, and publishes whenever this process holds the
// lease, until ctx is done. The lease is given back then, before anything else ends.
func (d *distributed) publish(ctx context.Context) error {
	leading, stopLeading := context.WithCancel(ctx)
	defer stopLeading()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	var g errgroup.Group
	g.Go(func() error {
		defer stopLeading()
		return d.cluster.Watch(watching)
	})
	g.Go(func() error {
		defer stopWatching()
		return d.cluster.Lead(leading, d.term)
	})
	return g.Wait()
}

// term is this process's time as publisher: it has Trillian take in what is placed,
// indexes what it integrated, and publishes it.
func (d *distributed) term(ctx context.Context, term *cluster.Term) error {
	c, witnesses := d.publishing(ctx, d.prover)
	c.Index = d.follow
	// Before anything is fed to Trillian: the first publisher of a log signs the
	// empty tree.
	publisher, err := term.Publisher(ctx, d.key.Signer, c)
	if err != nil {
		return err
	}
	d.publisher.Store(publisher)
	defer d.publisher.Store(nil)
	archive := d.cluster.NewArchiveCopy(objects{d.objects})
	g, running := errgroup.WithContext(ctx)
	if witnesses != nil {
		asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
		defer stopAsking()
		asked := make(chan struct{})
		defer func() { <-asked }()
		defer stopAsking()
		go func() { defer close(asked); witnesses.Run(asking) }()
	}
	g.Go(func() error {
		err := d.trillian.Run(running)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	g.Go(func() error { return publisher.Run(running) })
	g.Go(func() error { archive.Run(running); return nil })
	if err := g.Wait(); err != nil {
		return err
	}
	// What was published last, before the lease is given back.
	if err := archive.Copy(context.WithoutCancel(ctx)); err != nil {
		d.logger.WarnContext(ctx, "copying the archive of checkpoints", slog.Any("err", err))
	}
	return nil
}

// follow indexes the log, and says so: what is indexed may leave the sequence.
func (d *distributed) follow(ctx context.Context, size uint64) error {
	if err := d.intake.Follow(ctx, size); err != nil {
		return err
	}
	d.trillian.Indexed(size)
	return nil
}

// evidence returns the notes that show a contradiction, by what they are.
func evidence(err error) map[string][]byte {
	notes := make(map[string][]byte)
	var rollback *cosign.RollbackError
	if errors.As(err, &rollback) {
		notes[fmt.Sprintf("witnessed-%d", rollback.Tree.N)] = rollback.Note
	}
	var contradiction *cluster.ContradictionError
	if errors.As(err, &contradiction) {
		notes["known"], notes["found"] = contradiction.Known, contradiction.Found
	}
	return notes
}

// saveSharedEvidence keeps the notes that show a contradiction in the directory of
// the configuration, or else in the log of this process: it has no other place.
func saveSharedEvidence(ctx context.Context, dir string, err error, logger *slog.Logger) error {
	var errs []error
	for name, note := range evidence(err) {
		if len(note) == 0 {
			continue
		}
		if dir == "" {
			logger.ErrorContext(ctx, "keep this note: it is evidence", slog.String("what", name), slog.String("note", string(note)))
			continue
		}
		path := filepath.Join(dir, "rollback-"+name)
		if err := os.WriteFile(path, note, 0o644); err != nil {
			errs = append(errs, fmt.Errorf("saving the evidence: %w", err))
			continue
		}
		errs = append(errs, fmt.Errorf("a checkpoint that proves it is kept in %s", path))
	}
	return errors.Join(errs...)
}
