// Package host says what machine a command runs on, as far as an attestation
// states it.
//
// Invariants: what is stated was read from the machine, never assumed; nothing
// names its user, its network or its files.
package host

import (
	"runtime"
	"strings"
)

// Environment returns what an attestation states of the machine that something
// was built on: os, arch, kernel and cpuVendor. What cannot be found is not
// stated. readFile is os.ReadFile.
func Environment(readFile func(string) ([]byte, error)) map[string]string {
	env := map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH}
	if b, err := readFile("/proc/sys/kernel/osrelease"); err == nil {
		env["kernel"] = strings.TrimSpace(string(b))
	}
	b, _ := readFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		// x86 has the first, Arm the second.
		if k = strings.TrimSpace(k); k == "vendor_id" || k == "CPU implementer" {
			env["cpuVendor"] = strings.TrimSpace(v)
			break
		}
	}
	return env
}
