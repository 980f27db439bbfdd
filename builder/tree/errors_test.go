package tree_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnlog/cairn/builder/tree"
)

const hash = "00000000000000000000000000000000000000000000000000000000000000ff"

// manifestErrors are what is wrong with a package.toml, whose first lines are
// [package] and name = "a", and which goes on as given.
var manifestErrors = []struct{ name, toml, want string }{
	{"not TOML", "x = [", `packages/core/a/package.toml:3: package.x: not TOML: unexpected EOF; expected value`},
	{"a key twice", "name = \"a\"", `packages/core/a/package.toml:3: package.name: not TOML: Key 'package.name' has already been defined`},
	{"a number for a string", "version = 1", `packages/core/a/package.toml:3: package.version: must be a string, not a number`},
	{"a table for a string", "version = {}", `packages/core/a/package.toml:3: package.version: must be a string, not a table`},
	{"a string for a list", "platforms = \"linux/386\"", `packages/core/a/package.toml:3: package.platforms: must be an array of strings, not a string`},
	{"a list of numbers", "platforms = [1.5]", `packages/core/a/package.toml:3: package.platforms: must be an array of strings, not a fraction`},
	{"a gate of text", "gate = true", `packages/core/a/package.toml:3: package.gate: must be a number, not true or false`},
	{"a gate below none", "gate = -1", `packages/core/a/package.toml:3: package.gate: must be 0 to 64, not -1`},
	{"a gate too high", "gate = 65", `packages/core/a/package.toml:3: package.gate: must be 0 to 64, not 65`},
	{"a gate misspelt", "gates = 2", `packages/core/a/package.toml:3: package.gates: unknown key: did you mean gate?`},
	{"a gate in capitals", "Gate = 2", `packages/core/a/package.toml:3: package.Gate: unknown key: did you mean gate?`},
	{"version and version_from", "version = \"1\"\nversion_from = \"core-b\"", `packages/core/a/package.toml:4: package.version_from: excludes version: give one of them`},
	{"version_from of nobody", "version_from = \"core-c\"", `packages/core/a/package.toml:3: package.version_from: no such package core-c: did you mean core-a?`},
	{"version_from of itself", "version_from = \"core-a\"", `packages/core/a/package.toml:3: package.version_from: leads back to packages/core/a: one of them needs a version`},
	{"version_from of one without", "version_from = \"core-b\"", `packages/core/a/package.toml:3: package.version_from: core-b has no version`},
	{"a platform", "platforms = [\"386\"]", `packages/core/a/package.toml:3: package.platforms: "386" is not a platform such as linux/amd64`},
	{"a platform twice", "platforms = [\"linux/386\", \"linux/386\"]", `packages/core/a/package.toml:3: package.platforms: lists "linux/386" twice`},
	{"a subpackage's name", "subpackages = [\"A\"]", `packages/core/a/package.toml:3: package.subpackages: "A" is not a name for an image`},
	{"a subpackage without its stage", "subpackages = [\"x\"]", `packages/core/a/package.toml:3: package.subpackages: x: packages/core/a/Containerfile has no stage package-x`},
	{"a subpackage that is a package", "subpackages = [\"b\"]", `packages/core/b/package.toml: gives the image core-b, as packages/core/a does`},
	{"an engine", "reproduce = [\"\"]", `packages/core/a/package.toml:3: package.reproduce: "" is not the name of an engine`},
	{"meeting alone", "meets = [\"core-b\"]", `packages/core/a/package.toml:3: package.meets: needs two packages at least: they are compared with each other`},
	{"meeting nobody", "meets = [\"core-b\", \"core-d\"]", `packages/core/a/package.toml:3: package.meets: no such package core-d: did you mean core-a?`},
	{"meeting itself", "meets = [\"core-b\", \"core-a\"]", `packages/core/a/package.toml:3: package.meets: a is built after it`},
	{"a seed that is not there", "seeds = [\"../b/package.toml\"]", `packages/core/a/package.toml:3: package.seeds: "../b/package.toml" is not a file of packages/core/a`},
	{"network for no stage", "network = [\"build\"]", `packages/core/a/package.toml:3: package.network: "build" is not a stage of packages/core/a/Containerfile`},
	{"sources that are none", "[sources]\nx = 1", `packages/core/a/package.toml:4: sources.x: must be a table: [sources.x]`},
}

