package debian

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/source/debian/debiantest"
	"github.com/google/go-cmp/cmp"
)

// needApt skips on machines that are not Debian's.
func needApt(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skipf("apt is needed: %v", err)
	}
}

func newApt(t *testing.T, r *debiantest.Repository, suite, types string) *Apt {
	t.Helper()
	scratch := t.TempDir()
	a, err := NewApt(t.Context(), Options{Suite: suite, Arch: "amd64", Types: types, Scratch: scratch, Etc: r.Etc, OSRelease: r.OSRelease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(scratch); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return a
}

func deb(t *testing.T, text string) []byte {
	return debiantest.Deb(t, ".gz", debiantest.Tar(t, debiantest.File("./usr/bin/"+text, text)))
}

func TestLockResolves(t *testing.T) {
	needApt(t)
	r := debiantest.NewRepository(t, "bookworm", "trusted=yes")
	packages := []debiantest.Package{
		{Name: "tool", Depends: "libtool-x (>= 1:2.0), data", Deb: deb(t, "tool")},
		{Name: "libtool-x", Version: "1:2.0~rc1-1+b1", Deb: deb(t, "lib")},
		{Name: "libtool-x", Version: "1:1.0", Deb: deb(t, "old")},
		{Name: "data", Arch: "all", Deb: deb(t, "data")},
		{Name: "unrelated", Deb: deb(t, "unrelated")},
	}
	r.AddSuite("bookworm", packages, nil)
	r.AddSuite("trixie", []debiantest.Package{{Name: "tool", Version: "3.0", Deb: deb(t, "tool3")}}, nil)
	a := newApt(t, r, "bookworm", "deb")
	l, err := a.Lock(t.Context(), []string{"tool"})
	if err == nil {
		t.Fatalf("libtool-x 1:2.0~rc1 is not 1:2.0, and yet: %s", l.Format())
	}
	packages[0].Depends = "libtool-x (>= 1:2.0~), data"
	r.AddSuite("bookworm", packages, nil)
	a = newApt(t, r, "bookworm", "deb")
	if l, err = a.Lock(t.Context(), []string{"tool"}); err != nil {
		t.Fatal(err)
	}
	want := &Lock{Suite: "bookworm", Arch: "amd64", Packages: []string{"tool"}, Debs: []Deb{
		{SHA256: hexOf(packages[3].Deb), Name: "data", Version: "1.0", Arch: "all"},
		{SHA256: hexOf(packages[1].Deb), Name: "libtool-x", Version: "1:2.0~rc1-1+b1", Arch: "amd64"},
		{SHA256: hexOf(packages[0].Deb), Name: "tool", Version: "1.0", Arch: "amd64"},
	}}
	if diff := cmp.Diff(string(want.Format()), string(l.Format())); diff != "" {
		t.Error(diff)
	}
	downloads, err := a.Debs(t.Context(), l.Debs)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range downloads {
		var got bytes.Buffer
		if err := a.Get(t.Context(), &d, &got); err != nil || hexOf(got.Bytes()) != l.Debs[i].SHA256 {
			t.Errorf("%s: %d bytes, %v", d.File, got.Len(), err)
		}
	}
	// Another release than the machine's.
	other := newApt(t, r, "trixie", "deb")
	if l, err = other.Lock(t.Context(), []string{"tool"}); err != nil || len(l.Debs) != 1 || l.Debs[0].Version != "3.0" || l.Suite != "trixie" {
		t.Errorf("trixie: %+v, %v", l, err)
	}
}

func TestLockRefuses(t *testing.T) {
	needApt(t)
	r := debiantest.NewRepository(t, "bookworm", "trusted=yes")
	r.AddSuite("bookworm", []debiantest.Package{{Name: "tool", Depends: "none", Deb: deb(t, "tool")}}, nil)
	a := newApt(t, r, "bookworm", "deb")
	for _, c := range []struct {
		packages []string
		want     string
	}{
		{[]string{"tool"}, "unmet dependencies: tool : Depends: none but it is not installable"},
		{[]string{"absent"}, "Unable to locate package absent"},
		{[]string{"--force-yes"}, `package name "--force-yes" is none`},
		{[]string{"tool-"}, "apt would install nothing"}, // to apt this is: without tool
		{nil, "no packages to resolve"},
	} {
		if l, err := a.Lock(t.Context(), c.packages); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %+v, %v, want %q", c.packages, l, err, c.want)
		}
	}
	if _, err := a.Debs(t.Context(), []Deb{{Name: "tool", Version: "0.9", Arch: "amd64"}, {Name: "tool", Version: "1.0", Arch: "amd64"}}); err == nil ||
		!strings.Contains(err.Error(), "bookworm no longer has: tool 0.9") {
		t.Errorf("a version that is gone: %v", err)
	}
	if _, err := newApt(t, r, "", "deb").Lock(t.Context(), []string{"tool"}); err == nil {
		t.Error("a lock without a suite")
	}
}

// A repository that nobody signed gives nothing.
func TestUnverifiedRepository(t *testing.T) {
	needApt(t)
	r := debiantest.NewRepository(t, "bookworm", "")
	files := map[string][]byte{"s_1.orig.tar.gz": []byte("source")}
	r.AddSuite("bookworm", []debiantest.Package{{Name: "tool", Deb: deb(t, "tool")}}, []debiantest.Source{{Name: "s", Version: "1-1", Files: files}})
	a := newApt(t, r, "bookworm", "deb deb-src")
	if l, err := a.Lock(t.Context(), []string{"tool"}); err == nil || !strings.Contains(err.Error(), "is not signed") {
		t.Errorf("Lock: %+v, %v", l, err)
	}
	if d, err := a.SourceFile(t.Context(), "s", "", "s_1.orig.tar.gz"); err == nil || !strings.Contains(err.Error(), "is not signed") {
		t.Errorf("SourceFile: %+v, %v", d, err)
	}
}

func TestSourceFile(t *testing.T) {
	needApt(t)
	r := debiantest.NewRepository(t, "bookworm", "trusted=yes")
	first, second := []byte("first"), []byte("second")
	r.AddSuite("bookworm", nil, []debiantest.Source{
		{Name: "s", Version: "1:1.0-1", Files: map[string][]byte{"s_1.0.orig.tar.gz": first, "s_1.0-1.dsc": []byte("dsc")}},
		{Name: "s", Version: "1:2.0-1", Files: map[string][]byte{"s_2.0.orig.tar.gz": second, "s_2.0-1.dsc": []byte("dsc 2")}},
		{Name: "other", Version: "1", Files: map[string][]byte{"other_1.tar.gz": first, "other_1.dsc": []byte("dsc 3")}},
	})
	// Not each file that the index names is there.
	if err := os.Remove(filepath.Join(r.Pool, "s_1.0-1.dsc")); err != nil {
		t.Fatal(err)
	}
	a := newApt(t, r, "", "deb-src")
	for _, c := range []struct{ version, file, want string }{
		{"", "s_1.0.orig.tar.gz", "first"},
		{"1:1.0-1", "s_1.0.orig.tar.gz", "first"},
		{"", "s_2.0.orig.tar.gz", "second"},
		{"1:2.0-1", "s_2.0.orig.tar.gz", "second"},
	} {
		d, err := a.SourceFile(t.Context(), "s", c.version, c.file)
		if err != nil {
			t.Errorf("%s of %q: %v", c.file, c.version, err)
			continue
		}
		var got bytes.Buffer
		if err := a.Get(t.Context(), d, &got); err != nil || got.String() != c.want || d.SHA256 != hexOf(got.Bytes()) || d.Size != int64(got.Len()) {
			t.Errorf("%s: %+v gives %q, %v", c.file, d, got.String(), err)
		}
	}
	for _, c := range []struct{ pkg, version, file, want string }{
		{"absent", "", "f", "no source package is named absent"},
		{"s", "1:2.0-1", "s_1.0.orig.tar.gz", "has no file s_1.0.orig.tar.gz in version 1:2.0-1; the versions to be had are: 1:"},
		{"s", "", ".orig.tar.gz", "in version any"},
		{"s", "3", "f", "in version 3"},
	} {
		if d, err := a.SourceFile(t.Context(), c.pkg, c.version, c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %+v, %v", c, d, err)
		}
	}
	d, err := a.SourceFile(t.Context(), "s", "", "s_1.0.orig.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Pool, "s_1.0.orig.tar.gz"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := a.Get(t.Context(), d, &got); err == nil || got.Len() > 0 {
		t.Errorf("a file that is not what the index says: %q, %v", got.String(), err)
	}
}

func TestNewAptRefuses(t *testing.T) {
	needApt(t)
	etc, scratch := t.TempDir(), t.TempDir()
	release := filepath.Join(etc, "os-release")
	if err := os.WriteFile(release, []byte("VERSION_CODENAME=bookworm\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := Options{Arch: "amd64", Types: "deb", Scratch: scratch, Etc: etc, OSRelease: release}
	if _, err := NewApt(t.Context(), o); err == nil || !strings.Contains(err.Error(), "names no repository of Debian bookworm") {
		t.Errorf("no repository: %v", err)
	}
	r := debiantest.NewRepository(t, "bookworm", "trusted=yes")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Etc = r.Etc
	if _, err := NewApt(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, _ := os.ReadDir(scratch); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
