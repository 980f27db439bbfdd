package enginetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cairnlog/cairn/ledger/engine"
)

// Sequence is an engine.Sequence in memory. It is durable as far as the test lives.
// Its zero value is empty.
type Sequence struct {
	mu      sync.Mutex
	leaves  [][]byte // of all that was placed; those below trimmed are only answered with
	trimmed uint64
	terms   map[[sha256.Size]byte]uint64
	marks   map[[sha256.Size]byte]uint64
	placed  chan struct{}
	fail    func(method string) error
}

// Fail has each method ask f whether to fail; it may be nil.
func (s *Sequence) Fail(f func(method string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// begin locks the sequence.
func (s *Sequence) begin(ctx context.Context, method string) error {
	s.mu.Lock()
	if s.terms == nil {
		s.terms, s.marks = make(map[[sha256.Size]byte]uint64), make(map[[sha256.Size]byte]uint64)
	}
	if s.placed == nil {
		s.placed = make(chan struct{}, 1)
	}
	if s.fail != nil {
		if err := s.fail(method); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Place implements engine.Sequence.
func (s *Sequence) Place(ctx context.Context, entries []engine.Entry) ([]engine.Placed, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx, "Place"); err != nil {
		return nil, err
	}
	placed := make([]engine.Placed, len(entries))
	for i, e := range entries {
		placed[i] = s.place(e)
	}
	select {
	case s.placed <- struct{}{}:
	default:
	}
	return placed, nil
}

func (s *Sequence) place(e engine.Entry) engine.Placed {
	for _, t := range e.Terms {
		if index, ok := s.terms[t]; ok {
			return engine.Placed{Index: index, Leaf: s.leaves[index]}
		}
	}
	stale := engine.Placed{}
	for _, m := range e.Follows {
		if index, ok := s.marks[m]; ok && index >= e.Seen {
			stale = engine.Placed{Index: max(stale.Index, index), Stale: true}
		}
	}
	if stale.Stale {
		return stale
	}
	index := uint64(len(s.leaves))
	s.leaves = append(s.leaves, slices.Clone(e.Leaf))
	for _, t := range e.Terms {
		s.terms[t] = index
	}
	for _, m := range e.Marks {
		s.marks[m] = index
	}
	return engine.Placed{Index: index, Leaf: s.leaves[index], Created: true}
}

// Next implements engine.Sequence.
func (s *Sequence) Next(ctx context.Context) (uint64, error) {
	defer s.mu.Unlock()
	err := s.begin(ctx, "Next")
	return uint64(len(s.leaves)), err
}

// Read implements engine.Sequence.
func (s *Sequence) Read(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx, "Read"); err != nil {
		return nil, err
	}
	if from < s.trimmed {
		return nil, fmt.Errorf("leaf %d: %w", from, engine.ErrNotFound)
	}
	if from >= uint64(len(s.leaves)) {
		return nil, nil
	}
	return slices.Clone(s.leaves[from:min(uint64(len(s.leaves)), from+uint64(limit))]), nil
}

// Trim implements engine.Sequence.
func (s *Sequence) Trim(ctx context.Context, below uint64) error {
	defer s.mu.Unlock()
	if err := s.begin(ctx, "Trim"); err != nil {
		return err
	}
	s.trimmed = max(s.trimmed, below)
	return nil
}

// Trimmed returns what Trim was given.
func (s *Sequence) Trimmed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trimmed
}

// Restore makes the sequence what it was when it had size leaves, as an older backup
// is.
func (s *Sequence) Restore(size uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaves = s.leaves[:size:size]
}

// Placements implements engine.Sequence.
func (s *Sequence) Placements() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.placed == nil {
		s.placed = make(chan struct{}, 1)
	}
	return s.placed
}

// Bucket is an engine.Bucket in memory. Its zero value is empty.
type Bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	fail    func(method, key string) error
}

// Fail has each method ask f, for each key, whether to fail; it may be nil.
func (b *Bucket) Fail(f func(method, key string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

func (b *Bucket) ask(ctx context.Context, method, key string) error {
	if b.fail != nil {
		if err := b.fail(method, key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Get implements engine.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ask(ctx, "Get", key); err != nil {
		return nil, err
	}
	data, ok := b.objects[key]
	if !ok {
		return nil, fmt.Errorf("object %s: %w", key, fs.ErrNotExist)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("object %s is over the limit of %d bytes", key, limit)
	}
	return slices.Clone(data), nil
}

// Put implements engine.Bucket. After a failure, the objects before it are there.
func (b *Bucket) Put(ctx context.Context, objects []engine.Object) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.objects == nil {
		b.objects = make(map[string][]byte)
	}
	for _, o := range objects {
		if err := b.ask(ctx, "Put", o.Key); err != nil {
			return err
		}
		if _, ok := b.objects[o.Key]; !ok || !o.Once {
			b.objects[o.Key] = slices.Clone(o.Bytes)
		}
	}
	return nil
}

// Delete implements engine.Bucket.
func (b *Bucket) Delete(ctx context.Context, keys []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range keys {
		if err := b.ask(ctx, "Delete", key); err != nil {
			return err
		}
		delete(b.objects, key)
	}
	return nil
}

// List implements engine.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string, each func(key string, size int64) error) error {
	for _, key := range b.Keys() {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(key, 0); err != nil {
			return err
		}
	}
	return nil
}

// Keys returns the keys of all objects, sorted.
func (b *Bucket) Keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}
