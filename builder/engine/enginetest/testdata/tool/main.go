// Command tool is all that there is in the images of the contract test: a
// program of many small commands that needs neither libc nor shell.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tool:", err)
		os.Exit(1)
	}
}

// run runs the command named first. As SHELL ["/tool", "-c"] it runs the
// commands in its argument, one on each line.
func run(args []string) error {
	if len(args) == 2 && args[0] == "-c" {
		for _, line := range strings.Split(args[1], "\n") {
			if fields := strings.Fields(line); len(fields) > 0 {
				if err := run(fields); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(args) == 0 {
		return fmt.Errorf("no command")
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("no command %q", args[0])
	}
	return command(args[1:])
}

var commands map[string]func([]string) error

func init() {
	commands = map[string]func([]string) error{
		"say":     say,
		"write":   write,
		"copy":    copyFile,
		"environ": environ,
		"network": network,
		"dial":    dial,
		"resolve": resolve,
		"host":    host,
		"cpus":    cpus,
		"eat":     eat,
		"spill":   spill,
		"fill":    fill,
		"fail":    fail,
		"wait":    wait,
	}
}

func say(args []string) error {
	fmt.Println(strings.Join(args, " "))
	return nil
}

// write FILE WORD...
func write(args []string) error {
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o666)
}

// copy FILE... TO
func copyFile(args []string) error {
	var all []byte
	for _, name := range args[:len(args)-1] {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		all = append(all, data...)
	}
	return os.WriteFile(args[len(args)-1], all, 0o666)
}

// environ FILE writes what a step can see of its surroundings without looking
// at files. Nothing in it may differ between two builds, but for the name that
// BuildKit gives to each step's trace.
func environ(args []string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "TRACEPARENT=") })
	umask := syscall.Umask(0)
	text := fmt.Sprintf("arch %s\ndir %s\nuid %d\numask %03o\nenv %q\nfiles %d\n", runtime.GOARCH, wd, os.Getuid(), umask, env, files.Max)
	return os.WriteFile(args[0], []byte(text), 0o644)
}

// network fails if there is an interface beside loopback, or a route.
func network([]string) error {
	for _, name := range []string{"/proc/net/route", "/proc/net/ipv6_route", "/proc/net/dev", "/proc/net/if_inet6"} {
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // without IPv6
		}
		if err != nil {
			return err
		}
		for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			header := name == "/proc/net/route" && i == 0 || name == "/proc/net/dev" && i < 2
			if fields := strings.Fields(line); !header && len(fields) > 0 && !isLoopback(fields) {
				return fmt.Errorf("%s: %s", name, line)
			}
		}
	}
	return nil
}

// isLoopback also allows the tunnels that the kernel puts into each namespace,
// which lead nowhere: none of them is up.
func isLoopback(fields []string) bool {
	device := strings.TrimSuffix(fields[0], ":")
	switch {
	case device == "lo" || fields[len(fields)-1] == "lo":
		return true
	case len(fields) > 9 && fields[1] == "0": // in /proc/net/dev: nothing received
		flags, err := os.ReadFile("/sys/class/net/" + device + "/flags")
		n, _ := strconv.ParseUint(strings.TrimSpace(string(flags)), 0, 32)
		return err == nil && n&syscall.IFF_UP == 0
	}
	return false
}

// dial PORT connects to 127.0.0.1.
func dial(args []string) error {
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Connect(s, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("dial tcp 127.0.0.1:%d: connect: %w", port, err)
	}
	return nil
}

// resolve NAME fails as programs do that find no name server.
func resolve(args []string) error {
	return fmt.Errorf("could not resolve host: %s", args[0])
}

// host WORD fails if WORD is the host's name, or in what the kernel tells of it,
// and if there is a socket of the host's to write to.
func host(args []string) error {
	devices, err := os.ReadDir("/dev")
	if err != nil {
		return err
	}
	for _, d := range devices {
		fi, err := os.Lstat("/dev/" + d.Name()) // what is mounted there
		if err != nil {
			return err
		}
		if fi.Mode()&os.ModeSocket != 0 {
			return fmt.Errorf("/dev/%s is a socket of the host", d.Name())
		}
	}
	for _, name := range []string{"/proc/sys/kernel/hostname", "/etc/hosts", "/etc/hostname"} {
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, word := range strings.Fields(string(data)) {
			if word == args[0] {
				return fmt.Errorf("%s has the host's name: %s", name, data)
			}
		}
	}
	return nil
}

func cpus([]string) error {
	fmt.Println("cpus", runtime.NumCPU())
	return nil
}

// eat MEBIBYTES uses memory.
func eat(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	kept := make([][]byte, 0, n)
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	fmt.Println("ate", len(kept))
	return nil
}

// spill KIBIBYTES writes that much, in lines that count.
func spill(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%1023d\n", i)
	}
	_, err = io.WriteString(os.Stdout, b.String())
	return err
}

// fill FILE MEBIBYTES
func fill(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	for range n {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
	}
	return f.Close()
}

// fail STATUS WORD...
func fail(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(args[1:], " "))
	os.Exit(n)
	return nil
}

// wait says so, and waits until it is killed.
func wait([]string) error {
	fmt.Println("waiting")
	for {
		if err := syscall.Pause(); err != nil && err != syscall.EINTR {
			return err
		}
	}
}
