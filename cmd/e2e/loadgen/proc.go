package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of CPU times in /proc, which Linux fixes at USER_HZ.
const clockTick = 10 * time.Millisecond

// usage is what the machine, the ledger, its witnesses and this process used so
// far.
type usage struct {
	at                                 time.Time
	machine, server, witnesses, client time.Duration
}

// measureUsage reads the counters. Those of processes that are not known stay
// zero.
func measureUsage(pid int, witnesses []int) usage {
	u := usage{at: time.Now()}
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		u.machine = machineTime(b)
	}
	u.server = usageOf(pid)
	for _, w := range witnesses {
		u.witnesses += usageOf(w)
	}
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err == nil {
		u.client = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	return u
}

func usageOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || pid <= 0 {
		return 0
	}
	return processTime(b)
}

// load is CPU use in percent of one core.
type load struct {
	Server    float64 `json:"server"`
	Witnesses float64 `json:"witnesses,omitempty"` // all of them together
	Client    float64 `json:"client"`
	Other     float64 `json:"other"` // what others on this machine used meanwhile
}

func (u usage) since(before usage) load {
	wall := u.at.Sub(before.at)
	if wall <= 0 {
		return load{}
	}
	// The counter of a process that is gone reads zero, below what it was.
	percent := func(d time.Duration) float64 { return 100 * float64(max(0, d)) / float64(wall) }
	l := load{
		Server: percent(u.server - before.server), Witnesses: percent(u.witnesses - before.witnesses),
		Client: percent(u.client - before.client),
	}
	l.Other = max(0, percent(u.machine-before.machine)-l.Server-l.Witnesses-l.Client)
	return l
}

// processTime returns user and system time from /proc/<pid>/stat. The command's
// name may hold spaces and parentheses, so fields are counted after the last ')'.
func processTime(stat []byte) time.Duration {
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	const utime, stime = 11, 12 // the 14th and 15th of the line
	if i < 0 || len(fields) <= stime {
		return 0
	}
	return ticks(fields[utime]) + ticks(fields[stime])
}

// machineTime returns the time that all cores were busy, from /proc/stat.
func machineTime(stat []byte) time.Duration {
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0
	}
	// user nice system, without idle and iowait, irq softirq
	return ticks(fields[1]) + ticks(fields[2]) + ticks(fields[3]) + ticks(fields[6]) + ticks(fields[7])
}

func ticks(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * clockTick
}

// memory is what a process holds, in bytes.
type memory struct {
	Peak int64 `json:"peak"` // since resetPeak
	Now  int64 `json:"now"`
}

func measureMemory(pid int) memory {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || pid <= 0 {
		return memory{}
	}
	return memory{Peak: statusBytes(b, "VmHWM:"), Now: statusBytes(b, "VmRSS:")}
}

// statusBytes reads a line such as "VmRSS:   1234 kB" of /proc/<pid>/status.
func statusBytes(status []byte, name string) int64 {
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == name && fields[2] == "kB" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// resetPeak makes a process's peak memory count from now. Where that is not
// allowed, the peak is the one of its whole life.
func resetPeak(pid int) {
	if pid > 0 {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200)
	}
}

// filesystem names what a directory stands on: a ledger on tmpfs syncs nothing.
func filesystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown filesystem"
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs (syncs cost nothing)"
	}
	return fmt.Sprintf("filesystem %#x", int64(st.Type))
}

// raiseFileLimit makes room for a connection of each submitter.
func raiseFileLimit(need int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if lim.Max < uint64(need) {
		return fmt.Errorf("%d open files are needed, and the hard limit is %d: raise it with ulimit -Hn", need, lim.Max)
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}

// machine describes where the numbers come from.
func machine() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s", runtime.NumCPU(), model, runtime.Version())
}
