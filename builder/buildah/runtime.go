package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/profiles/seccomp"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostname is that of BuildKit's steps.
const hostname = "buildkitsandbox"

func executable() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this binary: %w", err)
	}
	return self, nil
}

// runtimeMain stands between buildah and the OCI runtime: it is called as that
// would be, with the runtime's path and the build's directory before, amends
// the container's configuration, and becomes the runtime.
//
// It is where a step's world is made the same as BuildKit's: buildah leaves no
// other way to say all of it.
func runtimeMain(args []string) error {
	if len(args) < 3 {
		return errors.New("runtime: usage: runtime RUNTIME DIRECTORY COMMAND…")
	}
	runtime, dir, command := args[0], args[1], args[2:]
	if command[0] == "create" {
		i := slices.Index(command, "--bundle")
		if i < 0 || i+1 == len(command) {
			return errors.New("runtime: create without a bundle")
		}
		if err := amendBundle(command[i+1], dir); err != nil {
			return fmt.Errorf("runtime: %w", err)
		}
		// What a step writes keeps its order: through two pipes it would lose it.
		if err := unix.Dup2(1, 2); err != nil {
			return fmt.Errorf("runtime: %w", err)
		}
	}
	argv := append([]string{runtime, "--root", filepath.Join(dir, "runtime")}, command...)
	if err := unix.Exec(runtime, argv, os.Environ()); err != nil {
		return fmt.Errorf("starting %s: %w", runtime, err)
	}
	return nil
}

func amendBundle(bundle, dir string) error {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if spec.Process == nil || spec.Linux == nil || spec.Root == nil {
		return fmt.Errorf("%s has no process, no root or nothing for Linux", path)
	}
	layers, err := overlayAt(spec.Root.Path, filepath.Join(dir, "../../storage"))
	if err != nil {
		return err
	}
	cwd := strings.TrimPrefix(filepath.Clean(spec.Process.Cwd), "/")
	if err := removeStubs(spec.Root.Path, layers, cwd, "run/.containerenv", "run"); err != nil {
		return err
	}
	if slices.Equal(spec.Process.Args, []string{workdirProgram}) {
		if err := removeStubs(spec.Root.Path, layers, cwd, mountPoints(&spec)...); err != nil {
			return err
		}
		err = amendWorkdir(&spec, filepath.Join(dir, "workdir"))
	} else {
		err = amend(&spec)
	}
	if err != nil {
		return err
	}
	if data, err = json.Marshal(&spec); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// capabilities are those of BuildKit's steps, which has them from containerd.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// amend makes of buildah's container for a step one of BuildKit's.
func amend(spec *specs.Spec) error {
	spec.Hostname = hostname
	spec.Process.Env = slices.DeleteFunc(spec.Process.Env, func(v string) bool {
		return strings.HasPrefix(v, "HOSTNAME=")
	})
	// As StageX asks of BuildKit.
	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 2048, Hard: 16384}}
	if spec.Process.User.UID == 0 {
		spec.Process.Capabilities = &specs.LinuxCapabilities{
			Bounding: capabilities, Effective: capabilities, Permitted: capabilities,
		}
	} else {
		spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: capabilities}
	}
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool {
		return m.Destination == "/run/.containerenv"
	})
	for i := range spec.Mounts {
		switch m := &spec.Mounts[i]; m.Destination {
		case "/etc/hosts", "/etc/resolv.conf":
			m.Options = append(m.Options, "nosuid", "noexec", "nodev")
			if m.Destination == hostResolvers && hasHostNetwork(spec) {
				m.Source = hostResolvers
			}
		case "/sys/fs/cgroup":
			m.Options = []string{"ro", "nosuid", "noexec", "nodev"}
		}
	}
	// A storage driver makes the root directory of an image from scratch 0555.
	info, err := os.Stat(spec.Root.Path)
	if err != nil {
		return err
	}
	if info.Mode().Perm() == 0o555 {
		if err := os.Chmod(spec.Root.Path, 0o755); err != nil {
			return err
		}
	}
	filter, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		return fmt.Errorf("making the system-call filter: %w", err)
	}
	spec.Linux.Seccomp = filter
	return nil
}