func manifestTree(toml string) files {
	return files{
		"packages/core/a/package.toml":  "[package]\nname = \"a\"\n" + toml + "\n",
		"packages/core/a/Containerfile": "FROM scratch\n",
		"packages/core/b/package.toml":  "[package]\nname = \"b\"\n",
		"packages/core/b/Containerfile": "FROM scratch\n",
	}
}

func TestManifestErrors(t *testing.T) {
	for _, test := range manifestErrors {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, manifestTree(test.toml), test.want)
		})
	}
}

// wantError checks that loading fails with a message, among others perhaps.
func wantError(t *testing.T, f files, want string) {
	t.Helper()
	_, err := tree.Load(f.write(t))
	if err == nil {
		t.Fatalf("no error, want %s", want)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line == want {
			return
		}
	}
	t.Errorf("got\n%v\nwant\n%s", err, want)
}

func TestSourceErrors(t *testing.T) {
	const at = "packages/core/a/package.toml:"
	tests := []struct{ name, toml, want string }{
		{"no hash", `mirrors = ["https://example.org/x"]`, at + `3: sources.x.hash: is missing, and required`},
		{"a short hash", "hash = \"0f\"\nmirrors = [\"https://example.org/x\"]", at + `4: sources.x.hash: "0f" is not a SHA-256: 64 lower-case hex digits`},
		{"a hash in capitals", "hash = \"" + strings.Repeat("A", 64) + "\"\nmirrors = [\"https://example.org/x\"]",
			at + `4: sources.x.hash: "` + strings.Repeat("A", 64) + `" is not a SHA-256: 64 lower-case hex digits`},
		{"no mirrors", `hash = "` + hash + `"`, at + `3: sources.x.mirrors: no mirror: list at least one URL`},
		{"an empty list of mirrors", "hash = \"" + hash + "\"\nmirrors = []", at + `5: sources.x.mirrors: no mirror: list at least one URL`},
		{"a mirror that is no URL", mirror(`example.org/x`), at + `5: sources.x.mirrors: "example.org/x" is not a URL`},
		{"a mirror with nothing but a scheme", mirror(`deb:`), at + `3: sources.x.file: no name: the mirror's URL ends in none, so give file`},
		{"an unknown placeholder", mirror(`https://example.org/{name}/x`), at + `5: sources.x.mirrors: "https://example.org/{name}/x": unknown placeholder {name}: package.toml(5) lists those there are`},
		{"no version", mirror(`https://example.org/{version}/x`), at + `5: sources.x.mirrors: "https://example.org/{version}/x": no value for {version}: neither the source nor the package has a version that gives one`},
		{"no minor version", mirror(`https://example.org/{version_major_minor}/x`) + "\nversion = \"7\"", at + `5: sources.x.mirrors: "https://example.org/{version_major_minor}/x": no value for {version_major_minor}: neither the source nor the package has a version that gives one`},
		{"an open brace", mirror(`https://example.org/{version`), at + `3: sources.x.file: a single { in it: write {{ for a brace`},
		{"a closing brace", mirror(`https://example.org/x}`), at + `3: sources.x.file: a single } in it: write }} for a brace`},
		{"a file of itself", mirror(`https://example.org/x`) + "\nfile = \"{file}\"", at + `6: sources.x.file: unknown placeholder {file}: package.toml(5) lists those there are`},
		{"a mirror without a name", mirror(`https://example.org/`), at + `3: sources.x.file: no name: the mirror's URL ends in none, so give file`},
		{"a mirror without a path", mirror(`https://example.org`), at + `3: sources.x.file: no name: the mirror's URL ends in none, so give file`},
		{"a file above", mirror(`https://example.org/x`) + "\nfile = \"../x\"", at + `6: sources.x.file: "../x" is not the name of a file in the directory of sources`},
		{"a file above by its version", mirror(`https://example.org/x`) + "\nfile = \"{version}\"\nversion = \"..\"", at + `6: sources.x.file: ".." is not the name of a file in the directory of sources`},
		{"a file elsewhere", mirror(`https://example.org/x`) + "\nfile = 'a\\b'", at + `6: sources.x.file: "a\\b" is not the name of a file in the directory of sources`},
		{"a long file", mirror(`https://example.org/x`) + "\nfile = \"" + strings.Repeat("x", 256) + "\"", at + `6: sources.x.file: a name of 256 bytes: at most 255 are possible`},
		{"a commit", mirror(`https://example.org/x`) + "\ngit_sha = \"abc\"", at + `6: sources.x.git_sha: "abc" is not a commit: 40 or 64 lower-case hex digits`},
		{"a role", mirror(`https://example.org/x`) + "\nrole = \"binary\"", at + `6: sources.x.role: "binary" is neither source nor seed`},
		{"a role misspelt", mirror(`https://example.org/x`) + "\nroles = \"seed\"", at + `6: sources.x.roles: unknown key: did you mean role?`},
		{"one file of two sources", mirror(`https://example.org/x`) + "\n[sources.y]\n" + mirror(`https://example.net/x`), at + `6: sources.y: its file is x, as that of sources.x is`},
		{"one argument of two sources", mirror(`https://example.org/x`) + "\n[sources.X]\n" + mirror(`https://example.net/y`), at + `6: sources.X: its build arguments are called as those of sources.x`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, manifestTree("[sources.x]\n"+test.toml), test.want)
		})
	}
}

