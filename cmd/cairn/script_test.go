package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(withLedger{m}, map[string]func(){"cairn": main})
}

// ledgerBinary names the environment variable with the path of cairn-ledger.
const ledgerBinary = "TEST_CAIRN_LEDGER"

// withLedger runs the tests once cairn-ledger is built.
type withLedger struct{ m *testing.M }

func (w withLedger) Run() int {
	dir, err := os.MkdirTemp("", "cairn-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "cairn-ledger")
	if out, err := exec.Command("go", "build", "-o", binary, "../cairn-ledger").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building cairn-ledger: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(ledgerBinary, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return w.m.Run()
}

// TestScripts runs the real cairn against the real cairn-ledger.
func TestScripts(t *testing.T) {
	testscript.Run(t, scripts("testdata/script", func(env *testscript.Env) error { return setup(t, env) }))
}

// setup prepares a script's environment: of the one that the tests run in, nothing
// may count.
func setup(t *testing.T, env *testscript.Env) error {
	env.Setenv("NO_COLOR", "")
	env.Setenv("CLICOLOR_FORCE", "")
	env.Setenv("LC_ALL", "C.UTF-8")
	env.Setenv("XDG_STATE_HOME", env.WorkDir+"/state")
	env.Values[ledgers{}] = make(map[string]*exec.Cmd)
	env.Values[scriptTest{}] = t
	return nil
}

// scripts are the scripts of a directory.
func scripts(dir string, setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir:   dir,
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ledger":     startLedger,
			"stopledger": stopLedger,
			"exits":      exits,
			"capture":    capture,
			"serve":      serveFiles,
			"same":       sameAnswers,
			"json":       jsonMember,
			"asks":       asks,
			"pgp":        openPGP,
			"rebuilderd": startRebuilderd,
			"lease":      leaseBuild,
			"append":     appendBuildLog,
			"fail":       failBuild,
			"rekor":      changeRekor,
			"sigstore":   makeBundle,
		},
	}
}

// ledgers is the key of a script's running ledgers, by directory.
type ledgers struct{}

// startLedger is `ledger [DIR [FLAG...]]`: it starts a ledger with its state under DIR,
// and waits for its ready line. CAIRN_LEDGER, ORIGIN and VKEY are set, and the
// file policy trusts its key.
func startLedger(ts *testscript.TestScript, neg bool, args []string) {
	dir := ledgerDir(ts, neg, args[:min(1, len(args))])
	cmd, ready, err := runLedger(ts.MkAbs(dir), args[min(1, len(args)):]...)
	if err != nil {
		ts.Fatalf("ledger: %v\n%s", err, ts.ReadFile(dir+".log"))
	}
	running := ts.Value(ledgers{}).(map[string]*exec.Cmd)
	running[dir] = cmd
	ts.Defer(func() {
		if running[dir] == cmd {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	ts.Setenv("CAIRN_LEDGER", ready.HTTP)
	ts.Setenv("ORIGIN", ready.Origin)
	ts.Setenv("VKEY", ready.VKey)
	policy := fmt.Sprintf("log %s\nquorum none\n", ready.VKey)
	ts.Check(os.WriteFile(ts.MkAbs("policy"), []byte(policy), 0o600))
}

// ready is what a ledger says once it takes requests.
type ready struct{ Origin, VKey, HTTP string }

// runLedger starts a ledger with its state in dir and its log in dir.log, and
// waits until it is ready. Relative paths in flags are to where dir is. After an
// error nothing runs.
func runLedger(dir string, flags ...string) (*exec.Cmd, *ready, error) {
	args := append([]string{"-dev", dir, "-http", "127.0.0.1:0", "-grpc", "127.0.0.1:0"}, flags...)
	cmd := exec.Command(os.Getenv(ledgerBinary), args...)
	cmd.Dir = filepath.Dir(dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	r := new(ready)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, r)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, nil, errors.Join(fmt.Errorf("waiting for the ready line: %w", err), cmd.Wait())
	}
	return cmd, r, nil
}

func ledgerDir(ts *testscript.TestScript, neg bool, args []string) string {
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: ledger [DIR], stopledger [DIR]")
	case len(args) == 1:
		return args[0]
	}
	return "ledger"
}

// stopLedger is `stopledger [DIR]`: SIGTERM must end it with exit code 0.
func stopLedger(ts *testscript.TestScript, neg bool, args []string) {
	dir := ledgerDir(ts, neg, args)
	running := ts.Value(ledgers{}).(map[string]*exec.Cmd)
	cmd := running[dir]
	if cmd == nil {
		ts.Fatalf("stopledger: no ledger runs in %s", dir)
	}
	delete(running, dir)
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("stopledger: %v\n%s", err, ts.ReadFile(dir+".log"))
	}
}

// exits is `exits N CMD...`: the command must end with exit code N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N CMD...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// capture is `capture NAME`: it sets NAME to what the last command printed.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// jsonMember is `json [!] PATH VALUE`: stdout must be one JSON document, and its
// member at PATH, such as entries.0.id, be VALUE. `! json PATH` is that there
// is no such member.
func jsonMember(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 && !(neg && len(args) == 1) {
		ts.Fatalf("usage: json PATH VALUE, ! json PATH")
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	if _, err := d.Token(); err != io.EOF {
		ts.Fatalf("json: stdout is not one JSON document")
	}
	for _, word := range strings.Split(args[0], ".") {
		switch c := v.(type) {
		case map[string]any:
			v = c[word]
		case []any:
			i, err := strconv.Atoi(word)
			if err != nil || i >= len(c) {
				v = nil
				continue
			}
			v = c[i]
		default:
			v = nil
		}
	}
	switch {
	case neg && v != nil:
		ts.Fatalf("json: %s is %v", args[0], v)
	case !neg && (v == nil || fmt.Sprint(v) != args[1]):
		ts.Fatalf("json: %s is %v, want %s", args[0], v, args[1])
	}
}
