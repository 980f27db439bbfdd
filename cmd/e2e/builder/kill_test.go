//go:build linux

package builder

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// slow writes a tree with a package of which a step takes its time.
func (w *world) slow() {
	w.seed("")
	w.pkg("core/slow", "reproduce = [\"buildkit\"]\n", `FROM stagex/bootstrap-seed AS build
RUN --network=none ["/seed", "last", "6s"]
RUN --network=none ["/seed", "write", "/made", "text"]
FROM scratch AS package
COPY --from=build /made /
`)
}

const underWay = "seed: under way"

// TestKilledBuilder kills the builder, and then its BuildKit, in the middle of a
// step. Nothing half-done is logged, and the next run does the rest.
func TestKilledBuilder(t *testing.T) {
	w := newWorld(t)
	w.slow()
	args := w.args("alice", "build", "buildkit", "core/slow", "--logs")

	p := e2etest.Start(t, w.command("cairn-builder", args...))
	p.Stderr.Await(t, underWay)
	p.Kill(t)
	if diff := cmp.Diff([]string{"build"}, w.entries()); diff != "" {
		t.Errorf("logged after the builder was killed (-want +got):\n%s", diff)
	}

	p = e2etest.Start(t, w.command("cairn-builder", append(args, "-o", "json")...))
	p.Stderr.Await(t, underWay)
	if pid := childOf(t, p.Cmd.Process.Pid, "buildkitd"); syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Fatalf("killing BuildKit, process %d", pid)
	}
	p.Wait(t)
	var f failure
	if err := json.Unmarshal([]byte(p.Stdout.String()), &f); err != nil || f.Reason != "ENGINE_UNAVAILABLE" {
		t.Errorf("after BuildKit was killed: %v\n%s", err, p.Stdout)
	}
	if diff := cmp.Diff([]string{"build"}, w.entries()); diff != "" {
		t.Errorf("logged after BuildKit was killed (-want +got):\n%s", diff)
	}

	w.builder(args...)
	if diff := cmp.Diff([]string{"build", "build"}, w.entries()); diff != "" {
		t.Errorf("logged in the end (-want +got):\n%s", diff)
	}
}

// TestKilledLedger kills the ledger while a package is built. The build is kept,
// and logged once there is a ledger again.
func TestKilledLedger(t *testing.T) {
	w := newWorld(t)
	w.slow()
	args := w.args("alice", "build", "buildkit", "core/slow", "--logs")
	p := e2etest.Start(t, w.command("cairn-builder", args...))
	p.Stderr.Await(t, underWay)
	w.ledger.Kill(t)
	p.Wait(t)
	if p.Code() != 4 {
		t.Errorf("without a ledger: exit code %d\n%s", p.Code(), p.Stderr)
	}
	w.startLedger()
	if diff := cmp.Diff([]string{"build"}, w.entries()); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	out := w.builder(args...)
	if !strings.Contains(out, "core-slow unchanged") {
		t.Errorf("it was built again:\n%s", out)
	}
	w.builder(args...)
	if diff := cmp.Diff([]string{"build", "build"}, w.entries()); diff != "" {
		t.Errorf("logged in the end (-want +got):\n%s", diff)
	}
}

// job is a job of the queue.
type job struct {
	ID       int64
	State    string
	Package  string
	Worker   string
	Attempts int
}

func (w *world) jobs() []job {
	w.t.Helper()
	var v struct{ Builds []job }
	out := w.cairn("builds", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return v.Builds
}

// TestKilledWorker kills a worker in the middle of a job. Another does the job,
// and what it says is logged once.
func TestKilledWorker(t *testing.T) {
	w := newWorld(t)
	w.slow()
	w.builder(w.args("alice", "build", "buildkit", "core/slow")...)
	worker := func(name string) *e2etest.Process {
		args := w.args("bob", "worker", "buildkit", "--token", w.path("ledger/worker.token"), "--name", name, "--logs")
		for i := range args {
			if args[i] == w.path("bob") {
				args[i] = w.path("bob-" + name)
			}
		}
		return e2etest.Start(t, w.command("cairn-builder", args...))
	}
	first := worker("first")
	first.Stderr.Await(t, underWay)
	first.Kill(t)
	second := worker("second")
	second.Stderr.Await(t, underWay)
	// The answer to a stop may take the step's time.
	w.await(func() bool { jobs := w.jobs(); return len(jobs) == 1 && jobs[0].State == "done" })
	second.Stop(t)
	jobs := w.jobs()
	if jobs[0].Worker != "second" || jobs[0].Attempts != 2 || jobs[0].Package != "core-slow" {
		t.Errorf("jobs %+v", jobs)
	}
	if diff := cmp.Diff([]string{"build", "build", "reproduction IDENTICAL"}, w.entries()); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	if log := w.cairn("builds", "logs", strconv.FormatInt(jobs[0].ID, 10)); !strings.Contains(log, underWay) {
		t.Errorf("the job's log:\n%s", log)
	}
}

// await asks again until it is so, or long after.
func (w *world) await(so func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(e2etest.Patience); !so(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("it never came to be: %+v", w.jobs())
		}
	}
}

// childOf returns the process below pid that runs a program.
func childOf(t *testing.T, pid int, program string) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatalf("finding the processes of %d: %v", pid, err)
	}
	for _, field := range strings.Fields(string(out)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if exe, err := os.Readlink("/proc/" + field + "/exe"); err == nil && filepath.Base(exe) == program {
			return child
		}
	}
	t.Fatalf("process %d has no %s", pid, program)
	return 0
}
