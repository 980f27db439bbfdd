package source

import (
	"strings"
	"testing"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// mirrors are texts, and what they are called in the one spelling.
var mirrors = []struct{ in, want string }{
	{"https://example.org/a-1.2.tar.gz", "https://example.org/a-1.2.tar.gz"},
	{"http://example.org/?p=a.git;a=snapshot;h=1;sf=tgz", "http://example.org/?p=a.git;a=snapshot;h=1;sf=tgz"},
	{"https://example.org/a#part", "https://example.org/a"},
	{"file:///srv/a%20b", "file:///srv/a%20b"},
	{"file:///srv//x/../a", "file:///srv/a"},
	{"git+https://example.org/o/r.git?rev=" + commit, "git+https://example.org/o/r.git?rev=" + commit + "&prefix=r-" + commit + "%2F"},
	{"git+https://example.org/o/r?prefix=x/y/&rev=" + commit, "git+https://example.org/o/r?rev=" + commit + "&prefix=x%2Fy%2F"},
	{"git+file:///srv/r?rev=" + commit + "&prefix=r/", "git+file:///srv/r?rev=" + commit + "&prefix=r%2F"},
	{"deb-src:musl/musl_1.2.3.orig.tar.gz", "deb-src:musl/musl_1.2.3.orig.tar.gz"},
	{"deb-src:musl=1:1.2.3-1~a/musl_1.2.3.orig.tar.gz?suite=trixie", "deb-src:musl=1:1.2.3-1~a/musl_1.2.3.orig.tar.gz?suite=trixie"},
	{"deb-rootfs:debian.lock", "deb-rootfs:debian.lock"},
	{"deb-rootfs:a/debian.lock", "deb-rootfs:a/debian.lock"},
}

func TestParseMirror(t *testing.T) {
	for _, c := range mirrors {
		m, err := parseMirror(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := m.String(); got != c.want {
			t.Errorf("%s is %s, want %s", c.in, got, c.want)
		}
	}
}

func TestParseMirrorRefuses(t *testing.T) {
	for _, in := range []string{
		"", "a", "ftp://example.org/a", "gopher:", "HTTPS:",
		"https:a", "https:///a", "http://%zz/", "https://example.org/" + strings.Repeat("a", maxMirror),
		"file:a", "file://host/a", "file:///a?b", "file:///a#b", "file:%zz",
		"git+https://example.org/o/r", "git+https://example.org/o/r?rev=main", "git+https://example.org/?rev=" + commit,
		"git+https:///o/r?rev=" + commit, "git+file://host/r?rev=" + commit, "git+ssh://example.org/o/r?rev=" + commit,
		"git+https://example.org/o/r?rev=" + strings.ToUpper(commit),
		"git+https://example.org/o/r?rev=" + commit + "&ref=main", "git+https://example.org/o/r?rev=" + commit + "&rev=" + commit,
		"git+https://example.org/o/r?%zz", "git+https://example.org/o/r?rev=" + commit + "#x",
		"git+https://example.org/o/r?rev=" + commit + "&prefix=r", "git+https://example.org/o/r?rev=" + commit + "&prefix=../r/",
		"git+https://example.org/o/r?rev=" + commit + "&prefix=/", "git+https://example.org/o/r?rev=" + commit + "&prefix=./",
		"deb-src:", "deb-src:musl", "deb-src:musl/", "deb-src:/f", "deb-src:musl=/f", "deb-src:-o/f", "deb-src:musl=-1/f",
		"deb-src:musl/../f", "deb-src:musl/-f", "deb-src:musl/f?suite=", "deb-src:musl/f?suit=a", "deb-src:musl/f?suite=A", "deb-src:Musl/f",
		"deb-rootfs:", "deb-rootfs:.", "deb-rootfs:/etc/x", "deb-rootfs:../x", "deb-rootfs:a/../x", "deb-rootfs:./x", "deb-rootfs:a/",
	} {
		if m, err := parseMirror(in); err == nil {
			t.Errorf("%q was taken for %s", in, m)
		}
	}
}

func FuzzParseMirror(f *testing.F) {
	for _, c := range mirrors {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		m, err := parseMirror(in)
		if err != nil {
			return
		}
		again, err := parseMirror(m.String())
		if err != nil {
			t.Fatalf("%q is %q, which is refused: %v", in, m, err)
		}
		if again.String() != m.String() {
			t.Fatalf("%q is %q, and that %q", in, m, again)
		}
	})
}
