package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/identity"
	spb "github.com/moby/buildkit/sourcepolicy/pb"
	"github.com/tonistiigi/fsutil"
)

// imageStore names the layouts of other packages towards the daemon. Blobs are
// named by digest, so one name does for all.
const imageStore = "images"

// solve is one build as BuildKit's client takes it.
type solve struct {
	r       *Request
	file    *containerfile
	opt     client.SolveOpt
	scratch string // holds the Containerfile as it is built
	out     *output
}

// newSolve says what to build. Its error says nothing about the package.
func newSolve(r *Request, file *containerfile, out *output) (*solve, error) {
	s := &solve{r: r, file: file, out: out}
	s.opt = client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: s.attrs(),
		SourcePolicy:  onlyGiven(),
		// The daemon compares files by size and time with those it last got under the
		// same key, and files may differ in neither: so no two builds share one.
		SharedKey: identity.NewID(),
		Exports: []client.ExportEntry{{
			Type:   client.ExporterOCI,
			Attrs:  exportAttrs(r),
			Output: s.unpack,
		}},
	}
	if err := s.mount(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	if err := s.images(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	return s, nil
}

// attrs are those of the frontend, as StageX gives them, but for the network.
func (s *solve) attrs() map[string]string {
	attrs := limitAttrs(s.r.Limits)
	attrs["filename"] = "Containerfile"
	attrs["ulimit"] = "nofile=2048:16384"
	if !s.file.network {
		attrs["force-network-mode"] = networkNone
	}
	if s.r.Target != "" {
		attrs["target"] = s.r.Target
	}
	if s.r.Platform != "" {
		attrs["platform"] = s.r.Platform
	}
	if s.r.NoCache {
		attrs["no-cache"] = ""
		// Steps without cache are still shared between builds at the same time, unless
		// they differ. This limit is one that Linux has not known since 2.4.
		attrs["ulimit"] += fmt.Sprintf(",locks=%d", rand.Int32())
	}
	for _, a := range s.r.Args {
		attrs["build-arg:"+a.Name] = a.Value
	}
	return attrs
}

// nextCPU is where the CPUs of the next build with a limit begin, so that
// builds at the same time have different ones.
var nextCPU atomic.Int64

// limitAttrs returns the attributes that bound the steps. Without a bound of
// swap equal to that of memory, what does not fit is swapped.
func limitAttrs(l Limits) map[string]string {
	attrs := map[string]string{}
	if l.Memory > 0 {
		attrs["memory"] = strconv.FormatInt(l.Memory, 10)
		attrs["memswap"] = attrs["memory"]
	}
	if have := runtime.NumCPU(); l.CPUs > 0 && l.CPUs < have {
		first := int(nextCPU.Add(int64(l.CPUs))) - l.CPUs
		var set []string
		for i := range l.CPUs {
			set = append(set, strconv.Itoa((first+i)%have))
		}
		attrs["cpusetcpus"] = strings.Join(set, ",")
	}
	return attrs
}

// exportAttrs are those with which StageX's digests come out.
func exportAttrs(r *Request) map[string]string {
	attrs := map[string]string{"rewrite-timestamp": "true", "force-compression": "true"}
	for key, value := range r.Annotations {
		attrs["annotation."+key] = value
	}
	return attrs
}

// onlyGiven allows the sources that come through our session and nothing else:
// no registry, no URL, no Git repository.
func onlyGiven() *spb.Policy {
	rule := func(action spb.PolicyAction, source string) *spb.Rule {
		return &spb.Rule{Action: action, Selector: &spb.Selector{Identifier: source, MatchType: spb.MatchType_REGEX}}
	}
	// The last rule that matches decides.
	return &spb.Policy{Version: 1, Rules: []*spb.Rule{
		rule(spb.PolicyAction_DENY, `.*`),
		rule(spb.PolicyAction_ALLOW, `^local://`),
		rule(spb.PolicyAction_ALLOW, `^oci-layout://`),
	}}
}

// mount gives the daemon the context and the Containerfile.
func (s *solve) mount() error {
	s.scratch = filepath.Join(s.out.temp, "containerfile")
	if err := os.Mkdir(s.scratch, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.scratch, "Containerfile"), s.file.data, 0o600); err != nil {
		return err
	}
	s.opt.LocalMounts = map[string]fsutil.FS{}
	mounts := map[string]string{"context": s.r.Context, "dockerfile": s.scratch}
	// BuildKit would take the context for a stage of that name, too.
	fetch := filepath.Join(s.r.Context, "fetch")
	if fi, err := os.Stat(fetch); err == nil && fi.IsDir() && !s.file.hasStage("fetch") {
		mounts["fetch"] = fetch
		s.opt.FrontendAttrs["context:fetch"] = "local:fetch"
	}
	for name, dir := range mounts {
		fs, err := fsutil.NewFS(dir)
		if err != nil {
			return fmt.Errorf("opening the build context: %w", err)
		}
		s.opt.LocalMounts[name] = fs
	}
	return nil
}

// images gives the daemon the images of other packages, by digest.
func (s *solve) images() error {
	var store layouts
	for name, dir := range s.r.Images {
		desc, err := openLayout(dir)
		if err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		key := "context:" + name
		if _, ok := s.opt.FrontendAttrs[key]; ok {
			return fmt.Errorf("image %s: the name is taken by a directory of the context", name)
		}
		s.opt.FrontendAttrs[key] = fmt.Sprintf("oci-layout://%s@%s", imageStore, desc.Digest)
		store = append(store, dir)
	}
	s.opt.OCIStores = map[string]content.Store{imageStore: store}
	return nil
}

// unpack is where the client writes the result, as a tar of an OCI layout.
func (s *solve) unpack(map[string]string) (io.WriteCloser, error) {
	r, w := io.Pipe()
	u := &unpacking{PipeWriter: w, done: make(chan error, 1)}
	go func() {
		err := unpackLayout(r, s.out.dir())
		if err == nil {
			// What follows the end of the archive is padding.
			_, err = io.Copy(io.Discard, r)
		}
		_ = r.CloseWithError(err)
		u.done <- err
	}()
	return u, nil
}

type unpacking struct {
	*io.PipeWriter
	done chan error
}

// Close waits until what was written is on disk.
func (u *unpacking) Close() error {
	return errors.Join(u.PipeWriter.Close(), <-u.done)
}

// run runs the build.
func (s *solve) run(ctx context.Context, conn *connection) (*Result, error) {
	if limit := s.r.Limits.Time; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("the build was not done after %s, its limit: %w", limit, context.DeadlineExceeded))
		defer cancel()
	}
	result := &Result{Started: time.Now()}
	statuses := make(chan *client.SolveStatus)
	steps := newSteps(s.r, s.file)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for status := range statuses {
			steps.add(status)
		}
	}()
	_, err := conn.Solve(ctx, nil, s.opt, statuses)
	<-watched
	if err != nil {
		return nil, steps.failure(ctx, conn, err)
	}
	result.Steps = steps.finish()
	result.Ended = time.Now()
	return result, nil
}
