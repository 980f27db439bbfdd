package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/builder/tree"
)

// Imported is what Import did.
type Imported struct {
	// Found are the sources that are now in the store, in the order wanted. Packages
	// of a Debian lock are among them.
	Found []Found
	// Unread are files and directories that could not be looked at.
	Unread []error
}

// Found is a source, and where it was.
type Found struct {
	Wanted
	From string // a file, "commit … of a repository", or the lock
}

// Import takes what the store does not have from local directories: files that
// have the hash, whatever they are called; tarballs of commits, made from git
// repositories; root file systems, if all their packages are there. Nothing is
// asked of the network. What was not found is not an error: Fetch says it.
func (f *Fetcher) Import(ctx context.Context, wanted []Wanted, dirs []string, progress func(Progress)) (_ *Imported, err error) {
	r := f.start(progress)
	defer func() { err = errors.Join(err, r.close()) }()
	i, err := r.newImport(wanted)
	if err != nil {
		return nil, err
	}
	s := &scanner{maxSize: r.maxSize(), seen: make(map[string]bool)}
	for _, dir := range dirs {
		if err := s.scan(ctx, dir); err != nil {
			return nil, err
		}
	}
	i.unread = s.unread
	// Hashing all there is comes last: most often it is not needed.
	named, other := i.split(s.files)
	for _, step := range []func() error{
		func() error { return i.takeFiles(ctx, named) },
		func() error { return i.takeCommits(ctx, s.repos) },
		func() error { return i.takeFiles(ctx, other) },
		func() error { return i.takeRootfs(ctx) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("importing sources: %w", err)
		}
	}
	return i.result(), nil
}

// importer is one call of Import.
type importer struct {
	r     *run
	order []string // hashes

	mu     sync.Mutex
	todo   map[string]Wanted // by hash
	found  map[string]Found
	unread []error
}

func (r *run) newImport(wanted []Wanted) (*importer, error) {
	i := &importer{r: r, todo: make(map[string]Wanted), found: make(map[string]Found)}
	for _, group := range missing(r.Store, wanted) {
		w := group[0]
		for _, other := range group[1:] {
			w.Mirrors = append(slices.Clone(w.Mirrors), other.Mirrors...)
		}
		i.want(w)
		for _, w := range group {
			if err := i.wantDebs(w); err != nil {
				return nil, fmt.Errorf("%s: source %s: %w", w.Package, w.Name, err)
			}
		}
	}
	return i, nil
}

func (i *importer) want(w Wanted) {
	if _, ok := i.todo[w.SHA256]; !ok {
		i.todo[w.SHA256] = w
		i.order = append(i.order, w.SHA256)
	}
}

// wantDebs wants the packages that a root file system is made of.
func (i *importer) wantDebs(w Wanted) error {
	for _, name := range w.Mirrors {
		m, err := parseMirror(name)
		rootfs, ok := m.(debRootfsMirror)
		if err != nil || !ok {
			continue // Fetch says what is wrong with it
		}
		lock, err := rootfs.read(w.Dir)
		if err != nil {
			return err
		}
		for _, d := range lock.Debs {
			if !i.r.Store.Has(d.SHA256) {
				i.want(Wanted{Package: w.Package, Source: tree.Source{
					Name: d.Name, Version: d.Version, SHA256: d.SHA256, File: d.File()}})
			}
		}
	}
	return nil
}

// split puts the files first that are called like one that is wanted.
func (i *importer) split(files []string) (named, other []string) {
	names := make(map[string]bool)
	for _, w := range i.todo {
		names[w.File] = true
		names[w.SHA256] = true
		for _, m := range w.Mirrors {
			names[path.Base(m)] = true
		}
	}
	for _, f := range files {
		if names[filepath.Base(f)] {
			named = append(named, f)
		} else {
			other = append(other, f)
		}
	}
	return named, other
}

func (i *importer) wants(sum string) (Wanted, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w, ok := i.todo[sum]
	return w, ok
}

func (i *importer) finished() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.todo) == 0
}

