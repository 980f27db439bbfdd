package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What the daemon says decides whether the package is blamed: wrongly blaming
// it would log a failure that is not one.
func TestFailure(t *testing.T) {
	const run = "[build 2/3] RUN make"
	exit := func(code uint32) error {
		return errdefs.WrapVertex(&gateway.ExitError{ExitCode: code, Err: fmt.Errorf("exit code: %d", code)}, digest.FromString(run))
	}
	at := func(line int32, err error) error {
		return errdefs.WithSource(err, &errdefs.Source{Ranges: []*pb.Range{{Start: &pb.Position{Line: line}}}})
	}
	for _, c := range []struct {
		name   string
		log    string
		err    error
		blamed bool
		want   string
	}{
		{"a command fails", "oops\n", exit(2), true, run + ": exit status 2"},
		{"a command misses the network", "curl: (6) Could not resolve host: a\n", exit(6), true, "has none"},
		{"a command is not there", "runc run failed: unable to start container process: exec: \"/bin/sh\": stat /bin/sh: no such file or directory\n", exit(1), true, "could not be run: exec: \"/bin/sh\""},
		{"a command is killed", "", exit(137), false, "killed"},
		{"the disk fills up below a command", "cc: write: No space left on device\n", exit(1), false, "disk is full"},
		{"runc cannot work", "runc run failed: unable to apply cgroup configuration\n", exit(1), false, "runc cannot run"},
		{"the disk fills up", "", errdefs.WrapVertex(errors.New("write /x: no space left on device"), digest.FromString(run)), false, "disk is full"},
		{"an image is damaged", "", errdefs.WrapVertex(errors.New("unexpected commit digest sha256:1, expected sha256:2"), digest.FromString(run)), false, "damaged"},
		{"the export fails", "", errdefs.WrapVertex(errors.New("cannot write"), digest.FromString("exporting to oci image format")), false, "buildkitd failed: cannot write"},
		{"the frontend refuses the Containerfile", "", at(3, errors.New("failed to solve: dockerfile parse error on line 3: unknown instruction: X")), true, "Containerfile:3: unknown instruction: X"},
		{"the frontend gives no line", "", (&errdefs.Frontend{Name: "dockerfile.v0"}).WrapError(errors.New("invalid stage index 7")), true, "Containerfile: invalid stage index 7"},
		{"the frontend lost us", "", (&errdefs.Frontend{Name: "dockerfile.v0"}).WrapError(errors.New("no active session for x")), false, "no active session"},
		{"an image is not given", "", errors.New(`failed to load LLB: source "docker-image://a.test/b:1" denied by policy: source denied by policy`), true, "a.test/b:1 is no stage"},
		{"the connection is lost", "", status.Error(codes.Unavailable, "error reading from server: EOF"), false, "did not finish"},
		{"anything else", "", errors.New("something"), false, "buildkitd failed: something"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, all := follow(t, &client.SolveStatus{
				Vertexes: []*client.Vertex{vertex(run, "started"), vertex("exporting to oci image format", "started")},
				Logs:     []*client.VertexLog{logged(run, c.log)},
			})
			err := all.failure(t.Context(), &connection{}, c.err)
			var step *StepError
			if got := errors.As(err, &step); got != c.blamed {
				t.Errorf("the package is blamed: %t: %v", got, err)
			}
			if !strings.HasPrefix(err.Error(), "x: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
			if step != nil && string(step.Log) != c.log {
				t.Errorf("the log is %q", step.Log)
			}
		})
	}
	t.Run("it was cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(context.Canceled)
		_, all := follow(t)
		if err := all.failure(ctx, &connection{}, exit(2)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
