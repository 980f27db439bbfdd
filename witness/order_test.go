package witness_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// spy is a signer that calls before each signature.
type spy struct {
	ed25519.PrivateKey
	before func(message []byte) error
}

func (s spy) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.before(message); err != nil {
		return nil, err
	}
	return s.PrivateKey.Sign(random, message, opts)
}

// TestStateBeforeSignature checks promise P4 at the only place where it could
// break: when the signer is asked, another connection to the same file, which
// sees nothing but what was committed, already has the record.
func TestStateBeforeSignature(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := state.Create(t.Context(), path, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	signed := 0
	var f *fixture
	f = newFixture(t, func(c *witness.Config) {
		c.State = db
		c.Signer = spy{witnesstest.Key("w"), func(message []byte) error {
			signed++
			// The state has one connection. Inside a transaction this would wait
			// for ever.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r, err := db.Latest(ctx, origin)
			if err != nil {
				return err
			}
			text, _, _ := strings.Cut(string(f.log.Checkpoint(r.Size)), "\n\n")
			if !strings.HasPrefix(string(message), "cosignature/v1\ntime ") || !strings.HasSuffix(string(message), text+"\n") {
				t.Errorf("asked to sign %q while size %d is stored", message, r.Size)
			}
			return nil
		}}
	})
	old := int64(0)
	for _, n := range []int64{0, 1, 6, 6, 300} {
		f.mustAdd(t, old, n)
		old = n
	}
	if signed != 5 {
		t.Errorf("signed %d times, want 5", signed)
	}
}

var errFault = errors.New("injected")

// TestFaults makes the commit fail at each stage. No cosignature may leave, and
// what the state says after a restart is what a client is told.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stage  state.Stage
		want   int64 // size after the restart
		broken bool  // no more changes until then
	}{
		{"lost", state.BeforeCommit, 6, false},
		{"kept, but nobody knows", state.AfterCommit, 9, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			armed, signed := false, 0
			db, err := state.Create(t.Context(), path, state.Options{Fault: func(s state.Stage) error {
				if armed && s == tt.stage {
					return errFault
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t, func(c *witness.Config) {
				c.State = db
				c.Signer = spy{witnesstest.Key("w"), func([]byte) error { signed++; return nil }}
			})
			f.mustAdd(t, 0, 6)
			armed = true
			if a := f.add(f.log.Request(6, 9)); a.Code != http.StatusInternalServerError || signed != 1 {
				t.Fatalf("status %d after %d signatures, want 500 after 1", a.Code, signed)
			}
			armed = false
			if a := f.add(f.log.Request(6, 9)); (a.Code != http.StatusOK) != tt.broken {
				t.Errorf("the next request: status %d", a.Code)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if !tt.broken {
				return
			}

			db, err = state.Open(t.Context(), path, state.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			f = newFixture(t, func(c *witness.Config) { c.State = db })
			if size := f.size(t); size != tt.want {
				t.Errorf("size %d after the restart, want %d", size, tt.want)
			}
			f.mustAdd(t, tt.want, 12)
		})
	}
}

// TestSignerFails: the state goes first, so a signer that fails costs a
// signature, and the client gets it by asking again.
func TestSignerFails(t *testing.T) {
	fail := true
	for name, before := range map[string]func([]byte) error{
		"with an error": func([]byte) error {
			if fail {
				return errFault
			}
			return nil
		},
		"with a wrong signature": func(message []byte) error {
			if fail {
				message[len(message)-2] ^= 1
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(c *witness.Config) { c.Signer = spy{witnesstest.Key("w"), before} })
			fail = true
			if a := f.add(f.log.Request(0, 6)); a.Code != http.StatusInternalServerError || strings.Contains(a.Body, "—") {
				t.Fatalf("got %+v, want 500 without a signature", a)
			}
			fail = false
			f.mustAdd(t, 6, 6)
		})
	}
}

func TestClock(t *testing.T) {
	f := newFixture(t)
	start := f.now
	last := func() int64 {
		r, err := f.state.Latest(t.Context(), origin)
		if err != nil {
			t.Fatal(err)
		}
		return r.Time
	}
	f.mustAdd(t, 0, 6)
	f.now = start.Add(-30 * time.Second)
	f.mustAdd(t, 6, 7)
	if got, want := last(), start.Unix(); got != want {
		t.Errorf("with the clock 30 s back, time %d, want %d again", got, want)
	}
	f.now = start.Add(-2 * time.Minute)
	if a := f.add(f.log.Request(7, 8)); a.Code != http.StatusServiceUnavailable {
		t.Errorf("with the clock 2 min back: status %d, want 503", a.Code)
	}
	f.now = time.Unix(0, 0)
	if a := newFixture(t, func(c *witness.Config) { c.Now = func() time.Time { return time.Unix(0, 0) } }).
		add(f.log.Request(0, 6)); a.Code != http.StatusServiceUnavailable {
		t.Errorf("with a clock that is not set: status %d, want 503", a.Code)
	}
	f.now = start.Add(time.Hour)
	f.mustAdd(t, 7, 8)
	if got, want := last(), f.now.Unix(); got != want {
		t.Errorf("time %d, want %d", got, want)
	}
}

// TestRace adds checkpoints of many sizes at once, each client believing what
// it is told. Sizes only grow, and nobody gets a signature on another's tree.
func TestRace(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	got := make(map[int64]bool)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := int64(i + 1); n <= 300; n += 8 {
				old := f.size(t)
				if old > n {
					continue
				}
				old = max(old, 0)
				if a := f.add(f.log.Request(old, n)); a.Code == http.StatusOK {
					mu.Lock()
					got[n] = true
					mu.Unlock()
				} else if a.Code != http.StatusConflict {
					t.Errorf("from %d to %d: %d %s", old, n, a.Code, a.Body)
				}
			}
		})
	}
	wg.Wait()
	records, err := f.state.Chain(t.Context(), origin, 0, 300, 1000)
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for _, r := range records {
		if r.Old != last || r.Root != f.log.Tree(r.Size).Hash || !got[r.Size] {
			t.Errorf("record %d extends %d, want %d", r.Size, r.Old, last)
		}
		last = r.Size
	}
	if len(records) != len(got) {
		t.Errorf("%d records for %d cosignatures", len(records), len(got))
	}
}