func (i *importer) take(w Wanted, from string) {
	i.mu.Lock()
	delete(i.todo, w.SHA256)
	i.found[w.SHA256] = Found{Wanted: w, From: from}
	i.mu.Unlock()
	p := Progress{Package: w.Package, Source: w.Name, File: w.File, Mirror: from, Kept: true}
	if fi, err := os.Stat(i.r.Store.Path(w.SHA256)); err == nil {
		p.Done, p.Total = fi.Size(), fi.Size()
	}
	i.r.report(p)
}

// takeFiles hashes files, until nothing more is wanted.
func (i *importer) takeFiles(ctx context.Context, files []string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, file := range files {
		if i.finished() || gctx.Err() != nil {
			break
		}
		g.Go(func() error { return i.takeFile(gctx, file) })
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

func (i *importer) takeFile(ctx context.Context, file string) error {
	sum, _, err := hashFile(file)
	if err != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.unread = append(i.unread, err)
		return nil
	}
	w, ok := i.wants(sum)
	if !ok {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	err = errors.Join(i.r.Store.Add(ctx, sum, f), f.Close())
	var wrong *WrongHash
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s changed while it was read: %w", file, err)
	}
	if err != nil {
		return err
	}
	i.take(w, file)
	return nil
}

// takeCommits makes the tarballs of forges anew.
func (i *importer) takeCommits(ctx context.Context, repos []localRepo) (err error) {
	if len(repos) == 0 || len(i.todo) == 0 {
		return nil
	}
	git, err := newGitRepo(ctx, i.r.Store.scratch(), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, git.close()) }()
	var objects []string
	for _, r := range repos {
		objects = append(objects, filepath.Join(r.common, "objects"))
	}
	if err := git.borrow(objects); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, w := range slices.Collect(maps.Values(i.todo)) {
		g.Go(func() error { return i.takeCommit(ctx, git, repos, w) })
	}
	return g.Wait()
}

func (i *importer) takeCommit(ctx context.Context, git *gitRepo, repos []localRepo, w Wanted) error {
	known := make(map[string]bool) // whether an object is there
	for _, format := range []string{gnuGzip, gitGzip} {
		for _, g := range guesses(&w) {
			for _, id := range resolveAll(repos, g.ref) {
				there, asked := known[id]
				if !asked {
					there = git.has(ctx, id)
					known[id] = there
				}
				if !there {
					continue
				}
				ok, err := i.r.tryTarball(ctx, git, tarball{commit: id, prefix: g.prefix, format: format}, w.SHA256)
				if err != nil {
					return err
				}
				if ok {
					i.take(w, fmt.Sprintf("commit %s of a git repository, as %s", id, g.prefix))
					return nil
				}
			}
		}
	}
	return ctx.Err()
}

func resolveAll(repos []localRepo, ref string) []string {
	var ids []string
	for _, r := range repos {
		for _, id := range r.resolve(ref) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// tryTarball stores the tarball of a commit, if it has the hash.
func (r *run) tryTarball(ctx context.Context, git *gitRepo, t tarball, sum string) (bool, error) {
	p, err := r.Store.partial(ctx, sum)
	if err != nil {
		return false, err
	}
	defer p.close()
	if p.done {
		return true, nil
	}
	if err := p.reset(); err != nil {
		return false, err
	}
	p.limit = r.maxSize()
	if err := git.archive(ctx, t, p); err != nil {
		if isOurs(err) || ctx.Err() != nil {
			return false, err
		}
		return false, p.reset() // too large, or an object is missing
	}
	err = p.commit()
	var wrong *WrongHash
	if errors.As(err, &wrong) {
		return false, nil
	}
	return err == nil, err
}

// takeRootfs makes the root file systems whose packages are all there.
func (i *importer) takeRootfs(ctx context.Context) error {
	for _, w := range slices.Collect(maps.Values(i.todo)) {
		for _, name := range w.Mirrors {
			if !strings.HasPrefix(name, "deb-rootfs:") {
				continue
			}
			ok, err := i.r.localRootfs(ctx, &w, name)
			if err != nil {
				return fmt.Errorf("%s: source %s: %s: %w", w.Package, w.Name, name, err)
			}
			if ok {
				i.take(w, name)
				break
			}
		}
	}
	return nil
}

func (i *importer) result() *Imported {
	list := &Imported{Unread: i.unread}
	for _, sum := range i.order {
		if f, ok := i.found[sum]; ok {
			list.Found = append(list.Found, f)
		}
	}
	return list
}
