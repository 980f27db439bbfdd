package importer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Tree is the files of a source: those of a directory, or of a commit in a git
// repository, bare or not.
type Tree interface {
	// List returns the slash-separated paths of the regular files under dir, or of
	// all if it is ".", sorted. A directory that is not there has none.
	List(ctx context.Context, dir string) ([]string, error)
	// Read returns a file. Errors wrap fs.ErrNotExist if there is none, and
	// ErrTooLarge if it is over limit bytes.
	Read(ctx context.Context, path string, limit int64) ([]byte, error)
	Close() error
}

// ErrTooLarge says that something is larger than anything of its kind may be.
var ErrTooLarge = errors.New("over the limit")

func tooLarge(limit int64) error { return fmt.Errorf("%w of %d bytes", ErrTooLarge, limit) }

// OpenTree opens the directory at path, or with a commit, that commit of the git
// repository there. Of a bare repository without a commit, it is HEAD.
func OpenTree(ctx context.Context, path, commit string) (Tree, error) {
	git := path
	if isGitDir(filepath.Join(path, ".git")) {
		git = filepath.Join(path, ".git")
	} else if commit == "" && isGitDir(path) {
		commit = "HEAD"
	}
	if commit != "" {
		return openGit(ctx, git, commit)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return dirTree{root}, nil
}

func isGitDir(path string) bool {
	for _, name := range []string{"HEAD", "objects"} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// dirTree is a directory, out of which no link leads.
type dirTree struct{ *os.Root }

func (t dirTree) List(_ context.Context, dir string) ([]string, error) {
	var paths []string
	err := fs.WalkDir(t.FS(), dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(paths)
	return paths, err
}

func (t dirTree) Read(_ context.Context, path string, limit int64) ([]byte, error) {
	info, err := t.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path) // a pipe would be waited for
	}
	f, err := t.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readUpTo(f, limit)
}

func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, tooLarge(limit)
	}
	return b, err
}

// gitTree is a commit. Its objects are read by one process, without any of the
// user's configuration and without a network: a stranger's repository has a
// configuration of its own, by which git would fetch what is missing with programs
// that are named there.
type gitTree struct {
	objects map[string]string // object id by path

	mu  sync.Mutex // guards the process
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func gitCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"--no-pager", "--no-replace-objects"}, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "GIT_DIR=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", // older gits know the second alone
		"GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
	}
	return cmd
}

func openGit(ctx context.Context, dir, commit string) (Tree, error) {
	if strings.HasPrefix(commit, "-") {
		return nil, fmt.Errorf("%q names no commit", commit)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	list := gitCommand(ctx, abs, "ls-tree", "-r", "-z", "--full-tree", commit)
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing commit %s of %s: %w: %s", commit, dir, err, bytes.TrimSpace(stderr.Bytes()))
	}
	t := &gitTree{objects: make(map[string]string)}
	for line := range strings.SplitSeq(string(out), "\x00") {
		meta, path, ok := strings.Cut(line, "\t")
		if f := strings.Fields(meta); ok && len(f) == 3 && strings.HasPrefix(f[0], "100") {
			t.objects[path] = f[2]
		}
	}
	return t, t.start(abs)
}

func (t *gitTree) start(dir string) error {
	t.cmd = gitCommand(context.Background(), dir, "cat-file", "--batch")
	var err error
	if t.in, err = t.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	t.out = bufio.NewReader(out)
	return t.cmd.Start()
}

func (t *gitTree) List(_ context.Context, dir string) ([]string, error) {
	var paths []string
	for path := range t.objects {
		if dir == "." || strings.HasPrefix(path, dir+"/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths, nil
}

func (t *gitTree) Read(_ context.Context, path string, limit int64) ([]byte, error) {
	id, ok := t.objects[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.in, id+"\n"); err != nil {
		return nil, fmt.Errorf("asking git for %s: %w", path, err)
	}
	head, err := t.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("reading %s from git: %w", path, err)
	}
	f := strings.Fields(head)
	if len(f) != 3 || f[1] != "blob" {
		return nil, fmt.Errorf("git has no file %s: %q", path, strings.TrimSpace(head))
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading %s from git: %w", path, err)
	}
	b, err := readUpTo(io.LimitReader(t.out, min(size, limit+1)), limit)
	read := int64(len(b))
	if err != nil {
		read = limit + 1
	}
	// What follows is the rest of the file and a newline.
	if _, derr := io.CopyN(io.Discard, t.out, size-min(size, read)+1); derr != nil {
		return nil, fmt.Errorf("reading %s from git: %w", path, derr)
	}
	return b, err
}

func (t *gitTree) Close() error {
	_ = t.in.Close() // it ends the process
	return t.cmd.Wait()
}
