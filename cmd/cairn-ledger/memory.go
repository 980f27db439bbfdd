package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/docker/go-units"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/server"
)

// capacityConfig is what the ledger takes on at once. What is left out follows from
// Memory.
type capacityConfig struct {
	// Memory is what the process may take. If it is left out, it is GOMEMLIMIT, or 1
	// GiB, or nine tenths of what the cgroup allows if that is less.
	Memory size `yaml:"memory"`
	// Submissions, Reads and Calls are the memory of requests under way, of the three
	// kinds that docs/operations.md explains; Pending is the size of the attestations
	// that wait to be appended.
	Submissions size `yaml:"submissions"`
	Reads       size `yaml:"reads"`
	Calls       size `yaml:"calls"`
	Pending     size `yaml:"pending"`
	// Streams is the number of streams, and the others are of open connections.
	Streams         int `yaml:"streams"`
	HTTPConnections int `yaml:"httpConnections"`
	GRPCConnections int `yaml:"grpcConnections"`
	// Verifying is how many submissions are verified at once: as many as there are
	// cores, if it is left out.
	Verifying int `yaml:"verifying"`
}

// size is a number of bytes, such as 512MiB.
type size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *size) UnmarshalText(text []byte) error {
	n, err := units.RAMInBytes(string(text))
	if err != nil || n <= 0 {
		return fmt.Errorf("%.40q is no size such as 512MiB", text)
	}
	*s = size(n)
	return nil
}

// capacity returns what the server takes on, and the bytes of attestations that may
// wait to be appended.
func (c *capacityConfig) capacity() (server.Capacity, int64) {
	memory := c.memory()
	derived := server.CapacityOf(memory)
	bytes := func(field *int64, given size) {
		if given != 0 {
			*field = int64(given)
		}
	}
	number := func(field *int, given int) {
		if given != 0 {
			*field = given
		}
	}
	pending := memory / 8
	bytes(&derived.Submissions, c.Submissions)
	bytes(&derived.Reads, c.Reads)
	bytes(&derived.Calls, c.Calls)
	bytes(&pending, c.Pending)
	number(&derived.Streams, c.Streams)
	number(&derived.HTTPConnections, c.HTTPConnections)
	number(&derived.GRPCConnections, c.GRPCConnections)
	return derived, pending
}

func (c *capacityConfig) check() error {
	if c.Memory != 0 && c.Memory < server.LeastMemory {
		return fmt.Errorf("capacity.memory must be at least %s", units.BytesSize(server.LeastMemory))
	}
	if c.Verifying < 0 {
		return errors.New("capacity.verifying must not be negative")
	}
	got, pending := c.capacity()
	if pending < attest.MaxEnvelope {
		return fmt.Errorf("capacity.pending must be at least %s", units.BytesSize(attest.MaxEnvelope))
	}
	if err := got.Check(); err != nil {
		return fmt.Errorf("capacity.%w", err)
	}
	return nil
}

// memory is what the process may take.
func (c *capacityConfig) memory() int64 {
	if c.Memory != 0 {
		return int64(c.Memory)
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return max(limit, server.LeastMemory)
	}
	memory := int64(server.DefaultMemory)
	if limit, err := memlimit.FromCgroup(); err == nil && limit/10*9 < uint64(memory) {
		memory = int64(limit / 10 * 9)
	}
	return max(memory, server.LeastMemory)
}

// tuneMemory lets the heap grow further between collections than Go does by
// default, up to a soft limit: requests allocate much that dies at once, and
// what lives on is small. GOGC and GOMEMLIMIT say otherwise where they are set. A
// quarter is left to what Go does not count, such as the databases' caches.
func (c *capacityConfig) tuneMemory() {
	const percent = 400
	c.Memory = size(c.memory()) // before the limit that it follows from is another
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapOf(int64(c.Memory)))
	}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(percent)
	}
}

// heapOf returns what of the memory is for the heap. The databases' caches, up to 48
// MiB each, the program itself, and what the collector overshoots are outside of it.
func heapOf(memory int64) int64 {
	const outside = 64 << 20
	return max(memory/2, memory/4*3-outside)
}
