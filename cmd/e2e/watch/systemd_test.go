package watch

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// units are the services, with the exposure that `systemd-analyze security` may find
// at most, from 0 to 10.
var units = map[string]float64{"cairn-ledger": 2, "cairn-witness": 2, "cairn-builder-worker": 7}

func unitPath(name string) string { return filepath.Join(deployments, "systemd", name+".service") }

// analyze runs systemd-analyze.
func analyze(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skipf("systemd-analyze is not installed: %v", err)
	}
	code, stdout, stderr := e2etest.Run(t, exec.Command("systemd-analyze", args...))
	return code, stdout + stderr
}

// installed makes a copy of a unit that starts the binaries of this test.
func installed(t *testing.T, dir, name string) string {
	t.Helper()
	text := strings.ReplaceAll(read(t, unitPath(name)), "=/usr/bin/", "="+bin+"/")
	path := filepath.Join(dir, name+".service")
	write(t, path, text)
	return path
}

func TestUnits(t *testing.T) {
	dir := t.TempDir()
	exposure := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for name, most := range units {
		path := installed(t, dir, name)
		if code, out := analyze(t, "verify", "--man=no", path); code != 0 || strings.TrimSpace(out) != "" {
			t.Errorf("verify %s: exit code %d\n%s", name, code, out)
		}
		_, out := analyze(t, "security", "--offline=yes", "--no-pager", path)
		m := exposure.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("security %s:\n%s", name, out)
		}
		if found, err := strconv.ParseFloat(m[1], 64); err != nil || found >= most {
			t.Errorf("the exposure of %s is %s, want less than %v\n%s", name, m[1], most, out)
		}
		t.Logf("the exposure of %s is %s", name, m[1])
		if want := fmt.Sprintf("\nRestartPreventExitStatus=%d %d\n", reason.ExitUsage, reason.ExitMisbehave); !strings.Contains(read(t, path), want) {
			t.Errorf("%s is started again after a usage error or a contradiction", name)
		}
	}
	bad := filepath.Join(dir, "bad.service")
	write(t, bad, "[Service]\nType=exec\nExecStart=/nonexistent\nProtectSystem=certainly\n")
	if code, out := analyze(t, "verify", "--man=no", bad); code == 0 && strings.TrimSpace(out) == "" {
		t.Error("verify takes a bad unit")
	}
}

// TestSampleConfigs: the configurations that are installed with the units are some.
func TestSampleConfigs(t *testing.T) {
	for command, file := range map[string]string{"cairn-ledger": "ledger.yaml", "cairn-witness": "witness.yaml"} {
		path := filepath.Join(deployments, "config", file)
		if code, out, errs := e2etest.Run(t, exec.Command(filepath.Join(bin, command), "-config", path, "-check-config")); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", file, code, out, errs)
		}
		for line := range strings.Lines(read(t, path)) {
			dir, ok := strings.CutPrefix(strings.TrimSpace(line), "state: ")
			if ok && !strings.HasPrefix(dir, "/var/lib/"+command+"/") {
				t.Errorf("%s keeps its state in %s, where its unit does not let it", file, dir)
			}
		}
	}
}

// allowed returns the system calls that a unit lets through, as systemd has them.
func allowed(t *testing.T, unit string) map[string]bool {
	t.Helper()
	calls := make(map[string]bool)
	for line := range strings.Lines(read(t, unitPath(unit))) {
		filter, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter=")
		if !ok {
			continue
		}
		sets, denied := strings.CutPrefix(filter, "~")
		for set := range strings.FieldsSeq(sets) {
			expand(t, set, func(name string) { calls[name] = !denied })
		}
	}
	// What systemd always lets through.
	for _, name := range []string{"execve", "exit", "exit_group", "rt_sigreturn", "sigreturn", "getrlimit", "time", "nanosleep", "clock_nanosleep"} {
		calls[name] = true
	}
	return calls
}

// expand calls f with each system call of a set.
func expand(t *testing.T, set string, f func(string)) {
	t.Helper()
	if !strings.HasPrefix(set, "@") {
		f(set)
		return
	}
	code, out := analyze(t, "syscall-filter", "--no-pager", set)
	if code != 0 {
		t.Fatalf("syscall-filter %s: exit code %d\n%s", set, code, out)
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && line != set && !strings.HasPrefix(line, "#") {
			expand(t, line, f)
		}
	}
}

// TestSystemCalls: the filters of the units let through what the daemons call, in a
// life from start to stop with a submission.
func TestSystemCalls(t *testing.T) {
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace is not installed, or may not trace here: %v: %s", err, out)
	}
	want := map[string]map[string]bool{"cairn-ledger": allowed(t, "cairn-ledger"), "cairn-witness": allowed(t, "cairn-witness")}
	dir := t.TempDir()
	traced := func(command string, args ...string) *exec.Cmd {
		return exec.Command("strace", append([]string{"-D", "-f", "-qq", "-o", filepath.Join(dir, command), filepath.Join(bin, command)}, args...)...)
	}
	w := newWorldOf(t, traced, "tracing: {endpoint: 'http://127.0.0.1:1'}\ndebug: 127.0.0.1:0\n")
	w.post(t, w.attestation(t), nil, http.StatusCreated)
	get(t, w.ledger.HTTP+"/metrics")
	get(t, w.witness.HTTP+"/metrics")
	w.ledger.Signal(t, syscall.SIGTERM)
	w.ledger.Wait(t)
	w.witness.Signal(t, syscall.SIGTERM)
	w.witness.Wait(t)
	for command, allowed := range want {
		seen := make(map[string]int)
		for line := range strings.Lines(read(t, filepath.Join(dir, command))) {
			if m := traceLine.FindStringSubmatch(line); m != nil {
				seen[m[1]]++
			}
		}
		if seen["fsync"]+seen["fdatasync"] == 0 || seen["accept4"] == 0 {
			t.Errorf("the trace of %s shows no life: %v", command, seen)
		}
		for name, n := range seen {
			if !allowed[name] && !harmless[name] {
				t.Errorf("%s calls %s %d times, which its unit does not let through", command, name, n)
			}
		}
	}
	if want["cairn-ledger"]["mount"] || want["cairn-ledger"]["chown"] || want["cairn-ledger"]["ptrace"] {
		t.Error("the filter lets through what it must not")
	}
}

// traceLine is a line of strace -f: a thread and a call.
var traceLine = regexp.MustCompile(`^\d+ +(\w+)\(`)

// harmless are calls that only root makes, as who this test may run, and no unit does:
// SQLite then gives its files the owner of the database.
var harmless = map[string]bool{"fchown": true}
