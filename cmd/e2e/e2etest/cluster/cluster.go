// Package cluster runs a log of several front ends for tests: the real
// cairn-ledger, as often as is asked for, with a real PostgreSQL, a bucket that is
// a directory, and the Trillian that the test gives it.
//
// Every process has a name, by which the test starts, stops, kills and pauses it. A
// front end keeps its addresses over all of that, so clients may go on with those.
//
// Invariants: as of package e2etest; and what is paused is resumed when the test
// ends, so that it can be killed.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// Config is what a Cluster is made of.
type Config struct {
	Bin      string         // the directory of cairn-ledger
	Database *pgtest.Server // in which the Cluster gets a database of its own
	Trillian string         // the address of its log servers
	Origin   string         // of the log
	// Policy returns the tlog-policy of a log with a verifier key; without one, no
	// witness is needed.
	Policy func(vkey string) string
	// More is further lines of every front end's configuration.
	More string
}

// Cluster is a log with its front ends.
type Cluster struct {
	VKey     string
	Policy   string // the path of the policy that clients verify by
	Bucket   string // the directory of the bucket
	Database string // its URL

	t      testing.TB
	bin    string
	dir    string
	shared string // of every configuration
	fronts map[string]*Front
}

// New makes a log, which no front end serves yet.
func New(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	c := &Cluster{t: t, bin: cfg.Bin, dir: t.TempDir(), fronts: make(map[string]*Front)}
	c.Bucket, c.Policy, c.Database = c.path("bucket"), c.path("policy"), cfg.Database.Database(t)
	if err := os.Mkdir(c.Bucket, 0o755); err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.CreateKey(c.path("ledger.key"), cfg.Origin)
	if err != nil {
		t.Fatal(err)
	}
	c.VKey = key.VKey
	policy := "log " + c.VKey + "\nquorum none\n"
	if cfg.Policy != nil {
		policy = cfg.Policy(c.VKey)
	}
	c.write("policy", policy)
	c.shared = fmt.Sprintf("key: %s\npolicy: %s\nlimits: {perKey: {perSecond: 0}, perAddress: {perSecond: 0}}\ndistributed:\n  database: %q\n  bucket: file://%s\n  trillian: %s\n%s\n",
		c.path("ledger.key"), c.Policy, c.Database, c.Bucket, cfg.Trillian, cfg.More)
	c.Init()
	return c
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *Cluster) write(name, text string) string {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c.path(name)
}

