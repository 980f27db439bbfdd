package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"golang.org/x/mod/semver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// minLimits is the first version of BuildKit that limits single steps; earlier
// ones ignore the limits that they are given.
const minLimits = "v0.31.0"

// How long a daemon may take to answer: one that starts reads its cache first.
const (
	startGrace = time.Minute
	dialGrace  = 10 * time.Second
)

// buildkit runs builds with a BuildKit daemon.
type buildkit struct {
	opts Options

	mu     sync.Mutex
	closed bool
	daemon *buildkitd // nil if the daemon is not ours
	client *client.Client
	info   Info
}

// BuildKit returns an engine that builds with BuildKit: the daemon at o.Address,
// which is unix://PATH, tcp://HOST:PORT, docker-container://NAME or
// podman-container://NAME, or one that it starts. Where the daemon is
// another's, that its steps have no more than they ask for is that daemon's to
// keep.
//
// A daemon of ours that was killed is started again by the next build.
func BuildKit(ctx context.Context, o Options) (Engine, error) {
	b := &buildkit{opts: o}
	if _, err := b.connect(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Info says what answered when the daemon was last connected to.
func (b *buildkit) Info() Info {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.info
}

// Close ends the connection, and the daemon if it is ours.
func (b *buildkit) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.disconnect()
}

// disconnect is called with b.mu held.
func (b *buildkit) disconnect() error {
	var err error
	if b.client != nil {
		err = b.client.Close()
		b.client = nil
	}
	if b.daemon != nil {
		err = errors.Join(err, b.daemon.close())
		b.daemon = nil
	}
	return err
}

// connection is what one build uses.
type connection struct {
	*client.Client
	daemon *buildkitd // nil if it is not ours
	info   Info
}

// connect returns a connection to a daemon that has answered, and starts one if
// there has to be one and is not.
func (b *buildkit) connect(ctx context.Context) (*connection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errors.New("the engine is closed")
	}
	if b.daemon != nil && b.daemon.ended() {
		b.opts.log().Warn("buildkitd ended and is started again", "error", b.daemon.failure())
		if err := b.disconnect(); err != nil {
			return nil, err
		}
	}
	if b.client == nil {
		if err := b.open(ctx); err != nil {
			return nil, errors.Join(err, b.disconnect())
		}
	}
	return &connection{b.client, b.daemon, b.info}, nil
}

// open starts the daemon if it is to be ours, and connects to it.
func (b *buildkit) open(ctx context.Context) error {
	if b.opts.Address != "" {
		return b.dial(ctx, b.opts.Address, dialGrace)
	}
	_, err := os.Stat(filepath.Join(b.opts.Root, fileMark))
	killed := err == nil
	err = b.launch(ctx)
	if err == nil || !killed || ctx.Err() != nil || b.daemon == nil {
		return err
	}
	// It was killed the last time, and what it left cannot be used.
	b.opts.log().Warn("dropping the build cache: buildkitd was killed, and does not start on what it left", "error", err)
	daemon := b.daemon
	if err := errors.Join(b.disconnect(), daemon.drop()); err != nil {
		return err
	}
	return b.launch(ctx)
}

func (b *buildkit) launch(ctx context.Context) error {
	daemon, err := startBuildkitd(ctx, &b.opts)
	if err != nil {
		return err
	}
	b.daemon = daemon
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-daemon.done:
			cancel(daemon.failure())
		case <-ctx.Done():
		}
	}()
	if err := b.dial(ctx, daemon.address(), startGrace); err != nil {
		return err
	}
	// Steps would get the socket to which the daemon's traces go.
	if err := os.Remove(daemon.path(fileTrace)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.noteSnapshotter(ctx)
}

// dial connects and waits until the daemon answers.
func (b *buildkit) dial(ctx context.Context, address string, grace time.Duration) error {
	// The delays are for a daemon that is starting on this machine.
	delays := grpc.ConnectParams{MinConnectTimeout: 5 * time.Second, Backoff: backoff.Config{
		BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second,
	}}
	opts := []client.ClientOpt{
		client.WithGRPCDialOption(grpc.WithConnectParams(delays)),
	}
	if dial := containerDialer(address); dial != nil {
		opts = append(opts, client.WithContextDialer(dial))
	}
	c, err := client.New(ctx, address, opts...)
	if err != nil {
		return fmt.Errorf("connecting to buildkitd at %s: %w", address, err)
	}
	b.client = c
	wait, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	info, err := c.ControlClient().Info(wait, &control.InfoRequest{}, grpc.WaitForReady(b.daemon != nil))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("connecting to buildkitd at %s: %w: is it running, and may this user connect to it?", address, err)
	}
	b.info = Info{Name: "buildkit", Version: info.GetBuildkitVersion().GetVersion()}
	return nil
}

// noteSnapshotter says so if layers are copied, which costs time and space.
func (b *buildkit) noteSnapshotter(ctx context.Context) error {
	workers, err := b.client.ListWorkers(ctx)
	if err != nil {
		return fmt.Errorf("asking buildkitd for its workers: %w", err)
	}
	if len(workers) == 0 {
		return errors.New("buildkitd has no worker: is runc installed?")
	}
	const label = "org.mobyproject.buildkit.worker.snapshotter"
	if name := workers[0].Labels[label]; name != "overlayfs" {
		b.opts.log().Warn("buildkitd cannot use overlayfs in its directory, and is slower without", "snapshotter", name, "dir", b.opts.Root)
	}
	return nil
}

// Build builds r.
func (b *buildkit) Build(ctx context.Context, r *Request) (_ *Result, err error) {
	file, err := readContainerfile(r, b.opts.HostNetwork)
	if err != nil {
		return nil, err
	}
	conn, err := b.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	if limited := r.Limits.Memory > 0 || r.Limits.CPUs > 0; limited && semver.Compare(conn.info.Version, minLimits) < 0 {
		return nil, fmt.Errorf("%s: this buildkitd has version %s, and ignores limits of memory and CPUs before %s", r.ID, conn.info.Version, minLimits)
	}
	out, err := newOutput(r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := out.discard(); err == nil && e != nil {
			err = fmt.Errorf("%s: removing what the build left: %w", r.ID, e)
		}
	}()
	solve, err := newSolve(r, file, out)
	if err != nil {
		return nil, err
	}
	if b.opts.HostNetwork {
		solve.opt.AllowedEntitlements = []string{"network.host"}
	}
	result, err := solve.run(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := out.publish(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	return result, nil
}
