package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	"golang.org/x/sys/unix"
)

// The policy lets images in from OCI layouts and from our own storage, and from
// nowhere else.
const policy = `{
  "default": [{"type": "reject"}],
  "transports": {
    "oci": {"": [{"type": "insecureAcceptAnything"}]},
    "containers-storage": {"": [{"type": "insecureAcceptAnything"}]}
  }
}
`

// hosts is what BuildKit gives its steps as /etc/hosts.
const hosts = "127.0.0.1\tlocalhost " + hostname + "\n::1\tlocalhost ip6-localhost ip6-loopback\n"

// state is the engine's state on disk: what all builds share, and a directory
// for this one.
//
//	Root/storage   images and layers, of requests and of steps
//	Root/builds/N  one build's scratch, with a lock that lives as long as it
type state struct {
	root  string
	dir   string // Root/builds/N
	lock  *os.File
	store storage.Store
}

// openState prepares the directories, tidies up after builds that were killed,
// and opens the storage.
func openState(root string) (s *state, err error) {
	builds := filepath.Join(root, "builds")
	if err := os.MkdirAll(builds, 0o700); err != nil {
		return nil, fmt.Errorf("preparing the engine's state: %w", err)
	}
	s = &state{root: root}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	// Between its creation and its lock, a directory looks like one left over.
	unlock, err := lockFile(filepath.Join(root, "builds.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.dir, err = os.MkdirTemp(builds, "build-"); err != nil {
		return nil, fmt.Errorf("preparing the build's directory: %w", err)
	}
	if s.lock, err = tryLock(s.dir); err != nil {
		return nil, err
	}
	if err := s.files(); err != nil {
		return nil, err
	}
	s.store, err = storage.GetStore(storage.StoreOptions{
		GraphRoot:       filepath.Join(root, "storage"),
		RunRoot:         s.path("run"),
		GraphDriverName: "overlay",
	})
	if err != nil {
		return nil, fmt.Errorf("opening the storage of images in %s: %w", root, err)
	}
	return s, s.sweep(builds)
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// name is the build's own, which its containers bear.
func (s *state) name() string { return filepath.Base(s.dir) }

func (s *state) files() error {
	for _, dir := range []string{"run", "tmp", "empty", "runtime", "workdir", "workdir/proc", "workdir/dev", "context", "output"} {
		if err := os.Mkdir(s.path(dir), 0o700); err != nil {
			return fmt.Errorf("preparing the build's directory: %w", err)
		}
	}
	for name, text := range map[string]string{
		"policy.json": policy, "hosts": hosts, "resolv.conf": "", "nothing": "",
	} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("preparing the build's directory: %w", err)
		}
	}
	return nil
}

// systemContext keeps containers/image from every file of the host.
func (s *state) systemContext() *types.SystemContext {
	return &types.SystemContext{
		SignaturePolicyPath:         s.path("policy.json"),
		SystemRegistriesConfPath:    s.path("nothing"),
		SystemRegistriesConfDirPath: s.path("empty"),
		RegistriesDirPath:           s.path("empty"),
		AuthFilePath:                s.path("nothing"),
		DockerCertPath:              s.path("empty"),
		DockerPerHostCertDirPath:    s.path("empty"),
		BigFilesTemporaryDir:        s.path("tmp"),
	}
}

// sweep removes the containers and directories of builds that were killed:
// those whose lock nobody holds.
func (s *state) sweep(builds string) error {
	entries, err := os.ReadDir(builds)
	if err != nil {
		return fmt.Errorf("reading the builds' directory: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(builds, e.Name())
		if dir == s.dir {
			continue
		}
		lock, err := tryLock(dir)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return err
		}
		err = errors.Join(s.deleteContainers(e.Name()), removeCgroups(e.Name()), os.RemoveAll(dir), lock.Close())
		if err != nil {
			return fmt.Errorf("tidying up after %s: %w", e.Name(), err)
		}
	}
	return nil
}

// deleteContainers deletes the containers of the build of that name.
func (s *state) deleteContainers(build string) error {
	containers, err := s.store.Containers()
	if err != nil {
		return err
	}
	for _, c := range containers {
		for _, name := range c.Names {
			if !strings.Contains(name, build) {
				continue
			}
			if err := s.store.DeleteContainer(c.ID); err != nil && !errors.Is(err, storage.ErrContainerUnknown) {
				return err
			}
			break
		}
	}
	return nil
}

// close removes what is this build's own.
func (s *state) close() error {
	var errs []error
	if s.store != nil {
		errs = append(errs, s.deleteContainers(s.name()))
		_, err := s.store.Shutdown(true)
		errs = append(errs, err)
	}
	if s.dir != "" {
		errs = append(errs, removeCgroups(s.name()), s.remove())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// remove removes the build's directory. What others own is bound in it, and must
// not be any more when that begins.
func (s *state) remove() error {
	for _, name := range []string{"context", "output"} {
		if err := unix.Unmount(s.path(name), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmounting %s: %w", s.path(name), err)
		}
	}
	return os.RemoveAll(s.dir)
}

// cgroup is the path of a build's control group in each hierarchy.
func cgroup(build string) string { return "/cairn-buildah-" + build }

// removeCgroups removes the control groups that a killed runtime left. One that
// still has processes stays.
func removeCgroups(build string) error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + cgroup(build))
	if err != nil {
		return err
	}
	for _, dir := range append(dirs, "/sys/fs/cgroup"+cgroup(build)) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("removing the control group %s: %w", dir, err)
		}
	}
	return nil
}

// lockFile waits for an exclusive lock.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// tryLock locks a directory, or fails with EWOULDBLOCK.
func tryLock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening a build's directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return f, nil
}
