package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem makes all that was written to the file system of a file durable.
// That it fails where writing fails takes Linux 5.8.
func syncFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
