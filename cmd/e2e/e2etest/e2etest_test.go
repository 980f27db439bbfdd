package e2etest

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns how a test fails; empty if it does not.
func failure(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return r.failure
}

// shell starts a script.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	return Start(t, exec.Command("sh", "-c", script))
}

// untilTold is the end of a script that ends with success when it is asked to.
const untilTold = "\ntrap 'exit 0' TERM; echo '{\"at\": \"here\"}'; while :; do sleep 0.01; done"

func TestReady(t *testing.T) {
	var ready struct{ At string }
	p := shell(t, untilTold)
	if p.Ready(t, &ready); ready.At != "here" {
		t.Errorf("ready at %q", ready.At)
	}
	p.Stop(t)

	p = shell(t, untilTold)
	p.Ready(t, &ready)
	if p.Kill(t); p.Code() != -1 {
		t.Errorf("exit code %d after a kill, want -1", p.Code())
	}

	p = shell(t, "echo half of a line | tr -d '\\n'; exit 3")
	if p.TryReady(t, &ready) || p.Code() != 3 {
		t.Errorf("ready, or exit code %d, want 3", p.Code())
	}
	if p.Stdout.String() != "half of a line" {
		t.Errorf("stdout %q", p.Stdout)
	}
}

// TestFailures wants a test to fail at once, and to show why.
func TestFailures(t *testing.T) {
	var ready struct{ At string }
	for _, c := range []struct {
		name, script, want string
		test               func(testing.TB, *Process)
	}{
		{"not ready", "echo no key >&2; exit 3", "exit code 3\nno key", func(t testing.TB, p *Process) { p.Ready(t, &ready) }},
		{"not JSON", "echo ready", `"ready\n"`, func(t testing.TB, p *Process) { p.Ready(t, &ready) }},
		{"not stopped", "trap 'echo lost >&2; exit 4' TERM; echo '{}'; while :; do sleep 0.01; done", "exit code 4 after SIGTERM, want 0\nlost", func(t testing.TB, p *Process) {
			p.Ready(t, &ready)
			p.Stop(t)
		}},
		{"said too rarely", "echo again >&2; echo again >&2", "2 times, want 3", func(t testing.TB, p *Process) { p.Stderr.AwaitN(t, "again", 3) }},
		{"no such program", "exec /nonexistent/program", "exit code 127", func(t testing.TB, p *Process) { p.Ready(t, &ready) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := shell(t, c.script)
			if got := failure(t, func(t testing.TB) { c.test(t, p) }); !strings.Contains(got, c.want) {
				t.Errorf("failed with %q, want %q", got, c.want)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	p := shell(t, "trap 'echo second >&2; exit 0' TERM; echo first >&2; while :; do sleep 0.01; done")
	p.Stderr.Await(t, "first")
	p.Signal(t, syscall.SIGTERM)
	p.Stderr.Await(t, "second")
	<-p.Exited()
	p.Stderr.Await(t, "first") // of a process that is gone
	p.Signal(t, syscall.SIGTERM)
	if line, ok := <-p.First(); ok {
		t.Errorf("stdout has the line %q", line)
	}
}

func TestBuild(t *testing.T) {
	if err := Build(t.TempDir(), "no-such-command"); err == nil || !strings.Contains(err.Error(), "building no-such-command: ") {
		t.Errorf("building what is not there: %v", err)
	}
}
