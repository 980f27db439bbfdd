package engine_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/engine/enginetest"
)

// buildahProgram returns the cairn-buildah that make deps builds.
func buildahProgram(t testing.TB) string {
	t.Helper()
	name, err := filepath.Abs("../../.tools/bin/cairn-buildah")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	return name
}

func openBuildah(t *testing.T, o engine.Options) engine.Engine {
	t.Helper()
	o.Program = buildahProgram(t)
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	e, err := engine.Buildah(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		checkTidy(t, o.Root)
	})
	return e
}

// checkTidy checks that nothing of a build is left but what the next can use.
func checkTidy(t *testing.T, root string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(root, "builds", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("builds left %q, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), root+"/") {
		t.Errorf("builds left mounts in %s, %v", root, err)
	}
}

func TestBuildah(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine { return openBuildah(t, engine.Options{}) })
}

// The digest is the one that the test of BuildKit has.
func TestBuildahGoldenDigest(t *testing.T) {
	e := openBuildah(t, engine.Options{})
	r := enginetest.Build{
		Containerfile: "FROM scratch\nCOPY text /text\n",
		Files:         map[string]string{"text": strings.Repeat("The quick brown fox jumps over the lazy dog.\n", 1000)},
		Arch:          "386",
		Edit:          func(r *engine.Request) { r.Annotations = map[string]string{"org.example.key": "value"} },
	}.Request(t, enginetest.Tools(t))
	if _, err := e.Build(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	const want = "sha256:032171ab188017b00016ed09597abc984377bf4d6e7dda14e60e1983c197f8fd"
	if got := enginetest.Read(t, r.Output).Manifest.String(); got != want {
		t.Errorf("the manifest's digest is %s, not %s", got, want)
	}
}

func TestBuildahLimits(t *testing.T) {
	e := openBuildah(t, engine.Options{})
	tools := enginetest.Tools(t)
	step := func(command string) string {
		return "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", " + command + "]\n"
	}
	t.Run("memory", func(t *testing.T) {
		err := tryBuild(t, e, tools, step(`"eat", "128"`), func(r *engine.Request) { r.Limits.Memory = 64 << 20 })
		if !strings.Contains(err.Error(), "67108864") || !strings.Contains(err.Error(), "RUN") {
			t.Errorf("the error does not name limit and step: %v", err)
		}
		build(t, e, tools, step(`"eat", "16"`), func(r *engine.Request) { r.Limits.Memory = 64 << 20 })
	})
	t.Run("CPUs", func(t *testing.T) {
		var log bytes.Buffer
		build(t, e, tools, step(`"cpus"`), func(r *engine.Request) {
			r.Limits.CPUs = 1
			r.Progress = func(e engine.Event) { log.Write(e.Log) }
		})
		if log.String() != "cpus 1\n" {
			t.Errorf("the step saw %q", log.String())
		}
	})
}

func TestBuildahHostNetwork(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	result, _ := build(t, openBuildah(t, engine.Options{HostNetwork: true}), enginetest.Tools(t), fmt.Sprintf(`FROM scratch
COPY tool /tool
RUN --network=host ["/tool", "dial", "%d"]
RUN ["/tool", "network"]
`, server.Addr().(*net.TCPAddr).Port), nil)
	var got []string
	for _, step := range result.Steps {
		got = append(got, step.Network)
	}
	if strings.Join(got, ",") != ",host,none" {
		t.Errorf("networks of the steps: %q", got)
	}
}

func TestBuildahKilled(t *testing.T) {
	root := t.TempDir()
	e := openBuildah(t, engine.Options{Root: root})
	tools := enginetest.Tools(t)
	const word = "buildah-killed"
	err := tryBuild(t, e, tools, waits(word), func(r *engine.Request) {
		r.Progress = func(event engine.Event) {
			if event.Kind == engine.StepLog {
				killBuildah(t)
			}
		}
	})
	if !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("the error does not say what happened: %v", err)
	}
	awaitEnd(t, word)
	left, err := os.ReadDir(filepath.Join(root, "builds"))
	if err != nil || len(left) == 0 {
		t.Fatalf("the build that was killed left nothing to tidy up: %v", err)
	}
	build(t, e, tools, "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"network\"]\n", nil)
	checkTidy(t, root)
}

// killBuildah kills the cairn-buildah that this process has started.
func killBuildah(t *testing.T) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// PID (COMMAND) STATE PARENT …
		if !bytes.Contains(stat, []byte("(cairn-buildah) S "+strconv.Itoa(os.Getpid())+" ")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("no cairn-buildah is running")
}

// A builder that is killed takes its builds with it.
func TestBuildahBuilderKilled(t *testing.T) {
	if root := os.Getenv("CAIRN_BUILDAH_HELPER_ROOT"); root != "" {
		e := openBuildah(t, engine.Options{Root: root})
		_ = tryBuild(t, e, enginetest.Tools(t), waits("buildah-builder-killed"), func(r *engine.Request) {
			r.Progress = func(e engine.Event) { os.Stdout.Write(e.Log) }
		})
		return
	}
	root := t.TempDir()
	killHelper(t, "TestBuildahBuilderKilled", "CAIRN_BUILDAH_HELPER_ROOT="+root)
	awaitEnd(t, "buildah-builder-killed")
	build(t, openBuildah(t, engine.Options{Root: root}), enginetest.Tools(t), "FROM scratch\nCOPY tool /\n", nil)
}

func TestBuildahClosed(t *testing.T) {
	root := t.TempDir()
	e := openBuildah(t, engine.Options{Root: root})
	tools := enginetest.Tools(t)
	err := tryBuild(t, e, tools, waits("buildah-closed"), func(r *engine.Request) {
		r.Progress = func(event engine.Event) {
			if event.Kind == engine.StepLog {
				go func() { _ = e.Close() }()
			}
		}
	})
	if !strings.Contains(err.Error(), "closed") {
		t.Errorf("the error does not say that the engine was closed: %v", err)
	}
	if pids := running(t, "buildah-closed"); len(pids) > 0 {
		t.Errorf("the step outlived the engine: %v", pids)
	}
	checkTidy(t, root)
	if err := tryBuild(t, e, tools, "FROM scratch\nCOPY tool /\n", nil); !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed engine says: %v", err)
	}
}

func TestBuildahOptions(t *testing.T) {
	for name, o := range map[string]engine.Options{
		"an address":      {Address: "unix:///run/x", Root: t.TempDir()},
		"no directory":    {},
		"a bounded cache": {Root: t.TempDir(), CacheBytes: 1},
		"no program":      {Root: t.TempDir(), Program: filepath.Join(t.TempDir(), "cairn-buildah")},
		"another program": {Root: t.TempDir(), Program: "/bin/false"},
	} {
		if _, err := engine.Buildah(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
