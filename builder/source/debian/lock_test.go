package debian

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("b", 64)
)

func testLock() *Lock {
	return &Lock{Suite: "bookworm", Arch: "amd64", Packages: []string{"libc6-dev", "dash"}, Debs: []Deb{
		{SHA256: sumB, Name: "libc6-dev", Version: "2.36-9+deb12u14", Arch: "amd64"},
		{SHA256: sumA, Name: "dash", Version: "1:0.5~x-2", Arch: "amd64"},
		{SHA256: sumA, Name: "base-files", Version: "12", Arch: "all"},
	}}
}

var lockText = `cairn.debian-lock/v1
suite bookworm
arch amd64
package dash
package libc6-dev
deb ` + sumA + ` base-files 12 all
deb ` + sumA + ` dash 1:0.5~x-2 amd64
deb ` + sumB + ` libc6-dev 2.36-9+deb12u14 amd64
`

func TestLock(t *testing.T) {
	if diff := cmp.Diff(lockText, string(testLock().Format())); diff != "" {
		t.Error(diff)
	}
	l, err := ParseLock([]byte(lockText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lockText, string(l.Format())); diff != "" {
		t.Error(diff)
	}
}

func TestParseLockRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"another format", "lock/v1", "lock/v2", "line 1"},
		{"no header", "cairn.debian-lock/v1\n", "", "line 1"},
		{"no suite", "suite bookworm\n", "", "suite \"\" is none"},
		{"two suites", "suite bookworm\n", "suite bookworm\nsuite trixie\n", "line 3"},
		{"a suite that is an option", "suite bookworm", "suite -o", "suite \"-o\""},
		{"no arch", "arch amd64\n", "", "arch \"\""},
		{"arch all", "arch amd64", "arch all", "arch \"all\""},
		{"nothing asked for", "package dash\npackage libc6-dev\n", "", "holds no packages"},
		{"something else asked for", "package dash", "package mksh", `"mksh" has no deb`},
		{"a package that is an option", "package dash", "package -o", `"-o"`},
		{"asked for twice", "package dash\n", "package dash\npackage dash\n", "stands twice"},
		{"a deb twice", " base-files 12", " dash 12", "stands twice"},
		{"another arch", "12 all", "12 i386", `arch "i386"`},
		{"a version that is an option", " 12 ", " -12 ", `version "-12"`},
		{"a short hash", sumB, sumB[1:], "64"},
		{"an upper-case hash", sumB, strings.ToUpper(sumB), "64"},
		{"a deb without a name", sumB + " libc6-dev", sumB + " ", "name"},
		{"order", "package dash\npackage libc6-dev\n", "package libc6-dev\npackage dash\n", "order"},
		{"no final newline", "deb12u14 amd64\n", "deb12u14 amd64", "order"},
		{"an empty line", "arch amd64\n", "arch amd64\n\n", "line 4"},
		{"two spaces", "arch amd64", "arch  amd64", "line 3"},
		{"a comment", "arch amd64\n", "arch amd64\n# x\n", "line 4"},
		{"a carriage return", "arch amd64\n", "arch amd64\r\n", "arch"},
		{"too much", "\n", strings.Repeat("\n", maxLock), "at most"},
	} {
		text := strings.Replace(lockText, c.old, c.new, 1)
		if text == lockText {
			t.Fatalf("%s: nothing is replaced", c.name)
		}
		if _, err := ParseLock([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(lockText))
	f.Add([]byte("cairn.debian-lock/v1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseLock(text)
		if err != nil {
			return
		}
		if !bytes.Equal(l.Format(), text) {
			t.Fatalf("%q is written as %q", text, l.Format())
		}
	})
}
