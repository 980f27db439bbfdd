package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"go.podman.io/buildah"
	"go.podman.io/buildah/define"
	"go.podman.io/buildah/imagebuildah"
	"go.podman.io/image/v5/types"
	"golang.org/x/sys/unix"
)

// build does what r asks for.
func build(ctx context.Context, r *Request, out *output) (result *Result, err error) {
	logrus.SetOutput(os.Stderr)
	logrus.SetLevel(logrus.WarnLevel)
	p, err := readPlan(r)
	if err != nil {
		return nil, err
	}
	s, err := openState(r.Root)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := s.close(); cerr != nil && err == nil {
			result, err = nil, fmt.Errorf("tidying up: %w", cerr)
		}
	}()
	// Buildah puts here documents and scratch there.
	if err := os.Setenv("TMPDIR", s.path("tmp")); err != nil {
		return nil, err
	}
	if err := s.bind(r); err != nil {
		return nil, err
	}
	contexts, err := s.load(ctx, r, p.images)
	if err != nil {
		return nil, fmt.Errorf("loading images: %w", err)
	}
	if fetch := s.path("context/fetch"); p.fetch && isDir(fetch) {
		contexts["fetch"] = &define.AdditionalBuildContext{Value: fetch}
	}
	if p.modes {
		contexts[contextName] = &define.AdditionalBuildContext{Value: s.path("context")}
	}
	rec := newRecorder(out, p.stages)
	id, err := s.run(ctx, r, p, contexts, rec)
	step := rec.end(err)
	if err != nil {
		return nil, s.blame(step, err)
	}
	if err := s.export(ctx, id, s.path("output")); err != nil {
		return nil, fmt.Errorf("writing the image to %s: %w", r.Output, err)
	}
	return &Result{Version: buildah.Version, Steps: rec.steps()}, nil
}

