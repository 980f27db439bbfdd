package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// writes are the system calls by which a ledger changes its storage.
var writes = []string{
	"openat", "write", "pwrite64", "fsync", "fdatasync", "renameat", "linkat", "unlinkat", "mkdirat", "ftruncate",
}

// call is one system call of a trace.
type call struct {
	thread, name, args string
	start, end         int // places in the trace; end is -1 if it did not return
	broken             bool
	covers             int // for whoever reads the trace
}

// file returns what the call was about, relative to the ledger's directory and
// without what differs from run to run; empty if it is about something else.
func (c *call) file(dir string) string {
	// Of two paths, as of a rename, the last one counts.
	at := strings.LastIndex(c.args, dir)
	if at < 0 {
		return ""
	}
	path := strings.Trim(c.args[at+len(dir):], "/")
	if end := strings.IndexAny(path, `">`); end >= 0 {
		path = path[:end]
	}
	switch {
	case path == "":
		return "the directory"
	case strings.HasPrefix(path, "log/tile/entries"):
		return "a bundle"
	case strings.HasPrefix(path, "log/tile"):
		return "a tile"
	case strings.HasPrefix(path, "log/"):
		return strings.TrimRight(path, "0123456789") // of temporary files
	}
	return path
}

var (
	traceCall   = regexp.MustCompile(`^(\d+) +(\w+)\((.*)`)
	traceResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)`)
	traceDead   = regexp.MustCompile(`^(\d+) +\+\+\+ `)
)

// readTrace reads what strace wrote.
func readTrace(t *testing.T, file string) []call {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var calls []call
	open := make(map[string]int) // thread to its unfinished call
	place := 0
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for ; s.Scan(); place++ {
		line := s.Text()
		if m := traceResume.FindStringSubmatch(line); m != nil {
			if i, ok := open[m[1]]; ok && !strings.HasSuffix(line, "= ?") {
				calls[i].end = place
				calls[i].broken = strings.HasSuffix(line, "(INJECTED)")
				delete(open, m[1])
			}
			continue
		}
		m := traceCall.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		c := call{thread: m[1], name: m[2], args: m[3], start: place, end: place, broken: strings.HasSuffix(line, "(INJECTED)")}
		if strings.HasSuffix(line, "<unfinished ...>") || strings.HasSuffix(line, "= ?") {
			c.end = -1
			open[c.thread] = len(calls)
		}
		calls = append(calls, c)
	}
	return calls
}

// tracer is strace at work on a process.
type tracer struct {
	strace *e2etest.Process
	file   string
}

func needStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("strace is not installed: %v", err)
	}
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
}

// straceArgs traces the given calls, and breaks one of them if inject says so.
func straceArgs(file, inject string) []string {
	args := []string{"-f", "-y", "-s", "100", "-o", file, "-e", "signal=KILL", "-e", "trace=" + strings.Join(writes, ",")}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	return args
}

// attach traces a running process. strace counts calls by thread, and from
// when it is attached.
func attach(t *testing.T, p *process, inject string) *tracer {
	t.Helper()
	tr := &tracer{file: filepath.Join(t.TempDir(), "trace")}
	args := append(straceArgs(tr.file, inject), "-p", fmt.Sprint(p.Cmd.Process.Pid))
	tr.strace = e2etest.Start(t, exec.Command("strace", args...))
	tr.strace.Stderr.Await(t, "attached")
	return tr
}

// detach lets the process run on untraced. The process must not be about to
// die: strace would wait for it to stop, and it for strace to let it go.
func (tr *tracer) detach(t *testing.T) []call {
	t.Helper()
	tr.strace.Signal(t, syscall.SIGTERM)
	return tr.calls(t)
}

// calls returns what was traced of a process that is gone, as strace then is.
func (tr *tracer) calls(t *testing.T) []call {
	t.Helper()
	tr.strace.Wait(t)
	return readTrace(t, tr.file)
}

// launchTraced starts a ledger under strace from its first instruction. The
// process is the ledger: strace runs beside it.
func launchTraced(t *testing.T, inject string, args ...string) (p *process, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "trace")
	traced := append([]string{"-D"}, straceArgs(file, inject)...)
	return launchCommand(t, exec.Command("strace", append(append(traced, binary), args...)...)), file
}

// endOfTrace waits until strace has written that a process is gone.
func endOfTrace(t *testing.T, file string, p *process) []call {
	t.Helper()
	p.Wait(t)
	pid := fmt.Sprint(p.Cmd.Process.Pid)
	for deadline := time.Now().Add(e2etest.Patience); time.Now().Before(deadline); {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if m := traceDead.FindStringSubmatch(lines[len(lines)-1]); m != nil && m[1] == pid {
			return readTrace(t, file)
		}
	}
	t.Fatal("strace does not end")
	return nil
}
