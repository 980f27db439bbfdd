package checkpoint_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// note returns the signed checkpoint of a size of a log, from outside the guard.
func (p *press) note(log *branch, size int64) []byte {
	p.t.Helper()
	text := torchwood.Checkpoint{Origin: guarded, Tree: log.tree(p.t, size)}.String()
	signed, err := note.Sign(&note.Note{Text: text}, p.Signer)
	if err != nil {
		p.t.Fatal(err)
	}
	return signed
}

// signedBefore returns a press whose log has 7 entries, of which 5 were signed.
func signedBefore(t *testing.T) *press {
	t.Helper()
	p := newPress(t)
	p.append(7)
	mustSign(t, p.desk, p.guard(t), p.log.tree(t, 5), p.log.prove)
	p.events, p.desk.events = nil, nil
	return p
}

func TestPublisherServesWhatWasPublished(t *testing.T) {
	for _, size := range []int64{0, 3, 5} {
		synctest.Test(t, func(t *testing.T) {
			p := signedBefore(t)
			cfg := p.config()
			cfg.Restored = p.note(p.log, size)
			pub, stop := run(t, cfg)
			latest, err := pub.Wait(t.Context(), 0)
			if err != nil || latest.N != size && latest.N != 7 {
				t.Fatalf("Wait(0) = %v, %v", latest, err)
			}
			if _, err := pub.Wait(t.Context(), 7); err != nil {
				t.Fatal(err)
			}
			if p.indexed[0] != 7 {
				t.Errorf("indexed up to %d before the old checkpoint was served, want 7", p.indexed[0])
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			p.wantSizes(7)
		})
	}
}

func TestPublisherDoesNotServeWhatItsPolicyRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := signedBefore(t)
		cfg := p.config()
		cfg.Restored = []byte(strings.Replace(string(p.note(p.log, 5)), guarded, "other.example/log", 1))
		warned := 0
		cfg.Warn = func(error) { warned++ }
		pub, stop := run(t, cfg)
		if latest, err := pub.Wait(t.Context(), 0); err != nil || latest.N != 7 {
			t.Errorf("Wait(0) = %v, %v, want what the policy accepts", latest, err)
		}
		if err := stop(); err != nil || warned != 1 {
			t.Errorf("Run() = %v after %d warnings, want one", err, warned)
		}
	})
}

// TestPublisherRefusesAnotherPast starts on a log, a state and a checkpoint that
// cannot be of one history. Nothing may be learnt from it or made public.
func TestPublisherRefusesAnotherPast(t *testing.T) {
	fork := func(p *press) *branch { return (&branch{}).grow(p.t, "a", 4).grow(p.t, "b", 8) }
	for _, test := range []struct {
		name  string
		setup func(*press, *checkpoint.Config)
	}{
		{"the log is of another branch than the state", func(p *press, _ *checkpoint.Config) { p.log = fork(p) }},
		{"the log and the checkpoint are of another branch", func(p *press, c *checkpoint.Config) {
			p.log = fork(p)
			c.Restored = p.note(p.log, 12)
		}},
		{"the log is shorter than the state", func(p *press, _ *checkpoint.Config) { p.log = (&branch{}).grow(p.t, "a", 4) }},
		{"the checkpoint is larger than the state", func(p *press, c *checkpoint.Config) { c.Restored = p.note(p.log, 6) }},
		{"the checkpoint is larger than the log", func(p *press, c *checkpoint.Config) { c.Restored = p.note(fork(p), 9) }},
		{"the checkpoint is of another branch", func(p *press, c *checkpoint.Config) { c.Restored = p.note(fork(p), 5) }},
		{"there is a checkpoint, but no state", func(p *press, c *checkpoint.Config) {
			c.Restored = p.note(p.log, 5)
			p.text = nil
			c.Guard = p.guard(p.t)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := signedBefore(t)
				cfg := p.config()
				test.setup(p, &cfg)
				pub, stop := run(t, cfg)
				synctest.Wait()
				if err := stop(); !errors.Is(err, checkpoint.ErrRollback) {
					t.Errorf("Run() = %v, want ErrRollback", err)
				}
				if latest := pub.Latest(); latest != nil || len(p.indexed) > 0 || p.signatures() > 0 {
					t.Errorf("published %v, indexed %v, signed %d times", latest, p.indexed, p.signatures())
				}
			})
		})
	}
}

