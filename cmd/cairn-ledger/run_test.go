package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// command runs the command to its end. It must not get as far as serving.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	if ctx.Err() != nil {
		t.Errorf("cairn-ledger %s serves", strings.Join(args, " "))
	}
	return code, out.String(), errs.String()
}

// files is a directory with a key and a configuration.
type files struct {
	t    *testing.T
	dir  string
	vkey string
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{t: t, dir: t.TempDir()}
	key, err := checkpoint.CreateKey(filepath.Join(f.dir, "ledger.key"), "cmd.example/log")
	if err != nil {
		t.Fatal(err)
	}
	f.vkey = key.VKey
	return f
}

func (f *files) write(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	text = strings.NewReplacer("DIR", f.dir, "VKEY", f.vkey).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

const paths = `key: DIR/ledger.key
state: DIR/signed
log: DIR/log
blobs: DIR/blobs.db
index: DIR/index.db
`

const shared = `key: DIR/ledger.key
distributed:
  database: postgres:///cairn?host=/run/postgresql
  bucket: s3://cairn-log?region=eu-central-1
  trillian: dns:///trillian-log-server:8090
`

func TestUsage(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	dir := t.TempDir()
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, 2, "give either -dev DIR or -config FILE"},
		{"both ways", []string{"-dev", dir, "-config", "x"}, 2, "give either"},
		{"an argument too many", []string{"-dev", dir, "more"}, 2, `unexpected argument "more"`},
		{"an unknown flag", []string{"-dve", dir}, 2, "-dve"},
		{"help", []string{"-h"}, 0, "usage: cairn-ledger"},
		{"a configuration that is not there", []string{"-config", filepath.Join(dir, "missing.yaml")}, 2, "reading configuration"},
		{"a port that is taken", []string{"-dev", dir, "-http", busy.Addr().String()}, 2, "listening for HTTP"},
		{"a port that is taken, for gRPC", []string{"-dev", dir, "-grpc", busy.Addr().String()}, 2, "listening for gRPC"},
		{"profiles for others", []string{"-dev", dir, "-debug", "0.0.0.0:0"}, 2, "not a loopback address"},
		{"a directory that cannot be made", []string{"-dev", "/dev/null/ledger"}, 2, "/dev/null/ledger"},
		{"a trusted root that is not there", []string{"-dev", dir, "-trusted-root", filepath.Join(dir, "missing")}, 2, "reading trusted root"},
		{"a policy for verdicts that is not there", []string{"-dev", dir, "-verdicts", filepath.Join(dir, "missing")}, 2, "reading the policy for verdicts"},
		{"a policy that is not there", []string{"-dev", dir, "-policy", filepath.Join(dir, "missing")}, 2, "reading policy"},
		{"init of nothing", []string{"init"}, 2, "give -config FILE"},
		{"init of more", []string{"init", "-config", "x", "y"}, 2, `unexpected argument "y"`},
		{"init, with an unknown flag", []string{"init", "-dve"}, 2, "-dve"},
		{"help of init", []string{"init", "-h"}, 0, "usage: cairn-ledger init -config FILE"},
		{"init of what is not there", []string{"init", "-config", filepath.Join(dir, "missing.yaml")}, 2, "reading configuration"},
	} {
		code, stdout, stderr := command(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %d and %q", test.name, code, stdout, stderr, test.code, test.says)
		}
	}
}

// configuration is one to be checked, and what is said of it.
type configuration struct {
	name, text string
	code       int
	says       string
}

