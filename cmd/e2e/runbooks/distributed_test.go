package runbooks

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/cluster"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/engine/enginetest/trilliantest"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

var fronts = []string{"anna", "bert"}

// installation is a log of two front ends.
type installation struct {
	*world
	cluster  *cluster.Cluster
	database *pgtest.Server
	running  bool
	// older makes Trillian's database what it was when older was prepared, and empty
	// removes all trees from it. Front ends do not run meanwhile.
	prepare, older, empty func()
}

// newInstallation makes a log of front ends, and starts them. trillian is the address
// of its log servers.
func newInstallation(t *testing.T, database *pgtest.Server, trillian string) *installation {
	t.Helper()
	i := &installation{world: newWorld(t), database: database}
	i.cluster = cluster.New(t, cluster.Config{
		Bin: bin, Database: database, Trillian: trillian, Origin: "several.example/log", More: "  lease: 1s",
	})
	i.data = i.cluster.Bucket
	i.env["PATH"] = filepath.Dir(database.Bin("pg_dump")) + ":" + i.env["PATH"]
	i.env["POLICY"], i.env["DATABASE"], i.env["BUCKET"] = i.cluster.Policy, i.cluster.Database, i.cluster.Bucket
	i.start, i.stop = i.startAll, i.stopAll
	i.start()
	first := i.cluster.Front(fronts[0])
	i.env["LEDGER"], i.env["CONFIG"] = first.URL, first.Config()
	i.fill()
	return i
}

func (i *installation) startAll() {
	i.t.Helper()
	if i.running {
		return
	}
	i.running = true
	var list []*cluster.Front
	for _, name := range fronts {
		list = append(list, i.cluster.Launch(name))
	}
	for _, f := range list {
		f.AwaitReady()
	}
}

func (i *installation) stopAll() {
	i.t.Helper()
	if !i.running {
		return
	}
	i.running = false
	for _, name := range fronts {
		i.cluster.Stop(name)
	}
}

// dumped has a dump of the database from before more was published.
func dumped(i *installation) {
	i.run("Back up front ends")
	i.submit(5)
}

func olderTrillian(i *installation) {
	i.prepare()
	i.submit(20)
	i.refusesToRepair()
	i.stop()
	i.older()
	i.refused(5, "Trillian's tree has")
}

func lostTrillian(i *installation) {
	i.stop()
	i.empty()
	code, _, stderr := e2etest.Run(i.t, i.command(filepath.Join(bin, "cairn-ledger"), "-config", i.env["CONFIG"]))
	if code == 0 {
		i.t.Errorf("a front end runs without a tree:\n%s", stderr)
	}
}

// refusesToRepair wants repair to refuse while a front end publishes.
func (i *installation) refusesToRepair() {
	i.t.Helper()
	for _, what := range []string{"trillian", "tiles"} {
		i.refused(1, "stop all front ends first", "repair", what)
	}
}

func damagedBucket(i *installation) {
	i.damage(filepath.Join(i.data, bundle))
	i.env["FILE"] = bundle
}

func lostBucket(i *installation) {
	i.run("Back up front ends")
	i.stop()
	i.remove(i.data)
}

// TestRunbooksOfFrontEnds runs the commands of each section about front ends.
func TestRunbooksOfFrontEnds(t *testing.T) {
	server, addr := trilliantest.Listen(t)
	i := newInstallation(t, pgtest.Start(t, "fsync=off", "full_page_writes=off"), addr)
	size := uint64(0)
	i.prepare = func() { size = uint64(server.Fed()) }
	i.older = func() { server.Restore(size) }
	i.empty = func() { server.Restore(0) }
	for _, s := range sections(t) {
		if trials[s.title].several != nil {
			i.try(s.title)
		}
	}
}

// TestRunbooksOfTrillian runs the sections about Trillian with a real one.
func TestRunbooksOfTrillian(t *testing.T) {
	e2etest.Interop(t)
	database := pgtest.Start(t, "fsync=off", "full_page_writes=off")
	url := database.Database(t)
	i := newInstallation(t, database, peers.StartTrillianOnPostgreSQL(t, url).Addr)
	dump := i.path("trillian.dump")
	i.prepare = func() { i.must(database.Bin("pg_dump"), "--format=custom", "--file="+dump, url) }
	i.older = func() {
		i.must(database.Bin("pg_restore"), "--clean", "--if-exists", "--single-transaction", "--dbname="+url, dump)
	}
	i.empty = func() { i.exec(url, "TRUNCATE trees CASCADE") }
	for _, title := range []string{"Trillian has an older copy", "Tiles are lost or damaged", "The bucket is lost", "Trillian lost its database"} {
		i.try(title)
	}
}

// try runs the commands of a section.
func (i *installation) try(title string) {
	i.t.Helper()
	i.t.Logf("section %q", title)
	trials[title].several(i)
	i.run(title)
	i.lives()
}

func (i *installation) must(name string, args ...string) {
	i.t.Helper()
	if code, out, errs := e2etest.Run(i.t, exec.CommandContext(i.t.Context(), name, args...)); code != 0 {
		i.t.Fatalf("%s: exit code %d\n%s%s", name, code, out, errs)
	}
}

func (i *installation) exec(url, statement string) {
	i.t.Helper()
	ctx := i.t.Context()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		i.t.Fatal(err)
	}
}
