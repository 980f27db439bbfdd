package verdict

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// isolate runs a command in a network namespace that has nothing, not even a
// loopback that is up.
func isolate(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	cmd.SysProcAttr = attr
}
