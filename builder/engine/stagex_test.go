package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/engine/enginetest"
	"github.com/cairnlog/cairn/builder/tree"
)

// stage0Manifest is the digest that StageX publishes for bootstrap-stage0 in the
// release 2026.03 (commit e8b3a38), signed by its maintainers.
const stage0Manifest = "sha256:cee5701e9d52177885a7b4149f83a6f825f7840cb8d7d27cda0d8fc1d107367c"

// stage0 returns the request for bootstrap-stage0 of the tree that
// CAIRN_STAGEX_TREE names, with the sources in CAIRN_STAGEX_SOURCES. Neither is
// ever part of this repository.
func stage0(t testing.TB) *engine.Request {
	t.Helper()
	root, sources := os.Getenv("CAIRN_STAGEX_TREE"), os.Getenv("CAIRN_STAGEX_SOURCES")
	if root == "" || sources == "" {
		t.Skip("CAIRN_STAGEX_TREE and CAIRN_STAGEX_SOURCES do not name StageX's tree, commit e8b3a38, and the sources of its stage0")
	}
	loaded, err := tree.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(loaded.Packages, func(p *tree.Package) bool { return p.ID() == "bootstrap-stage0" })
	if i < 0 {
		t.Fatalf("%s has no bootstrap-stage0", root)
	}
	p := loaded.Packages[i]
	dir := filepath.Join(t.TempDir(), "context")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, p.Dir))); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "fetch"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Sources {
		data, err := os.ReadFile(filepath.Join(sources, s.File))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "fetch", s.File), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &engine.Request{
		ID:            p.ID(),
		Context:       dir,
		Containerfile: filepath.Join(dir, "Containerfile"),
		Platform:      "linux/386",
		Args:          append(tree.FixedArgs(), p.Args...),
		Annotations:   loaded.Annotations(p),
		Output:        filepath.Join(t.TempDir(), "out"),
	}
}

func TestStageXStage0(t *testing.T) {
	r := stage0(t)
	e := open(t, engine.Options{})
	result, err := e.Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := enginetest.Read(t, r.Output).Manifest.String(); got != stage0Manifest {
		t.Errorf("the manifest is %s, not %s", got, stage0Manifest)
	}
	if result.Cached() {
		t.Errorf("a new daemon had something in its cache: %+v", result.Steps)
	}
}

// BenchmarkStageXStage0 compares the engine with buildctl, each with a daemon of
// its own that has nothing in its cache. "make bench" runs it once: a build takes
// minutes.
func BenchmarkStageXStage0(b *testing.B) {
	r := stage0(b)
	var ours, theirs time.Duration
	plain := func() {
		theirs += cold(b, func(_ engine.Engine, address string) error { return buildctl(b, address, r) })
	}
	for first := true; b.Loop(); first = !first {
		// Which goes first changes, since other things run here, too.
		if first {
			plain()
		}
		ours += cold(b, func(e engine.Engine, _ string) error {
			r.Output = filepath.Join(b.TempDir(), "out")
			_, err := e.Build(b.Context(), r)
			return err
		})
		if !first {
			plain()
		}
		if got := enginetest.Read(b, r.Output).Manifest.String(); got != stage0Manifest {
			b.Fatalf("the manifest is %s, not %s", got, stage0Manifest)
		}
	}
	b.ReportMetric(theirs.Seconds()/float64(b.N), "s/buildctl")
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/engine")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}

// cold runs a build with a new daemon and returns how long it took without the
// daemon's start and end.
func cold(b *testing.B, build func(engine.Engine, string) error) time.Duration {
	b.Helper()
	root := b.TempDir()
	e, err := engine.BuildKit(b.Context(), engine.Options{Program: tool(b, "buildkitd"), Root: root})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := build(e, "unix://"+filepath.Join(root, "buildkitd.sock")); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// buildctl builds r as StageX's own tools would, less what Docker adds.
func buildctl(b *testing.B, address string, r *engine.Request) error {
	b.Helper()
	output := "type=oci,rewrite-timestamp=true,force-compression=true,dest=" + filepath.Join(b.TempDir(), "out.tar")
	for _, key := range slices.Sorted(maps.Keys(r.Annotations)) {
		output += fmt.Sprintf(",annotation.%s=%s", key, r.Annotations[key])
	}
	args := []string{
		"--addr", address, "build", "--progress=plain", "--frontend=dockerfile.v0",
		"--local=context=" + r.Context, "--local=dockerfile=" + filepath.Dir(r.Containerfile),
		"--opt=filename=" + filepath.Base(r.Containerfile), "--opt=platform=" + r.Platform, "--output=" + output,
	}
	for _, a := range r.Args {
		args = append(args, fmt.Sprintf("--opt=build-arg:%s=%s", a.Name, a.Value))
	}
	var log bytes.Buffer
	cmd := exec.Command(tool(b, "buildctl"), args...)
	cmd.Stdout, cmd.Stderr = io.Discard, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("buildctl: %w\n%s", err, &log)
	}
	return nil
}
