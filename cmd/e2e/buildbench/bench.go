package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
)

// What is to be held: design, section 10.
const (
	mostOverhead  = 1.05
	mostUnchanged = 5 * time.Second
)

type bench struct {
	tree, pkg, from, dir string
	rounds               int

	t       *tree.Tree
	p       *tree.Package
	daemon  *exec.Cmd
	address string
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if b.t, err = tree.Load(b.tree); err != nil {
		return err
	}
	if b.p, err = b.t.Lookup(b.pkg); err != nil {
		return err
	}
	if err := b.startDaemon(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stopDaemon()) }()
	// The images that the package is built from, and its digest.
	if err := b.builder(ctx, "build", b.p.ID()); err != nil {
		return err
	}
	if err := b.builder(ctx, "digests", "--write", filepath.Join(b.dir, "digests")); err != nil {
		return err
	}
	if err := b.overhead(ctx); err != nil {
		return err
	}
	return b.unchanged(ctx)
}

// overhead builds by turns. The least time of each counts: what is more was
// somebody else's.
func (b *bench) overhead(ctx context.Context) error {
	ours, plain := time.Duration(1<<62), time.Duration(1<<62)
	for range b.rounds {
		began := time.Now()
		if err := b.plain(ctx); err != nil {
			return err
		}
		plain = min(plain, time.Since(began))
		began = time.Now()
		if err := b.builder(ctx, "reproduce", b.p.ID(), "--digests", filepath.Join(b.dir, "digests")); err != nil {
			return err
		}
		ours = min(ours, time.Since(began))
	}
	ratio := float64(ours) / float64(plain)
	fmt.Printf("builder  %-22s %8.2fs  buildctl %8.2fs  ratio %.3f, %+.2fs   §10 row 6 %s\n",
		b.p.ID(), ours.Seconds(), plain.Seconds(), ratio, (ours - plain).Seconds(), held(ratio <= mostOverhead))
	return nil
}

// unchanged builds everything that is built already.
func (b *bench) unchanged(ctx context.Context) error {
	built, err := image.OutDigests(filepath.Join(b.dir, "out"))
	if err != nil {
		return err
	}
	args := []string{"build"}
	for id := range built {
		args = append(args, id)
	}
	slices.Sort(args[1:])
	if err := b.builder(ctx, args...); err != nil {
		return err
	}
	best := time.Duration(1 << 62)
	for range b.rounds {
		began := time.Now()
		if err := b.builder(ctx, args...); err != nil {
			return err
		}
		best = min(best, time.Since(began))
	}
	fmt.Printf("builder  unchanged, %d of %d packages %6.2fs   §10 row 6 %s\n",
		len(built), len(b.t.Packages), best.Seconds(), held(best < mostUnchanged))
	return nil
}

func held(ok bool) string {
	if ok {
		return "HELD"
	}
	return "SHORT"
}

func (b *bench) builder(ctx context.Context, args ...string) error {
	args = append(args, "--tree", b.tree, "--dir", b.dir, "--quiet")
	if args[0] == "build" || args[0] == "reproduce" {
		args = append(args, "--engine-address", b.address, "--gate", "off")
		if b.from != "" {
			args = append(args, "--from", b.from)
		}
	}
	return quietly(exec.CommandContext(ctx, "bin/cairn-builder", args...))
}

// plain builds the package with buildctl: the same context, arguments and
// images, and the same output.
func (b *bench) plain(ctx context.Context) error {
	scratch, err := os.MkdirTemp("", "buildbench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	store, err := source.Open(filepath.Join(b.dir, "sources"))
	if err != nil {
		return err
	}
	dir := filepath.Join(scratch, "context")
	if _, err := source.Stage(store, filepath.Join(b.t.Root, b.p.Dir), b.p.Sources, dir); err != nil {
		return err
	}
	args, err := b.buildctl(dir, filepath.Join(scratch, "out.tar"))
	if err != nil {
		return err
	}
	return quietly(exec.CommandContext(ctx, ".tools/bin/buildctl", args...))
}

func (b *bench) buildctl(dir, out string) ([]string, error) {
	platform := "linux/amd64"
	if len(b.p.Platforms) > 0 {
		platform = b.p.Platforms[0]
	}
	output := "type=oci,rewrite-timestamp=true,force-compression=true,dest=" + out
	for name, value := range b.t.Annotations(b.p) {
		output += ",annotation." + name + "=" + value
	}
	args := []string{
		"--addr", b.address, "build", "--no-cache", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context=" + dir, "--local", "dockerfile=" + dir, "--opt", "filename=Containerfile",
		"--opt", "platform=" + platform, "--opt", "force-network-mode=none", "--output", output,
	}
	for _, a := range append(tree.FixedArgs(), b.p.Args...) {
		args = append(args, "--opt", "build-arg:"+a.Name+"="+a.Value)
	}
	if b.p.Target != "" {
		args = append(args, "--opt", "target="+b.p.Target)
	}
	if need, err := b.p.Containerfile.NeedsFetch(b.p.Target); err == nil && need {
		args = append(args, "--local", "fetch="+filepath.Join(dir, "fetch"), "--opt", "context:fetch=local:fetch")
	}
	for _, id := range b.p.Needs() {
		layout := filepath.Join(b.dir, "out", id)
		im, err := image.Open(layout, "")
		if err != nil {
			return nil, err
		}
		args = append(args, "--oci-layout", id+"="+layout,
			"--opt", "context:"+b.t.Prefix+id+"=oci-layout://"+id+"@"+im.Index.String())
	}
	return args, nil
}

// quietly runs a command, and returns what it said if it fails.
func quietly(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out.Bytes())
	}
	return nil
}

// startDaemon starts the buildkitd that both use.
func (b *bench) startDaemon(ctx context.Context) error {
	root := filepath.Join(b.dir, "buildkitd")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		return err
	}
	b.address = "unix://" + filepath.Join(root, "sock")
	b.daemon = exec.CommandContext(ctx, ".tools/bin/buildkitd", "--root", filepath.Join(root, "root"), "--addr", b.address,
		"--oci-worker-binary", "runc", "--oci-worker-snapshotter", "overlayfs", "--containerd-worker=false")
	b.daemon.Stderr = log
	b.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.daemon.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if exec.CommandContext(ctx, ".tools/bin/buildctl", "--addr", b.address, "debug", "workers").Run() == nil {
			return nil
		}
	}
	return fmt.Errorf("buildkitd did not start; see %s", log.Name())
}

func (b *bench) stopDaemon() error {
	if err := b.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	// buildkitd says exit code 1 of being asked to end.
	var ended *exec.ExitError
	if err := b.daemon.Wait(); !errors.As(err, &ended) {
		return err
	}
	return nil
}
