//go:build linux && amd64

// The tests of the ladder: what its Containerfiles say is done here without
// containers, in directories, so that every step can be looked at.
package packages_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/ladder.sha256 anew")

// ladder are the packages in the order in which they are built.
var ladder = []string{
	"bootstrap/stage0", "bootstrap/stage1", "bootstrap/stage2", "bootstrap/stage3",
	"core/asm", "core/b",
	"user/cat", "user/cmp", "user/echo", "user/false", "user/head", "user/hexdump",
	"user/sha256sum", "user/tee", "user/true", "user/wc",
	"pallet/ladder",
}

// A host does what Containerfiles say in directories below dir: one for each
// stage of a Containerfile, whose last is the image.
type host struct {
	t      testing.TB
	dir    string
	images map[string]string // directories by name: stagex/bootstrap-stage0
	made   map[string]string // hash by package/path, of what steps have made
}

// build builds the whole ladder.
func build(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), images: make(map[string]string), made: make(map[string]string)}
	for _, name := range ladder {
		h.build(name)
	}
	return h
}

// file returns the path of a file of a package's image.
func (h *host) file(image, name string) string {
	return filepath.Join(h.images["stagex/"+image], name)
}

func (h *host) build(name string) {
	h.t.Helper()
	id := strings.ReplaceAll(name, "/", "-")
	source := filepath.Join("packages", name)
	text, err := os.ReadFile(filepath.Join(source, "Containerfile"))
	if err != nil {
		h.t.Fatal(err)
	}
	stages := maps.Clone(h.images)
	var root string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		instruction, words := words[0], words[1:]
		options := make(map[string]string)
		for strings.HasPrefix(words[0], "--") {
			key, value, _ := strings.Cut(words[0], "=")
			options[key], words = value, words[1:]
		}
		switch instruction {
		case "FROM":
			root = filepath.Join(h.dir, id+"."+words[2])
			h.must(os.Mkdir(root, 0o755))
			if words[0] != "scratch" {
				h.copy(stages[words[0]], root)
			}
			stages[words[2]] = root
		case "COPY":
			h.copyInto(root, source, stages, options, words)
		case "RUN":
			if options["--network"] != "none" {
				h.t.Fatalf("%s: %s: a step with a network", id, line)
			}
			h.run(id, root, strings.Join(words, " "))
		default:
			h.t.Fatalf("%s: %s: not known here", id, line)
		}
	}
	h.images["stagex/"+id] = root
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// copyInto does what COPY says. Paths in images begin with a slash, or are ".";
// the last one ends with a slash, unless it names a file.
func (h *host) copyInto(root, source string, stages map[string]string, options map[string]string, words []string) {
	h.t.Helper()
	from, isImage := options["--from"]
	if isImage {
		source = stages[from]
		if source == "" {
			h.t.Fatalf("no image %s", from)
		}
	}
	last := len(words) - 1
	to := filepath.Join(root, words[last])
	for _, name := range words[:last] {
		path := filepath.Join(source, name)
		info, err := os.Stat(path)
		h.must(err)
		target := to
		if !info.IsDir() && strings.HasSuffix(words[last], "/") {
			target = filepath.Join(to, filepath.Base(name))
		}
		h.copy(path, target)
		if !isImage {
			// Build contexts have two modes, whatever the umask of the checkout.
			mode := os.FileMode(0o644)
			if info.Mode()&0o100 != 0 {
				mode = 0o755
			}
			h.must(os.Chmod(target, mode))
		}
	}
}

// copy copies a file, or what is in a directory.
func (h *host) copy(from, to string) {
	h.t.Helper()
	h.must(filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	}))
}