func mirror(url string) string { return "hash = \"" + hash + "\"\nmirrors = [\"" + url + "\"]" }

func TestTreeErrors(t *testing.T) {
	big := strings.Repeat("# comment\n", 110_000)
	tests := []struct {
		name string
		add  files
		want string
	}{
		{"no package", files{"packages/core/a/package.toml": "[sources]\n"}, "packages/core/a/package.toml: package: the table [package] is missing"},
		{"sources of another type", files{"packages/core/a/package.toml": "sources = 1\n[package]\nname = \"a\"\n"}, "packages/core/a/package.toml:1: sources: must be tables: [sources.NAME]"},
		{"no name", files{"packages/core/a/package.toml": "[package]\n"}, "packages/core/a/package.toml:1: package.name: is missing, and required"},
		{"another name", files{"packages/core/a/package.toml": "[package]\nname = \"b\"\n"}, `packages/core/a/package.toml:2: package.name: is "b", but the directory is called a`},
		{"not a name", files{"packages/core/A/package.toml": "[package]\nname = \"A\"\n", "packages/core/A/Containerfile": "FROM scratch\n"},
			`packages/core/A/package.toml:2: package.name: "A" is not a name for an image: lower-case letters, digits, and . _ - between them`},
		{"another stage", files{"packages/extra/a/package.toml": "[package]\n"}, "packages/extra/a: unknown stage extra: stages are bootstrap, core, user, pallet"},
		{"a Containerfile of all", files{"packages/Containerfile": "FROM scratch\n"}, "packages/Containerfile: must not be here: packages are in packages/<stage>/<name>"},
		{"a Containerfile of a stage", files{"packages/core/Containerfile": "FROM scratch\n"}, "packages/core/Containerfile: must not be here: packages are in packages/<stage>/<name>"},
		{"a Containerfile too deep", files{"packages/core/a/x/Containerfile": "FROM scratch\n"}, "packages/core/a/x/Containerfile: must not be here: a package has one Containerfile, in its own directory"},
		{"a large manifest", files{"packages/core/a/package.toml": big}, "packages/core/a/package.toml: has 1100000 bytes, more than 1048576"},
		{"a large Containerfile", files{"packages/core/a/Containerfile": big}, "packages/core/a/Containerfile: has 1100000 bytes, more than 1048576"},
		{"versions in a circle", files{
			"packages/core/a/package.toml": "[package]\nname = \"a\"\nversion_from = \"core-b\"\n",
			"packages/core/b/package.toml": "[package]\nname = \"b\"\nversion_from = \"core-a\"\n",
		}, "packages/core/b/package.toml:3: package.version_from: leads back to packages/core/b: one of them needs a version"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := manifestTree("")
			for name, content := range test.add {
				f[name] = content
			}
			wantError(t, f, test.want)
		})
	}
}

