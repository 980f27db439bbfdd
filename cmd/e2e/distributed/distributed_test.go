package distributed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

var both = []string{"anna", "bert"}

// work submits to front ends at once, each thing to one of them, some to all, and
// wants every acknowledgement.
func (w *world) work(s signer, from, n int, fronts ...string) {
	w.t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := from; i < from+n; i++ {
		raw, to := s.about(i), fronts
		if i%5 != 0 {
			to = fronts[i%len(fronts):][:1]
		}
		for _, f := range to {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				wait := [...]string{"published", "sequenced"}[i%2]
				if _, err := w.submit(f, raw, wait); err != nil {
					w.t.Errorf("attestation %d: %v", i, err)
				}
			})
		}
	}
	wg.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// TestTwoFrontEnds has two front ends be one log, also while the one that publishes
// is killed, comes back, and is stopped.
func TestTwoFrontEnds(t *testing.T) {
	w := newWorld(t, "")
	w.start(both...)
	alice, bob := newSigner(t), newSigner(t)
	w.mustSubmit("anna", alice.enrolment())
	// What one of them acknowledged, the other knows.
	first := w.mustSubmit("bert", alice.about(0))
	w.mustSubmit("bert", bob.enrolment())
	w.mustSubmit("anna", bob.about(0))
	w.work(alice, 1, 200, both...)
	w.same(both...)
	w.audited()

	leader := w.Leader()
	w.Kill(leader)
	follower := others(both, leader)[0]
	w.work(bob, 1, 100, follower)
	if now := w.Leader(); now != follower {
		t.Errorf("front end %s publishes, want %s", now, follower)
	}
	w.same(follower)

	w.start(leader)
	w.work(alice, 300, 60, both...)
	w.same(both...)

	// A publisher that is stopped gives the lease back.
	w.Stop(follower)
	w.work(alice, 400, 20, leader)
	w.start(follower)
	w.same(both...)
	w.audited()
	if resp := w.mustSubmit(follower, alice.about(0)); resp.GetIndex() != first.GetIndex() || resp.GetCreated() {
		t.Errorf("what was logged first is entry %d now, want %d", resp.GetIndex(), first.GetIndex())
	}
	for _, f := range both {
		w.readable(f, alice.about(0), digest(0))
		w.proven(f, alice.about(0))
	}
}

// readable wants an attestation from a front end, by all that it can be found by.
func (w *world) readable(front string, raw []byte, digest string) {
	w.t.Helper()
	c, envelope := w.clients[front], string(leaf.SHA256(raw))
	resp, err := c.GetAttestation(w.t.Context(), &cairnv1.GetAttestationRequest{Envelope: envelope})
	if err != nil || string(resp.GetAttestation()) != string(raw) || len(resp.GetKeys()) != 1 {
		w.t.Errorf("front end %s, attestation %s: %v, %v", front, envelope, resp, err)
	}
	artifact, err := c.GetArtifact(w.t.Context(), &cairnv1.GetArtifactRequest{Digest: "sha256:" + digest})
	if err != nil || len(artifact.GetGroups()) == 0 {
		w.t.Errorf("front end %s, artifact %s: %v, %v", front, digest, artifact, err)
	}
}

// proven has the user's command line submit an attestation again to one front end,
// and verify the proof that it gets, offline.
func (w *world) proven(front string, raw []byte) {
	w.t.Helper()
	file, proof := filepath.Join(w.dir, "attestation"), filepath.Join(w.dir, front+".tlog-proof")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		w.t.Fatal(err)
	}
	for _, args := range [][]string{
		{"submit", file, "--proof", proof, "--ledger", w.Front(front).URL},
		{"verify", file, "--proof", proof},
	} {
		if code, out, errs := w.cairn(args...); code != 0 {
			w.t.Errorf("front end %s: cairn %s: exit code %d\n%s%s", front, args[0], code, out, errs)
		}
	}
}

// TestAPausedPublisher stops the publisher between two of its instructions until
// another has taken its place, and lets it go on.
func TestAPausedPublisher(t *testing.T) {
	w := newWorld(t, "  lease: 1s\n")
	w.start(both...)
	alice := newSigner(t)
	w.mustSubmit("anna", alice.enrolment())
	for round := range 3 {
		leader := w.Leader()
		follower := others(both, leader)[0]
		w.work(alice, 100*round, 20, leader)
		w.Pause(leader)
		w.work(alice, 100*round+20, 20, follower)
		if now := w.Leader(leader); now != follower {
			t.Errorf("front end %s publishes, want %s", now, follower)
		}
		w.Resume(leader)
		w.work(alice, 100*round+40, 20, both...)
		w.same(both...)
	}
	w.audited()
	for _, f := range both {
		w.Stop(f)
	}
}

// TestTheDatabaseIsRestarted wants front ends to answer that they cannot, and to go
// on by themselves.
func TestTheDatabaseIsRestarted(t *testing.T) {
	w := newWorld(t, "  lease: 1s\n")
	w.start(both...)
	alice := newSigner(t)
	w.mustSubmit("anna", alice.enrolment())
	w.work(alice, 0, 20, both...)
	if err := w.database.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, f := range both {
		// Each has what it knows, and no more.
		if _, err := w.clients[f].GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{}); err != nil {
			t.Errorf("front end %s, without a database: %v", f, err)
		}
	}
	waiting := make(chan error, 1)
	go func() {
		// The client tries again for as long as it is told to.
		_, err := w.submit("anna", alice.about(100), "published")
		waiting <- err
	}()
	if err := w.database.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		if _, err := w.submit("anna", alice.about(100), "published"); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
	w.work(alice, 200, 40, both...)
	w.same(both...)
	w.audited()
}

// TestFrontEndsOfNothing wants front ends to refuse what is not their log.
func TestFrontEndsOfNothing(t *testing.T) {
	w := newWorld(t, "")
	tree := w.Init()
	if again := w.Init(); again != tree {
		t.Errorf("a second init made tree %d, after %d", again, tree)
	}
	for i, test := range []struct {
		name, database, says string
		args                 []string
	}{
		{"a database without tables", w.database.Database(t), "cairn-ledger init -config FILE", nil},
		{"a database that is away", "postgres:///x?host=" + t.TempDir(), "opening the database", nil},
		{"the database of another log", w.Database, "is that of log several.example/log", nil},
		{"init of the database of another log", w.Database, "several.example/log", []string{"init"}},
	} {
		file := w.Stranger(fmt.Sprintf("stranger.example/%d", i), test.database)
		code, stdout, stderr := e2etest.Run(t, exec.Command(filepath.Join(bin, "cairn-ledger"), append(test.args, "-config", file)...))
		if code == 0 || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want it to say %q", test.name, code, stdout, stderr, test.says)
		}
	}
}

// TestStoppedBeforeItIsReady stops a front end that waits for the first checkpoint.
func TestStoppedBeforeItIsReady(t *testing.T) {
	w := newWorld(t, "")
	w.trillian.Fail(func(string) error { return status.Error(codes.Unavailable, "away") })
	p := w.Launch("anna")
	w.Leader()
	p.Signal(t, syscall.SIGTERM)
	p.Wait(t)
	if code := p.Code(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.Stderr)
	}
}