func TestConfiguration(t *testing.T) {
	checkAll(t, []configuration{
		{"only what must be", paths, 0, ""},
		{"all there is", paths + `http: 127.0.0.1:0
grpc: 127.0.0.1:0
limits: {perKey: {perSecond: 1, burst: 2}, perAddress: {perSecond: 1.5, burst: 2}}
batchWindow: 0s
publishInterval: 1s
witnessRetry: 1s
refreshInterval: 0s
grace: 1m
logLevel: debug
trustedRoot: DIR/trusted_root.json
builds: {database: DIR/builds.db, tokens: DIR/tokens, reproduce: {from: ["https://alice.example"]}}
rekor: {hostname: ledger.example}
verdicts: {policy: DIR/verdicts.policy, database: DIR/survey.db}
`, 0, ""},
		{"verdicts without a policy", paths + "verdicts: {database: DIR/s.db}\n", 0, ""},
		{"an unknown key of verdicts", paths + "verdicts: {policy: x, tables: x}\n", 2, "tables"},
		{"builds without tokens", paths + "builds: {database: DIR/builds.db}\n", 2, "builds needs database and tokens"},
		{"builds without a database", paths + "builds: {tokens: DIR/tokens}\n", 2, "builds needs database and tokens"},
		{"an unknown key of builds", paths + "builds: {database: x, tokens: x, reproduce: {form: []}}\n", 2, "form"},
		{"Rekor by an address", paths + "rekor: {hostname: '::1'}\n", 0, ""},
		{"Rekor without a host name", paths + "rekor: {}\n", 2, "rekor.hostname"},
		{"Rekor by a URL", paths + "rekor: {hostname: 'https://ledger.example'}\n", 2, "is not the host name of a URL"},
		{"Rekor with a port", paths + "rekor: {hostname: 'ledger.example:8080'}\n", 2, "without a port"},
		{"an unknown key of Rekor", paths + "rekor: {hostname: x, host: y}\n", 2, "host"},
		{"an unknown key", paths + "bolbs: x\n", 2, "bolbs"},
		{"an unknown key within", paths + "limits: {perkey: {perSecond: 1}}\n", 2, "perkey"},
		{"a key twice", paths + "log: DIR/other\n", 2, "log"},
		{"a wrong type", paths + "grace: soon\n", 2, "soon"},
		{"no YAML", "{", 2, "parsing configuration"},
		{"nothing", "", 2, "parsing configuration"},
		{"no key", strings.Replace(paths, "key:", "#", 1), 2, "key is missing"},
		{"no log", strings.Replace(paths, "log:", "#", 1), 2, "log is missing"},
		{"a state inside the log", strings.Replace(paths, "DIR/signed", "DIR/log/signed", 1), 2, "stands inside log"},
		{"a state that is the log", strings.Replace(paths, "DIR/signed", "DIR/log", 1), 2, "stands inside log"},
		{"a state inside the log, in other words", strings.Replace(paths, "DIR/signed", "DIR/x/../log/./signed", 1), 2, "stands inside log"},
		{"a negative window", paths + "batchWindow: -1s\n", 2, "must not be negative"},
		{"no grace", paths + "grace: 0s\n", 2, "must be positive"},
		{"an unknown log level", paths + "logLevel: loud\n", 2, "loud"},
	})
}

func TestDistributedConfiguration(t *testing.T) {
	checkAll(t, []configuration{
		{"a front end of several", shared, 0, ""},
		{"a front end with all there is", shared + "  trillianCA: DIR/ca.pem\n  lease: 5s\n  evidence: DIR\n", 0, ""},
		{"a directory as bucket", strings.Replace(shared, "s3://cairn-log?region=eu-central-1", "file:///srv/cairn", 1), 0, ""},
		{"both places", paths + shared[strings.Index(shared, "distributed"):], 2, "state does not go with distributed"},
		{"an index beside the shared one", shared + "index: DIR/index.db\n", 2, "index does not go with distributed"},
		{"no database", strings.Replace(shared, "  database:", "  #", 1), 2, "distributed.database is missing"},
		{"no bucket", strings.Replace(shared, "  bucket:", "  #", 1), 2, "distributed.bucket is missing"},
		{"no Trillian", strings.Replace(shared, "  trillian:", "  #", 1), 2, "distributed.trillian is missing"},
		{"nothing that is shared", "key: x\ndistributed: {}\n", 2, "distributed.database is missing"},
		{"a database by another name", strings.Replace(shared, "postgres:///cairn?host=/run/postgresql", "mysql://root:secret@db/cairn", 1), 2, "distributed.database: the database's URL is not understood"},
		{"a bucket of no known kind", strings.Replace(shared, "s3://", "ftp://", 1), 2, "distributed.bucket: ftp://cairn-log"},
		{"a short lease", shared + "  lease: 1ms\n", 2, "distributed.lease is 1ms, which is not between 100ms and 1m0s"},
		{"a long lease", shared + "  lease: 1h\n", 2, "distributed.lease is 1h0m0s"},
		{"an unknown key of what is shared", shared + "  tree: 7\n", 2, "tree"},
		{"verdicts without a place", shared + "verdicts: {policy: x}\n", 2, "verdicts needs database beside distributed"},
		{"verdicts with one", shared + "verdicts: {policy: x, database: DIR/s.db}\n", 0, ""},
		{"a table of packages by which nobody is heard", shared + "verdicts: {database: DIR/s.db}\n", 0, ""},
	})
}

