package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem makes all that was written below a directory durable.
func syncFileSystem(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return unix.Syncfs(int(f.Fd()))
}
