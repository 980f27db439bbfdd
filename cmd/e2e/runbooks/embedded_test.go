package runbooks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// machine is a ledger on one machine, whose checkpoints a witness must cosign.
type machine struct {
	*world
	vkey    string
	ledger  *e2etest.Process // nil while it does not run
	witness string           // its line of a policy
}

const oneMachine = `key: KEY
state: DIR/signed
log: DIR/log
blobs: DIR/blobs.db
index: DIR/index.db
policy: POLICY
http: HTTP
grpc: 127.0.0.1:0
limits: {perKey: {}, perAddress: {}}
builds: {database: DIR/builds.db, tokens: TOKENS}
`

// newMachine installs a ledger, and starts it.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{world: newWorld(t)}
	http := e2etest.FreeAddr(t)
	m.data = m.path("cairn")
	for k, v := range map[string]string{
		"CONFIG": m.path("ledger.yaml"), "POLICY": m.path("policy"), "LEDGER": "http://" + http, "DIR": m.data, "KEY": m.path("ledger.key"),
	} {
		m.env[k] = v
	}
	if err := os.Mkdir(m.data, 0o700); err != nil {
		t.Fatal(err)
	}
	code, line, errs := e2etest.Run(t, m.command(filepath.Join(bin, "cairn-ledger"), "keygen", "-key", m.env["KEY"], "-origin", "one.example/log"))
	if code != 0 {
		t.Fatalf("cairn-ledger keygen: exit code %d\n%s", code, errs)
	}
	m.vkey = strings.TrimSpace(strings.TrimPrefix(line, "log "))
	m.write(m.path("tokens"), "0123456789abcdef0123456789abcdef worker-1\n")
	m.write(m.env["CONFIG"], strings.NewReplacer("KEY", m.env["KEY"], "DIR", m.data, "POLICY", m.env["POLICY"],
		"HTTP", http, "TOKENS", m.path("tokens")).Replace(oneMachine))
	m.witness = m.newWitness("w1")
	m.write(m.env["POLICY"], fmt.Sprintf("log %s\n%squorum w1\n", m.vkey, m.witness))
	m.start, m.stop = m.startLedger, m.stopLedger
	m.start()
	m.fill()
	return m
}

// newWitness starts a witness, and returns its line of a policy.
func (m *machine) newWitness(name string) string {
	m.t.Helper()
	p := e2etest.Start(m.t, exec.Command(filepath.Join(bin, "cairn-witness"), "-dev", m.path(name), "-name", name+".example", "-log", m.vkey))
	var ready struct{ VKey, HTTP string }
	p.Ready(m.t, &ready)
	return fmt.Sprintf("witness %s %s %s\n", name, ready.VKey, ready.HTTP)
}

func (m *machine) startLedger() {
	m.t.Helper()
	if m.ledger != nil {
		return
	}
	m.ledger = e2etest.Start(m.t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-config", m.env["CONFIG"]))
	m.ledger.Ready(m.t, &struct{}{})
}

func (m *machine) stopLedger() {
	m.t.Helper()
	if m.ledger != nil {
		m.ledger.Stop(m.t)
		m.ledger = nil
	}
}

func (m *machine) kill() {
	m.t.Helper()
	m.ledger.Kill(m.t)
	m.ledger = nil
}

// backedUp is a machine that has a backup, and took more after it.
func backedUp(m *machine) {
	m.run("Back up one machine")
	m.submit(5)
}

// TestAnOlderCopyOfEverything restores all that a machine has from before: what the
// machine has agrees, and the witness knows better.
func TestAnOlderCopyOfEverything(t *testing.T) {
	m := newMachine(t)
	m.stop()
	if err := os.CopyFS(m.path("older"), os.DirFS(m.data)); err != nil {
		t.Fatal(err)
	}
	m.start()
	m.submit(5)
	m.stop()
	m.remove(m.data)
	if err := os.CopyFS(m.data, os.DirFS(m.path("older"))); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := e2etest.Run(t, m.command(filepath.Join(bin, "cairn-ledger"), "-config", m.env["CONFIG"]))
	if code != 5 || !strings.Contains(stderr, "witness w1 holds a checkpoint of size 267") {
		t.Errorf("exit code %d, want 5, and that the witness is named:\n%s", code, stderr)
	}
	if found, err := filepath.Glob(m.data + "/signed.rollback-*"); err != nil || len(found) != 1 {
		t.Errorf("the evidence is %v, %v", found, err)
	}
}