func checkAll(t *testing.T, list []configuration) {
	t.Helper()
	f := newFiles(t)
	for _, test := range list {
		file := f.write("cairn-ledger.yaml", test.text)
		code, stdout, stderr := command(t, "-config", file, "-check-config")
		if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %d and %q", test.name, code, stdout, stderr, test.code, test.says)
		}
		if code == 0 && stderr != "" {
			t.Errorf("%s: a good configuration is talked about: %q", test.name, stderr)
		}
	}
	if entries, err := os.ReadDir(f.dir); err != nil || len(entries) != 2 {
		t.Errorf("checking a configuration left %v, %v", entries, err)
	}
}

// TestInitOfAnEmbeddedLog wants nothing to be made of it.
func TestInitOfAnEmbeddedLog(t *testing.T) {
	f := newFiles(t)
	code, stdout, stderr := command(t, "init", "-config", f.write("cairn-ledger.yaml", paths))
	if code != 2 || !strings.Contains(stderr, "an embedded log needs no init") || stdout != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestPolicy starts with policies that this ledger can never satisfy.
func TestPolicy(t *testing.T) {
	f := newFiles(t)
	w, err := torchwood.NewCosignatureSigner("witness.example", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	witness := "witness w1 " + w.Verifier().String()
	other := newFiles(t).vkey
	for _, test := range []struct {
		name, text, says string
	}{
		{"no policy", "", "policy"},
		{"an unknown line", "log VKEY\nquorum none\ntrust me\n", "trust"},
		{"no quorum", "log VKEY\n", "quorum"},
		{"another log", "log " + other + "\nquorum none\n", "does not name this log"},
		{"a quorum of witnesses without a URL", "log VKEY\n" + witness + "\nquorum w1\n", "cannot be satisfied"},
	} {
		policy := f.write("policy", test.text)
		config := f.write("cairn-ledger.yaml", paths+"http: 127.0.0.1:0\ngrpc: 127.0.0.1:0\npolicy: "+policy+"\n")
		code, stdout, stderr := command(t, "-config", config)
		if code != 2 || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 2 and %q", test.name, code, stdout, stderr, test.says)
		}
		if _, err := os.Stat(filepath.Join(f.dir, "log")); err == nil {
			t.Errorf("%s: a log was made before the policy was refused", test.name)
		}
	}
}

// TestVerdictPolicy starts with policies by which nobody would ever be told that
// anything is good.
func TestVerdictPolicy(t *testing.T) {
	f := newFiles(t)
	config := f.write("cairn-ledger.yaml", paths+"http: 127.0.0.1:0\ngrpc: 127.0.0.1:0\nverdicts: {policy: DIR/verdicts.policy}\n")
	for name, test := range map[string]struct{ text, says string }{
		"an unknown line": {"log VKEY\nquorum none\ntrust me\n", "parsing policy"},
		"another log":     {"log " + newFiles(t).vkey + "\nquorum none\n", "does not name this log"},
		"no rebuilder":    {"log VKEY\nquorum none\n", "names no rebuilder"},
	} {
		f.write("verdicts.policy", test.text)
		code, stdout, stderr := command(t, "-config", config)
		if code != 2 || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 2 and %q", name, code, stdout, stderr, test.says)
		}
	}
}

