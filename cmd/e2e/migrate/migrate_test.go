package migrate

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// entriesOf says how many entries the log has that is moved.
const entriesOf = "CAIRN_MIGRATE_ENTRIES"

const (
	patience  = 20 * time.Minute // for the move of many entries
	batch     = 4096
	perPublic = 2 * batch // entries between checkpoints
)

// world is a ledger of one process, and the configuration of front ends.
type world struct {
	t      *testing.T
	dir    string // of the ledger
	policy string
	bucket string
	front  string // the configuration of a front end
	sizes  []int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), bucket: t.TempDir()}
	w.policy = filepath.Join(w.dir, "policy")
	return w
}

func entries(t *testing.T) int {
	t.Helper()
	text := os.Getenv(entriesOf)
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("%s=%q is not a number of at least 1000", entriesOf, text)
	}
	return n
}

// generate writes the log of a ledger that ran for long, with every signature real.
func (w *world) generate(n int) {
	w.t.Helper()
	l, err := audittest.New(w.t.Context(), w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	alice, err := audittest.NewAuthor()
	if err != nil {
		w.t.Fatal(err)
	}
	enrolment, err := alice.Enrolment("https://operator.example/")
	if err == nil {
		err = l.Add(w.t.Context(), enrolment)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for size := 1; size < n; {
		list := w.reproductions(alice, size, min(batch, n-size))
		if err := l.Add(w.t.Context(), list...); err != nil {
			w.t.Fatal(err)
		}
		if size += len(list); size%perPublic < batch || size == n {
			if err := l.Publish(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
			w.sizes = append(w.sizes, int64(size))
		}
	}
	tree, err := l.Tree(w.t.Context(), uint64(n))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("signed", torchwood.Checkpoint{Origin: audittest.Origin, Tree: tree}.String())
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reproductions(by *audittest.Author, from, n int) []audittest.Entry {
	w.t.Helper()
	list := make([]audittest.Entry, n)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range list {
		g.Go(func() (err error) {
			list[i], err = by.Reproduction(from + i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) write(name, text string) (path string) {
	w.t.Helper()
	path = filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// command runs a command to its end, however long it takes, and wants exit code 0.
func (w *world) command(name string, args ...string) (stdout string) {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "CAIRN_POLICY="+w.policy, "HOME="+w.dir, "XDG_STATE_HOME="+filepath.Join(w.dir, "state"))
	began := time.Now()
	p := e2etest.Start(w.t, cmd)
	p.WaitFor(w.t, patience)
	if p.Code() != 0 {
		w.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), p.Code(), p.Stdout, p.Stderr)
	}
	w.t.Logf("%s %s: %.1f s\n%s", name, args[0], time.Since(began).Seconds(), p.Stdout)
	return p.Stdout.String()
}

// audited wants an audit of a directory to be clean, and returns the size.
func (w *world) audited(dir string) int64 {
	w.t.Helper()
	var report struct {
		Clean      bool
		Checkpoint struct{ Size int64 }
		Counts     struct{ Entries, Attestations int64 }
	}
	out := w.command("cairn", "audit", dir, "-o", "json")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		w.t.Fatal(err)
	}
	n := report.Checkpoint.Size
	if !report.Clean || report.Counts.Entries != n || report.Counts.Attestations != n {
		w.t.Fatalf("the audit of %s: %+v", dir, report)
	}
	return n
}

// config writes that of a front end, whose servers it starts.
func (w *world) config() {
	w.t.Helper()
	key, err := checkpoint.ReadKey(filepath.Join(w.dir, "ledger.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("policy", "log "+key.VKey+"\nquorum none\n")
	database := pgtest.Start(w.t)
	trillian := peers.StartTrillianOnPostgreSQL(w.t, database.Database(w.t))
	trillian.StartSigner(w.t)
	w.front = w.write("front.yaml", fmt.Sprintf("key: %s/ledger.key\npolicy: %s\nhttp: 127.0.0.1:0\ngrpc: 127.0.0.1:0\n"+
		"distributed: {database: %q, bucket: \"file://%s\", trillian: %q}\n",
		w.dir, w.policy, database.Database(w.t), w.bucket, strings.Join(trillian.Addrs, ",")))
}

// start starts a ledger or a front end.
func (w *world) start(args ...string) (p *e2etest.Process, url string) {
	w.t.Helper()
	p = e2etest.Start(w.t, exec.Command(filepath.Join(bin, "cairn-ledger"), args...))
	var ready struct{ HTTP string }
	p.Ready(w.t, &ready)
	return p, ready.HTTP
}

// proof is that of an entry which somebody saved.
type proof struct {
	index int64
	tree  tlog.Tree
	leaf  tlog.Hash
	path  tlog.RecordProof
}

// published returns the published tree of a log in a directory, and its hashes.
func (w *world) published(dir string) (tlog.Tree, tlog.HashReader) {
	w.t.Helper()
	text, err := os.ReadFile(w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	trust, err := policy.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		w.t.Fatal(err)
	}
	c, _, err := torchwood.VerifyCheckpoint(signed, trust)
	if err != nil {
		w.t.Fatal(err)
	}
	tiles, err := torchwood.NewTileFS(os.DirFS(dir))
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Tree, torchwood.TileHashReaderWithContext(w.t.Context(), c.Tree, tiles)
}

// save returns proofs of entries all over the log, in every tree that was published.
func (w *world) save() (proofs []proof) {
	w.t.Helper()
	_, hashes := w.published(filepath.Join(w.dir, "log"))
	for _, n := range w.sizes {
		root, err := tlog.TreeHash(n, hashes)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := n % 97; i < n; i += max(n/20, 1) {
			path, err := tlog.ProveRecord(n, i, hashes)
			if err != nil {
				w.t.Fatal(err)
			}
			leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
			if err != nil {
				w.t.Fatal(err)
			}
			proofs = append(proofs, proof{i, tlog.Tree{N: n, Hash: root}, leaf[0], path})
		}
	}
	return proofs
}

// hold wants the proofs to verify, and to be of trees that the log in the bucket
// extends, by its own tiles.
func (w *world) hold(proofs []proof) {
	w.t.Helper()
	tree, hashes := w.published(w.bucket)
	for _, p := range proofs {
		err := tlog.CheckRecord(p.path, p.tree.N, p.tree.Hash, p.index, p.leaf)
		if err != nil {
			w.t.Fatalf("entry %d in the tree of %d: %v", p.index, p.tree.N, err)
		}
		path, err := tlog.ProveTree(tree.N, p.tree.N, hashes)
		if err == nil {
			err = tlog.CheckTree(path, tree.N, tree.Hash, p.tree.N, p.tree.Hash)
		}
		if err != nil {
			w.t.Fatalf("size %d does not extend size %d: %v", tree.N, p.tree.N, err)
		}
	}
	w.t.Logf("%d proofs in %d trees hold in the tree of size %d", len(proofs), len(w.sizes), tree.N)
}

// TestMigrate moves a log of many entries while the move is killed, audited before and
// after.
func TestMigrate(t *testing.T) {
	e2etest.Interop(t)
	w := newWorld(t)
	n := entries(t)
	began := time.Now()
	w.generate(n)
	t.Logf("%d entries were logged in %.1f s", n, time.Since(began).Seconds())
	w.config()

	// A client of the running ledger saves what it is given.
	dev, url := w.start("-dev", w.dir)
	file, saved := w.write("artifact", "what was built")+".attestation", filepath.Join(w.dir, "saved.tlog-proof")
	w.command("cairn", "keygen", "-o", "author.key")
	w.command("cairn", "attest", "build", "artifact", "--key", "author.key", "--builder-id", "https://ci.example", "-O", file)
	w.command("cairn", "enrol", "--key", "author.key", "--operator", "https://author.example", "--ledger", url)
	w.command("cairn", "submit", file, "--proof", saved, "--ledger", url)
	dev.Stop(t)
	w.command("cairn", "verify", file, "--proof", saved)
	before := w.audited(w.dir)
	proofs := w.save()

	for _, after := range []time.Duration{3 * time.Second, 9 * time.Second, 27 * time.Second} {
		w.kill(after)
	}
	out := w.command("cairn-ledger", "migrate", "-from", w.dir, "-config", w.front)
	var moved struct{ Entries, Published int64 }
	if err := json.Unmarshal([]byte(out), &moved); err != nil || moved.Entries != before || moved.Published != before || before != int64(n+2) {
		t.Errorf("%d entries before, and it said %q, %v", before, out, err)
	}
	if after := w.audited(w.bucket); after != before {
		t.Errorf("%d entries after, and %d before", after, before)
	}
	w.hold(proofs)
	w.command("cairn", "verify", file, "--proof", saved)

	code, _, said := e2etest.Run(t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", w.dir))
	if code != 2 || !strings.Contains(said, "the log moved to tree") {
		t.Errorf("the old ledger: exit code %d, %q", code, said)
	}
	front, url := w.start("-config", w.front)
	w.command("cairn", "submit", file, "--proof", saved, "--ledger", url) // it has it
	w.command("cairn", "verify", file, "--proof", saved)
	front.Stop(t)
	if after := w.audited(w.bucket); after != before {
		t.Errorf("%d entries once a front end has served, and %d before", after, before)
	}
}

// kill starts the move, and kills it after a while.
func (w *world) kill(after time.Duration) {
	w.t.Helper()
	p := e2etest.Start(w.t, exec.Command(filepath.Join(bin, "cairn-ledger"), "migrate", "-from", w.dir, "-config", w.front))
	select {
	case <-time.After(after):
		p.Kill(w.t)
	case <-p.Exited():
	}
	w.t.Logf("killed after %v, or ended: exit code %d", after, p.Code())
}
