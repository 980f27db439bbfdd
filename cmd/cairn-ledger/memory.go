package main

import (
	"os"
	"runtime/debug"
)

// tuneMemory lets the heap grow further between collections than Go does by
// default, up to a soft limit: requests allocate much that dies at once, and
// what lives on is small. GOGC and GOMEMLIMIT say otherwise where they are set.
func tuneMemory() {
	const (
		percent = 400
		limit   = 1 << 30
	)
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