// TestCapacity checks configurations that would refuse what an idle ledger should take.
func TestCapacity(t *testing.T) {
	f := newFiles(t)
	for _, test := range []struct {
		name, capacity, says string
		code                 int
	}{
		{"nothing", "{}", "", 0},
		{"all of it", "{memory: 2GiB, submissions: 1GiB, reads: 64MiB, calls: 32MiB, pending: 16MiB, streams: 9, httpConnections: 99, grpcConnections: 9, verifying: 3}", "", 0},
		{"little memory", "{memory: 64MiB}", "capacity.memory must be at least 128MiB", 2},
		{"no size", "{memory: much}", `"much" is no size such as 512MiB`, 2},
		{"a size below zero", "{reads: -5MiB}", "is no size", 2},
		{"submissions without room for the largest", "{submissions: 1MiB}", "capacity.submissions is 1048576, and must be at least", 2},
		{"pending without room for the largest", "{pending: 1KiB}", "capacity.pending must be at least 1MiB", 2},
		{"no connections", "{httpConnections: 1}", "capacity.httpConnections is 1, and must be at least 16", 2},
		{"streams below zero", "{streams: -1}", "capacity.streams is -1", 2},
		{"verifying below zero", "{verifying: -1}", "capacity.verifying must not be negative", 2},
		{"what there is not", "{cores: 2}", "field cores not found", 2},
	} {
		config := f.write("cairn-ledger.yaml", paths+"capacity: "+test.capacity+"\n")
		code, _, stderr := command(t, "-config", config, "-check-config")
		if code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit code %d, stderr %q; want %d and %q", test.name, code, stderr, test.code, test.says)
		}
	}
}

// TestTokens starts with files of tokens that are not there or not as they should
// be.
func TestTokens(t *testing.T) {
	f := newFiles(t)
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		says       string
	}{
		{"no file", "", 0, "reading tokens"},
		{"a file that others read", "V5XQMHNYOUH2JRVYKBB4CWHJ7A bob\n", 0o644, "chmod 600"},
		{"a file of something else", "hello\n", 0o600, "TOKEN NAME"},
	} {
		tokens := filepath.Join(f.dir, "tokens")
		if test.text != "" {
			if err := errors.Join(os.WriteFile(tokens, []byte(test.text), test.mode), os.Chmod(tokens, test.mode)); err != nil {
				t.Fatal(err)
			}
		}
		config := f.write("cairn-ledger.yaml", paths+"http: 127.0.0.1:0\ngrpc: 127.0.0.1:0\nbuilds: {database: DIR/builds.db, tokens: DIR/tokens}\n")
		code, stdout, stderr := command(t, "-config", config)
		if code != 2 || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 2 and %q", test.name, code, stdout, stderr, test.says)
		}
	}
}

// TestServesUntilStopped runs the command in this process, as main does.
func TestServesUntilStopped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		var stderr bytes.Buffer
		ready := make(chan string, 1)
		ended := make(chan int, 1)
		go func() { ended <- run(ctx, []string{"-dev", dir}, lines(ready), &stderr) }()
		select {
		case line := <-ready:
			if !strings.HasPrefix(line, `{"origin":"localhost/cairn-`) || strings.Count(line, "\n") != 1 {
				t.Errorf("the ready line is %q", line)
			}
		case code := <-ended:
			t.Fatalf("exit code %d\n%s", code, stderr.String())
		}
		if info, err := os.Stat(filepath.Join(dir, "worker.token")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the token of workers: %v, %v", info, err)
		}
		cancel()
		if code := <-ended; code != 0 || stderr.Len() > 0 {
			t.Errorf("exit code %d, stderr %q", code, stderr.String())
		}
	}
}

// lines is a writer that hands on what is written to it.
type lines chan<- string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}
