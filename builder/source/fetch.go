package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cairnlog/cairn/builder/source/debian"
	"github.com/cairnlog/cairn/builder/tree"
	"golang.org/x/sync/errgroup"
)

// Fetcher fills a store. Fields other than Store may be left zero; none is
// changed while it is in use.
type Fetcher struct {
	Store *Store
	// MaxSize is how many bytes a source may have; 8 GiB if it is 0.
	MaxSize int64
	// Parallel is how many sources are fetched at a time; 4 if it is 0.
	Parallel int
	// Stall is how long a server may say nothing; one minute if it is 0. There is
	// no limit to the time that a source takes as long as bytes arrive.
	Stall time.Duration
	// Attempts is how often a server is asked for one source, if it fails in a way
	// that may pass; 5 if it is 0. Attempts that bring a MiB do not count.
	Attempts int
	// UserAgent is what servers are told; cairn-builder if it is empty.
	UserAgent string
	// Transport is how servers are asked; the default one if it is nil.
	Transport http.RoundTripper
	// Apt is how Debian's files are found. Its Suite, Arch, Types and Scratch are
	// not used.
	Apt debian.Options
}

// OfPackage returns what a package of the tree in root wants.
func OfPackage(root string, p *tree.Package) []Wanted {
	list := make([]Wanted, len(p.Sources))
	for i, s := range p.Sources {
		list[i] = Wanted{Source: s, Package: p.ID(), Dir: filepath.Join(root, filepath.FromSlash(p.Dir))}
	}
	return list
}

// Fetch gets each source that the store does not have from the first of its
// mirrors that gives the bytes of its hash. Sources of one hash are one. It goes
// on past a source that no mirror gives: the error is then a *MissingError.
// Progress, if it is not nil, is called by one goroutine at a time.
func (f *Fetcher) Fetch(ctx context.Context, wanted []Wanted, progress func(Progress)) (err error) {
	r := f.start(progress)
	defer func() { err = errors.Join(err, r.close()) }()
	groups := missing(f.Store, wanted)
	lost := make([]*Missing, len(groups))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(f.Parallel, 4))
	for i, group := range groups {
		g.Go(func() (err error) {
			lost[i], err = r.fetch(gctx, group)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("fetching sources: %w", err)
	}
	all := new(MissingError)
	for _, m := range lost {
		if m != nil {
			all.Sources = append(all.Sources, *m)
		}
	}
	if len(all.Sources) > 0 {
		return all
	}
	return nil
}

// missing groups by hash what the store does not have, in the order given.
func missing(store *Store, wanted []Wanted) [][]Wanted {
	var groups [][]Wanted
	known := make(map[string]int) // hash to index in groups, or -1 if the store has it
	for _, w := range wanted {
		i, ok := known[w.SHA256]
		if !ok {
			i = -1
			if !store.Has(w.SHA256) {
				i = len(groups)
				groups = append(groups, nil)
			}
			known[w.SHA256] = i
		}
		if i >= 0 {
			groups[i] = append(groups[i], w)
		}
	}
	return groups
}

// run is one call of Fetch.
type run struct {
	*Fetcher
	client *http.Client

	mu       sync.Mutex // guards progress and apts
	progress func(Progress)
	apts     map[aptKey]*lazyApt
}

type aptKey struct{ suite, arch, types string }

// lazyApt is made by whoever needs it first; the others wait.
type lazyApt struct {
	once sync.Once
	apt  *debian.Apt
	err  error
}

func (f *Fetcher) start(progress func(Progress)) *run {
	transport := f.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &run{
		Fetcher:  f,
		client:   &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		progress: progress,
		apts:     make(map[aptKey]*lazyApt),
	}
}

func (r *run) close() error {
	var list []error
	for _, l := range r.apts {
		if l.apt != nil {
			list = append(list, l.apt.Close())
		}
	}
	return errors.Join(list...)
}

func (r *run) maxSize() int64 { return cmp.Or(r.MaxSize, 8<<30) }

func (r *run) report(p Progress) {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress(p)
}

// apt returns the private apt for a suite, which lives as long as the run.
func (r *run) apt(ctx context.Context, key aptKey) (*debian.Apt, error) {
	r.mu.Lock()
	l := r.apts[key]
	if l == nil {
		l = new(lazyApt)
		r.apts[key] = l
	}
	r.mu.Unlock()
	l.once.Do(func() {
		o := r.Apt
		o.Suite, o.Arch, o.Types = key.suite, key.arch, key.types
		o.Scratch = r.Store.scratch()
		l.apt, l.err = debian.NewApt(ctx, o)
	})
	return l.apt, l.err
}

// fetch gets the one file that all of group want. It returns what is missing if
// no mirror gives it, and an error only if going on has no sense.
func (r *run) fetch(ctx context.Context, group []Wanted) (*Missing, error) {
	p, err := r.Store.partial(ctx, group[0].SHA256)
	if err != nil {
		return nil, err
	}
	defer p.close()
	lost := &Missing{Wanted: group[0]}
	for i := range group {
		w := &group[i]
		for _, name := range w.Mirrors {
			tried := slices.ContainsFunc(lost.Attempts, func(a Attempt) bool { return a.Mirror == name })
			if p.done || tried && !readsPackage(name) {
				continue
			}
			err := r.try(ctx, w, name, p)
			if err == nil {
				continue
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if isOurs(err) {
				return nil, fmt.Errorf("%s: source %s: %w", w.Package, w.Name, err)
			}
			lost.Attempts = append(lost.Attempts, Attempt{Mirror: name, Err: err})
			r.report(Progress{Package: w.Package, Source: w.Name, File: w.File, Mirror: name, Done: p.n, Err: err})
		}
	}
	if !p.done {
		return lost, nil
	}
	return nil, nil
}

// try asks one mirror. A file that was resumed, and is wrong, says nothing about
// the mirror: it is asked once more, for all of it.
func (r *run) try(ctx context.Context, w *Wanted, name string, p *partial) error {
	m, err := parseMirror(name)
	if err != nil {
		return err
	}
	progress := Progress{Package: w.Package, Source: w.Name, File: w.File, Mirror: name}
	var last time.Time
	p.limit = r.maxSize()
	p.wrote = func(n, total int64) {
		if now := time.Now(); now.Sub(last) >= 100*time.Millisecond {
			last = now
			progress.Done, progress.Total = n, total
			r.report(progress)
		}
	}
	p.total = 0
	progress.Done = p.n
	r.report(progress)
	for range 2 {
		if err = m.get(ctx, r, w, p); err == nil {
			resumed := p.resumed
			err = p.commit()
			var wrong *WrongHash
			if resumed && errors.As(err, &wrong) {
				continue
			}
		}
		break
	}
	var large *TooLarge
	if errors.As(err, &large) {
		return errors.Join(err, p.reset())
	}
	if err == nil {
		progress.Done, progress.Total, progress.Kept = p.n, p.n, true
		r.report(progress)
	}
	return err
}
