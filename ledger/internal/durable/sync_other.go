//go:build !linux

package durable

import (
	"errors"
	"os"
)

func syncFileSystem(*os.File) error { return errors.ErrUnsupported }
