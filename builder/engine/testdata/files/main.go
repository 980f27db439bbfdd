// Command files makes and removes files in the build steps of the tests that
// compare engines. As SHELL ["/files", "-c"] it runs the commands in its
// argument, which semicolons or newlines separate.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "-c" {
		fmt.Fprintln(os.Stderr, "files: usage: files -c COMMANDS")
		os.Exit(2)
	}
	syscall.Umask(0)
	for _, line := range strings.FieldsFunc(os.Args[2], func(r rune) bool { return r == ';' || r == '\n' }) {
		if fields := strings.Fields(line); len(fields) > 0 {
			if err := run(fields[0], append(fields[1:], "", "", "")); err != nil {
				fmt.Fprintf(os.Stderr, "files: %s: %v\n", line, err)
				os.Exit(1)
			}
		}
	}
}

func run(command string, args []string) error {
	path, second := args[0], args[1]
	switch command {
	case "write": // PATH MODE CONTENT
		mode, err := number(second, 8)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return errors.Join(os.WriteFile(path, []byte(args[2]+"\n"), 0o600), syscall.Chmod(path, mode))
	case "mkdir", "chmod", "fifo": // PATH MODE
		mode, err := number(second, 8)
		if err != nil {
			return err
		}
		switch command {
		case "mkdir":
			err = os.MkdirAll(path, 0o755)
		case "fifo":
			err = syscall.Mkfifo(path, mode)
		}
		return errors.Join(err, syscall.Chmod(path, mode))
	case "device": // PATH NUMBER
		n, err := number(second, 10)
		return errors.Join(err, syscall.Mknod(path, syscall.S_IFCHR|0o640, int(n)))
	case "chown": // PATH ID
		id, err := number(second, 10)
		return errors.Join(err, os.Lchown(path, int(id), int(id)))
	case "link":
		return os.Link(path, second)
	case "symlink":
		return os.Symlink(path, second)
	case "rename":
		return os.Rename(path, second)
	case "remove":
		return os.RemoveAll(path)
	case "attribute": // PATH NAME VALUE
		return syscall.Setxattr(path, second, []byte(args[2]), 0)
	case "names": // PATH: how many names the file has
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		fmt.Println(info.Sys().(*syscall.Stat_t).Nlink)
		return nil
	case "list": // DIRECTORY TO
		return list(path, second)
	case "newer": // PATH PATH
		return newer(path, second)
	}
	return errors.New("no such command")
}

func number(s string, base int) (uint32, error) {
	n, err := strconv.ParseUint(s, base, 32)
	return uint32(n), err
}

// list writes what is directly in a directory, and its own mode.
func list(dir, to string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%v\n", info.Mode())
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		fmt.Fprintf(&text, "%v %s\n", e.Type()&fs.ModeType, e.Name())
	}
	return errors.Join(err, os.WriteFile(to, []byte(text.String()), 0o644))
}

// newer fails unless the first file was written after the second.
func newer(first, second string) error {
	a, err := os.Stat(first)
	if err != nil {
		return err
	}
	b, err := os.Stat(second)
	if err == nil && !a.ModTime().After(b.ModTime()) {
		err = fmt.Errorf("%v is not after %v", a.ModTime(), b.ModTime())
	}
	return err
}