// TestPublisherChecksTheLog is for a start, before there is a Run.
func TestPublisherChecksTheLog(t *testing.T) {
	p := signedBefore(t)
	if err := checkpoint.NewPublisher(p.config()).Check(t.Context()); err != nil {
		t.Errorf("the log that was signed: %v", err)
	}
	p.log = (&branch{}).grow(t, "b", 9)
	if err := checkpoint.NewPublisher(p.config()).Check(t.Context()); !errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("another log: %v, want ErrRollback", err)
	}
	fresh := newPress(t)
	if err := checkpoint.NewPublisher(fresh.config()).Check(t.Context()); err != nil {
		t.Errorf("a new log: %v", err)
	}
}

// bench is the witnesses of a press: one, that does as it is told.
type bench struct {
	*torchwood.CosignatureSigner
	arrived chan struct{}

	mu        sync.Mutex // guards what follows while a publisher runs
	handshake error
	cosign    error
	shown     []int64 // sizes, in handshakes
	cosigned  []int64
	spoil     func(signed []byte) []byte
	late      func(published []byte) []byte
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s, err := torchwood.NewCosignatureSigner("witness.example", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{CosignatureSigner: s, arrived: make(chan struct{}, 1)}
}

func (b *bench) do(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bench) Handshake(_ context.Context, _ []byte, tree tlog.Tree) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown = append(b.shown, tree.N)
	return b.handshake
}

func (b *bench) Cosign(_ context.Context, signed []byte, tree tlog.Tree) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cosigned = append(b.cosigned, tree.N)
	if b.cosign != nil {
		return nil, b.cosign
	}
	if b.spoil != nil {
		return b.spoil(signed), nil
	}
	return b.witnessed(signed), nil
}

func (b *bench) witnessed(signed []byte) []byte {
	n, err := note.Open(signed, nil)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n = unverified.Note
	}
	n.Sigs, n.UnverifiedSigs = n.UnverifiedSigs, nil
	out, err := note.Sign(n, b.CosignatureSigner)
	if err != nil {
		panic(err) // of a note that was just signed
	}
	return out
}

func (b *bench) Late(published []byte, _ tlog.Tree) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.late == nil {
		return nil, false
	}
	return b.late(published), true
}

func (b *bench) Arrived() <-chan struct{} { return b.arrived }

const retry = 500 * time.Millisecond

func (p *press) configWith(b *bench, warned *int) checkpoint.Config {
	cfg := p.config()
	cfg.Witnesses, cfg.Policy, cfg.Retry = b, p.witnessed(), retry
	cfg.Warn = func(error) { b.do(func() { *warned++ }) }
	return cfg
}

var errAlone = fmt.Errorf("nobody answers: %w", checkpoint.ErrUnwitnessed)

func TestPublisherWaitsForItsWitnesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b, warned := signedBefore(t), newBench(t), 0
		cfg := p.configWith(b, &warned)
		cfg.Restored = b.witnessed(p.note(p.log, 5))
		b.handshake = errAlone
		pub, stop := run(t, cfg)
		time.Sleep(10*retry + retry/2)
		if latest := pub.Latest(); latest == nil || latest.N != 5 {
			t.Errorf("without witnesses %v is public, want what was before", latest)
		}
		b.do(func() {
			for _, n := range b.shown {
				if n != 5 {
					t.Errorf("a tree of size %d was shown, want the one signed last", n)
				}
			}
			if n := len(b.shown); n < 10 || n > 12 || warned != n {
				t.Errorf("%d handshakes and %d warnings in %v, want one each %v", n, warned, 10*retry, retry)
			}
			if text := p.state(); !strings.Contains(text, "\n5\n") {
				t.Errorf("before the witnesses confirmed it, the state became %q", text)
			}
			b.handshake, b.cosign = nil, errAlone
		})
		time.Sleep(3 * retry)
		b.do(func() {
			if latest := pub.Latest(); latest.N != 5 || len(b.cosigned) == 0 {
				t.Errorf("%v is public without cosignatures, after %d requests", latest, len(b.cosigned))
			}
			b.cosign = nil
		})
		if latest, err := pub.Wait(t.Context(), 7); err != nil || latest.N != 7 {
			t.Errorf("Wait(7) = %v, %v", latest, err)
		}
		shown := 0
		b.do(func() { shown = len(b.shown) })
		p.append(1)
		pub.Grew()
		if _, err := pub.Wait(t.Context(), 8); err != nil {
			t.Error(err)
		}
		b.do(func() {
			if len(b.shown) != shown {
				t.Errorf("%d more handshakes, want one for the life of a process", len(b.shown)-shown)
			}
		})
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.wantSizes(7, 8)
	})
}