// hostResolvers is the file of the name servers, for steps with network.
const hostResolvers = "/etc/resolv.conf"

func hasHostNetwork(spec *specs.Spec) bool {
	return !slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace
	})
}

// amendWorkdir replaces the container by one that does nothing, elsewhere:
// buildah has made the working directory.
func amendWorkdir(spec *specs.Spec, root string) error {
	self, err := executable()
	if err != nil {
		return err
	}
	spec.Root = &specs.Root{Path: root}
	spec.Process.Args = []string{workdirProgram, "nothing"}
	spec.Process.Cwd = "/"
	spec.Process.User = specs.User{}
	spec.Process.Rlimits = nil
	spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool {
		return m.Destination != "/proc" && m.Destination != "/dev"
	})
	spec.Mounts = append(spec.Mounts, specs.Mount{
		Destination: workdirProgram, Source: self, Type: "bind", Options: []string{"bind", "ro"},
	})
	return nil
}

// mountPoints are the paths, below the root, that are there for mounts, what is
// below another first.
func mountPoints(spec *specs.Spec) []string {
	var points []string
	for _, m := range spec.Mounts {
		for p := filepath.Clean(m.Destination); p != "/" && p != "."; p = filepath.Dir(p) {
			points = append(points, strings.TrimPrefix(p, "/"))
		}
	}
	slices.Sort(points)
	points = slices.Compact(points)
	slices.Reverse(points)
	return points
}

// overlay is one that is mounted: its directories, the lower ones from the top.
type overlay struct {
	upper  string
	lowers []string
}

// overlayAt returns the overlay that is mounted on root. The storage driver
// mounts with paths relative to its directory if there are many layers.
func overlayAt(root, storage string) (*overlay, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(root))
	if err != nil {
		return nil, err
	}
	absolute := func(dir string) string {
		if filepath.IsAbs(dir) {
			return dir
		}
		return filepath.Join(storage, "overlay", dir)
	}
	var o overlay
	for _, m := range mounts {
		for option := range strings.SplitSeq(m.VFSOptions, ",") {
			name, value, _ := strings.Cut(option, "=")
			switch name {
			case "upperdir":
				o.upper = absolute(value)
			case "lowerdir":
				for lower := range strings.SplitSeq(value, ":") {
					o.lowers = append(o.lowers, absolute(lower))
				}
			}
		}
	}
	if o.upper == "" {
		return nil, fmt.Errorf("no overlay is mounted on %s", root)
	}
	return &o, nil
}

// below returns what a path is in the lower directories, nil if it is not there.
func (o *overlay) below(path string) os.FileInfo {
	for _, lower := range o.lowers {
		if info, err := os.Lstat(filepath.Join(lower, path)); err == nil {
			if info.Mode()&os.ModeCharDevice != 0 { // it was deleted there
				return nil
			}
			return info
		}
	}
	return nil
}

// removeStubs removes those paths below root that are empty and were made for
// this very container, but keep and what it is in, and gives directories that
// were there before their times back. Paths come after those that are in them.
func removeStubs(root string, o *overlay, keep string, stubs ...string) error {
	for _, stub := range stubs {
		path := filepath.Join(root, stub)
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if before := o.below(stub); before != nil {
			if info.IsDir() && !info.ModTime().Equal(before.ModTime()) {
				if err := os.Chtimes(path, time.Time{}, before.ModTime()); err != nil {
					return err
				}
			}
			continue
		}
		if info.Mode().IsRegular() && info.Size() > 0 || strings.HasPrefix(keep+"/", stub+"/") {
			continue
		}
		// A directory that is not empty stays.
		if err := os.Remove(path); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("removing a mount point: %w", err)
		}
	}
	return nil
}
