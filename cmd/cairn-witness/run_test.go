package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// lineWriter passes on what is written, a line at a time.
type lineWriter chan string

func (l lineWriter) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

// process is a witness that runs in this process.
type process struct {
	ready
	cancel context.CancelFunc
	done   chan int
	stderr *bytes.Buffer
}

// start runs the command until it is ready.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, done: make(chan int, 1), stderr: new(bytes.Buffer)}
	out := make(lineWriter, 1)
	go func() { p.done <- run(ctx, args, out, p.stderr) }()
	select {
	case line := <-out:
		if err := json.Unmarshal([]byte(line), &p.ready); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	case code := <-p.done:
		cancel()
		t.Fatalf("exited with %d before it was ready:\n%s", code, p.stderr)
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.cancel == nil {
		return
	}
	p.cancel()
	p.cancel = nil
	if code := <-p.done; code != 0 {
		t.Errorf("exited with %d:\n%s", code, p.stderr)
	}
	http.DefaultClient.CloseIdleConnections()
}

func request(t *testing.T, method, url string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (p *process) mustAdd(t *testing.T, log *witnesstest.Log, old, size int64) {
	t.Helper()
	if code, body := request(t, "POST", p.HTTP+"/add-checkpoint", log.Request(old, size)); code != http.StatusOK {
		t.Fatalf("adding size %d: %d %s", size, code, body)
	}
}

// fails runs a command that must fail, and checks its exit code and message.
func fails(t *testing.T, code int, message string, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if got := run(ctx, args, &stdout, &stderr); got != code {
		t.Errorf("%q exited with %d, want %d:\n%s", args, got, code, &stderr)
	}
	if !strings.Contains(stderr.String(), message) {
		t.Errorf("%q said\n%s\nwant %q", args, &stderr, message)
	}
	if stdout.Len() > 0 {
		t.Errorf("%q printed %q", args, &stdout)
	}
}

const origin = "log.example/test"

func testLog() *witnesstest.Log { return witnesstest.NewLog(origin).Grow(100, "entry") }

func TestDev(t *testing.T) {
	log, dir := testLog(), filepath.Join(t.TempDir(), "w")
	args := []string{"-dev", dir, "-name", "witness.example/w", "-log", log.VKey}
	p := start(t, args...)
	if p.Name != "witness.example/w" || !strings.HasPrefix(p.VKey, "witness.example/w+") || !strings.HasPrefix(p.HTTP, "http://127.0.0.1:") {
		t.Errorf("ready line %+v", p.ready)
	}
	p.mustAdd(t, log, 0, 50)
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/metrics": "cairn_witness_log_size_entries{origin=\"log.example/test\"} 50",
		"/": p.VKey, "/challenges": "[]", "/" + evidence.OriginHash(origin) + "/checkpoint": "— witness.example/w ",
	} {
		if code, body := request(t, "GET", p.HTTP+path, nil); code != 200 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
	}
	fails(t, 1, "does another process hold it", args...)
	p.stop(t)

	again := start(t, args[0], args[1], args[4], args[5])
	if again.VKey != p.VKey {
		t.Errorf("key %s after a restart, want %s", again.VKey, p.VKey)
	}
	again.mustAdd(t, log, 50, 60)
	again.stop(t)
	fails(t, 2, "the key", "-dev", dir, "-name", "another.example/w", "-log", log.VKey)
}

// TestLostState: a key without its state might cosign a fork of what it has
// cosigned.
func TestLostState(t *testing.T) {
	log, dir := testLog(), t.TempDir()
	p := start(t, "-dev", dir, "-log", log.VKey)
	p.mustAdd(t, log, 0, 50)
	p.stop(t)
	key, db := filepath.Join(dir, "witness.key"), filepath.Join(dir, "state.db")
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(db, db+".away")
	fails(t, 5, "restore the newest state", "-dev", dir, "-log", log.VKey)
	move(db+".away", db)
	move(key, key+".away")
	fails(t, 2, "restore it", "-dev", dir, "-log", log.VKey)
	// Another key is not a replacement.
	start(t, "-dev", filepath.Join(dir, "other")).stop(t)
	move(filepath.Join(dir, "other", "witness.key"), key)
	fails(t, 5, "belongs to another key", "-dev", dir, "-log", log.VKey)
	move(key+".away", key)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	fails(t, 2, "chmod 600", "-dev", dir, "-log", log.VKey)
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "-dev", dir, "-log", log.VKey).mustAdd(t, log, 50, 60)
}

