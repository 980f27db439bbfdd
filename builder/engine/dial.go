package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// containerDialer returns how to reach a daemon in a container, for an address
// such as docker-container://NAME; nil for other addresses, which the client
// reaches by itself.
func containerDialer(address string) func(context.Context, string) (net.Conn, error) {
	for _, program := range []string{"docker", "podman"} {
		name, ok := strings.CutPrefix(address, program+"-container://")
		if !ok {
			continue
		}
		return func(context.Context, string) (net.Conn, error) {
			return dialCommand(program, "exec", "-i", "--", name, "buildctl", "dial-stdio")
		}
	}
	return nil
}

// dialCommand starts a command and returns a connection to its standard input
// and output. Closing the connection ends the command.
func dialCommand(name string, args ...string) (net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", name, err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close() // FileConn has a duplicate
	defer theirs.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("connecting through %s: %w", name, err)
	}
	// It ends by the end of its input; how it ended shows in the connection.
	go func() { _ = cmd.Wait() }()
	return net.FileConn(ours)
}
