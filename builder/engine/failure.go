package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
)

// killed is the status of a command that a signal 9 ended: a limit of memory,
// the machine's or ours, or a person.
const killed = 128 + 9

// What tells failures apart that BuildKit tells in words only.
var (
	deniedSource = regexp.MustCompile(`source "([^"]+)" (?:is )?(?:denied|not allowed) by policy`)
	diskFull     = regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`)
	// runc writes this to a step's log if it could not run the step. What follows
	// "exec:" is about the step's command; everything else is about the machine.
	runcFailed = regexp.MustCompile(`(?m)^runc run failed: `)
	runcNoExec = regexp.MustCompile(`(?m)^runc run failed: .*(exec: ".*)$`)
	damaged    = regexp.MustCompile(`unexpected commit (?:digest|size)`)
	// What BuildKit's errors begin with, before they come to the matter.
	preamble     = regexp.MustCompile(`^(?:failed to (?:solve|compute cache key|calculate checksum of ref [^ ]+|load LLB): |dockerfile parse error on line \d+: )*`)
	wantsNetwork = regexp.MustCompile(`(?i)could not resolve|name resolution|name or service not known|network is (?:unreachable|down)|no such host|connection refused|bad address|unable to resolve|dial (?:tcp|udp)|can't connect`)
)

// failure says why a build failed: a *StepError if that is the package's doing.
func (s *steps) failure(ctx context.Context, conn *connection, err error) error {
	id := s.r.ID
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", id, context.Cause(ctx))
	}
	if conn.daemon != nil && (conn.daemon.ended() || grpcerrors.Code(err) == codes.Unavailable && conn.daemon.died()) {
		return fmt.Errorf("%s: the build was lost: %w", id, conn.daemon.failure())
	}
	st, internal := s.failed(err)
	var log []byte
	if st != nil {
		log = st.log
	}
	switch {
	case diskFull.MatchString(err.Error()) || diskFull.Match(log):
		return fmt.Errorf("%s: the disk is full: make room where the engine keeps its cache, and where the output goes: %w", id, err)
	case damaged.MatchString(err.Error()):
		return fmt.Errorf("%s: an image that the build was given is damaged: %w", id, err)
	case runcFailed.Match(log) && !runcNoExec.Match(log):
		return fmt.Errorf("%s: runc cannot run steps on this machine: %s: %w", id, log, err)
	}
	var exit *gateway.ExitError
	if errors.As(err, &exit) && exit.ExitCode == killed {
		return fmt.Errorf("%s: %s: killed, by the limit of memory (%d bytes; zero is none), by the machine's own or by hand: %w", id, stepOf(st), s.r.Limits.Memory, err)
	}
	switch grpcerrors.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Unimplemented, codes.PermissionDenied:
		return fmt.Errorf("%s: buildkitd did not finish the build: %w: build again once it answers", id, err)
	}
	var frontend *errdefs.FrontendError
	line := containerfileLine(err)
	switch {
	case deniedSource.MatchString(err.Error()), st != nil:
		return s.stepError(st, line, exit, err)
	case !internal && (line > 0 || errors.As(err, &frontend)) && !strings.Contains(err.Error(), "no active session"):
		return s.stepError(nil, line, nil, err)
	}
	return fmt.Errorf("%s: buildkitd failed: %w", id, err)
}

func stepOf(st *step) string {
	if st == nil {
		return "a step"
	}
	return st.Name
}

func (s *steps) stepError(st *step, line int, exit *gateway.ExitError, err error) *StepError {
	text := preamble.ReplaceAllString(err.Error(), "")
	e := containerfileError(s.r.ID, line, errors.New(text))
	if m := deniedSource.FindStringSubmatch(text); m != nil {
		e = containerfileError(s.r.ID, cmp.Or(line, s.file.mentions(m[1])),
			fmt.Errorf("%s is no stage and not among the images that the build was given, and nothing is pulled", strings.TrimPrefix(m[1], "docker-image://")))
	}
	if st != nil {
		e.Step, e.Line, e.Log = st.Name, st.line, st.log
	}
	if exit != nil {
		e.Exit = int(exit.ExitCode)
		e.Err = fmt.Errorf("exit status %d", e.Exit)
	}
	if m := runcNoExec.FindSubmatch(e.Log); m != nil {
		e.Err = fmt.Errorf("the command could not be run: %s", m[1])
	}
	if st != nil && st.Network == networkNone && wantsNetwork.Match(e.Log) {
		e.Err = fmt.Errorf("%w: the step seems to want the network, and has none: sources are fetched before the build", e.Err)
	}
	return e
}

// mentions returns the first line that names a source, zero if none does in the
// words of BuildKit, which adds schemes and what the name of an image may lack.
func (c *containerfile) mentions(source string) int {
	_, name, _ := strings.Cut(source, "://")
	name = strings.TrimSuffix(name, ":latest")
	for {
		for i, line := range strings.Split(string(c.data), "\n") {
			if strings.Contains(line, name) {
				return i + 1
			}
		}
		var ok bool
		if _, name, ok = strings.Cut(name, "/"); !ok || name == "" {
			return 0
		}
	}
}

// failed returns the step that an error names. If the error names something
// that is no step, such as the transfer of an image, it reports that.
func (s *steps) failed(err error) (_ *step, internal bool) {
	var vertex *errdefs.VertexError
	if !errors.As(err, &vertex) {
		return nil, false
	}
	st := s.byID[digest.Digest(vertex.Digest)]
	return st, st == nil
}

// containerfileLine returns the line that an error points at, zero if it points
// at none.
func containerfileLine(err error) int {
	for _, source := range errdefs.Sources(err) {
		for _, r := range source.Ranges {
			if r.Start != nil && r.Start.Line > 0 {
				return int(r.Start.Line)
			}
		}
	}
	return 0
}
