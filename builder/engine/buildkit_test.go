package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/engine/enginetest"
)

// tool returns a program that make deps builds.
func tool(t testing.TB, name string) string {
	t.Helper()
	name, err := filepath.Abs(filepath.Join("../../.tools/bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	return name
}

// open starts an engine that the test closes.
func open(t *testing.T, o engine.Options) engine.Engine {
	t.Helper()
	e, err := tryOpen(t, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
	})
	return e
}

func tryOpen(t *testing.T, o engine.Options) (engine.Engine, error) {
	t.Helper()
	if o.Address == "" && o.Program == "" {
		o.Program = tool(t, "buildkitd")
	}
	if o.Address == "" && o.Root == "" {
		o.Root = t.TempDir()
	}
	return engine.BuildKit(t.Context(), o)
}

func TestBuildKit(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		e, err := tryOpen(t, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	})
}

// What is BuildKit's own. The program of the images is built once for all.
func TestBuildKitDriver(t *testing.T) {
	tools := enginetest.Tools(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, map[string]string)
	}{
		{"writes the bytes that StageX's digests are of", testGoldenDigest},
		{"limits memory and CPUs of steps", testLimits},
		{"gives the host's network if told to", testHostNetwork},
		{"reaches a daemon in several ways", testAddress},
		{"says why it does not open", testRefusals},
		{"does not build once closed", testClosed},
		{"says that the disk is full", testDiskFull},
		{"survives the death of its daemon", testDaemonKilled},
		{"leaves nothing behind when it is killed", testBuilderKilled},
		{"keeps its surroundings from the image", testSurroundings},
		{"drops its cache when the machine stopped", testMachineStopped},
		{"drops a cache that a killed daemon damaged", testStateDamaged},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, tools) })
	}
}

// uuid gives another result each time its step is run.
const uuid = "FROM scratch AS build\nCOPY tool /tool\nRUN [\"/tool\", \"copy\", \"/proc/sys/kernel/random/uuid\", \"/out\"]\nFROM scratch\nCOPY --from=build /out /\n"

// build builds a Containerfile and returns the result and the image's digest.
func build(t *testing.T, e engine.Engine, tools map[string]string, file string, edit func(*engine.Request)) (*engine.Result, *enginetest.Image) {
	t.Helper()
	r := enginetest.Build{Containerfile: file, Edit: edit}.Request(t, tools)
	result, err := e.Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return result, enginetest.Read(t, r.Output)
}

// tryBuild is build for one that should fail with an error that is not the
// package's.
func tryBuild(t *testing.T, e engine.Engine, tools map[string]string, file string, edit func(*engine.Request)) error {
	t.Helper()
	r := enginetest.Build{Containerfile: file, Edit: edit}.Request(t, tools)
	_, err := e.Build(t.Context(), r)
	if err == nil {
		t.Fatal("the build succeeded")
	}
	var step *engine.StepError
	if errors.As(err, &step) {
		t.Errorf("the package is blamed: %v\n%s", err, step.Log)
	}
	if _, err := os.Lstat(r.Output); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the build left its output: %v", err)
	}
	return err
}