// bind shows context and output in the build's directory, in our mount
// namespace: their own paths may hold what overlays and references to images
// give a meaning.
func (s *state) bind(r *Request) error {
	if err := os.Mkdir(r.Output, 0o755); err != nil {
		return fmt.Errorf("making the output: %w", err)
	}
	for name, dir := range map[string]string{"context": r.Context, "output": r.Output} {
		if err := unix.Mount(dir, s.path(name), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("binding %s: %w", dir, err)
		}
	}
	if err := unix.Mount("", s.path("context"), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("binding the context read-only: %w", err)
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (s *state) run(ctx context.Context, r *Request, p *plan, contexts map[string]*define.AdditionalBuildContext, rec *recorder) (id string, err error) {
	file := s.path("Containerfile")
	if err := os.WriteFile(file, p.text, 0o600); err != nil {
		return "", err
	}
	options, err := s.options(r, rec)
	if err != nil {
		return "", err
	}
	options.AdditionalBuildContexts = contexts
	options.IgnoreFile = ignoreFile(r, s.path("nothing"))
	id, _, err = imagebuildah.BuildDockerfiles(ctx, s.store, *options, file)
	return id, err
}

// ignoreFile is the file that BuildKit takes for .dockerignore: buildah knows
// further names for it.
func ignoreFile(r *Request, none string) string {
	for _, path := range []string{r.Containerfile + ".dockerignore", filepath.Join(r.Context, ".dockerignore")} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return none
}

func (s *state) options(r *Request, rec *recorder) (*define.BuildOptions, error) {
	system := s.systemContext()
	args, epoch, err := arguments(r)
	if err != nil {
		return nil, err
	}
	os, arch, _ := strings.Cut(r.Platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	self, err := executable()
	if err != nil {
		return nil, err
	}
	jobs := 1 // the recorder relies on it
	// Times in layers are not rewritten: a later step sees the same as with
	// BuildKit, which rewrites them in what it exports. So does our caller.
	options := &define.BuildOptions{
		ContextDirectory:        s.path("context"),
		ContainerSuffix:         s.name(),
		PullPolicy:              define.PullNever,
		Isolation:               define.IsolationOCI,
		Runtime:                 self,
		RuntimeArgs:             []string{"runtime", r.Runtime, s.dir},
		TransientMounts:         s.mounts(),
		Args:                    args,
		Log:                     rec.Log,
		Out:                     rec,
		Err:                     rec,
		ReportWriter:            rec,
		SignaturePolicyPath:     system.SignaturePolicyPath,
		SkipUnusedStages:        types.OptionalBoolTrue,
		OutputFormat:            define.Dockerv2ImageManifest, // it can hold SHELL, so that stages inherit it
		SystemContext:           system,
		ConfigureNetwork:        define.NetworkDisabled,
		NetworkInterface:        noNetwork{},
		CommonBuildOpts:         s.commonOptions(r),
		DefaultMountsFilePath:   s.path("nothing"),
		IIDFile:                 s.path("id"), // or it is written as if by a step
		Layers:                  true,
		NoCache:                 r.NoCache,
		RemoveIntermediateCtrs:  true,
		ForceRmIntermediateCtrs: true,
		Target:                  r.Target,
		SourceDateEpoch:         epoch,
		Platforms:               []struct{ OS, Arch, Variant string }{{os, arch, variant}},
		Jobs:                    &jobs,
		CDIConfigDir:            s.path("empty"),
		CreatedAnnotation:       types.OptionalBoolFalse,
	}
	return options, nil
}

// mounts are those that every step has, as with BuildKit.
func (s *state) mounts() []string {
	return []string{
		s.path("hosts") + ":/etc/hosts:ro",
		s.path("resolv.conf") + ":/etc/resolv.conf:ro",
	}
}

func (s *state) commonOptions(r *Request) *define.CommonBuildOptions {
	options := &define.CommonBuildOptions{
		CgroupParent:  cgroup(s.name()),
		HTTPProxy:     false,
		IdentityLabel: types.OptionalBoolFalse,
		Memory:        r.Memory,
		NoHostname:    true,
		NoHosts:       true,
		OCIHooksDir:   []string{s.path("empty")},
		Ulimit:        []string{"nofile=1024:1024", "nproc=4096:4096"}, // dropped: see amend
	}
	if r.Memory > 0 {
		options.MemorySwap = r.Memory
	}
	if r.CPUs > 0 {
		options.CPUSetCPUs = cpus(r.CPUs)
	}
	return options
}

// cpus names the first n of the processors that we may use, or all if they are
// fewer.
func cpus(n int) string {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return ""
	}
	var list []string
	for i := 0; len(list) < n && i < 1024; i++ {
		if set.IsSet(i) {
			list = append(list, strconv.Itoa(i))
		}
	}
	return strings.Join(list, ",")
}

// arguments are the build arguments, without those that tell BuildKit's frontend
// what to do, and the time that SOURCE_DATE_EPOCH stands for.
func arguments(r *Request) (args map[string]string, epoch *time.Time, err error) {
	args = make(map[string]string)
	for _, a := range r.Args {
		if !strings.HasPrefix(a.Name, "BUILDKIT_") {
			args[a.Name] = a.Value
		}
	}
	if value, ok := args["SOURCE_DATE_EPOCH"]; ok {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("argument SOURCE_DATE_EPOCH: %w", err)
		}
		t := time.Unix(seconds, 0).UTC()
		epoch = &t
	}
	return args, epoch, nil
}

// blame decides whether a failure is the package's. What the machine lacks is
// not.
func (s *state) blame(step *planStep, err error) error {
	name := "the build"
	blamed := &stepError{step: "Containerfile", err: err}
	if step != nil {
		name = step.Name
		blamed.step, blamed.line = step.Name, step.line
	}
	for _, lack := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.ENOMEM, unix.EMFILE, unix.EROFS} {
		if errors.Is(err, lack) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if free, ferr := s.free(); ferr == nil && free < minFree {
		return fmt.Errorf("%s: %w: the disk is full: %s has %d bytes left", name, err, s.root, free)
	}
	return blamed
}

// minFree is how much of the disk must be free for a failure to be taken for a
// step's own.
const minFree = 16 << 20

func (s *state) free() (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// asError is the last message of a build that failed.
func asError(ctx context.Context, err error) *Error {
	var step *stepError
	if ctx.Err() == nil && errors.As(err, &step) {
		e := &Error{Step: step.step, Line: step.line, Err: step.err.Error()}
		var exit *exec.ExitError
		if errors.As(step.err, &exit) {
			e.Exit = exit.ExitCode()
		}
		return e
	}
	return &Error{Err: err.Error()}
}