func TestRefusedOrigin(t *testing.T) {
	for cause, code := range map[state.Cause]int{state.CauseEvidence: http.StatusForbidden, state.CauseRollback: http.StatusServiceUnavailable} {
		t.Run(string(cause), func(t *testing.T) {
			f := newFixture(t)
			f.mustAdd(t, 0, 6)
			adopt := &state.Record{Origin: origin, Size: 9, Root: f.log.Tree(9).Hash, Time: f.now.Unix(), Note: f.log.Checkpoint(9)}
			if err := f.state.Refuse(t.Context(), state.Refusal{Origin: origin, Cause: cause, Detail: "detail", Adopt: adopt}); err != nil {
				t.Fatal(err)
			}
			for range 2 { // also after a restart
				if a := f.add(f.log.Request(6, 12)); a.Code != code {
					t.Errorf("status %d, want %d", a.Code, code)
				}
				f = newFixture(t, func(c *witness.Config) { c.State = f.state })
			}
			if a := f.do(http.MethodGet, "/"+hash(origin)+"/checkpoint", nil); a.Body != string(f.log.Checkpoint(6)) {
				t.Errorf("served %q, want the checkpoint without a new cosignature", a.Body)
			}
			if r, err := f.state.Clear(t.Context(), origin); err != nil || r == nil {
				t.Fatalf("clearing: %v, %v", r, err)
			}
			f.mustAdd(t, 9, 12)
		})
	}
}

func TestNotStarted(t *testing.T) {
	f := newFixture(t)
	l, err := witness.NewLog([]string{f.log.VKey}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.New(t.Context(), witness.Config{
		Name: witnessName, Signer: witnesstest.Key("w"), Logs: []witness.Log{l}, State: f.state,
		Now: time.Now, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var refusal *witness.Refusal
	if _, err := w.AddCheckpoint(t.Context(), f.log.Request(0, 6)); !errors.As(err, &refusal) || refusal.Code != http.StatusServiceUnavailable {
		t.Errorf("before the start: %v, want 503", err)
	}
	w.Start()
	if _, err := w.AddCheckpoint(t.Context(), f.log.Request(0, 6)); err != nil {
		t.Errorf("after the start: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	f := newFixture(t)
	_, err := witness.New(t.Context(), witness.Config{Name: witnessName, Signer: witnesstest.Key("other"), State: f.state})
	if !errors.Is(err, witness.ErrIdentity) {
		t.Errorf("opening the state with another key: %v, want ErrIdentity", err)
	}
	_, err = witness.New(t.Context(), witness.Config{Name: "not a name", Signer: witnesstest.Key("w"), State: f.state})
	if err == nil {
		t.Error("a name with spaces was accepted")
	}
}

// observer records what a witness tells.
type observer struct {
	cosigned []string
	refused  []int64
}

func (o *observer) Cosigned(_ string, note []byte) { o.cosigned = append(o.cosigned, string(note)) }
func (o *observer) Refused(_ string, checkpoint evidence.Signed) {
	o.refused = append(o.refused, checkpoint.N)
}

func TestObserver(t *testing.T) {
	var o observer
	f := newFixture(t, func(c *witness.Config) { c.Observer = &o })
	a := f.mustAdd(t, 0, 6)
	if len(o.cosigned) != 1 || o.cosigned[0] != string(f.log.Checkpoint(6))+a.Body {
		t.Errorf("told of %q", o.cosigned)
	}
	f.add(f.log.Request(0, 7))                                      // conflict
	f.add([]byte("junk"))                                           // not signed
	f.add(witnesstest.NewLog(origin).Grow(9, "fork").Request(6, 9)) // fork
	if len(o.refused) != 2 || o.refused[0] != 7 || o.refused[1] != 9 {
		t.Errorf("told of refused sizes %v, want 7 and 9", o.refused)
	}
}