// Init runs `cairn-ledger init`, and returns the log's tree in Trillian.
func (c *Cluster) Init() (tree int64) {
	c.t.Helper()
	file := c.write("init.yaml", c.shared)
	code, stdout, stderr := e2etest.Run(c.t, exec.Command(filepath.Join(c.bin, "cairn-ledger"), "init", "-config", file))
	var made struct{ Tree int64 }
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || code != 0 {
		c.t.Fatalf("cairn-ledger init: exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return made.Tree
}

// Stranger writes the configuration of a front end of another log in the same
// bucket and Trillian, with a database of its URL, and returns the file.
func (c *Cluster) Stranger(origin, database string) (file string) {
	c.t.Helper()
	name := "stranger-" + strings.ReplaceAll(origin, "/", "-")
	if _, err := checkpoint.CreateKey(c.path(name+".key"), origin); err != nil {
		c.t.Fatal(err)
	}
	text := strings.NewReplacer(c.path("ledger.key"), c.path(name+".key"), strconv.Quote(c.Database), strconv.Quote(database),
		"policy: "+c.Policy+"\n", "").Replace(c.shared)
	return c.write(name+".yaml", text+"http: 127.0.0.1:0\ngrpc: 127.0.0.1:0\n")
}

// Front is a front end, which may run or not.
type Front struct {
	*e2etest.Process // the one that was started last
	Name             string
	URL              string // of its REST interface
	HTTP, GRPC       string // its addresses

	c      *Cluster
	config string
	paused bool
}

// Launch starts a front end, and does not wait for it.
func (c *Cluster) Launch(name string) *Front {
	c.t.Helper()
	f := c.fronts[name]
	if f == nil {
		f = &Front{Name: name, HTTP: e2etest.FreeAddr(c.t), GRPC: e2etest.FreeAddr(c.t), c: c}
		f.URL = "http://" + f.HTTP
		f.config = c.write(name+".yaml", c.shared+"http: "+f.HTTP+"\ngrpc: "+f.GRPC+"\n")
		c.fronts[name] = f
		c.t.Cleanup(func() {
			f.resume()
			if c.t.Failed() {
				c.t.Logf("front end %s said, since it was last started:\n%s", f.Name, f.Stderr)
			}
		})
	}
	f.Process, f.paused = e2etest.Start(c.t, exec.Command(filepath.Join(c.bin, "cairn-ledger"), "-config", f.config)), false
	return f
}

// Start starts a front end and waits until it takes requests.
func (c *Cluster) Start(name string) *Front {
	c.t.Helper()
	f := c.Launch(name)
	f.AwaitReady()
	return f
}

// AwaitReady waits until a front end that was launched takes requests.
func (f *Front) AwaitReady() {
	f.c.t.Helper()
	var ready struct{ VKey, HTTP, GRPC string }
	f.Ready(f.c.t, &ready)
	if ready.VKey != f.c.VKey || ready.HTTP != f.URL || ready.GRPC != f.GRPC {
		f.c.t.Fatalf("front end %s is ready as %+v", f.Name, ready)
	}
}

// Config returns the file of a front end's configuration.
func (f *Front) Config() string { return f.config }

// Front returns a front end that was started.
func (c *Cluster) Front(name string) *Front {
	c.t.Helper()
	f := c.fronts[name]
	if f == nil {
		c.t.Fatalf("there is no front end %s", name)
	}
	return f
}

// Stop asks a front end to end, and wants exit code 0.
func (c *Cluster) Stop(name string) { c.t.Helper(); c.Front(name).Stop(c.t) }

// Kill ends a front end as a power cut would.
func (c *Cluster) Kill(name string) { c.t.Helper(); c.Front(name).Kill(c.t) }

// Pause stops a front end between any two of its instructions, until Resume.
func (c *Cluster) Pause(name string) {
	c.t.Helper()
	f := c.Front(name)
	f.Signal(c.t, syscall.SIGSTOP)
	f.paused = true
}

// Resume has a front end that was paused go on.
func (c *Cluster) Resume(name string) { c.t.Helper(); c.Front(name).resume() }

// Paused reports whether the front end was paused, and not resumed.
func (f *Front) Paused() bool { return f.paused }

func (f *Front) resume() {
	if f.paused {
		f.Signal(f.c.t, syscall.SIGCONT)
		f.paused = false
	}
}

// Lease is who publishes, as the database says.
type Lease struct {
	Front string // its name; empty for nobody, or for a process that is gone
	Epoch int64
}

// Lease returns who publishes. A process that ended may still hold the lease.
func (c *Cluster) Lease(ctx context.Context) (Lease, error) {
	conn, err := pgx.Connect(ctx, c.Database)
	if err != nil {
		return Lease{}, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var holder *string
	var l Lease
	if err := conn.QueryRow(ctx, "SELECT epoch, CASE WHEN until > clock_timestamp() THEN holder END FROM lease").Scan(&l.Epoch, &holder); err != nil {
		return l, err
	}
	if holder == nil {
		return l, nil
	}
	// The holder is host/pid, and a random word.
	name, _, _ := strings.Cut(*holder, " ")
	pid, err := strconv.Atoi(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil {
		return l, fmt.Errorf("the lease is held by %q, which names no process", *holder)
	}
	for _, f := range c.fronts {
		if f.Cmd.Process.Pid == pid {
			l.Front = f.Name
		}
	}
	return l, nil
}

// Leader waits until a front end publishes that is none of some, and returns its
// name. While one of those runs, it may yet be the one to publish.
func (c *Cluster) Leader(but ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), e2etest.Patience)
	defer cancel()
	for {
		l, err := c.Lease(ctx)
		if err == nil && l.Front != "" && !slices.Contains(but, l.Front) {
			return l.Front
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatalf("no front end publishes: %+v, %v", l, err)
		}
	}
}
