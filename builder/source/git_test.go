package source

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// upstream is a git repository with one commit, and the tag v1.0 of it.
type upstream struct {
	dir    string
	commit string
}

// git runs git as whoever made the repository did: with no configuration.
func git(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1000000000 +0000",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=1000000000 +0000"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func newUpstream(t testing.TB, text string) upstream {
	t.Helper()
	u := upstream{dir: filepath.Join(t.TempDir(), "Thing")}
	if err := os.Mkdir(u.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, u.dir, "init", "-q", "-b", "main")
	for name, mode := range map[string]fs.FileMode{"README": 0o644, "configure": 0o755} {
		if err := os.WriteFile(filepath.Join(u.dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	git(t, u.dir, "add", ".")
	git(t, u.dir, "commit", "-q", "-m", "all")
	git(t, u.dir, "tag", "-a", "-m", "release", "v1.0")
	u.commit = strings.TrimSpace(string(git(t, u.dir, "rev-parse", "HEAD")))
	return u
}

// forge makes a tarball as a forge does: git archive, and GNU gzip.
func (u upstream) forge(t testing.TB, prefix string) []byte {
	t.Helper()
	gzip := exec.Command("gzip", "-cn")
	gzip.Stdin = bytes.NewReader(git(t, u.dir, "archive", "--format=tar", "--prefix="+prefix, "HEAD"))
	out, err := gzip.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// prose is what compressors do not all compress alike.
func prose() string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range 20_000 {
		fmt.Fprintf(&b, "%s%d ", []string{"seed", "compiler", "linker"}[r.IntN(3)], r.IntN(300))
	}
	return b.String()
}

func TestGitMirror(t *testing.T) {
	u := newUpstream(t, "text")
	store := openStore(t)
	f := &Fetcher{Store: store}
	url := "git+file://" + u.dir
	gz, tar := u.forge(t, "Thing-"+u.commit+"/"), git(t, u.dir, "archive", "--format=tar", "--prefix=x/", "HEAD")
	asTar := want(tar, url+"?rev="+u.commit+"&prefix=x/")
	asTar.File = "thing.tar"
	// The commit alone can be had only if the server lets it; both ways are tried.
	for _, allow := range []string{"false", "true"} {
		git(t, u.dir, "config", "uploadpack.allowAnySHA1InWant", allow)
		if err := f.Fetch(t.Context(), []Wanted{want(gz, url+"?rev="+u.commit), asTar}, nil); err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{gz, tar} {
			if !store.Has(sumOf(b)) {
				t.Error("the store does not have what was fetched")
			}
			os.Remove(store.Path(sumOf(b)))
		}
	}
	tidy(t, store)
}

func TestGitMirrorFails(t *testing.T) {
	u := newUpstream(t, "text")
	store := openStore(t)
	f := &Fetcher{Store: store}
	for _, c := range []struct{ mirror, want string }{
		{"git+file://" + t.TempDir() + "/none?rev=" + u.commit, "git fetch: exit status 128"},
		{"git+file://" + u.dir + "?rev=" + commit, "the repository has no commit " + commit},
		{"git+file://" + u.dir + "?rev=" + u.commit, "wrong content"},
	} {
		err := f.Fetch(t.Context(), []Wanted{want(content, c.mirror)}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.mirror, err, c.want)
		}
	}
	// More than a pipe holds, so git is still writing.
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	u = newUpstream(t, string(noise))
	f.MaxSize = 10
	err := f.Fetch(t.Context(), []Wanted{want(content, "git+file://"+u.dir+"?rev="+u.commit)}, nil)
	if err == nil || !strings.Contains(err.Error(), "at most 10 are allowed") {
		t.Errorf("too large: %v", err)
	}
	tidy(t, store)
}

// Who configures git, or owns a repository, has no say in what is made of it.
func TestGitIsNotConfigured(t *testing.T) {
	u := newUpstream(t, prose())
	gz := u.forge(t, "Thing-"+u.commit+"/")
	home := t.TempDir()
	ran := filepath.Join(home, "ran")
	config := fmt.Sprintf("[tar]\n\tumask = 0077\n[tar \"tar.gz\"]\n\tcommand = touch %s; cat\n[core]\n\tfsmonitor = touch %s\n", ran, ran)
	for _, file := range []string{filepath.Join(home, ".gitconfig"), filepath.Join(u.dir, ".git", "config")} {
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(home, ".config", "git", "attributes"), []byte("README export-ignore\n"))
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	t.Setenv("GZIP", "-1")
	t.Setenv("GIT_OBJECT_DIRECTORY", filepath.Join(home, "none"))
	store := openStore(t)
	f := &Fetcher{Store: store}
	w := want(gz, "https://forge.example/o/Thing/archive/"+u.commit+".tar.gz")
	got, err := f.Import(t.Context(), []Wanted{w}, []string{u.dir}, nil)
	if err != nil || len(got.Found) != 1 {
		t.Errorf("Import: %+v, %v", got, err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command of a repository's configuration was run")
	}
}

func TestGuesses(t *testing.T) {
	for _, c := range []struct {
		name, url, sha string
		want           []string
	}{
		{"a commit at GitHub", "https://github.com/O/R/archive/" + commit + ".tar.gz", "",
			[]string{commit + " R-" + commit + "/", commit + " R/", commit + " r/"}},
		{"a tag", "https://github.com/O/R/archive/refs/tags/v1.0.tar.gz", "",
			[]string{"v1.0 R-v1.0/", "v1.0 R-1.0/", "v1.0 R/", "v1.0 r/"}},
		{"a tag with a slash, and the commit", "https://github.com/O/R/archive/refs/tags/a/1.tgz", commit,
			[]string{"a/1 R-a-1/", commit + " R-a-1/", "a/1 R/", commit + " t/"}},
		{"GitHub's other host", "https://codeload.github.com/O/R/tar.gz/refs/tags/v1", "",
			[]string{"v1 R-v1/", "v1 R-1/"}},
		{"GitLab", "https://gitlab.com/g/s/R/-/archive/v1/R-v1.tar.gz", "", []string{"v1 R-v1/", "v1 R-1/"}},
		{"cgit", "https://git.example.org/R.git/snapshot/R-1.0.tar.gz", "", []string{"1.0 R-1.0/"}},
		{"gitweb", "https://git.example.org/?p=x/R.git;a=snapshot;h=" + commit + ";sf=tgz", "", []string{commit + " R-0123456/"}},
		{"a release", "https://github.com/O/R/releases/download/v1/R-1.tar.gz", "", nil},
		{"a release whose commit is known", "https://example.org/R-1.tar.gz", commit, []string{commit + " t/"}},
		{"a mirror of ours", "git+https://example.org/R?rev=" + commit + "&prefix=p/", "", []string{commit + " p/"}},
	} {
		w := want(nil, c.url)
		w.GitSHA, w.File = c.sha, "t.tar.gz"
		var got []string
		for _, g := range guesses(&w) {
			got = append(got, g.ref+" "+g.prefix)
		}
		for _, g := range c.want {
			if !slices.Contains(got, g) {
				t.Errorf("%s: %q is not among %q", c.name, g, got)
			}
		}
		if c.want == nil && got != nil {
			t.Errorf("%s: %q is guessed", c.name, got)
		}
	}
}

func TestGitStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	repo, err := newGitRepo(ctx, t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := repo.fetch(ctx, "file://"+t.TempDir(), commit); err != context.Canceled {
		t.Errorf("fetch: %v", err)
	}
}
