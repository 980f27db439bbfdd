package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cairnlog/cairn/builder/source/debian"
	"golang.org/x/sync/errgroup"
)

// debRootfsMirror is a root file system made of packages of Debian that a lock in
// the package's directory pins.
type debRootfsMirror struct{ lock string }

func parseDebRootfs(s string) (mirror, error) {
	if !filepath.IsLocal(s) || filepath.Clean(s) != s || s == "." {
		return nil, fmt.Errorf("deb-rootfs: %q is not a file of the package's directory", s)
	}
	return debRootfsMirror{s}, nil
}

func (m debRootfsMirror) String() string { return "deb-rootfs:" + m.lock }

func (m debRootfsMirror) get(ctx context.Context, r *run, w *Wanted, p *partial) error {
	if err := p.reset(); err != nil {
		return err
	}
	lock, err := m.read(w.Dir)
	if err != nil {
		return err
	}
	if err := r.debs(ctx, lock, Progress{Package: w.Package, Source: w.Name, Mirror: m.String()}); err != nil {
		return err
	}
	return r.rootfs(ctx, lock, p)
}

// read reads the lock, which must be a file below the package's directory.
func (m debRootfsMirror) read(dir string) (_ *debian.Lock, err error) {
	if dir == "" {
		return nil, errors.New("the package's directory, which has the lock, is not known")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.lock, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	text, err := root.ReadFile(m.lock)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.lock, err)
	}
	lock, err := debian.ParseLock(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.lock, err)
	}
	return lock, nil
}

// debs gets the packages of a lock that the store does not have. Progress says
// what they are for.
func (r *run) debs(ctx context.Context, lock *debian.Lock, progress Progress) error {
	var debs []debian.Deb
	for _, d := range lock.Debs {
		if !r.Store.Has(d.SHA256) {
			debs = append(debs, d)
		}
	}
	if len(debs) == 0 {
		return nil
	}
	apt, err := r.apt(ctx, aptKey{suite: lock.Suite, arch: lock.Arch, types: "deb"})
	if err != nil {
		return err
	}
	downloads, err := apt.Debs(ctx, debs)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(r.Parallel, 4))
	for i, d := range downloads {
		g.Go(func() error {
			if d.SHA256 != debs[i].SHA256 {
				return fmt.Errorf("%s: %w", d.File, &WrongHash{Want: debs[i].SHA256, Got: d.SHA256, Size: d.Size})
			}
			if err := r.deb(ctx, apt, &d); err != nil {
				return err
			}
			p := progress
			p.File, p.Done, p.Total, p.Kept = d.File, d.Size, d.Size, true
			r.report(p)
			return nil
		})
	}
	return g.Wait()
}

// deb gets one package.
func (r *run) deb(ctx context.Context, apt *debian.Apt, d *debian.Download) error {
	p, err := r.Store.partial(ctx, d.SHA256)
	if err != nil {
		return err
	}
	defer p.close()
	if p.done {
		return nil
	}
	if err := p.reset(); err != nil {
		return err
	}
	p.limit = r.maxSize()
	if err := apt.Get(ctx, d, p); err != nil {
		return err
	}
	return p.commit()
}

// rootfs writes the root file system of a lock whose packages the store has.
func (r *run) rootfs(ctx context.Context, lock *debian.Lock, w io.Writer) error {
	fs := &debian.Rootfs{Arch: lock.Arch, Scratch: r.Store.scratch(), MaxSize: r.maxSize()}
	return fs.Write(ctx, w, lock.Debs, func(d debian.Deb) (io.ReadCloser, error) {
		return os.Open(r.Store.Path(d.SHA256))
	})
}

// Lock resolves packages of a suite to a lock. An empty arch is the machine's.
func (f *Fetcher) Lock(ctx context.Context, suite, arch string, packages []string) (_ *debian.Lock, err error) {
	r := f.start(nil)
	defer func() { err = errors.Join(err, r.close()) }()
	apt, err := r.apt(ctx, aptKey{suite: suite, arch: arch, types: "deb"})
	if err != nil {
		return nil, err
	}
	return apt.Lock(ctx, packages)
}

// Rootfs makes the root file system of a lock, stores it, and returns its
// SHA-256: what a source with a mirror deb-rootfs: has to name. Progress is as
// Fetch has it.
func (f *Fetcher) Rootfs(ctx context.Context, lock *debian.Lock, progress func(Progress)) (sum string, err error) {
	r := f.start(progress)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.debs(ctx, lock, Progress{}); err != nil {
		return "", err
	}
	tar, err := os.CreateTemp(f.Store.scratch(), "rootfs-*.tar")
	if err != nil {
		return "", fmt.Errorf("making a scratch file: %w", err)
	}
	defer func() { err = errors.Join(err, tar.Close(), os.Remove(tar.Name())) }()
	if err := r.rootfs(ctx, lock, tar); err != nil {
		return "", err
	}
	if sum, _, err = hashFile(tar.Name()); err != nil {
		return "", err
	}
	if _, err := tar.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("reading the root file system: %w", err)
	}
	return sum, f.Store.Add(ctx, sum, tar)
}

// localRootfs makes a root file system if the store has all its packages.
func (r *run) localRootfs(ctx context.Context, w *Wanted, name string) (bool, error) {
	m, err := parseMirror(name)
	if err != nil {
		return false, err
	}
	rootfs, ok := m.(debRootfsMirror)
	if !ok {
		return false, nil
	}
	lock, err := rootfs.read(w.Dir)
	if err != nil {
		return false, err
	}
	for _, d := range lock.Debs {
		if !r.Store.Has(d.SHA256) {
			return false, nil
		}
	}
	p, err := r.Store.partial(ctx, w.SHA256)
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
	if err := r.rootfs(ctx, lock, p); err != nil {
		return false, err
	}
	return true, p.commit()
}
