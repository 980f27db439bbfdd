package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

var (
	errBroken = errors.New("broken")
	errAway   = reason.Errorf(reason.StorageUnavailable, "away for a moment")
)

// fault says what becomes of one kind of writes.
type fault int

const (
	works   fault = iota
	lost          // fails, and nothing is written
	kept          // fails, but is written
	away          // fails for a moment, and nothing is written
	unheard       // is written, and the answer is lost
)

// disk is a log, a blob store and an index in memory. It outlives the intakes
// that are opened on it.
type disk struct {
	mu     sync.Mutex
	leaves [][]byte
	hashes []tlog.Hash // by tlog.StoredHashIndex
	blobs  map[leaf.Digest][]byte
	index  []store.Entry
	events []string // what was written, in order

	append, put, add, look fault
	gate                   chan struct{} // if set, indexes are answered when it is closed
	tamperEntry            func(index uint64, entry []byte) []byte
	tamperTile             func(tile []byte) []byte

	// shared says that several intakes append to the log; terms and marks are what
	// it then knows of its entries.
	shared       bool
	terms, marks map[[32]byte]uint64
	place        fault
	refused      int // entries that were stale
}

func newDisk() *disk { return &disk{blobs: make(map[leaf.Digest][]byte)} }

func (d *disk) did(format string, args ...any) {
	d.events = append(d.events, fmt.Sprintf(format, args...))
}

// write does f as the fault lets it, with d.mu held.
func (d *disk) write(f fault, do func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f == works || f == kept || f == unheard {
		do()
	}
	switch f {
	case works:
		return nil
	case away, unheard:
		return errAway
	}
	return errBroken
}

// log implements engine.Log.
type log struct{ *disk }

func (d log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hs[i] = d.hashes[x]
	}
	return hs, nil
}

func (d *disk) grow(text []byte) {
	hs, err := tlog.StoredHashes(int64(len(d.leaves)), text, log{d})
	if err != nil {
		panic(err) // of the reader above
	}
	d.hashes = append(d.hashes, hs...)
	d.leaves = append(d.leaves, text)
}

func (d log) Append(_ context.Context, text []byte) engine.Future {
	var index uint64
	err := d.write(d.append, func() {
		index = uint64(len(d.leaves))
		d.grow(text)
		d.did("append %s", leaf.SHA256(text))
	})
	gate := d.gate
	return func() (uint64, error) {
		if gate != nil {
			<-gate
		}
		return index, err
	}
}

func (d log) Size(context.Context) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(len(d.leaves)), nil
}

func (d log) Publish(context.Context, []byte) error     { return errors.New("not here") }
func (d log) Published(context.Context) ([]byte, error) { return nil, engine.ErrNotFound }
func (d log) Close() error                              { return nil }
func (d log) tile(level, index uint64, width int) tlog.Tile {
	return tlog.Tile{H: 8, L: int(level), N: int64(index), W: width}
}

func (d log) Tile(_ context.Context, level, index uint64, width int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := tlog.ReadTileData(d.tile(level, index, width), d)
	if d.tamperTile != nil {
		b = d.tamperTile(b)
	}
	return b, err
}

