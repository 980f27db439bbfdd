package e2etest

import "syscall"

// dieWithParent lets no process outlive a test binary that is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
