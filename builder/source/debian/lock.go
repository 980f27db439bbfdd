package debian

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Deb is one binary package, pinned.
type Deb struct {
	SHA256  string // of the .deb, in lower-case hex
	Name    string
	Version string
	Arch    string // the lock's, or "all"
}

// Lock says which binary packages a root file system is made of. Its text is
//
//	cairn.debian-lock/v1
//	suite bookworm
//	arch amd64
//	package <name>                            1..n: what was asked for
//	deb <sha256> <name> <version> <arch>      1..n: all that it takes
//
// sorted by name, each name once, with a final newline and nothing else.
type Lock struct {
	Suite    string
	Arch     string
	Packages []string
	Debs     []Deb
}

const lockHeader = "cairn.debian-lock/v1"

// maxLock bounds the text of a lock: 4 MiB, some 30,000 packages.
const maxLock = 4 << 20

// These also keep what apt is given from being an option of it.
var (
	suiteName = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)
	archName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	debName   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	version   = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+:~-]*$`)
	hexSum    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseLock reads the text of a lock.
func ParseLock(text []byte) (*Lock, error) {
	if len(text) > maxLock {
		return nil, fmt.Errorf("lock has %d bytes, at most %d are allowed", len(text), maxLock)
	}
	l := new(Lock)
	lines := strings.SplitAfter(string(text), "\n")
	if lines[0] != lockHeader+"\n" {
		return nil, fmt.Errorf("line 1: %q is not %q", strings.TrimSuffix(lines[0], "\n"), lockHeader)
	}
	for i, line := range lines[1:] {
		if line == "" && i == len(lines)-2 {
			break
		}
		if err := l.parseLine(strings.Split(strings.TrimSuffix(line, "\n"), " ")); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(l.Format(), text) {
		return nil, errors.New("lines are not in order: suite, arch, packages and debs by name, a final newline")
	}
	return l, nil
}

func (l *Lock) parseLine(f []string) error {
	switch {
	case f[0] == "suite" && len(f) == 2 && l.Suite == "":
		l.Suite = f[1]
	case f[0] == "arch" && len(f) == 2 && l.Arch == "":
		l.Arch = f[1]
	case f[0] == "package" && len(f) == 2:
		l.Packages = append(l.Packages, f[1])
	case f[0] == "deb" && len(f) == 5:
		l.Debs = append(l.Debs, Deb{SHA256: f[1], Name: f[2], Version: f[3], Arch: f[4]})
	default:
		return fmt.Errorf("%q is not understood", strings.Join(f, " "))
	}
	return nil
}

// check holds a lock to its grammar.
func (l *Lock) check() error {
	if !suiteName.MatchString(l.Suite) {
		return fmt.Errorf("suite %q is none", l.Suite)
	}
	if !archName.MatchString(l.Arch) || l.Arch == "all" {
		return fmt.Errorf("arch %q is none", l.Arch)
	}
	if len(l.Packages) == 0 || len(l.Debs) == 0 {
		return errors.New("lock holds no packages")
	}
	for _, p := range l.Packages {
		if !debName.MatchString(p) {
			return fmt.Errorf("package name %q is none", p)
		}
	}
	for _, d := range l.Debs {
		if err := d.check(l.Arch); err != nil {
			return fmt.Errorf("deb %q: %w", d.Name, err)
		}
	}
	return l.checkNames()
}

// checkNames sees that what was asked for is there, and each name once.
func (l *Lock) checkNames() error {
	names := make(map[string]bool, len(l.Debs))
	for _, d := range l.Debs {
		if names[d.Name] {
			return fmt.Errorf("deb %q stands twice", d.Name)
		}
		names[d.Name] = true
	}
	asked := make(map[string]bool, len(l.Packages))
	for _, p := range l.Packages {
		if asked[p] {
			return fmt.Errorf("package %q stands twice", p)
		}
		asked[p] = true
		if !names[p] {
			return fmt.Errorf("package %q has no deb", p)
		}
	}
	return nil
}

func (d Deb) check(arch string) error {
	switch {
	case !hexSum.MatchString(d.SHA256):
		return fmt.Errorf("sha256 %q is not 64 lower-case hex digits", d.SHA256)
	case !debName.MatchString(d.Name):
		return errors.New("name is none")
	case !version.MatchString(d.Version):
		return fmt.Errorf("version %q is none", d.Version)
	case d.Arch != arch && d.Arch != "all":
		return fmt.Errorf("arch %q is neither %s nor all", d.Arch, arch)
	}
	return nil
}

// Format writes the text of a lock.
func (l *Lock) Format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nsuite %s\narch %s\n", lockHeader, l.Suite, l.Arch)
	for _, p := range slices.Sorted(slices.Values(l.Packages)) {
		fmt.Fprintf(&b, "package %s\n", p)
	}
	debs := slices.SortedFunc(slices.Values(l.Debs), func(a, b Deb) int { return cmp.Compare(a.Name, b.Name) })
	for _, d := range debs {
		fmt.Fprintf(&b, "deb %s %s %s %s\n", d.SHA256, d.Name, d.Version, d.Arch)
	}
	return b.Bytes()
}