// TestHalfMade: a first start that was cut short between state and key.
func TestHalfMade(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "-dev", dir)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfig(t *testing.T) {
	log, dir := testLog(), t.TempDir()
	bob := witnesstest.NewCosigner("bob.example/w", "bob")
	policy := write(t, filepath.Join(dir, "policy"), "log "+log.VKey+" http://127.0.0.1:9/log/\nwitness bob "+bob.Verifier().String()+
		" http://127.0.0.1:9/bob\nwitness carol "+witnesstest.NewCosigner("carol.example/w", "carol").Verifier().String()+"\nquorum bob\n")
	good := "name: witness.example/w\nkey: {file: " + dir + "/key}\nstate: " + dir + "/state.db\nhttp: 127.0.0.1:0\npolicy: " + policy +
		"\nlogs:\n- keys: ['" + log.VKey + "']\npeers: [{name: bob}]\ngossip: {startWait: 1ms}\n"
	file := write(t, filepath.Join(dir, "good.yaml"), good)

	fails(t, 5, "-init", "-config", file)
	var out bytes.Buffer
	for _, args := range [][]string{{"-config", file, "-check-config"}, {"-config", file, "-init"}} {
		if code := run(t.Context(), args, &out, &out); code != 0 || out.Len() > 0 {
			t.Fatalf("%q: exit code %d, %s", args, code, &out)
		}
	}
	fails(t, 2, "is there already", "-config", file, "-init")
	p := start(t, "-config", file)
	p.mustAdd(t, log, 0, 50)
	p.stop(t)

	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := resolve(c)
	if err != nil {
		t.Fatal(err)
	}
	if parts.logs[0].URL != "http://127.0.0.1:9/log" || parts.peers[0] != "http://127.0.0.1:9/bob" || len(parts.witnesses) != 2 {
		t.Errorf("resolved %+v", parts)
	}

	for name, edit := range map[string][3]string{
		"unknown key":           {"name:", "nome: x\nname:", "nome"},
		"no key":                {"key: {file: " + dir + "/key}", "", "key must have one of"},
		"two keys":              {"key: {file: " + dir + "/key}", "key: {file: x, command: [y]}", "key must have one of"},
		"no state":              {"state: ", "http: ", "already defined"},
		"no logs":               {"logs:\n- keys: ['" + log.VKey + "']", "", "nothing to cosign"},
		"log without keys":      {"keys: ['" + log.VKey + "']", "url: http://x", "at least one key"},
		"log of a witness":      {log.VKey, bob.Verifier().String(), "log key"},
		"log twice":             {"logs:\n", "logs:\n- keys: ['" + log.VKey + "']\n", "given twice"},
		"bad URL":               {"peers: [{name: bob}]", "peers: [{url: 'ftp://x'}]", "not an http"},
		"unknown peer":          {"name: bob", "name: dave", "neither a URL nor a witness"},
		"peer without URL":      {"name: bob", "name: carol", "neither a URL nor a witness"},
		"peer with bad key":     {"{name: bob}", "{url: 'http://x', vkey: x}", "key of peer"},
		"negative interval":     {"startWait: 1ms", "interval: -1s", "must be positive"},
		"more peers than there": {"startWait: 1ms", "startPeers: 2", "of 1 peers"},
		"no policy":             {"policy: " + policy, "policy: " + dir + "/none", "reading policy"},
		"not YAML":              {"name:", "\tname:", "parsing"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, edit[0]) {
				t.Fatalf("%q is not in the configuration", edit[0])
			}
			bad := write(t, filepath.Join(t.TempDir(), "bad.yaml"), strings.Replace(good, edit[0], edit[1], 1))
			fails(t, 2, edit[2], "-config", bad, "-check-config")
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		nil, {"-dev", "x", "-config", "y"}, {"-dev", "x", "extra"}, {"-nope"}, {"-config", "x", "-log", "y"},
		{"-dev", "x", "-log", "nonsense"}, {"-dev", "x", "-peer", "nobody"}, {"-dev", "x", "-init"},
	} {
		fails(t, 2, "cairn-witness: error: ", args...)
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a wrong command line left a directory")
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &out, &out); code != 0 || !strings.Contains(out.String(), "usage: ") {
		t.Errorf("-h: %d %s", code, &out)
	}
}

