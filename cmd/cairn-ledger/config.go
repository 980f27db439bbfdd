package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cairnlog/cairn/cmd/internal/daemon"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// config is the configuration file. Unknown keys are errors. Relative paths are
// relative to the working directory.
type config struct {
	// Key is the file with the log's signing key, in the form of
	// golang.org/x/mod/sumdb/note. No one else may read it. The key's name is
	// the log's origin.
	Key string `yaml:"key"`
	// State is the file in which the signer keeps what it last signed. It must
	// not stand inside Log, and must never be restored from an older copy.
	State string `yaml:"state"`
	// Log is the directory of the log: tiles, entries and checkpoint.
	Log string `yaml:"log"`
	// Blobs is the database of the attestations' bytes.
	Blobs string `yaml:"blobs"`
	// Index is the database of the query index. It can be deleted: it is
	// rebuilt from the log and the bytes.
	Index string `yaml:"index"`
	// Distributed is what several front ends share, in place of State, Log, Blobs
	// and Index, which are of one machine.
	Distributed *distributedConfig `yaml:"distributed"`
	// HTTP and GRPC are the addresses to listen on; port 0 picks a free one.
	HTTP string `yaml:"http"`
	GRPC string `yaml:"grpc"`
	// Policy is a tlog-policy file that every published checkpoint must
	// satisfy. Without one, the log's own signature suffices.
	Policy string `yaml:"policy"`
	// TrustedRoot is the trusted root of a Sigstore instance. Bundles with its
	// certificates are taken; without one, no bundle with a certificate is.
	TrustedRoot string `yaml:"trustedRoot"`
	// Limits is how fast keys and addresses may submit.
	Limits intake.Limits `yaml:"limits"`
	// Capacity is what the ledger takes on at once.
	Capacity capacityConfig `yaml:"capacity"`
	// BatchWindow is how long a submission waits for others to share its fsyncs.
	BatchWindow time.Duration `yaml:"batchWindow"`
	// PublishInterval is the least time between two checkpoints.
	PublishInterval time.Duration `yaml:"publishInterval"`
	// WitnessRetry is the time between attempts to find enough witnesses.
	WitnessRetry time.Duration `yaml:"witnessRetry"`
	// RefreshInterval is the age at which an unchanged tree is cosigned anew, so
	// that readers see a recent time; 0 is never.
	RefreshInterval time.Duration `yaml:"refreshInterval"`
	// Grace is how long requests may go on after SIGTERM.
	Grace time.Duration `yaml:"grace"`
	// Debug is a loopback address for profiles (net/http/pprof); none if empty.
	Debug string `yaml:"debug"`
	// Tracing is where OpenTelemetry traces are sent; nowhere if it is left out.
	Tracing *daemon.Tracing `yaml:"tracing"`
	// LogLevel is debug, info, warn or error.
	LogLevel slog.Level `yaml:"logLevel"`
	// Builds is the queue of builds; none if it is left out.
	Builds *buildsConfig `yaml:"builds"`
	// Rekor makes the ledger a Rekor log too; it is none if it is left out.
	Rekor *rekorConfig `yaml:"rekor"`
	// Verdicts is whose verdicts the dashboard and rebuilderd's clients are told.
	Verdicts verdictsConfig `yaml:"verdicts"`

	// dev is set by -dev: keys and directories that are missing are made.
	dev bool
}

// defaults is the configuration of what a file leaves out.
func defaults() *config {
	return &config{
		HTTP: "127.0.0.1:8080",
		GRPC: "127.0.0.1:8081",
		Limits: intake.Limits{
			PerKey:     intake.Rate{PerSecond: 100, Burst: 2000},
			PerAddress: intake.Rate{PerSecond: 1000, Burst: 10000},
		},
		BatchWindow:     10 * time.Millisecond,
		PublishInterval: 40 * time.Millisecond,
		WitnessRetry:    500 * time.Millisecond,
		RefreshInterval: 5 * time.Minute,
		Grace:           30 * time.Second,
	}
}

// devConfig is the configuration of -dev. Everything comes from this machine,
// so nothing is limited.
func devConfig(dir string) *config {
	c := defaults()
	c.Key = filepath.Join(dir, "ledger.key")
	c.State = filepath.Join(dir, "signed")
	c.Log = filepath.Join(dir, "log")
	c.Blobs = filepath.Join(dir, "blobs.db")
	c.Index = filepath.Join(dir, "index.db")
	c.HTTP, c.GRPC = "127.0.0.1:0", "127.0.0.1:0"
	c.Limits = intake.Limits{}
	c.Grace = 10 * time.Second
	c.Builds = &buildsConfig{
		Database: filepath.Join(dir, "builds.db"),
		Tokens:   filepath.Join(dir, "worker.token"),
	}
	c.Builds.Reproduce.From = []string{"*"}
	c.dev = true
	return c
}

