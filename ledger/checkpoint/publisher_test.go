package checkpoint_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// press is all that a Publisher works with, in memory, with an account of what
// was done.
type press struct {
	*desk
	t *testing.T

	mu        sync.Mutex
	log       *branch
	sizes     []int64 // published, in order
	indexed   []uint64
	events    []string
	sizeFail  error
	indexFail error
	storeFail error
	rootFail  error
}

func newPress(t *testing.T) *press {
	t.Helper()
	return &press{desk: newDesk(t), t: t, log: &branch{}}
}

func (p *press) did(event string) {
	p.events = append(p.events, event)
}

func (p *press) append(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.grow(p.t, "a", n)
}

// Size implements checkpoint.Log.
func (p *press) Size(ctx context.Context) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return uint64(p.log.size), errors.Join(p.sizeFail, ctx.Err())
}

// Publish implements checkpoint.Log.
func (p *press) Publish(ctx context.Context, signed []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did("publish")
	if p.storeFail != nil {
		return p.storeFail
	}
	p.sizes = append(p.sizes, p.signed(p.t, signed).N)
	return ctx.Err()
}

// Root implements checkpoint.Proofs.
func (p *press) Root(_ context.Context, size, _ uint64) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did("root")
	h := p.log.tree(p.t, int64(size)).Hash
	return h[:], p.rootFail
}

// Consistency implements checkpoint.Proofs.
func (p *press) Consistency(ctx context.Context, from, to, _ uint64) ([][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.prove(ctx, from, to)
}

func (p *press) index(_ context.Context, size uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did("index")
	p.indexed = append(p.indexed, size)
	return p.indexFail
}

func (p *press) Sign(msg []byte) ([]byte, error) {
	p.did("sign")
	return p.desk.Sign(msg)
}

func (p *press) policy() torchwood.Policy {
	v, err := note.NewVerifier(p.vkey)
	if err != nil {
		p.t.Fatal(err)
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(guarded), torchwood.SingleVerifierPolicy(v))
}

// witnessed wants the cosignature of a witness too, whom nobody asks.
func (p *press) witnessed() torchwood.Policy {
	w, err := torchwood.NewCosignatureSigner("witness.example", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		p.t.Fatal(err)
	}
	return torchwood.ThresholdPolicy(2, p.policy(), torchwood.SingleVerifierPolicy(w.Verifier()))
}

const interval = 20 * time.Millisecond

func (p *press) config() checkpoint.Config {
	guard, err := checkpoint.NewGuard(p.t.Context(), p, p)
	if err != nil {
		p.t.Fatal(err)
	}
	return checkpoint.Config{
		Guard: guard, Log: p, Proofs: p, Policy: p.policy(), Index: p.index, Interval: interval, Now: time.Now,
		Board: checkpoint.NewBoard(),
	}
}

// running is a Publisher and what it shows.
type running struct {
	*checkpoint.Publisher
	*checkpoint.Board
}

// run runs a Publisher; stop ends it and returns its error.
func run(t *testing.T, cfg checkpoint.Config) (pub running, stop func() error) {
	t.Helper()
	pub = running{checkpoint.NewPublisher(cfg), cfg.Board}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := pub.Run(ctx)
		pub.End(err)
		done <- err
	}()
	return pub, func() error {
		cancel()
		return <-done
	}
}

func (p *press) wantSizes(want ...int64) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sizes) != len(want) {
		p.t.Fatalf("published %v, want %v", p.sizes, want)
	}
	for i := range want {
		if p.sizes[i] != want[i] {
			p.t.Fatalf("published %v, want %v", p.sizes, want)
		}
	}
}

func TestPublisherPublishesWhatGrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		pub, stop := run(t, p.config())
		if pub.Latest() != nil {
			t.Error("something is published before anything was")
		}
		first, err := pub.Wait(t.Context(), 0)
		if err != nil || first.N != 0 {
			t.Fatalf("Wait(0) = %v, %v, want the empty tree", first, err)
		}
		for _, n := range []int{1, 5, 300} {
			time.Sleep(interval)
			p.append(n)
			began := time.Now()
			pub.Grew()
			latest, err := pub.Wait(t.Context(), uint64(p.log.size))
			if err != nil || latest.N != p.log.size || latest.At != time.Now() {
				t.Fatalf("Wait = %v, %v", latest, err)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("a quiet log waited %v for its checkpoint", took)
			}
			if got := p.signed(t, latest.Signed); got != latest.Tree || got != p.log.tree(t, p.log.size) {
				t.Errorf("published %v as %v", got, latest.Tree)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.wantSizes(0, 1, 6, 306)
	})
}

func TestPublisherStartsWithWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		p.append(7)
		for range 2 {
			_, stop := run(t, p.config())
			synctest.Wait()
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		p.wantSizes(7, 7)
	})
}

func TestPublisherKeepsItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		pub, stop := run(t, p.config())
		synctest.Wait()
		for range 1000 {
			p.append(1)
			pub.Grew()
			time.Sleep(time.Millisecond)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n, most := len(p.sizes), 2+int(time.Second/interval); n > most || n < most-5 {
			t.Errorf("%d checkpoints in a second, want about %d", n, most)
		}
		if last := p.sizes[len(p.sizes)-1]; last != 1000 {
			t.Errorf("the last one is of size %d, want 1000", last)
		}
	})
}

func TestPublisherDoesNotRepeatItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		pub, stop := run(t, p.config())
		for range 5 {
			pub.Grew()
			time.Sleep(2 * interval)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.wantSizes(0)
	})
}

func TestPublisherIndexesBeforeItSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		p.append(3)
		pub, stop := run(t, p.config())
		synctest.Wait()
		p.append(4)
		pub.Grew()
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		const once = "index root sign publish"
		if got := strings.Join(p.events, " "); got != once+" "+once {
			t.Errorf("the steps were %q, want %q twice", got, once)
		}
		if len(p.indexed) != 2 || p.indexed[0] != 3 || p.indexed[1] != 7 {
			t.Errorf("indexed up to %v, want 3 and 7", p.indexed)
		}
	})
}

// TestPublisherStopsAtTheFirstFailure breaks each step of the publication of
// size 5, after that of size 3.
func TestPublisherStopsAtTheFirstFailure(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name   string
		fault  func(*press)
		want   error
		events string // of the publication that fails
	}{
		{"the size cannot be read", func(p *press) { p.sizeFail = broken }, broken, ""},
		{"indexing fails", func(p *press) { p.indexFail = broken }, broken, "index"},
		{"the root cannot be read", func(p *press) { p.rootFail = broken }, broken, "index root"},
		{"the log is another", func(p *press) { p.log = (&branch{}).grow(t, "b", 5) }, checkpoint.ErrRollback, "index root"},
		{"the log shrank", func(p *press) { p.log = (&branch{}).grow(t, "a", 2) }, checkpoint.ErrRollback, "index root"},
		{"the state cannot be stored", func(p *press) { p.lost = broken }, broken, "index root"},
		{"signing fails", func(p *press) { p.mute = broken }, broken, "index root sign"},
		{"the checkpoint cannot be stored", func(p *press) { p.storeFail = broken }, broken, "index root sign publish"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPress(t)
				p.append(3)
				pub, stop := run(t, p.config())
				synctest.Wait()
				waiting := make(chan error, 1)
				go func() {
					_, err := pub.Wait(t.Context(), 5)
					waiting <- err
				}()
				time.Sleep(interval)
				p.append(2)
				p.events = nil
				test.fault(p)
				pub.Grew()
				// No one stops it, and no one's patience ends.
				if err := <-waiting; !errors.Is(err, test.want) {
					t.Errorf("who waited was told %v, want %v", err, test.want)
				}
				if err := stop(); !errors.Is(err, test.want) {
					t.Errorf("Run() = %v, want %v", err, test.want)
				}
				p.wantSizes(3)
				if latest := pub.Latest(); latest.N != 3 {
					t.Errorf("the latest checkpoint is of size %d, want 3", latest.N)
				}
				if got := strings.Join(p.events, " "); got != test.events {
					t.Errorf("the steps were %q, want %q", got, test.events)
				}
			})
		})
	}
}

func TestPublisherAsksItsPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		p.append(3)
		cfg := p.config()
		cfg.Policy = p.witnessed()
		pub, stop := run(t, cfg)
		synctest.Wait()
		if err := stop(); err == nil || !strings.Contains(err.Error(), "policy") {
			t.Errorf("Run() = %v, want that the policy refuses", err)
		}
		p.wantSizes()
		if latest := pub.Latest(); latest != nil {
			t.Errorf("a checkpoint that the policy refuses is public: %s", latest.Signed)
		}
	})
}

func TestPublisherWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		pub, stop := run(t, p.config())
		first, err := pub.After(t.Context(), nil)
		if err != nil || first != pub.Latest() {
			t.Fatalf("After(nil) = %v, %v", first, err)
		}
		var woken [12]int64 // by the size waited for; the size of what was got
		for size := range woken {
			go func() {
				if got, err := pub.Wait(t.Context(), uint64(size)); err == nil {
					woken[size] = got.N
				}
			}()
		}
		var after int64
		go func() {
			if got, err := pub.After(t.Context(), first); err == nil {
				after = got.N
			}
		}()
		for _, n := range []int{2, 3, 5} {
			time.Sleep(interval)
			p.append(n)
			pub.Grew()
			synctest.Wait()
		}
		if want := [12]int64{0, 2, 2, 5, 5, 5, 10, 10, 10, 10, 10, 0}; woken != want {
			t.Errorf("who waited got %v, want %v", woken, want)
		}
		if after != 2 {
			t.Errorf("After got size %d, want 2", after)
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("went away"))
		if _, err := pub.Wait(gone, 11); err == nil || err.Error() != "went away" {
			t.Errorf("Wait of one that went away: %v", err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := pub.After(t.Context(), pub.Latest()); err == nil {
			t.Error("After waits for a publisher that has stopped")
		}
		if got, err := pub.Wait(t.Context(), 10); err != nil || got.N != 10 {
			t.Errorf("Wait(10) = %v, %v, after the publisher stopped", got, err)
		}
	})
}

func TestPublisherPublishesOnceMoreAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		pub, stop := run(t, p.config())
		synctest.Wait()
		p.append(3)
		pub.Grew()
		synctest.Wait()
		// In the pause after a publication, and without a word.
		p.append(4)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.wantSizes(0, 3, 7)
		if latest := pub.Latest(); latest.N != 7 {
			t.Errorf("the latest checkpoint is of size %d, want 7", latest.N)
		}
	})
}
