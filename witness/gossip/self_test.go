package gossip_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// pair is a witness with its state in a file, and a peer of it.
type pair struct {
	net  *network
	log  *witnesstest.Log
	l    witness.Log
	keys []note.Verifier
	path string
	peer *member
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{net: newNetwork(5), path: filepath.Join(t.TempDir(), "state.db")}
	p.log, _ = forkedLog()
	var err error
	if p.l, err = witness.NewLog([]string{p.log.VKey}, nil, ""); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		p.keys = append(p.keys, witnesstest.NewCosigner(memberName(i), memberName(i)).Verifier())
	}
	db, err := state.OpenMemory(t.Context(), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p.peer = newMember(t, p.net, p.l, 1, p.keys, []string{"http://" + memberName(0)}, db, options{challengeAfter: time.Minute})
	return p
}

// open starts the witness on its file, and makes it if create is set.
func (p *pair) open(t *testing.T, create bool) *member {
	t.Helper()
	f := state.Open
	if create {
		f = state.Create
	}
	db, err := f(t.Context(), p.path, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return newMember(t, p.net, p.l, 0, p.keys, []string{"http://" + memberName(1)}, db, options{challengeAfter: time.Minute})
}

// backup takes a copy of the state, which must be closed, and returns a function
// that restores it.
func (p *pair) backup(t *testing.T) (restore func()) {
	t.Helper()
	old, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(p.path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func refusalCode(err error) int {
	var r *witness.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// TestRestoredBackup restores a witness's state from before its latest
// cosignature. Its peer has seen that one: nothing is cosigned until an operator
// says so, and then from where it really ended.
func TestRestoredBackup(t *testing.T) {
	for _, tt := range []struct {
		name string
		// whether the peer can be asked at the start, or only later
		reachable bool
	}{{"found at the start", true}, {"found by gossip", false}} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPair(t)
				run(t, p.peer)
				m := p.open(t, true)
				m.mustAdd(t, p.log, 6)
				if err := m.db.Close(); err != nil {
					t.Fatal(err)
				}
				restore := p.backup(t)

				m = p.open(t, false)
				signed, err := m.witness.AddCheckpoint(t.Context(), p.log.Request(6, 9))
				if err != nil {
					t.Fatal(err)
				}
				if code := p.peer.post("/gossip/v1/checkpoint", append(p.log.Checkpoint(9), signed...)); code != http.StatusNoContent {
					t.Fatalf("telling the peer: %d", code)
				}
				if err := m.db.Close(); err != nil {
					t.Fatal(err)
				}
				restore()

				m = p.open(t, false)
				if tt.reachable {
					if err := m.node.SelfCheck(t.Context(), time.Second, 1); err != nil {
						t.Fatal(err)
					}
				} else {
					run(t, m)
					time.Sleep(interval)
					synctest.Wait()
				}
				// A fork from the old state is what a malicious log would try now.
				fork := p.log.Fork()
				if code := refusalCode(m.add(t, fork, 12)); code != http.StatusServiceUnavailable {
					t.Fatalf("cosigning from the old state: %d, want 503", code)
				}
				r, err := m.db.Clear(t.Context(), origin)
				if err != nil || r == nil || r.Adopt == nil || r.Adopt.Size != 9 {
					t.Fatalf("cleared %+v, %v, want size 9 adopted", r, err)
				}
				if _, err := m.witness.AddCheckpoint(t.Context(), p.log.Request(6, 12)); refusalCode(err) != http.StatusConflict {
					t.Errorf("from size 6 after clearing: %v, want a conflict", err)
				}
				m.mustAdd(t, p.log, 12)
			})
		})
	}
}

// TestSelfCheckWaits: with a number of peers to be heard, nothing goes on until
// they are.
func TestSelfCheckWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPair(t)
		m := p.open(t, true)
		var down atomic.Bool
		down.Store(true)
		p.net.blocked = func(_, _ string) bool { return down.Load() }
		if err := m.node.SelfCheck(t.Context(), time.Second, 0); err != nil {
			t.Errorf("no peer needed, none there: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- m.node.SelfCheck(t.Context(), time.Second, 1) }()
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			t.Fatalf("one peer needed, none there: went on with %v", err)
		default:
		}
		down.Store(false)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestOwnKeyElsewhere shows a witness cosignatures by its own key that it did
// not make.
func TestOwnKeyElsewhere(t *testing.T) {
	log, fork := forkedLog()
	thief := witnesstest.NewCosigner(memberName(0), memberName(0))
	for _, tt := range []struct {
		name string
		note func(now int64) []byte
		want state.Cause
	}{
		{"larger size", func(now int64) []byte { return thief.Cosign(log.Checkpoint(60), now) }, state.CauseRollback},
		{"smaller size, later", func(now int64) []byte { return thief.Cosign(log.Checkpoint(30), now+5) }, state.CauseRollback},
		{"same size, other root", func(now int64) []byte { return thief.Cosign(fork.Checkpoint(50), now) }, state.CauseRollback},
		{"an older size, other root", func(now int64) []byte { return thief.Cosign(fork.Checkpoint(40), now-1) }, state.CauseRollback},
		{"our own", func(now int64) []byte { return thief.Cosign(log.Checkpoint(50), now) }, ""},
		{"our own, older", func(now int64) []byte { return thief.Cosign(log.Checkpoint(40), now-1) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := cluster(t, newNetwork(6), log, 1, options{})[0]
				for _, n := range []int64{20, 40, 50} {
					m.mustAdd(t, log, n)
				}
				if code := m.post("/gossip/v1/checkpoint", tt.note(time.Now().Unix())); code != http.StatusNoContent {
					t.Fatalf("status %d", code)
				}
				var got state.Cause
				if r := m.refused(t); r != nil {
					got = r.Cause
				}
				if got != tt.want {
					t.Errorf("refused for %q, want %q", got, tt.want)
				}
			})
		})
	}
}
