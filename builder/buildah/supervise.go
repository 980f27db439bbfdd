package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"go.podman.io/buildah"
	"golang.org/x/sys/unix"
)

// grace is how long a cancelled build may take to tidy up.
const grace = 10 * time.Second

// supervise runs this binary once more in namespaces of its own, where it does
// the work, and passes signals on. The standard streams are the child's.
func supervise() error {
	// The child dies with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Umask(0o022)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	cmd, err := confinedCommand(os.Stdin)
	if err != nil {
		newOutput().send(Message{Error: asError(context.Background(), err)})
		return err
	}
	if cmd == nil {
		newOutput().send(Message{Result: &Result{Version: buildah.Version}})
		return nil
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the build in namespaces of its own: %w: it needs root", err)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-time.After(grace):
			_ = cmd.Process.Kill() // and with it all of its namespace
		case <-done:
		}
	}()
	err = cmd.Wait()
	close(done)
	if err != nil {
		return fmt.Errorf("the build's process: %w", err)
	}
	return nil
}

// confinedCommand is the child for the request that in holds, nil if nothing is
// to be built. Unless a step asks for network, it has none.
func confinedCommand(in io.Reader) (*exec.Cmd, error) {
	r, err := readRequest(in)
	if err != nil {
		return nil, err
	}
	p, err := readPlan(r)
	if err != nil {
		return nil, err
	}
	if r.Check {
		return nil, nil
	}
	request, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", "confined")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), os.Stdout, os.Stderr
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // so that a terminal's interrupt comes once, from us
	}
	if !p.online {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	return cmd, nil
}

// environment is all that buildah, and so a step, can see of ours. The empty
// configuration files keep the host's out.
func environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/nonexistent",
		"LANG=C.UTF-8",
		"TZ=UTC",
		"CONTAINERS_CONF=/dev/null",
		"CONTAINERS_STORAGE_CONF=/dev/null",
		"CONTAINERS_REGISTRIES_CONF=/dev/null",
	}
}
