package importer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
)

func TestTreeOfAStranger(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "inside"), []byte("text\n"), 0o600),
		os.Symlink("inside", filepath.Join(dir, "link")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "absolute")),
		os.Symlink("../"+filepath.Base(dir)+"/inside", filepath.Join(dir, "around")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, err := importer.OpenTree(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	for name, want := range map[string]string{
		"inside": "", "link": "", "absolute": "escapes", "around": "escapes", "../x": "escapes",
		"pipe": "not a regular file", ".": "not a regular file",
	} {
		b, err := tree.Read(t.Context(), name, 100)
		if want == "" && (err != nil || string(b) != "text\n") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v, want %q", name, b, err, want)
		}
	}
	if paths, err := tree.List(t.Context(), "."); err != nil || len(paths) != 1 {
		t.Errorf("listed %q, %v", paths, err)
	}
}

// TestGitOfAStranger reads a repository that lacks a file, and says in its own
// configuration by which program to get it.
func TestGitOfAStranger(t *testing.T) {
	dir, ran := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("add", "file")
	git("commit", "-q", "-m", "x")
	id := git("rev-parse", "HEAD:file")
	for _, c := range [][2]string{
		{"core.repositoryformatversion", "1"}, {"extensions.partialClone", "origin"}, {"remote.origin.promisor", "true"},
		{"remote.origin.url", dir}, {"remote.origin.uploadpack", "touch " + ran + "; git-upload-pack"},
	} {
		git("config", c[0], c[1])
	}
	if err := os.Remove(filepath.Join(dir, ".git", "objects", id[:2], id[2:])); err != nil {
		t.Fatal(err)
	}
	tree, err := importer.OpenTree(t.Context(), dir, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := tree.Read(t.Context(), "file", 100); err == nil {
		t.Errorf("read %q", b)
	}
	_ = tree.Close() // it may have ended by itself
	if _, err := os.Stat(ran); err == nil {
		t.Error("the repository's program ran")
	}
}
