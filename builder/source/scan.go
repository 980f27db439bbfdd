package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// localRepo is a git repository found in a directory.
type localRepo struct {
	dir    string // where its references are
	common string // where its objects and packed references are
}

// scanner finds what a directory has to offer.
type scanner struct {
	maxSize int64
	files   []string
	repos   []localRepo
	seen    map[string]bool // objects directories
	unread  []error
}

// scan walks a directory. Links to files are followed, links to directories are
// not. What cannot be read is remembered.
func (s *scanner) scan(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("looking into %s: %w", dir, err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("looking into a directory of sources: %w", err)
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if path == dir {
				return fmt.Errorf("looking into a directory of sources: %w", err)
			}
			s.unread = append(s.unread, err)
			return nil
		}
		if d.IsDir() {
			return s.directory(ctx, path)
		}
		s.file(path, d)
		return nil
	})
}

// directory takes a git repository as one, and of what is in it only the
// repositories of submodules.
func (s *scanner) directory(ctx context.Context, path string) error {
	if !isGitDir(path) {
		return nil
	}
	s.addRepo(path)
	if modules := filepath.Join(path, "modules"); isDir(modules) {
		if err := s.scan(ctx, modules); err != nil {
			return err
		}
	}
	return fs.SkipDir
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

func isGitDir(path string) bool {
	_, err := os.Stat(filepath.Join(path, "HEAD"))
	return err == nil && isDir(filepath.Join(path, "objects")) && isDir(filepath.Join(path, "refs"))
}

func (s *scanner) file(path string, d fs.DirEntry) {
	if d.Name() == ".git" {
		s.gitFile(path)
		return
	}
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		if !errors.Is(err, fs.ErrNotExist) { // a link to nothing, or gone by now
			s.unread = append(s.unread, err)
		}
	case fi.Mode().IsRegular() && fi.Size() > 0 && fi.Size() <= s.maxSize:
		s.files = append(s.files, path)
	}
}

// gitFile follows a work tree that has its repository elsewhere.
func (s *scanner) gitFile(path string) {
	text, err := readShort(path)
	if err != nil {
		s.unread = append(s.unread, err)
		return
	}
	if to, ok := strings.CutPrefix(text, "gitdir: "); ok {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		s.addRepo(to)
	}
}

// readShort reads a file of one line.
func readShort(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(b) > 64<<10 {
		return "", fmt.Errorf("%s: %d bytes are too many for one line", path, len(b))
	}
	return strings.TrimSpace(string(b)), nil
}

// addRepo adds a repository by its git directory. Those with SHA-256 objects
// cannot stand beside the others, and no forge archive of a package names one.
func (s *scanner) addRepo(dir string) {
	repo := localRepo{dir: dir, common: dir}
	if to, err := readShort(filepath.Join(dir, "commondir")); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		repo.common = to
	}
	objects := filepath.Join(repo.common, "objects")
	if s.seen[objects] || !isDir(objects) {
		return
	}
	config, _ := os.ReadFile(filepath.Join(repo.common, "config")) // without one it is of the usual kind
	if bytes.Contains(bytes.ToLower(config), []byte("objectformat = sha256")) {
		return
	}
	s.seen[objects] = true
	s.repos = append(s.repos, repo)
}

// resolve returns the objects that a reference may name in the repository.
func (r localRepo) resolve(ref string) []string {
	if commitID.MatchString(ref) {
		return []string{ref}
	}
	if !filepath.IsLocal(ref) {
		return nil
	}
	names := []string{"refs/tags/" + ref, "refs/heads/" + ref, "refs/tags/v" + ref}
	var ids []string
	for _, name := range names {
		if id, err := readShort(filepath.Join(r.common, filepath.FromSlash(name))); err == nil && commitID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	packed, _ := os.ReadFile(filepath.Join(r.common, "packed-refs")) // there need be none
	for line := range strings.Lines(string(packed)) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, n := range names {
			if name == n && commitID.MatchString(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
