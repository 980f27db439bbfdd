package debian

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func hexOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

const oneLine = `# a comment
deb http://a.example/debian bookworm main contrib # another
deb-src [arch=amd64 Signed-By=/k.gpg] http://a.example/debian bookworm main
deb [ trusted=yes check-valid-until=no ] http://s.example/sec bookworm-security main
deb http://a.example/debian bookworm-updates main
deb http://a.example/debian bookworm-backports main
deb http://third.example/x cloud-sdk-bookworm main
deb http://third.example/docker bookworm stable
deb http://third.example/flat ./
deb cdrom:[Debian 12]/ bookworm main
rpm http://no.example bookworm main
`

const deb822 = `# a comment
Types: deb deb-src
URIs: http://a.example/debian http://b.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://third.example/x
Suites: nodistro
Components: main
`

func configuration(t *testing.T, suite string, files map[string]string) string {
	t.Helper()
	etc := t.TempDir()
	if err := os.Mkdir(filepath.Join(etc, "sources.list.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := machineRepositories(etc)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, r := range forSuite(list, "bookworm", suite) {
		r.format(&b, "deb")
	}
	return b.String()
}

func TestMachineRepositories(t *testing.T) {
	stanza := func(uri, suite, options string) string {
		return "Types: deb\nURIs: " + uri + "\nSuites: " + suite + "\nComponents: main\n" + options + "\n"
	}
	key := "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
	for _, c := range []struct {
		name, suite string
		files       map[string]string
		want        string
	}{
		{"one-line", "", map[string]string{"sources.list": oneLine},
			stanza("http://a.example/debian", "bookworm", "") +
				stanza("http://s.example/sec", "bookworm-security", "Trusted: yes\nCheck-Valid-Until: no\n") +
				stanza("http://a.example/debian", "bookworm-updates", "")},
		{"another release", "trixie", map[string]string{"sources.list.d/x.sources": deb822},
			stanza("http://a.example/debian", "trixie", key) + stanza("http://a.example/debian", "trixie-updates", key) +
				stanza("http://b.example/debian", "trixie", key) + stanza("http://b.example/debian", "trixie-updates", key)},
		{"an alias", "", map[string]string{"sources.list.d/x.list": "deb http://a.example/debian stable main\ndeb http://a.example/debian stable-security main"},
			stanza("http://a.example/debian", "stable", "") + stanza("http://a.example/debian", "stable-security", "")},
		{"other files", "", map[string]string{"sources.list.d/x.list.save": oneLine}, ""},
		{"nothing", "", nil, ""},
	} {
		if diff := cmp.Diff(c.want, configuration(t, c.suite, c.files)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	etc := t.TempDir()
	if err := os.WriteFile(filepath.Join(etc, "sources.list"), []byte("deb [trusted=yes http://a.example/debian bookworm main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := machineRepositories(etc); err == nil || !strings.Contains(err.Error(), "line 1: options do not end") {
		t.Errorf("options without an end: %v", err)
	}
}

func TestMachineRelease(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	for text, want := range map[string]string{
		"ID=debian\nVERSION_CODENAME=trixie\n": "trixie", "VERSION_CODENAME=\"trixie\"": "trixie", "ID=debian\n": "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := machineRelease(file); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := machineRelease(file + "-not"); err == nil {
		t.Error("no file is no error")
	}
}

func TestParseURI(t *testing.T) {
	good := "'http://a.example/pool/a_1%3a2.deb' a_1%3a2.deb 42 SHA256:" + sumA
	want := Download{URI: "http://a.example/pool/a_1%3a2.deb", File: "a_1%3a2.deb", Size: 42, SHA256: sumA}
	if got, ok := parseURI(good); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, line := range []string{"", "'", "x", "Reading package lists...", good[1:], good + " x", strings.Replace(good, "42", "-1", 1),
		strings.Replace(good, "42", "x", 1), strings.Replace(good, "SHA256", "MD5Sum", 1), good[:len(good)-1]} {
		if got, ok := parseURI(line); ok {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

func FuzzSources(f *testing.F) {
	f.Add([]byte(oneLine))
	f.Add([]byte(deb822))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, parse := range []func([]byte) ([]repository, error){parseList, parseDeb822} {
			list, err := parse(text)
			if err != nil {
				continue
			}
			var b bytes.Buffer
			picked := forSuite(list, "bookworm", "")
			for _, r := range picked {
				r.format(&b, "deb")
			}
			again, err := parseDeb822(b.Bytes())
			if err != nil || len(again) != len(picked) {
				t.Fatalf("%d repositories are written as %d (%v):\n%s", len(picked), len(again), err, b.Bytes())
			}
		}
		parseURI(string(text))
	})
}
