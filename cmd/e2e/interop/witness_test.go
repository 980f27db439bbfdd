package interop

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	_ "modernc.org/sqlite"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// witness is a witness that can be killed, and started again at its address and
// on its state.
type witness struct {
	*e2etest.Process
	name     string // in the policy
	url      string
	verifier *torchwood.CosignatureVerifier
	launch   func(*testing.T) *e2etest.Process
}

// start starts a witness that was killed.
func (w *witness) start(t *testing.T) {
	t.Helper()
	w.Process = w.launch(t)
}

// newCairnWitness starts a witness of ours for a log.
func newCairnWitness(t *testing.T, log *ledger, name string) *witness {
	t.Helper()
	args := []string{"-dev", filepath.Join(t.TempDir(), name), "-name", name + ".example", "-log", log.VKey, "-http"}
	p, ready := start(t, "cairn-witness", append(args, "127.0.0.1:0")...)
	v, err := torchwood.NewCosignatureVerifier(ready.VKey)
	if err != nil {
		t.Fatalf("reading the witness's key: %v", err)
	}
	addr := strings.TrimPrefix(ready.HTTP, "http://")
	return &witness{
		Process: p, name: name, url: ready.HTTP, verifier: v,
		launch: func(t *testing.T) *e2etest.Process {
			p, _ := start(t, "cairn-witness", append(args, addr)...)
			return p
		},
	}
}

// newOmniwitness starts the witness of transparency-dev for a log.
func newOmniwitness(t *testing.T, log *ledger) *witness {
	t.Helper()
	binary, dir, addr := peer(t, "omniwitness"), t.TempDir(), e2etest.FreeAddr(t)
	const name = "omniwitness.example"
	skey, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	// PRIVATE+KEY+<name>+<hash>+<base64 of type and seed>. It is a log's key, and
	// omniwitness makes a witness's of it.
	seed, err := base64.StdEncoding.DecodeString(strings.SplitN(skey, "+", 5)[4])
	if err != nil {
		t.Fatal(err)
	}
	signer, err := torchwood.NewCosignatureSigner(name, ed25519.NewKeyFromSeed(seed[1:]))
	if err != nil {
		t.Fatal(err)
	}
	logs := fmt.Sprintf("Logs:\n- {Origin: %q, PublicKey: %q}\n", log.Origin, log.VKey)
	write(t, filepath.Join(dir, "key"), skey)
	write(t, filepath.Join(dir, "logs.yaml"), logs)
	w := &witness{name: "omniwitness", url: "http://" + addr, verifier: signer.Verifier()}
	w.launch = func(t *testing.T) *e2etest.Process {
		return e2etest.StartAt(t, "tcp", addr, exec.Command(binary, "--listen="+addr, "--metrics_listen=",
			"--db_file="+filepath.Join(dir, "state.db"), "--private_key_path="+filepath.Join(dir, "key"),
			"--additional_logs="+filepath.Join(dir, "logs.yaml")))
	}
	w.start(t)
	return w
}

// newLitewitness starts torchwood's witness for a log.
func newLitewitness(t *testing.T, log *ledger) *witness {
	t.Helper()
	binary, addr := peer(t, "litewitness"), e2etest.FreeAddr(t)
	db := filepath.Join(t.TempDir(), "state.db")
	initLitewitness(t, db, log)
	key, socket, fingerprint := serveAgent(t)
	const name = "litewitness.example"
	signer, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{name: "litewitness", url: "http://" + addr, verifier: signer.Verifier()}
	w.launch = func(t *testing.T) *e2etest.Process {
		return e2etest.StartAt(t, "tcp", addr, exec.Command(binary, "-name", name, "-key", fingerprint, "-ssh-agent", socket, "-db", db, "-listen", addr))
	}
	w.start(t)
	return w
}

// initLitewitness makes litewitness know a log. Its own tool for that is not
// part of the module that we pin.
func initLitewitness(t *testing.T, path string, log *ledger) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	empty := sha256.Sum256(nil)
	for _, do := range []struct {
		query string
		args  []any
	}{
		{"CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL)", nil},
		{"CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin))", nil},
		{"INSERT INTO log VALUES (?, 0, ?)", []any{log.Origin, base64.StdEncoding.EncodeToString(empty[:])}},
		{"INSERT INTO key VALUES (?, ?)", []any{log.Origin, log.VKey}},
	} {
		if _, err := db.Exec(do.query, do.args...); err != nil {
			t.Fatalf("making litewitness's database: %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// serveAgent runs an ssh-agent with a new key. It returns the key, the agent's
// socket and the key's fingerprint.
func serveAgent(t *testing.T) (key ed25519.PrivateKey, socket, fingerprint string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	// Not the test's directory: a socket's path has about 100 bytes.
	dir, err := os.MkdirTemp("", "cairn-agent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("the ssh-agent: %v", err)
				}
				return
			}
			go func() {
				_ = agent.ServeAgent(ring, conn) // ends with an error when litewitness does
				_ = conn.Close()
			}()
		}
	}()
	return key, socket, ssh.FingerprintSHA256(sshPub)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writePolicy writes a policy in which k of the witnesses must cosign.
func writePolicy(t *testing.T, log *ledger, k int, witnesses ...*witness) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", log.VKey)
	names := ""
	for _, w := range witnesses {
		fmt.Fprintf(&b, "witness %s %s %s\n", w.name, w.verifier, w.url)
		names += " " + w.name
	}
	fmt.Fprintf(&b, "group enough %d%s\nquorum enough\n", k, names)
	path := filepath.Join(t.TempDir(), "policy")
	write(t, path, b.String())
	return path
}

// cosigners returns the names of the witnesses whose valid cosignatures a
// checkpoint of the log has, in the order given.
func cosigners(t *testing.T, log *ledger, signed string, witnesses ...*witness) string {
	t.Helper()
	verifiers := []note.Verifier{log.verifier}
	for _, w := range witnesses {
		verifiers = append(verifiers, w.verifier)
	}
	n, err := note.Open([]byte(signed), note.VerifierList(verifiers...))
	if err != nil {
		t.Fatalf("opening checkpoint %q: %v", signed, err)
	}
	var names []string
	for _, w := range witnesses {
		for _, s := range n.Sigs {
			if s.Name == w.verifier.Name() && s.Hash == w.verifier.KeyHash() {
				if at, err := torchwood.CosignatureTimestamp(s); err != nil || at <= 0 {
					t.Errorf("the cosignature of %s has the time %d: %v", w.name, at, err)
				}
				names = append(names, w.name)
			}
		}
	}
	return strings.Join(names, " ")
}