// The digest is a constant: it changes if the bytes do that BuildKit writes, of
// JSON or of deflate, and with them the digests of every StageX image.
func testGoldenDigest(t *testing.T, tools map[string]string) {
	e := open(t, engine.Options{})
	r := enginetest.Build{
		Containerfile: "FROM scratch\nCOPY text /text\n",
		Files:         map[string]string{"text": strings.Repeat("The quick brown fox jumps over the lazy dog.\n", 1000)},
		Arch:          "386",
		Edit:          func(r *engine.Request) { r.Annotations = map[string]string{"org.example.key": "value"} },
	}.Request(t, tools)
	if _, err := e.Build(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	const want = "sha256:032171ab188017b00016ed09597abc984377bf4d6e7dda14e60e1983c197f8fd"
	if got := enginetest.Read(t, r.Output).Manifest.String(); got != want {
		t.Errorf("the manifest's digest is %s, not %s: was buildkitd built by another Go?", got, want)
	}
}

func testLimits(t *testing.T, tools map[string]string) {
	e := open(t, engine.Options{})
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

func testHostNetwork(t *testing.T, tools map[string]string) {
	e := open(t, engine.Options{HostNetwork: true})
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	port := server.Addr().(*net.TCPAddr).Port
	result, _ := build(t, e, tools, fmt.Sprintf(`FROM scratch
COPY tool /tool
RUN --network=host ["/tool", "dial", "%d"]
RUN ["/tool", "network"]
`, port), nil)
	var got []string
	for _, step := range result.Steps {
		got = append(got, step.Network)
	}
	if strings.Join(got, ",") != ",host,none" {
		t.Errorf("networks of the steps: %q", got)
	}
}

// small returns a directory with this much space.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func testDiskFull(t *testing.T, tools map[string]string) {
	const file = "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"fill\", \"/file\", \"64\"]\n"
	t.Run("where the cache is", func(t *testing.T) {
		e := open(t, engine.Options{Root: small(t, "48m")})
		if err := tryBuild(t, e, tools, file, nil); !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("the error does not say so: %v", err)
		}
	})
	t.Run("where the output goes", func(t *testing.T) {
		e, out := open(t, engine.Options{}), small(t, "300k")
		err := tryBuild(t, e, tools, uuid+"COPY tool /tool\n", func(r *engine.Request) { r.Output = filepath.Join(out, "out") })
		if !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("the error does not say so: %v", err)
		}
	})
}

// One daemon is started, and reached in other ways.
func testAddress(t *testing.T, tools map[string]string) {
	root := t.TempDir()
	ours := open(t, engine.Options{Root: root})
	address := "unix://" + filepath.Join(root, "buildkitd.sock")

	bin := t.TempDir()
	docker := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 'exec -i -- box buildctl dial-stdio' ] || exit 1\nexec %s --addr %s dial-stdio\n", tool(t, "buildctl"), address)
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))

	for _, address := range []string{address, "docker-container://box"} {
		theirs := open(t, engine.Options{Address: address})
		if theirs.Info() != ours.Info() {
			t.Errorf("%s is %+v, not %+v", address, theirs.Info(), ours.Info())
		}
		build(t, theirs, tools, uuid, nil)
		if err := theirs.Close(); err != nil {
			t.Error(err)
		}
	}
	build(t, ours, tools, uuid, nil) // it is still there
}

func testRefusals(t *testing.T, _ map[string]string) {
	root := t.TempDir()
	open(t, engine.Options{Root: root})
	for _, c := range []struct {
		name string
		o    engine.Options
		want string
	}{
		{"two on one directory", engine.Options{Root: root}, fmt.Sprintf("in use by another builder, process %d", os.Getpid())},
		{"no such address", engine.Options{Address: "unix://" + root + "/absent.sock"}, "is it running"},
		{"no such container", engine.Options{Address: "podman-container://absent"}, "podman"},
		{"no such program", engine.Options{Program: root + "/absent"}, "make deps"},
		{"a directory too deep", engine.Options{Root: filepath.Join(t.TempDir(), strings.Repeat("x", 100))}, "too long for a socket"},
		{"a daemon that does not start", engine.Options{Program: "/bin/false"}, "exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := tryOpen(t, c.o)
			if err == nil {
				t.Fatalf("the engine is open; closing it: %v", e.Close())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
		})
	}
	e, err := engine.BuildKit(t.Context(), engine.Options{Program: tool(t, "buildkitd")})
	if err == nil {
		t.Errorf("an engine without directory is open; closing it: %v", e.Close())
	}
}

func testClosed(t *testing.T, tools map[string]string) {
	e := open(t, engine.Options{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tryBuild(t, e, tools, uuid, nil); !strings.Contains(err.Error(), "closed") {
		t.Errorf("the error does not say why: %v", err)
	}
}

// warnings is a log that keeps the messages of warnings.
type warnings struct{ bytes.Buffer }

func (w *warnings) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&w.Buffer, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
