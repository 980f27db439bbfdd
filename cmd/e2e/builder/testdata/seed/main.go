// Command seed is what the trees of the tests build with: it writes a file,
// takes its time, compiles, fails, or tries the network.
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch args[0] {
	case "write":
		return os.WriteFile(args[1], []byte(args[2]), 0o644)
	case "last": // DURATION
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		fmt.Println("seed: under way")
		time.Sleep(d)
		return nil
	case "compile": // SOURCE FILE
		return compile(args[1], args[2])
	case "fill": // FILE MIB
		f, err := os.Create(args[1])
		if err != nil {
			return err
		}
		var mib [1 << 20]byte
		for range 256 {
			if _, err := f.Write(mib[:]); err != nil {
				return err
			}
		}
		return f.Close()
	case "dial":
		conn, err := net.DialTimeout("tcp", args[1], 5*time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	return fmt.Errorf("cannot %s", args[0])
}

// compile makes a file from a source that it reads twice, as a compiler does
// that was given much to do: at first, and 10 s later or once it has changed.
func compile(source, file string) error {
	first, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	fmt.Println("seed: under way")
	text := first
	for end := time.Now().Add(10 * time.Second); bytes.Equal(text, first) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if text, err = os.ReadFile(source); err != nil {
			return err
		}
	}
	return os.WriteFile(file, append([]byte("compiled: "), text...), 0o644)
}
