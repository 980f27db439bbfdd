// Command growth prints how many bytes a log takes for each of its entries, by what
// they are: docs/scale.md is made of its numbers.
//
//	growth DIR              a ledger's directory, as cairn-ledger -dev DIR keeps it
//	growth -database DSN    a PostgreSQL database that front ends share, or Trillian's
//
// The ledger or database should be at rest. The number of entries is that of the
// checkpoint, or -entries.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "growth: error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("growth", flag.ContinueOnError)
	fs.SetOutput(stderr)
	database := fs.String("database", "", "measure the tables of the PostgreSQL database `DSN`")
	entries := fs.Int64("entries", 0, "how many entries there are; those of the checkpoint if 0")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var sizes map[string]kind
	var err error
	switch {
	case *database != "" && fs.NArg() == 0:
		sizes, err = measureDatabase(ctx, *database)
	case *database == "" && fs.NArg() == 1:
		sizes, err = measureDir(fs.Arg(0))
		if err == nil && *entries == 0 {
			*entries, err = entriesOf(fs.Arg(0))
		}
	default:
		return errors.New("give either a directory or -database")
	}
	if err != nil {
		return err
	}
	if *entries < 1 {
		return errors.New("give the number of entries with -entries")
	}
	report(stdout, sizes, *entries)
	return nil
}

// kind is how much there is of something.
type kind struct{ objects, bytes int64 }

func report(w io.Writer, sizes map[string]kind, entries int64) {
	fmt.Fprintf(w, "%d entries\n\n%-28s %12s %16s %14s %16s\n", entries, "what", "objects", "bytes", "bytes/entry", "objects/1000")
	total := kind{}
	line := func(name string, k kind) {
		fmt.Fprintf(w, "%-28s %12d %16d %14.1f %16.2f\n", name, k.objects, k.bytes,
			float64(k.bytes)/float64(entries), 1000*float64(k.objects)/float64(entries))
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		line(name, sizes[name])
		total.objects += sizes[name].objects
		total.bytes += sizes[name].bytes
	}
	line("total", total)
}

// measureDir adds up the files below a directory.
func measureDir(dir string) (map[string]kind, error) {
	sizes := make(map[string]kind)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name := kindOf(filepath.ToSlash(rel))
		k := sizes[name]
		sizes[name] = kind{k.objects + 1, k.bytes + info.Size()}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("measuring %s: %w", dir, err)
	}
	return sizes, nil
}

// kindOf names what a file of a ledger is.
func kindOf(path string) string {
	path = strings.TrimPrefix(path, "log/")
	partial := ""
	if strings.Contains(path, ".p/") {
		partial = " (partial)"
	}
	switch {
	case strings.HasPrefix(path, "tile/entries/"):
		return "entry bundles" + partial
	case strings.HasPrefix(path, "tile/"):
		level, _, _ := strings.Cut(strings.TrimPrefix(path, "tile/"), "/")
		return "hash tiles, level " + level + partial
	case strings.HasPrefix(path, "checkpoints/"):
		return "archive of checkpoints"
	case strings.HasPrefix(path, "attestations/"):
		return "attestations"
	case strings.HasPrefix(path, "blobs.db"), strings.HasPrefix(path, "index.db"):
		return path
	}
	return "other"
}

// entriesOf returns the size in a directory's checkpoint.
func entriesOf(dir string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, "log", "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(dir, "checkpoint"))
	}
	if err != nil {
		return 0, fmt.Errorf("reading the checkpoint: %w", err)
	}
	lines := bytes.SplitN(text, []byte("\n"), 3)
	if len(lines) < 3 {
		return 0, fmt.Errorf("the checkpoint %.40q has no size", text)
	}
	return strconv.ParseInt(string(lines[1]), 10, 64)
}

// measureDatabase adds up the tables of a database, each with its indexes and what is
// stored aside of it.
func measureDatabase(ctx context.Context, dsn string) (map[string]kind, error) {
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	const query = `SELECT c.relname, CASE c.relkind WHEN 'i' THEN ' (index)' ELSE '' END,
		CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END, greatest(c.reltuples, 0)::bigint
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'i') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')`
	if _, err := db.Exec(ctx, "ANALYZE"); err != nil {
		return nil, fmt.Errorf("counting rows: %w", err)
	}
	rows, err := db.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("asking for the sizes of tables: %w", err)
	}
	sizes := make(map[string]kind)
	var name, what string
	var k kind
	_, err = pgx.ForEachRow(rows, []any{&name, &what, &k.bytes, &k.objects}, func() error {
		sizes[name+what] = k
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sizes of tables: %w", err)
	}
	return sizes, nil
}
