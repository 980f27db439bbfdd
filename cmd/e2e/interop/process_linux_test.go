package interop

import "syscall"

// dieWithParent lets no daemon outlive a test binary that is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
