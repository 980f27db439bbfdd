package engine

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/template"
	"time"
)

// How long a daemon may take: to end when told so, and to let go of its
// directory after whoever started it was killed.
const (
	stopGrace = 10 * time.Second
	lockGrace = 5 * time.Second
)

// maxSocket is how long the path of a unix socket may be.
const maxSocket = 107

// buildkitd is a daemon that this process started. It does not outlive this
// process, whatever ends it, and what it runs does not outlive the daemon: the
// kernel kills it with its PID namespace, in which the daemon is the first
// process. Its mounts go with its mount namespace.
type buildkitd struct {
	dir    string // see Options.Root
	lock   *os.File
	daemon *os.Process
	done   chan struct{} // closed when the daemon has ended
	err    error         // how it ended; read after done
	stop   sync.Once
}

// Files in a daemon's directory.
const (
	fileLock   = "lock"    // held by us and by the daemon; holds our PID
	fileMark   = "running" // holds the boot ID while the state is not at rest
	fileConfig = "buildkitd.toml"
	fileLog    = "buildkitd.log"
	fileSocket = "buildkitd.sock"
	fileTrace  = "otel.sock"
	dirState   = "state"
)

//go:embed buildkitd.toml
var configText string

var configTemplate = template.Must(template.New(fileConfig).Parse(configText))

// namespaces is run by a shell that is the first process of its namespaces, and
// becomes the daemon. Containers that a killed daemon leaves behind in runc's
// directory are nobody's, so it is made anew.
const namespaces = `mount -t proc proc /proc && mkdir -p /run/runc && mount -t tmpfs -o mode=0700 tmpfs /run/runc && exec "$@"`

// startBuildkitd starts a daemon on o.Root. It does not wait until it serves.
func startBuildkitd(ctx context.Context, o *Options) (*buildkitd, error) {
	program, err := checkHost(o)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	d := &buildkitd{dir: dir, done: make(chan struct{})}
	if n := len(d.socket()) - maxSocket; n > 0 {
		return nil, fmt.Errorf("starting buildkitd in %s: the path is %d bytes too long for a socket: choose a shorter one", dir, n)
	}
	if err := os.MkdirAll(filepath.Join(dir, dirState), 0o700); err != nil {
		return nil, fmt.Errorf("starting buildkitd: %w", err)
	}
	if d.lock, err = lockDir(ctx, dir); err != nil {
		return nil, err
	}
	if err := errors.Join(d.rest(o), d.configure(o), d.start(program)); err != nil {
		return nil, errors.Join(fmt.Errorf("starting buildkitd in %s: %w", dir, err), d.lock.Close())
	}
	return d, nil
}

// checkHost returns the daemon's program.
func checkHost(o *Options) (string, error) {
	if o.Root == "" {
		return "", errors.New("starting buildkitd: no directory is given for its cache")
	}
	if os.Geteuid() != 0 {
		return "", errors.New("starting buildkitd needs root: run as root, or give the address of a running one")
	}
	program := o.Program
	if program == "" {
		program = "buildkitd"
	}
	program, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("starting buildkitd: %w: 'make deps' builds it", err)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return "", fmt.Errorf("starting buildkitd: %w: 'make deps' installs it", err)
	}
	return filepath.Abs(program)
}

// lockDir takes the directory for this process. The daemon holds the same lock,
// so that a directory is free only when its daemon is gone.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockGrace)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		holder, _ := os.ReadFile(f.Name())
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder)))
		alive := pid > 0 && syscall.Kill(pid, 0) == nil
		if !errors.Is(err, syscall.EWOULDBLOCK) || alive || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("%s is in use by another builder, process %d: wait for it, or choose another directory: %w", dir, pid, err), f.Close())
		}
		// The holder is dead, and its daemon dying.
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	err = errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n"))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

func (d *buildkitd) path(name string) string { return filepath.Join(d.dir, name) }
func (d *buildkitd) socket() string          { return d.path(fileSocket) }
func (d *buildkitd) address() string         { return "unix://" + d.socket() }

// rest leaves a state that can be built upon, and marks it as in use. BuildKit's
// databases survive the daemon's death, but nothing says that files it had not
// synced survive the machine's: a cache must not serve half of a result.
func (d *buildkitd) rest(o *Options) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	mark, err := os.ReadFile(d.path(fileMark))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !bytes.Equal(mark, boot):
		o.log().Warn("dropping the build cache: the machine stopped while it was in use", "dir", d.dir)
		if err := d.drop(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(d.path(fileMark), boot, 0o600); err != nil {
		return err
	}
	return syncDir(d.dir)
}

// drop removes the cache.
func (d *buildkitd) drop() error {
	return errors.Join(os.RemoveAll(d.path(dirState)), os.Mkdir(d.path(dirState), 0o700))
}

func (d *buildkitd) configure(o *Options) error {
	var text bytes.Buffer
	err := configTemplate.Execute(&text, map[string]any{
		"State":       d.path(dirState),
		"Address":     d.address(),
		"Trace":       d.path(fileTrace),
		"HostNetwork": o.HostNetwork,
		"CacheBytes":  o.CacheBytes,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(d.path(fileConfig), text.Bytes(), 0o600)
}

// start runs the program in namespaces of its own.
func (d *buildkitd) start(program string) error {
	if err := os.Remove(d.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(d.path(fileLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", "-c", namespaces, "sh", program, "--config", d.path(fileConfig))
	cmd.Dir = d.dir
	// Nothing of our environment reaches a step or an image; logs are not cut.
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + d.dir, "TZ=UTC",
		"BUILDKIT_STEP_LOG_MAX_SIZE=-1", "BUILDKIT_STEP_LOG_MAX_SPEED=-1",
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{d.lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:      true, // an interrupt from the terminal is ours to handle
		Pdeathsig:    syscall.SIGKILL,
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS,
	}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread ends that started the process, so the
		// thread must last as long as the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		d.daemon = cmd.Process
		started <- err
		if err == nil {
			d.err = cmd.Wait()
			close(d.done)
		}
	}()
	return <-started
}

// ended reports whether the daemon has ended.
func (d *buildkitd) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// died reports whether the daemon is gone, once its connection is lost: that is
// a moment before it and all of its steps are.
func (d *buildkitd) died() bool {
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-d.done:
		return true
	case <-timer.C:
		return false
	}
}

// close ends the daemon, at first gently, and frees its directory.
func (d *buildkitd) close() (err error) {
	d.stop.Do(func() {
		clean := !d.ended()
		_ = d.daemon.Signal(syscall.SIGTERM)
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-d.done:
		case <-timer.C:
			clean = false
			_ = d.daemon.Kill()
			<-d.done
		}
		if clean {
			syscall.Sync()
			err = os.Remove(d.path(fileMark))
		}
		err = errors.Join(err, d.lock.Close())
	})
	return err
}

// failure says how the daemon ended, with the end of its log.
func (d *buildkitd) failure() error {
	how := "it ended"
	if d.err != nil {
		how = d.err.Error()
	}
	const most = 2048
	log, _ := os.ReadFile(d.path(fileLog))
	if len(log) > most {
		log = log[len(log)-most:]
	}
	return fmt.Errorf("buildkitd in %s: %s; its log (%s) ends with:\n%s", d.dir, how, d.path(fileLog), log)
}