func (d log) Entries(_ context.Context, index uint64, width int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b []byte
	for i := index * engine.TileWidth; i < index*engine.TileWidth+uint64(width); i++ {
		entry := d.leaves[i]
		if d.tamperEntry != nil {
			entry = d.tamperEntry(i, entry)
		}
		if entry == nil {
			return b, nil
		}
		var err error
		if b, err = torchwood.AppendTileEntry(b, entry); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// blobs implements store.Blobs.
type blobs struct{ *disk }

func (d blobs) Put(_ context.Context, bs []store.Blob) error {
	return d.write(d.put, func() {
		for _, b := range bs {
			if _, ok := d.blobs[b.Digest]; !ok {
				d.blobs[b.Digest] = bytes.Clone(b.Bytes)
			}
			d.did("put %s", b.Digest)
		}
	})
}

func (d blobs) Get(_ context.Context, digest leaf.Digest) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.blobs[digest]; ok {
		return b, nil
	}
	return nil, store.ErrNotFound
}

func (d blobs) Close() error { return nil }

// index implements what an intake uses of store.Index.
type index struct {
	store.Index
	*disk
}

func (x index) Size(context.Context) (uint64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return uint64(len(x.index)), nil
}

func (x index) Add(_ context.Context, es []store.Entry) error {
	return x.write(x.add, func() {
		if es[0].Index != uint64(len(x.index)) {
			panic("entries are added out of order")
		}
		x.index = append(x.index, es...)
	})
}

func (x index) First(_ context.Context, terms []store.Term) ([]uint64, error) {
	switch x.look {
	case works:
	case away:
		return nil, errAway
	default:
		return nil, errBroken
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	found := make([]uint64, len(terms))
	for i, t := range terms {
		found[i] = store.NoEntry
		for _, e := range x.index {
			if slices.Contains(store.Terms(&e), t) {
				found[i] = e.Index
				break
			}
		}
	}
	return found, nil
}

func (x index) Entries(_ context.Context, indexes []uint64) ([]store.Entry, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var es []store.Entry
	for _, i := range indexes {
		es = append(es, store.Entry{Index: i, Text: x.index[i].Text})
	}
	return es, nil
}

func (x index) Keys(context.Context) ([]store.Key, []store.Endorsement, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []store.Key
	var standing []store.Endorsement
	for _, e := range x.index {
		c := e.Keys
		if c == nil {
			continue
		}
		same := func(k store.Key) bool { return k.Fingerprint == c.Key.Fingerprint }
		list = append(slices.DeleteFunc(list, same), c.Key)
		standing = slices.DeleteFunc(standing, func(e store.Endorsement) bool {
			return e.Key == c.Key.Fingerprint && (c.Ended || e.Endorser == c.Withdrawn)
		})
		if c.Endorsed != nil {
			standing = append(standing, *c.Endorsed)
		}
	}
	return list, standing, nil
}

// sharedLog implements engine.Shared, and sharedIndex adds what a KeyIndex has.
type (
	sharedLog   struct{ log }
	sharedIndex struct{ index }
)

func newSharedDisk() *disk {
	d := newDisk()
	d.shared, d.terms, d.marks = true, make(map[[32]byte]uint64), make(map[[32]byte]uint64)
	return d
}

func (d sharedLog) Append(context.Context, []byte) engine.Future { panic("the order is not its own") }

func (d sharedLog) Place(_ context.Context, entries []engine.Entry) (placed []engine.Placed, err error) {
	err = d.write(d.disk.place, func() {
		for i := range entries {
			placed = append(placed, d.placeOne(&entries[i]))
		}
	})
	return placed, err
}

func (d *disk) placeOne(e *engine.Entry) engine.Placed {
	for _, t := range e.Terms {
		if at, ok := d.terms[t]; ok {
			return engine.Placed{Index: at, Leaf: d.leaves[at]}
		}
	}
	stale := uint64(0) // and one more
	for _, f := range e.Follows {
		if at, ok := d.marks[f]; ok && at >= e.Seen {
			stale = max(stale, at+1)
		}
	}
	if stale > 0 {
		d.refused++
		return engine.Placed{Index: stale - 1, Stale: true}
	}
	at := uint64(len(d.leaves))
	d.grow(e.Leaf)
	d.did("append %s", leaf.SHA256(e.Leaf))
	for _, t := range e.Terms {
		d.terms[t] = at
	}
	for _, m := range e.Marks {
		d.marks[m] = at
	}
	return engine.Placed{Index: at, Leaf: e.Leaf, Created: true}
}

func (x sharedIndex) KeyChanges(_ context.Context, from uint64, limit int) (*store.KeyChanges, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.look != works {
		return nil, errAway
	}
	c := &store.KeyChanges{Size: uint64(len(x.disk.index))}
	for i, e := range x.disk.index {
		read := store.Entry{Index: e.Index, Text: e.Text}
		if i+1 == len(x.disk.index) {
			c.Last = &read
		}
		if e.Keys != nil && e.Index >= from && len(c.Entries) < limit {
			c.Entries = append(c.Entries, read)
		}
	}
	return c, nil
}

func (x sharedIndex) KeysAt(ctx context.Context) (uint64, []store.Key, []store.Endorsement, error) {
	size, _ := x.Size(ctx)
	list, standing, err := x.Keys(ctx)
	return size, list, standing, err
}

// inEachMode runs a test with an intake that is alone, and with one beside others.
func inEachMode(t *testing.T, test func(t *testing.T, newDisk func() *disk)) {
	t.Helper()
	t.Run("alone", func(t *testing.T) { test(t, newDisk) })
	t.Run("beside others", func(t *testing.T) { test(t, newSharedDisk) })
}

// rig is an intake at work on a disk.
type rig struct {
	*Intake
	t    *testing.T
	disk *disk
	stop func() error // waits until all that is queued is done
}

// open opens an intake on a disk as a new process would: it catches up first.
// What grows is indexed at once if follow is set.
func open(t *testing.T, d *disk, follow bool, change ...func(*Intake)) *rig {
	t.Helper()
	cfg := Config{
		Log: log{d}, Prover: engine.NewProver(log{d}), Blobs: blobs{d}, Index: index{disk: d},
		Grew: func() {},
	}
	if d.shared {
		cfg.Log, cfg.Index = sharedLog{log{d}}, sharedIndex{index{disk: d}}
	}
	var in *Intake
	if follow {
		cfg.Grew = func() {
			size, _ := log{d}.Size(t.Context())
			if err := in.Follow(t.Context(), size); err != nil {
				in.Halt(err)
			}
		}
	}
	in, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := log{d}.Size(t.Context())
	if err := in.Follow(t.Context(), size); err != nil {
		t.Fatalf("catching up: %v", err)
	}
	for _, c := range change {
		c(in)
	}
	return &rig{Intake: in, t: t, disk: d}
}

// start runs the intake until stop or the end of the test.
func (r *rig) start() *rig {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	r.t.Cleanup(func() { _ = r.stop() })
	return r
}

// submit submits what must be taken, and returns once it is indexed.
func (r *rig) submit(raw []byte) *Result {
	r.t.Helper()
	res, err := r.Submit(r.t.Context(), raw, "127.0.0.1")
	if err != nil {
		r.t.Fatalf("submitting: %v", err)
	}
	r.await("indexed", func() bool {
		size, err := r.cfg.Index.Size(r.t.Context())
		return size > res.Index || err != nil
	})
	return res
}

// await returns as soon as what is done by other goroutines is done.
func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	await(r.t, what, done)
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never %s", what)
		}
	}
}