// run runs a step, and notes what it has made. Words that begin with a slash are
// paths in the image, also in the files of commands that "run" reads.
func (h *host) run(id, root, words string) {
	h.t.Helper()
	var args []string
	if err := json.Unmarshal([]byte(words), &args); err != nil {
		h.t.Fatalf("%s: RUN %s: not the exec form: %v", id, words, err)
	}
	before := hashes(h.t, root)
	if args[0] == "/bin/run" {
		commands := filepath.Join(h.dir, id+".run")
		h.must(os.WriteFile(commands, rebase(read(h.t, filepath.Join(root, args[1])), root), 0o644))
		args = []string{filepath.Join(root, args[0]), commands}
	} else {
		for i := range args {
			args[i] = filepath.Join(root, args[i])
		}
	}
	command := exec.Command(args[0], args[1:]...)
	command.Env = []string{}
	if out, err := command.CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %s: %v\n%s", id, words, err, out)
	}
	for name, hash := range hashes(h.t, root) {
		if before[name] != hash {
			h.made[id+"/"+name] = hash
		}
	}
}

// rebase puts root before each absolute path in a text of commands.
func rebase(text []byte, root string) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("#")) {
			words := bytes.Fields(line)
			for i := range words {
				if words[i][0] == '/' {
					words[i] = slices.Concat([]byte(root), words[i])
				}
			}
			line = append(bytes.Join(words, []byte(" ")), '\n')
		}
		out.Write(line)
	}
	return out.Bytes()
}

// hashes returns the SHA-256 of each file below root, by its path.
func hashes(t testing.TB, root string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		sum := sha256.Sum256(content)
		sums[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestEveryStepOfTheLadderGivesTheKnownBytes(t *testing.T) {
	h := build(t)
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.made)) {
		fmt.Fprintf(&got, "%s  %s\n", h.made[name], name)
	}
	answers := filepath.Join("testdata", "ladder.sha256")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(answers, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got), if this is meant, run with -update:\n%s", answers, diff)
	}
}

// The builds compare these themselves, with a compare of the ladder's.
func TestTheLadderMeetsItself(t *testing.T) {
	h := build(t)
	same := func(a, b string) {
		t.Helper()
		if x, y := read(t, a), read(t, b); !bytes.Equal(x, y) {
			t.Errorf("%s and %s differ", a, b)
		}
	}
	for _, tool := range []string{"hex0", "hex1", "hex2", "m", "cmp", "run"} {
		same(h.file("bootstrap-stage2", "bin/"+tool), h.file("bootstrap-stage3", "bin/"+tool))
		same(h.file("bootstrap-stage3", "bin/"+tool), h.file("core-asm", "bin/"+tool))
	}
	seed := "packages/bootstrap/stage0/hex0-seed"
	same(seed, h.file("bootstrap-stage0", "bin/hex0"))
	work := filepath.Join(h.dir, "bootstrap-stage3.build", "build")
	same(seed, filepath.Join(work, "386-hex0"))
	for _, tool := range []string{"hex1", "hex2", "m"} {
		same(filepath.Join(work, "386-"+tool), h.file("bootstrap-stage1", "bin/"+tool))
	}
	same(filepath.Join(h.dir, "core-b.build", "build", "b-first"), h.file("core-b", "bin/b"))
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// A build fails when two generations differ: the compare of the ladder is what
// stands between a wrong tool and the next rung.
func TestAWrongToolFailsTheBuild(t *testing.T) {
	for _, victim := range []string{"bin/m", "386/hex1", "src/stage0/hex0-seed"} {
		t.Run(victim, func(t *testing.T) {
			h := build(t)
			root := filepath.Join(h.dir, "bootstrap-stage3.build")
			content := read(t, filepath.Join(root, victim))
			content[len(content)-1] ^= 1 // the last byte of a program is part of its last jump or ret
			if err := os.WriteFile(filepath.Join(root, victim), content, 0o755); err != nil {
				t.Fatal(err)
			}
			commands := filepath.Join(h.dir, "bootstrap-stage3.run")
			out, err := exec.Command(h.file("core-asm", "bin/run"), commands).CombinedOutput()
			if err == nil {
				t.Errorf("the build goes on:\n%s", out)
			}
		})
	}
}
