package tree_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cairnlog/cairn/builder/tree"
)

// files are the files of a tree, by path.
type files map[string]string

// small returns the files of testdata/small.txtar, with changes. A file that is
// changed to nothing is left out.
func small(t testing.TB, changes files) files {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "small.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(files)
	for _, f := range archive.Files {
		all[f.Name] = string(f.Data)
	}
	maps.Copy(all, changes)
	return all
}

// edit replaces a part of a file, which it must have.
func (f files) edit(t testing.TB, name, old, replacement string) files {
	t.Helper()
	if !strings.Contains(f[name], old) {
		t.Fatalf("%s does not contain %q", name, old)
	}
	f[name] = strings.Replace(f[name], old, replacement, 1)
	return f
}

// write puts the files into a directory and returns it. Names that end in * are
// executable.
func (f files) write(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range f {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, "*") {
			name, mode = strings.TrimSuffix(name, "*"), 0o755
		}
		if content == "" {
			continue
		}
		at := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// fs returns the files as a file system in memory.
func (f files) fs() fs.FS {
	all := make(fstest.MapFS)
	for name, content := range f {
		all[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return all
}

func (f files) load(t testing.TB) *tree.Tree {
	t.Helper()
	loaded, err := tree.Load(f.write(t))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func (f files) graph(t testing.TB) *tree.Graph {
	t.Helper()
	g, err := f.load(t).Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func lookup(t testing.TB, loaded *tree.Tree, name string) *tree.Package {
	t.Helper()
	pkg, err := loaded.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestLoad(t *testing.T) {
	loaded := small(t, nil).load(t)
	var ids []string
	for _, pkg := range loaded.Packages {
		ids = append(ids, pkg.ID())
	}
	equal(t, "packages", ids, []string{"bootstrap-stage0", "bootstrap-tcc-a", "bootstrap-tcc-b",
		"core-libb", "core-libs", "core-tcc", "user-hello", "pallet-all"})

	stage0 := lookup(t, loaded, "bootstrap-stage0")
	equal(t, "platforms", stage0.Platforms, []string{"linux/386"})
	equal(t, "tag", stage0.Tag(), "latest")
	equal(t, "seeds", stage0.Seeds, []string{"seed"})
	equal(t, "sources", stage0.Sources, []tree.Source{{
		Name: "posix-x86", SHA256: strings.Repeat("1", 63) + "2", Version: "abc123",
		GitSHA: "0123456789abcdef0123456789abcdef01234567", File: "posix-abc123.tar.gz",
		Mirrors: []string{"https://example.org/posix/abc123.tar.gz", "https://example.net/posix-abc123.tar.gz"},
		Role:    "source",
	}})

	seeded := lookup(t, loaded, "bootstrap-tcc-a")
	equal(t, "a source's version is the package's", seeded.Sources[1].Version, "0.9.27")
	equal(t, "sources are by name", seeded.Sources[0].Name, "seed_a")
	equal(t, "a file is named after the mirror", seeded.Sources[0].File, "cc-12.tar")
	equal(t, "mirrors", seeded.Sources[1].Mirrors, []string{"https://example.org/tcc/0.9/tcc-0.9.27.tar.bz2"})
	equal(t, "a seed is one by role", seeded.Seeded(), true)
	equal(t, "others have none", lookup(t, loaded, "core-tcc").Seeded(), false)

	tcc := lookup(t, loaded, "core-tcc")
	equal(t, "gate", tcc.Gate, 2)
	equal(t, "meets", tcc.Meets, []string{"bootstrap-tcc-b", "bootstrap-tcc-a"})
	equal(t, "reproduce", tcc.Reproduce, []string{"buildah"})
	equal(t, "dependencies", tcc.Deps, []string{"bootstrap-tcc-a"})
	equal(t, "version_from", lookup(t, loaded, "bootstrap-tcc-b").Version, "0.9.27")
	equal(t, "version_from of another stage", lookup(t, loaded, "pallet-all").Version, "2.12")
}

func TestSubpackages(t *testing.T) {
	loaded := small(t, nil).load(t)
	libs, libb := lookup(t, loaded, "core-libs"), lookup(t, loaded, "core-libb")
	equal(t, "origin", libb.Origin, "libs")
	equal(t, "target", libb.Target, "package-libb")
	equal(t, "directory", libb.Dir, "packages/core/libs")
	equal(t, "version", libb.Version, "2.0.1")
	equal(t, "all dependencies", libs.Deps, []string{"bootstrap-stage0", "core-tcc"})
	equal(t, "what one needs", libs.Needs(), []string{"core-tcc"})
	equal(t, "what the other needs", libb.Needs(), []string{"bootstrap-stage0", "core-tcc"})
	equal(t, "annotations", loaded.Annotations(libb), map[string]string{
		"containerd.io/distribution.source.docker.io": "stagex/core-libb",
		"org.opencontainers.image.version":            "2.0.1",
		"org.opencontainers.image.created":            "1970-01-01T00:00:01Z",
	})
}

func TestArgs(t *testing.T) {
	loaded := small(t, files{
		"packages/user/odd/Containerfile": "FROM scratch\n",
		"packages/user/odd/package.toml": `[package]
name = "odd"
version = "30"
[sources.with-own]
hash = "` + strings.Repeat("0a", 32) + `"
version = "2.0"
file = "x-{version}-{version_dash}-{version_major}"
mirrors = ["https://example.org/x"]
[sources.opaque]
hash = "` + strings.Repeat("0c", 32) + `"
mirrors = ["deb-source:tcc_{version}.orig"]
[sources.plain]
hash = "` + strings.Repeat("0b", 32) + `"
mirrors = ["https://example.org/y?z=/q#r/s"]
`}).load(t)
	tests := []struct {
		pkg  string
		want []tree.Arg
	}{
		{"bootstrap-stage0", []tree.Arg{
			{Name: "POSIX-X86_VERSION", Value: "abc123"}, {Name: "POSIX-X86_SOURCE", Value: "posix-abc123.tar.gz"},
			{Name: "POSIX-X86_GIT_SHA", Value: "0123456789abcdef0123456789abcdef01234567"},
		}},
		{"core-tcc", []tree.Arg{
			{Name: "VERSION", Value: "1-rc2"}, {Name: "VERSION_UNDER", Value: "1-rc2"}, {Name: "VERSION_DASH", Value: "1-rc2"},
			{Name: "VERSION_MAJOR", Value: "1-rc2"}, {Name: "VERSION_MAJOR_MINOR", Value: "None"},
			{Name: "VERSION_STRIP_SUFFIX", Value: "1"},
		}},
		{"bootstrap-tcc-a", []tree.Arg{
			{Name: "VERSION", Value: "0.9.27"}, {Name: "VERSION_UNDER", Value: "0_9_27"}, {Name: "VERSION_DASH", Value: "0-9-27"},
			{Name: "VERSION_MAJOR", Value: "0"}, {Name: "VERSION_MAJOR_MINOR", Value: "0.9"},
			{Name: "VERSION_STRIP_SUFFIX", Value: "0.9.27"},
			{Name: "SEED_A_VERSION", Value: "12"}, {Name: "SEED_A_SOURCE", Value: "cc-12.tar"},
		}},
		{"user-odd", []tree.Arg{
			{Name: "VERSION", Value: "30"}, {Name: "VERSION_UNDER", Value: "30"}, {Name: "VERSION_DASH", Value: "30"},
			{Name: "VERSION_MAJOR", Value: "30"}, {Name: "VERSION_MAJOR_MINOR", Value: "None"},
			{Name: "VERSION_STRIP_SUFFIX", Value: "30"},
			{Name: "WITH-OWN_VERSION", Value: "2.0"}, {Name: "WITH-OWN_SOURCE", Value: "x-2.0-30-2"},
		}},
	}
	for _, test := range tests {
		t.Run(test.pkg, func(t *testing.T) {
			equal(t, "arguments", lookup(t, loaded, test.pkg).Args, test.want)
		})
	}
	odd := lookup(t, loaded, "user-odd")
	equal(t, "a scheme is no part of a name", odd.Sources[0].File, "tcc_30.orig")
	equal(t, "query and fragment are no part of a name", odd.Sources[1].File, "y")
	equal(t, "fetch.py takes the source's version", odd.Sources[2].File, "x-2.0-2-0-2")
}

func TestSkipped(t *testing.T) {
	loaded := small(t, files{
		"packages/user/half/Containerfile":          "FROM scratch\nCOPY --from=stagex/core-tcc . /\n",
		"packages/user/other/package.toml":          "[package]\nname = \"other\"\n",
		"packages/user/none/README.md":              "nothing\n",
		"packages/user/hello/fetch/a/Containerfile": "a source that was fetched\n",
	}).load(t)
	want := map[string]string{
		"packages/user/half":  "it has no package.toml",
		"packages/user/other": "it has no Containerfile",
		"packages/user/none":  "it has neither package.toml nor Containerfile",
	}
	got := make(map[string]string)
	for _, s := range loaded.Skipped {
		got[s.Dir] = s.Why
	}
	equal(t, "skipped", got, want)
	equal(t, "its Containerfile", loaded.Skipped[0].Containerfile.Deps(), []string{"core-tcc"})
	_, err := loaded.Lookup("user-half")
	equal(t, "error", err.Error(), "no such package user-half: packages/user/half is passed over, since it has no package.toml")
}

func TestPrefix(t *testing.T) {
	f := files{
		"packages/core/a/package.toml":  "[package]\nname = \"a\"\n",
		"packages/core/a/Containerfile": "FROM scratch\n",
		"packages/core/b/package.toml":  "[package]\nname = \"b\"\n",
		"packages/core/b/Containerfile": "FROM example.org/cairn/core-a\nCOPY --from=stagex/core-a . /\n",
	}
	loaded, err := tree.LoadPrefix(f.write(t), "example.org/cairn/")
	if err != nil {
		t.Fatal(err)
	}
	pkg := lookup(t, loaded, "example.org/cairn/core-b")
	equal(t, "dependencies", pkg.Deps, []string{"core-a"})
	equal(t, "image", loaded.Image(pkg), "example.org/cairn/core-b")
}
