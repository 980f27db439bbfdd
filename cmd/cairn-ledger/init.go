package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// initialised is what `init` prints.
type initialised struct {
	Origin string `json:"origin"`
	Tree   int64  `json:"tree"` // its id in Trillian
}

// initLog makes the database that of the log of a configuration, and a tree in
// Trillian for it. What is there already is left as it is.
func initLog(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("cairn-ledger init", flag.ContinueOnError)
	cfg, err := parseShared(fs, args, stderr, "usage: cairn-ledger init -config FILE\n\n"+
		"Makes the database of the configuration's `distributed` that of its log, and a\n"+
		"tree in Trillian. It may be run again, as after an upgrade.\n\n")
	if err != nil {
		return err
	}
	d := cfg.Distributed
	key, err := checkpoint.ReadKey(cfg.Key)
	if err != nil {
		return usageError{err}
	}
	// What is not there is found out before anything is made.
	objects, err := bucket.Open(ctx, d.Bucket)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	if err := postgres.Migrate(ctx, d.Database); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, d.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	conn, err := d.dial()
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = conn.Close() }()
	log, err := pool.InitLog(ctx, key.Signer.Name(), func(ctx context.Context) (int64, error) {
		return engine.CreateTree(ctx, conn, key.Signer.Name())
	})
	if err != nil {
		return err
	}
	if err := bindKey(ctx, pool, key); err != nil {
		return err
	}
	line, err := json.Marshal(initialised{Origin: log.Origin, Tree: log.Tree})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", line)
	return err
}

// parseShared reads the command line of a command about what front ends share; fs may
// have further flags.
func parseShared(fs *flag.FlagSet, args []string, stderr io.Writer, usage string) (*config, error) {
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	file := fs.String("config", "", "the YAML `FILE` of the front ends")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{err}
	}
	switch {
	case fs.NArg() > 0:
		return nil, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	case *file == "":
		return nil, usageError{errors.New("give -config FILE")}
	}
	cfg, err := readConfig(*file)
	if err != nil {
		return nil, usageError{err}
	}
	if cfg.Distributed == nil {
		return nil, usageError{fmt.Errorf("%s has no `distributed`: an embedded log needs no %s", *file, strings.TrimPrefix(fs.Name(), "cairn-ledger "))}
	}
	return cfg, nil
}