// parseArgs reads the command line. check is set if the configuration was only
// to be checked.
func parseArgs(args []string, stderr io.Writer) (c *config, check bool, err error) {
	fs := flag.NewFlagSet("cairn-ledger", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: cairn-ledger -dev DIR [-http ADDR] [-grpc ADDR] [-policy FILE] [-verdicts FILE] [-trusted-root FILE]\n"+
			"       cairn-ledger -config FILE [-check-config]\n"+
			"       cairn-ledger keygen -key FILE (-origin NAME|-show)\n"+
			"       cairn-ledger init -config FILE\n"+
			"       cairn-ledger migrate -from DIR|CONFIG -config FILE\n"+
			"       cairn-ledger repair trillian|tiles -config FILE\n\n")
		fs.PrintDefaults()
		fmt.Fprint(stderr, "\nA ledger to try things on:\n  cairn-ledger -dev /tmp/ledger\n")
	}
	dev := fs.String("dev", "", "serve on loopback, with key and state under `DIR`, made if missing")
	file := fs.String("config", "", "serve as the YAML `FILE` says")
	fs.BoolVar(&check, "check-config", false, "only check the configuration")
	httpAddr := fs.String("http", "", "listen for HTTP on `ADDR`")
	grpcAddr := fs.String("grpc", "", "listen for gRPC on `ADDR`")
	debug := fs.String("debug", "", "serve profiles on the loopback `ADDR`")
	verdicts := fs.String("verdicts", "", "tell the verdicts of the policy in `FILE`")
	policyFile := fs.String("policy", "", "publish only what the tlog-policy in `FILE` accepts")
	trustedRoot := fs.String("trusted-root", "", "take Sigstore bundles with certificates of the trusted root in `FILE`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, false, err
		}
		return nil, false, usageError{err}
	}
	switch {
	case fs.NArg() > 0:
		return nil, false, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	case (*dev == "") == (*file == ""):
		return nil, false, usageError{errors.New("give either -dev DIR or -config FILE")}
	case *dev != "":
		c = devConfig(*dev)
	default:
		if c, err = readConfig(*file); err != nil {
			return nil, false, usageError{err}
		}
	}
	override(&c.HTTP, *httpAddr)
	override(&c.GRPC, *grpcAddr)
	override(&c.Policy, *policyFile)
	override(&c.Verdicts.Policy, *verdicts)
	override(&c.Debug, *debug)
	override(&c.TrustedRoot, *trustedRoot)
	return c, check, nil
}

func override(field *string, value string) {
	if value != "" {
		*field = value
	}
}

func readConfig(path string) (*config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c := defaults()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("parsing configuration %s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("checking configuration %s: %w", path, err)
	}
	return c, nil
}

func (c *config) check() error {
	if c.Key == "" {
		return errors.New("key is missing")
	}
	if err := c.checkStorage(); err != nil {
		return err
	}
	if err := errors.Join(c.Capacity.check(), c.Builds.check(), c.Rekor.check(), c.Tracing.Check()); err != nil {
		return err
	}
	if min(c.BatchWindow, c.PublishInterval, c.RefreshInterval) < 0 {
		return errors.New("batchWindow, publishInterval and refreshInterval must not be negative")
	}
	if min(c.Grace, c.WitnessRetry) <= 0 {
		return errors.New("grace and witnessRetry must be positive")
	}
	return nil
}

// checkStorage checks that the log has one place to be in.
func (c *config) checkStorage() error {
	files := []struct{ name, path string }{{"state", c.State}, {"log", c.Log}, {"blobs", c.Blobs}, {"index", c.Index}}
	for _, f := range files {
		switch {
		case c.Distributed == nil && f.path == "":
			return fmt.Errorf("%s is missing", f.name)
		case c.Distributed != nil && f.path != "":
			return fmt.Errorf("%s does not go with distributed: the front ends share a database and a bucket", f.name)
		}
	}
	if c.Distributed != nil {
		return c.Distributed.check(&c.Verdicts)
	}
	inside, err := filepath.Rel(c.Log, c.State)
	if err == nil && filepath.IsLocal(inside) {
		return fmt.Errorf("state %s stands inside log %s: a restored log would roll it back", c.State, c.Log)
	}
	return nil
}

// distributedConfig is what the front ends of a log share.
type distributedConfig struct {
	// Database is the URL of a PostgreSQL database, or of one schema of it
	// (search_path). It belongs to one log.
	Database string `yaml:"database"`
	// Bucket is the URL of the object store with the tiles and the attestations'
	// bytes, as of package bucket.
	Bucket string `yaml:"bucket"`
	// Trillian is the address of Trillian's log servers, as gRPC names it.
	Trillian string `yaml:"trillian"`
	// TrillianCA is a file with the certificates that they are trusted by. Without
	// one, the connection is not encrypted.
	TrillianCA string `yaml:"trillianCA"`
	// Lease is how long the front end that publishes may be silent before another
	// takes its place.
	Lease time.Duration `yaml:"lease"`
	// Evidence is a directory for checkpoints that contradict what was signed;
	// without one, they are logged.
	Evidence string `yaml:"evidence"`
}

func (c *distributedConfig) check(verdicts *verdictsConfig) error {
	for _, f := range []struct{ name, value string }{{"database", c.Database}, {"bucket", c.Bucket}, {"trillian", c.Trillian}} {
		if f.value == "" {
			return fmt.Errorf("distributed.%s is missing", f.name)
		}
	}
	if err := postgres.CheckURL(c.Database); err != nil {
		return fmt.Errorf("distributed.database: %w", err)
	}
	if err := bucket.CheckURL(c.Bucket); err != nil {
		return fmt.Errorf("distributed.bucket: %w", err)
	}
	if c.Lease != 0 && (c.Lease < cluster.MinLease || c.Lease > cluster.MaxLease) {
		return fmt.Errorf("distributed.lease is %v, which is not between %v and %v", c.Lease, cluster.MinLease, cluster.MaxLease)
	}
	if verdicts.Policy != "" && verdicts.Database == "" {
		return errNoDatabase
	}
	return nil
}