func TestNoTree(t *testing.T) {
	empty := t.TempDir()
	if _, err := tree.Load(empty); err == nil || err.Error() != empty+": no directory packages in the tree: give the directory that holds it" {
		t.Errorf("without packages: %v", err)
	}
	bare := files{"packages/core/README.md": "nothing"}.write(t)
	if _, err := tree.Load(bare); err == nil || err.Error() != bare+": the tree's directory packages holds no package" {
		t.Errorf("with no package: %v", err)
	}
	if _, err := tree.Load(filepath.Join(empty, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	root := manifestTree("").write(t)
	outside := files{"package.toml": "[package]\nname = \"a\"\n"}.write(t)
	at := filepath.Join(root, "packages/core/a/package.toml")
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "package.toml"), at); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "packages/core/c")); err != nil {
		t.Fatal(err)
	}
	_, err := tree.Load(root)
	if err == nil || !strings.Contains(err.Error(), "path escapes from parent") {
		t.Errorf("a file that leads out: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "packages/core/a")); err != nil {
		t.Fatal(err)
	}
	loaded, err := tree.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "skipped", loaded.Skipped, []tree.Skipped{{Dir: "packages/core/c", Why: "it is a symbolic link"}})
}

func TestAllErrorsAreTold(t *testing.T) {
	f := manifestTree("gate = -1\nversion = 2")
	f["packages/core/b/Containerfile"] = "FRM scratch\n"
	_, err := tree.Load(f.write(t))
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) || len(all.Unwrap()) != 3 {
		t.Fatalf("want three errors: %v", err)
	}
	var first *tree.Error
	if !errors.As(all.Unwrap()[0], &first) || first.Line != 3 || first.Key != "package.gate" {
		t.Errorf("the first one: %+v", first)
	}
}

func TestPipesAreNotOpened(t *testing.T) {
	root := manifestTree("").write(t)
	at := filepath.Join(root, "packages/core/a/Containerfile")
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{at, filepath.Join(root, "packages/core/b/pipe")} {
		if err := syscall.Mkfifo(name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := tree.Load(root)
	if err == nil || err.Error() != "packages/core/a/Containerfile: not a regular file" {
		t.Errorf("got %v", err)
	}
}

func TestManyFiles(t *testing.T) {
	f := manifestTree("")
	for i := range 10_000 {
		f[fmt.Sprintf("packages/core/a/%d", i)] = "x"
	}
	_, err := tree.LoadFS(f.fs(), tree.DefaultPrefix)
	if err == nil || err.Error() != "packages/core/a: holds more than 10000 files" {
		t.Errorf("got %v", err)
	}
}

func TestSourcesInOneLine(t *testing.T) {
	loaded := manifestTree("[sources]\nb = {version = \"2\", hash = \"" + hash + "\", mirrors = [\"https://example.org/b\"]}\n" +
		"a = {version = \"1\", hash = \"" + hash + "\", mirrors = [\"https://example.org/a\"]}").load(t)
	pkg := lookup(t, loaded, "core-a")
	equal(t, "arguments are in the order of the file", pkg.Args, []tree.Arg{
		{Name: "B_VERSION", Value: "2"}, {Name: "B_SOURCE", Value: "b"}, {Name: "A_VERSION", Value: "1"}, {Name: "A_SOURCE", Value: "a"},
	})
}

// broken is a file system in which one file cannot be opened.
type broken struct {
	fs.FS
	name string
}

func (b broken) Open(name string) (fs.File, error) {
	if name == b.name {
		return nil, errFull
	}
	return b.FS.Open(name)
}

func TestUnreadable(t *testing.T) {
	f := manifestTree("")
	f["packages/core/a/patch"] = "x"
	for _, name := range []string{
		"packages", "packages/core", "packages/core/a", "packages/core/a/patch",
		"packages/core/a/package.toml", "packages/core/a/Containerfile",
	} {
		_, err := tree.LoadFS(broken{f.fs(), name}, tree.DefaultPrefix)
		if !errors.Is(err, errFull) {
			t.Errorf("%s cannot be read: %v", name, err)
		}
	}
}
