// Package peers starts servers of other projects for the tests that `make interop`
// runs: databases, Trillian, Rekor. They are the versions that the modules below
// cmd/e2e/peers pin, each test has its own, and they listen on loopback and on
// sockets, but for the metrics of rekor-server.
//
// Whatever is missing or does not start fails the test. No server outlives it.
package peers

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// MariaDB is a running server without a network, whose root needs no password.
type MariaDB struct{ socket string }

// StartMariaDB starts Debian's MariaDB on a new directory.
func StartMariaDB(t testing.TB) *MariaDB {
	t.Helper()
	// A socket's path is short, and those of t.TempDir need not be.
	dir, err := os.MkdirTemp("", "cairn-db-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	run(t, exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+data, "--user="+who.Username,
		"--auth-root-authentication-method=normal", "--skip-test-db"))
	db := &MariaDB{socket: filepath.Join(dir, "sock")}
	e2etest.StartAt(t, "unix", db.socket, exec.Command("mariadbd", "--no-defaults", "--datadir="+data,
		"--user="+who.Username, "--socket="+db.socket, "--skip-networking", "--pid-file="+filepath.Join(dir, "pid")))
	return db
}

// Create makes a database, runs a script in it, and returns its name for Go's
// driver.
func (db *MariaDB) Create(t testing.TB, name, script string) (dsn string) {
	t.Helper()
	db.do(t, "CREATE DATABASE "+name+"; USE "+name+";\n"+script)
	return "root@unix(" + db.socket + ")/" + name
}

func (db *MariaDB) do(t testing.TB, script string) {
	t.Helper()
	cmd := exec.Command("mariadb", "--no-defaults", "--socket="+db.socket, "--user=root")
	cmd.Stdin = strings.NewReader(script)
	run(t, cmd)
}

// run runs a command to its end, which must be good, and returns what it wrote.
func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	code, stdout, stderr := e2etest.Run(t, cmd)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", cmd, code, stdout, stderr)
	}
	return stdout
}

// Trillian is running log servers and signers on a database.
type Trillian struct {
	Addr    string // of the first server's gRPC
	Addrs   []string
	Servers []*e2etest.Process
	Signers []*e2etest.Process

	server, signer []string // flags
}

// StartTrillian starts a log server and a signer. storage is their flags that name
// a database with Trillian's schema.
func StartTrillian(t testing.TB, storage ...string) *Trillian {
	t.Helper()
	tr := &Trillian{server: storage, signer: storage}
	tr.StartServer(t)
	tr.StartSigner(t)
	return tr
}

// StartServer starts one more log server.
func (tr *Trillian) StartServer(t testing.TB) {
	t.Helper()
	addr := e2etest.FreeAddr(t)
	tr.Servers = append(tr.Servers, e2etest.StartAt(t, "tcp", addr, exec.Command(e2etest.Tool(t, "bin/trillian_log_server"),
		append(slices.Clone(tr.server), "--quota_system=noop", "--rpc_endpoint="+addr, "--http_endpoint="+e2etest.FreeAddr(t))...)))
	tr.Addrs = append(tr.Addrs, addr)
	tr.Addr = tr.Addrs[0]
}

// StartSigner starts one more signer. All of them sequence whatever there is: see
// docs/trillian.md for what keeps the tree right then. Of two flags of a name, those
// of more count.
func (tr *Trillian) StartSigner(t testing.TB, more ...string) {
	t.Helper()
	addr := e2etest.FreeAddr(t)
	args := append(slices.Clone(tr.signer), "--quota_system=noop", "--force_master", "--sequencer_interval=50ms",
		"--rpc_endpoint="+addr, "--http_endpoint="+e2etest.FreeAddr(t))
	tr.Signers = append(tr.Signers, e2etest.StartAt(t, "tcp", addr, exec.Command(e2etest.Tool(t, "bin/trillian_log_signer"), append(args, more...)...)))
}

// Again starts a server or a signer that is gone, as it was started before.
func (tr *Trillian) Again(t testing.TB, gone *e2etest.Process) {
	t.Helper()
	var addr string
	for _, arg := range gone.Cmd.Args {
		if a, ok := strings.CutPrefix(arg, "--rpc_endpoint="); ok {
			addr = a
		}
	}
	p := e2etest.StartAt(t, "tcp", addr, exec.Command(gone.Cmd.Path, gone.Cmd.Args[1:]...))
	for _, list := range [][]*e2etest.Process{tr.Servers, tr.Signers} {
		if i := slices.Index(list, gone); i >= 0 {
			list[i] = p
		}
	}
}

// StartTrillianOnMariaDB starts a log server and a signer on a new database.
func StartTrillianOnMariaDB(t testing.TB, db *MariaDB) *Trillian {
	t.Helper()
	schema, err := os.ReadFile(e2etest.Tool(t, "trillian-mysql.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return StartTrillian(t, "--storage_system=mysql", "--mysql_uri="+db.Create(t, "trillian", string(schema)))
}

// planner is what docs/trillian.md has Trillian's connections to PostgreSQL set.
const planner = "&enable_seqscan=off&enable_hashjoin=off&enable_mergejoin=off&jit=off&plan_cache_mode=force_custom_plan"

// StartTrillianOnPostgreSQL starts a log server and a signer on an empty database.
func StartTrillianOnPostgreSQL(t testing.TB, url string) *Trillian {
	t.Helper()
	schema, err := os.ReadFile(e2etest.Tool(t, "trillian-postgresql.sql"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.PgConn().Exec(t.Context(), string(schema)).ReadAll()
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatalf("making Trillian's tables: %v", err)
	}
	const storage = "--storage_system=postgresql"
	// A process that is stopped must not hold the others up.
	uri := "--postgresql_uri=" + url + planner + "&idle_in_transaction_session_timeout=2000"
	tr := &Trillian{server: []string{storage, uri}, signer: []string{storage, uri + "&default_transaction_isolation=repeatable%20read"}}
	tr.StartServer(t)
	tr.StartSigner(t)
	return tr
}

// CreateTree makes a log and returns its id.
func (tr *Trillian) CreateTree(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(run(t, exec.Command(e2etest.Tool(t, "bin/createtree"), "--admin_server="+tr.Addr)))
}

func hostPort(t testing.TB, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
