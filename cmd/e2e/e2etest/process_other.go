//go:build !linux

package e2etest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
