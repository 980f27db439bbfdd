package engine_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
)

// waits has a step that does not end by itself. Its word tells it from those of
// other tests in the list of processes.
func waits(word string) string {
	return "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"wait\", \"" + word + "\"]\n"
}

func testDaemonKilled(t *testing.T, tools map[string]string) {
	var noted warnings
	e := open(t, engine.Options{Log: noted.logger()})
	_, before := build(t, e, tools, uuid, nil)
	const word = "daemon-killed"
	err := tryBuild(t, e, tools, waits(word), func(r *engine.Request) {
		r.Progress = func(event engine.Event) {
			if event.Kind == engine.StepLog {
				if err := engine.DaemonOf(e).Kill(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if !strings.Contains(err.Error(), "signal: killed") || !strings.Contains(err.Error(), "buildkitd.log") {
		t.Errorf("the error does not say what happened and where to look: %v", err)
	}
	if pids := running(t, word); len(pids) > 0 {
		t.Errorf("the step outlived the daemon: %v", pids)
	}
	result, after := build(t, e, tools, uuid, nil)
	if !result.Cached() || after.Manifest != before.Manifest {
		t.Errorf("the daemon that was started again does not know what the first did: %+v", result.Steps)
	}
	if !strings.Contains(noted.String(), "started again") {
		t.Errorf("nothing was noted: %s", &noted)
	}
}

// running returns the processes that have this word as an argument.
func running(t *testing.T, word string) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		if strings.Contains(string(line), "\x00"+word+"\x00") {
			found = append(found, name)
		}
	}
	return found
}

// TestHelper is a builder for other tests to run as a process of its own: it
// builds the Containerfile in CAIRN_HELPER_FILE with a daemon in
// CAIRN_HELPER_ROOT and the program CAIRN_HELPER_TOOL, and writes logs and the digest to standard output.
func TestHelper(t *testing.T) {
	root := os.Getenv("CAIRN_HELPER_ROOT")
	if root == "" {
		return
	}
	syscall.Umask(0o077)
	e := open(t, engine.Options{Root: root})
	_, image := build(t, e, map[string]string{"amd64": os.Getenv("CAIRN_HELPER_TOOL")}, os.Getenv("CAIRN_HELPER_FILE"), func(r *engine.Request) {
		r.Progress = func(e engine.Event) { os.Stdout.Write(e.Log) }
	})
	fmt.Println("manifest", image.Manifest)
}

func helper(t *testing.T, tools map[string]string, root, file string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), "CAIRN_HELPER_ROOT="+root, "CAIRN_HELPER_FILE="+file, "CAIRN_HELPER_TOOL="+tools["amd64"])
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func testBuilderKilled(t *testing.T, tools map[string]string) {
	root := t.TempDir()
	const word = "builder-killed"
	cmd := helper(t, tools, root, waits(word))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "waiting\n" {
		t.Fatalf("the step did not start: %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// The directory is free once nothing of the daemon is left that could write to
	// it; its steps are then dying, too.
	var noted warnings
	e := open(t, engine.Options{Root: root, Log: noted.logger()})
	build(t, e, tools, uuid, nil)
	for tries := 0; len(running(t, word)) > 0; tries++ {
		if tries == 1000 {
			t.Fatal("the step outlived the builder")
		}
		time.Sleep(10 * time.Millisecond) // for the kernel to end it
	}
	if noted.Len() > 0 {
		t.Errorf("what the killed daemon left was not usable: %s", &noted)
	}
}

// What surrounds the builder does not reach the image.
func testSurroundings(t *testing.T, tools map[string]string) {
	const file = "FROM scratch AS build\nCOPY tool /tool\nRUN [\"/tool\", \"environ\", \"/out\"]\nFROM scratch\nCOPY --from=build /out /tool /\n"
	digests := map[string]bool{}
	for _, env := range [][]string{
		{"TZ=UTC", "LANG=C.UTF-8", "HOME=/root"},
		{"TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "HOME=/nonexistent", "HTTP_PROXY=http://127.0.0.1:9", "SOURCE_DATE_EPOCH=5", "USER=nobody"},
	} {
		out, err := helper(t, tools, t.TempDir(), file, env...).Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		digest, _, _ := strings.Cut(string(out), "\n")
		digests[digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("surroundings change the image: %v", digests)
	}
}

// leave makes what a daemon leaves that was killed, in a directory of a boot
// that is this one or not.
func leave(t *testing.T, tools map[string]string, sameBoot bool) string {
	t.Helper()
	root := t.TempDir()
	e := open(t, engine.Options{Root: root})
	build(t, e, tools, uuid, nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "running")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a daemon that was stopped left its mark: %v", err)
	}
	boot := []byte("another\n")
	if sameBoot {
		var err error
		if boot, err = os.ReadFile("/proc/sys/kernel/random/boot_id"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "running"), boot, 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func testMachineStopped(t *testing.T, tools map[string]string) {
	var noted warnings
	e := open(t, engine.Options{Root: leave(t, tools, false), Log: noted.logger()})
	result, _ := build(t, e, tools, uuid, nil)
	if result.Cached() || !strings.Contains(noted.String(), "dropping the build cache") {
		t.Errorf("the cache of a machine that stopped was used: %+v\n%s", result.Steps, &noted)
	}
}

func testStateDamaged(t *testing.T, tools map[string]string) {
	root := leave(t, tools, true)
	databases, err := filepath.Glob(filepath.Join(root, "state", "runc-overlayfs", "*.db"))
	if err != nil || len(databases) == 0 {
		t.Fatalf("no databases to damage: %v", err)
	}
	for _, name := range databases {
		if err := os.WriteFile(name, []byte(strings.Repeat("damaged ", 4096)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var noted warnings
	e := open(t, engine.Options{Root: root, Log: noted.logger()})
	result, _ := build(t, e, tools, uuid, nil)
	if result.Cached() || !strings.Contains(noted.String(), "dropping the build cache") {
		t.Errorf("the damage was not noted: %+v\n%s", result.Steps, &noted)
	}
}
