//go:build !linux

package mirror

import "errors"

func syncFileSystem(string) error { return errors.ErrUnsupported }
