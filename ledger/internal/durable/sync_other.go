//go:build !linux

package durable

import "errors"

func syncFileSystem(string) error { return errors.ErrUnsupported }