func TestFlags(t *testing.T) {
	for in, want := range map[string]peerConfig{
		"http://host:1/a+b+c,d":                 {URL: "http://host:1/a+b+c,d"},
		"n,1+01234567+AB+/=,https://host/x+y,z": {VKey: "n,1+01234567+AB+/=", URL: "https://host/x+y,z"},
		"bob":                                   {Name: "bob"},
	} {
		if got := parsePeer(in); got != want {
			t.Errorf("%s: %+v, want %+v", in, got, want)
		}
	}
	var c config
	for _, s := range []string{"l+01234567+AA+=,http://x", "m+01234567+BB", "l+89abcdef+CC"} {
		c.addLog(s)
	}
	if len(c.Logs) != 2 || len(c.Logs[0].Keys) != 2 || c.Logs[0].URL != "http://x" || c.Logs[0].Keys[0] != "l+01234567+AA+=" {
		t.Errorf("logs %+v", c.Logs)
	}
}

// TestSplitViewLive has three witnesses on loopback and a log that forks. The
// last to start knows the others; those learn of it by its pushes.
func TestSplitViewLive(t *testing.T) {
	log := testLog()
	fork := log.Fork()
	log.Grow(100, "a")
	fork.Grow(100, "b")
	dir := t.TempDir()
	a := start(t, "-dev", filepath.Join(dir, "a"), "-log", log.VKey)
	b := start(t, "-dev", filepath.Join(dir, "b"), "-log", log.VKey, "-peer", a.VKey+","+a.HTTP)
	a.mustAdd(t, log, 0, 150)
	b.mustAdd(t, fork, 0, 150)

	// b pushes at once; a answers the next request with the evidence.
	hash := evidence.OriginHash(origin)
	var list string
	for deadline := t.Context(); list == "" && deadline.Err() == nil; {
		_, list = request(t, "GET", a.HTTP+"/evidence?origin-hash="+hash, nil)
	}
	id, _, _ := strings.Cut(list, " ")
	_, text := request(t, "GET", a.HTTP+"/evidence/"+id, nil)
	e, err := evidence.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if v := e.Verify(evidence.Keys{Logs: []note.Verifier{log}}); v.Result != evidence.Proven {
		t.Errorf("%+v", v)
	}
	if code, body := request(t, "POST", a.HTTP+"/add-checkpoint", log.Request(150, 160)); code != 403 || !strings.Contains(body, id) {
		t.Errorf("cosigning after the evidence: %d %s", code, body)
	}
	if code, _ := request(t, "POST", b.HTTP+"/evidence", []byte(text)); code != 201 && code != 200 {
		t.Errorf("telling the other: %d", code)
	}
	if code, _ := request(t, "POST", b.HTTP+"/add-checkpoint", fork.Request(150, 160)); code != 403 {
		t.Errorf("the other cosigns: %d", code)
	}

	a.stop(t)
	args := []string{"-dev", filepath.Join(dir, "a"), "-log", log.VKey}
	again := start(t, args...)
	if code, _ := request(t, "POST", again.HTTP+"/add-checkpoint", log.Request(150, 160)); code != 403 {
		t.Errorf("cosigning after a restart: %d", code)
	}
	fails(t, 1, "does another process hold it", "-dev", filepath.Join(dir, "a"), "-clear", origin)
	again.stop(t)
	fails(t, 2, "is not refused", "-dev", filepath.Join(dir, "a"), "-clear", "other.example/log")
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-dev", filepath.Join(dir, "a"), "-clear", origin}, &out, &stderr); code != 0 || !strings.Contains(out.String(), id) {
		t.Errorf("clearing: %d %s%s", code, &out, &stderr)
	}
	start(t, args...).mustAdd(t, log, 150, 160)
}