// TestPublisherSignsNothingUnconfirmed stops a publisher whose state no witness
// confirmed: not even its end is a reason to sign.
func TestPublisherSignsNothingUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b, warned := signedBefore(t), newBench(t), 0
		b.handshake = errAlone
		pub, stop := run(t, p.configWith(b, &warned))
		pub.Grew()
		synctest.Wait()
		if err := stop(); err != nil {
			t.Errorf("Run() = %v", err)
		}
		if !strings.Contains(string(p.text), "\n5\n") || len(b.cosigned) > 0 || pub.Latest() != nil {
			t.Errorf("state %q, asked for %v, published %v", p.text, b.cosigned, pub.Latest())
		}
	})
}

func TestPublisherNeverPublishesBelowItsQuorum(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*press, []byte) []byte
	}{
		{"no cosignature", func(_ *press, signed []byte) []byte { return signed }},
		{"a cosignature by another", func(p *press, signed []byte) []byte {
			other, err := torchwood.NewCosignatureSigner("witness.example", ed25519.NewKeyFromSeed(append(make([]byte, 31), 1)))
			if err != nil {
				p.t.Fatal(err)
			}
			return (&bench{CosignatureSigner: other}).witnessed(signed)
		}},
		{"another tree, with all signatures", func(p *press, _ []byte) []byte { return newBench(p.t).witnessed(p.note(p.log, 6)) }},
		{"nothing", func(*press, []byte) []byte { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, b, warned := signedBefore(t), newBench(t), 0
				b.spoil = func(signed []byte) []byte { return test.spoil(p, signed) }
				pub, stop := run(t, p.configWith(b, &warned))
				synctest.Wait()
				if err := stop(); err == nil {
					t.Error("Run() reports success")
				}
				if latest := pub.Latest(); latest != nil {
					t.Errorf("published %s", latest.Signed)
				}
				p.wantSizes()
			})
		})
	}
}

func TestPublisherStopsWhenWitnessesKnowMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b, warned := signedBefore(t), newBench(t), 0
		b.handshake = fmt.Errorf("a witness has seen size 9: %w", checkpoint.ErrRollback)
		pub, stop := run(t, p.configWith(b, &warned))
		synctest.Wait()
		if err := stop(); !errors.Is(err, checkpoint.ErrRollback) {
			t.Errorf("Run() = %v, want ErrRollback", err)
		}
		if pub.Latest() != nil || len(b.cosigned) > 0 || strings.Contains(string(p.text), "\n7\n") {
			t.Errorf("went on: published %v, asked for %v, state %q", pub.Latest(), b.cosigned, p.text)
		}
	})
}

func TestPublisherAddsWhatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b, warned := signedBefore(t), newBench(t), 0
		pub, stop := run(t, p.configWith(b, &warned))
		first, err := pub.Wait(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		b.do(func() {
			b.late = func(published []byte) []byte { return append(published, "— late.example AAAAAAAA\n"...) }
		})
		b.arrived <- struct{}{}
		second, err := pub.After(t.Context(), first)
		if err != nil || second.Tree != first.Tree || !strings.Contains(string(second.Signed), "late.example") {
			t.Errorf("After = %v, %v, want the same tree with one more signature", second, err)
		}
		// What comes late satisfies the policy as much as what came in time.
		b.do(func() { b.late = func([]byte) []byte { return p.note(p.log, 7) } })
		b.arrived <- struct{}{}
		synctest.Wait()
		if err := stop(); err == nil || pub.Latest() != second {
			t.Errorf("Run() = %v with %s public, want a refusal", err, pub.Latest().Signed)
		}
	})
}

func TestPublisherRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b, warned := signedBefore(t), newBench(t), 0
		cfg := p.configWith(b, &warned)
		cfg.Refresh = time.Minute
		_, stop := run(t, cfg)
		time.Sleep(5*time.Minute + time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		p.wantSizes(7, 7, 7, 7, 7, 7)
	})
}