// queued submits without waiting, and returns once the submission stands in the
// queue. It works on an intake that is not started.
func (r *rig) queued(ctx context.Context, raw []byte) <-chan outcome {
	r.t.Helper()
	before := len(r.queue)
	answer := make(chan outcome, 1)
	go func() {
		res, err := r.Submit(ctx, raw, "127.0.0.1")
		answer <- outcome{res, err}
	}()
	r.await("queued", func() bool { return len(r.queue) > before })
	return answer
}

type outcome struct {
	res *Result
	err error
}

// author signs.
type author struct {
	*attest.Signer
	t *testing.T
}

func newAuthor(t *testing.T) author {
	t.Helper()
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return author{s, t}
}

func (a author) enrolment() []byte {
	a.t.Helper()
	raw, err := attest.Enrol(a.Signer, "https://operator.example", "")
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

func (a author) revocation() []byte {
	a.t.Helper()
	raw, err := attest.Revoke(a.Signer, "lost")
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// about attests to a subject of its own for each n.
func (a author) about(n int) []byte {
	a.t.Helper()
	st, err := attest.NewStatement("https://example.com/test/v1", map[string]int{"n": n}, attest.ResourceDescriptor{
		Name: "artifact", Digest: map[string]string{"sha256": leaf.SHA256(fmt.Append(nil, n)).Hex()},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := a.Sign(st)
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}
