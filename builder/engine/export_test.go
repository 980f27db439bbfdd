package engine

import "os"

// DaemonOf returns the daemon that an engine started.
func DaemonOf(e Engine) *os.Process { return e.(*buildkit).daemon.daemon }
