package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/mirror"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

var clientOptions client.Options

func copyLog(t *testing.T, l *log, src *mirror.Source, dir string) *mirror.Report {
	t.Helper()
	r, err := mirror.Copy(t.Context(), src, dir, l.policy, mirror.Options{})
	must(t, err)
	return r
}

// TestCopy has a copy be what was published, at sizes on both sides of those of
// tiles, each time as the copy grows.
func TestCopy(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	last := 0
	for _, n := range []int{1, 2, 255, 256, 257, 512, 518} {
		l.grow(t, n)
		r := copyLog(t, l, l.publish(t, from), to)
		if r.Tree.N != int64(n) || r.Entries != int64(n-last) || r.Withheld != 0 || r.Unarchived || r.Behind != nil {
			t.Errorf("size %d: %+v", n, r)
		}
		last = n
		got, want := files(t, to), wide(files(t, from))
		for path := range want {
			if got[path] != want[path] {
				t.Errorf("size %d: %s differs", n, path)
			}
		}
		for path := range got {
			if _, ok := want[path]; !ok {
				t.Errorf("size %d: %s is not the source's", n, path)
			}
		}
	}
	// A copy of the copy is made at once, and has the same index.
	again := t.TempDir()
	copyLog(t, l, source(t, to), again)
	if diff := cmp.Diff(shards(t, to), shards(t, again)); diff != "" {
		t.Errorf("the index differs (-grown +at once):\n%.2000s", diff)
	}
	everyEntryIsFound(t, l, to)
}

// TestCopyOfRekorEntries has a log that holds both kinds of leaves.
func TestCopyOfRekorEntries(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.add(t, leaftest.HashedRekord(t, "bob", "released"))
	l.grow(t, 98)
	dir := t.TempDir()
	r := copyLog(t, l, l.publish(t, t.TempDir()), dir)
	if r.Tree.N != 98 || r.Withheld != 0 {
		t.Errorf("%+v", r)
	}
	answer, err := mirror.Open(t.Context(), mirror.Dir(dir))
	must(t, err)
	c := client.NewLocal(dir, answer)
	about := &cairnv1.ListAttestationsRequest{Digest: string(leaf.SHA256([]byte("released")))}
	found, err := c.Claims(t.Context(), about, l.policy)
	must(t, err)
	if len(found.Logged) != 1 || found.Logged[0].Index != 1 || found.Logged[0].Operators != nil || !bytes.Equal(found.Logged[0].Raw, l.raws[1]) {
		t.Errorf("the Rekor entry: %+v", found.Logged)
	}
}

func shards(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "index/terms/*"))
	must(t, err)
	found := make(map[string]string)
	for _, path := range list {
		b, err := os.ReadFile(path)
		must(t, err)
		found[filepath.Base(path)] = string(b)
	}
	if len(found) == 0 {
		t.Fatal("there is no index")
	}
	return found
}

// everyEntryIsFound asks a mirror for entries by what they are about.
func everyEntryIsFound(t *testing.T, l *log, dir string) {
	t.Helper()
	answer, err := mirror.Open(t.Context(), mirror.Dir(dir))
	must(t, err)
	c := client.NewLocal(dir, answer)
	for i := 0; i < len(l.texts); i += 97 {
		resp, err := c.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: int64(i)})
		must(t, err)
		if _, err := client.VerifyEntry(resp, int64(i), l.policy); err != nil || resp.GetEntry().GetLeaf() != string(l.texts[i]) {
			t.Errorf("entry %d: %v", i, err)
		}
		got, err := c.GetAttestation(t.Context(), &cairnv1.GetAttestationRequest{Envelope: leaf.SHA256(l.raws[i]).Hex()})
		if err != nil || got.GetEntry().GetIndex() != int64(i) {
			t.Errorf("attestation %d: %v", i, err)
			continue
		}
		if _, err := client.VerifyAttestation(got); err != nil {
			t.Errorf("attestation %d: %v", i, err)
		}
	}
	if len(l.texts) > 300 {
		return
	}
	found, err := c.Claims(t.Context(), &cairnv1.ListAttestationsRequest{Key: string(l.key.Public.Fingerprint)}, l.policy)
	if err != nil || len(found.Logged) != len(l.texts) {
		t.Errorf("%v claims, %v", found, err)
	}
}

// interruption is a source that ends after a number of files.
type interruption struct {
	mirror.Files
	left  int
	asked map[string]int
}

var errInterrupted = errors.New("interrupted")

func (s *interruption) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	s.asked[path]++
	if s.left--; s.left < 0 {
		return nil, &client.UnansweredError{URL: path, Err: errInterrupted}
	}
	return s.Files.Read(ctx, path, limit)
}

// TestCopyGoesOn interrupts a copy again and again. What the copy has is always
// whole, and nothing that was verified is fetched twice.
func TestCopyGoesOn(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 300)
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	copyLog(t, l, l.publish(t, from), to)
	before := files(t, to)
	l.grow(t, 512+20)
	src := l.publish(t, from)
	fetched := make(map[string]int)
	for rounds := 0; ; rounds++ {
		if rounds > 50 {
			t.Fatal("the copy does not get on")
		}
		s := &interruption{mirror.Dir(from), 250, make(map[string]int)}
		src.Files = onlyOne{s}
		_, err := mirror.Copy(t.Context(), src, to, l.policy, mirror.Options{})
		for path, n := range s.asked {
			if strings.HasPrefix(path, "attestations/") {
				fetched[path] += n
			}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errInterrupted) {
			t.Fatal(err)
		}
		now := files(t, to)
		if now["checkpoint"] != before["checkpoint"] {
			t.Fatal("the checkpoint was replaced too early")
		}
		everyEntryIsFound(t, l.fork(300), to)
	}
	// A batch of which the last files were not durable is fetched again.
	if n := slices.Max(slices.Collect(maps.Values(fetched))); n > 4 {
		t.Errorf("an attestation was fetched %d times", n)
	}
	everyEntryIsFound(t, l, to)
}

// onlyOne asks for one file at a time: its Files count.
type onlyOne struct{ *interruption }

var one = make(chan struct{}, 1)

func (o onlyOne) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	one <- struct{}{}
	defer func() { <-one }()
	return o.interruption.Read(ctx, path, limit)
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	flip := func(path string, at int) func(*testing.T, *log, string) {
		return func(t *testing.T, _ *log, dir string) {
			full := filepath.Join(dir, path)
			b, err := os.ReadFile(full)
			must(t, err)
			b[at] ^= 1
			must(t, os.WriteFile(full, b, 0o644))
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(*testing.T, *log, string)
		want   string
	}{
		{"another entry", flip("tile/entries/001.p/44", 700), "is not what its checkpoint says"},
		{"another tile", flip("tile/0/001.p/44", 700), "is not what its checkpoint says"},
		{"another attestation", func(t *testing.T, l *log, dir string) {
			h := leaf.SHA256(l.raws[200]).Hex()
			flip("attestations/"+h[:2]+"/"+h, 30)(t, l, dir)
		}, "asked for attestation"},
		{"another signature", flip("checkpoint", 120), "does not satisfy the policy"},
		{"an archive of another log", func(t *testing.T, l *log, dir string) {
			other := newLog(t)
			other.publish(t, t.TempDir())
			write(t, dir, "checkpoints/000000000", other.notes)
		}, "is no checkpoint that log"},
		{"another note in the archive", flip("checkpoints/000000000", 60), "the archive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			l.grow(t, 300)
			dir, to := t.TempDir(), t.TempDir()
			src := l.publish(t, dir)
			tt.damage(t, l, dir)
			_, err := mirror.Copy(t.Context(), src, to, l.policy, mirror.Options{})
			var bad *client.MisbehaviourError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want misbehaviour with %q", err, tt.want)
			}
			if _, err := os.Stat(filepath.Join(to, "checkpoint")); err == nil {
				t.Error("there is a checkpoint")
			}
		})
	}
	t.Run("no policy", func(t *testing.T) {
		l := newLog(t)
		if _, err := mirror.Copy(t.Context(), l.publish(t, t.TempDir()), t.TempDir(), nil, mirror.Options{}); err == nil {
			t.Error("a log is copied that nobody believes")
		}
	})
}

// TestForks has a source contradict the copy, at every relation of their sizes.
func TestForks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ common, kept, shown int }{
		{10, 20, 20}, {10, 20, 30}, {10, 30, 20}, {256, 257, 300}, {512, 513, 513},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			l.grow(t, tt.common)
			other := l.fork(tt.common)
			other.add(t, l.statement(t, "something else"))
			l.grow(t, tt.kept)
			other.grow(t, tt.shown)
			to := t.TempDir()
			copyLog(t, l, l.publish(t, t.TempDir()), to)
			before := files(t, to)
			_, err := mirror.Copy(t.Context(), other.publish(t, t.TempDir()), to, l.policy, mirror.Options{})
			var fork *mirror.ForkError
			var bad *client.MisbehaviourError
			if !errors.As(err, &fork) || !errors.As(err, &bad) || fork.KeptTree.N != int64(tt.kept) || fork.ShownTree.N != int64(tt.shown) {
				t.Fatalf("error %v", err)
			}
			if fork.Kept != before["checkpoint"] {
				t.Errorf("kept is %q", fork.Kept)
			}
			if diff := cmp.Diff(before, files(t, to)); diff != "" {
				t.Errorf("the copy was changed:\n%.1000s", diff)
			}
		})
	}
}

// TestForkOfAnInterruptedCopy has the log be another when the copy goes on.
func TestForkOfAnInterruptedCopy(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 520)
	dir, to := t.TempDir(), t.TempDir()
	src := l.publish(t, dir)
	// The last bundle is missing: the first 512 entries are copied.
	must(t, os.Remove(filepath.Join(dir, "tile/entries/002.p/8")))
	if _, err := mirror.Copy(t.Context(), src, to, l.policy, mirror.Options{}); err == nil {
		t.Fatal("a file that is missing is no error")
	}
	other := l.fork(100)
	other.add(t, l.statement(t, "something else"))
	other.grow(t, 540)
	_, err := mirror.Copy(t.Context(), other.publish(t, t.TempDir()), to, l.policy, mirror.Options{})
	var fork *mirror.ForkError
	if !errors.As(err, &fork) || fork.KeptTree.N != 520 || fork.ShownTree.N != 540 {
		t.Fatalf("error %v", err)
	}
}

func TestForkInTheArchive(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 20)
	other := l.fork(10)
	other.add(t, l.statement(t, "something else"))
	dir := t.TempDir()
	other.publish(t, dir)
	l.notes = other.notes
	_, err := mirror.Copy(t.Context(), l.publish(t, dir), t.TempDir(), l.policy, mirror.Options{})
	var fork *mirror.ForkError
	if !errors.As(err, &fork) || fork.ShownTree.N != 11 {
		t.Errorf("error %v", err)
	}
}

func TestASourceThatIsBehind(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 30)
	old := t.TempDir()
	behind := l.publish(t, old)
	l.grow(t, 70)
	to := t.TempDir()
	copyLog(t, l, l.publish(t, t.TempDir()), to)
	before := files(t, to)
	r := copyLog(t, l, behind, to)
	if r.Behind == nil || *r.Behind != 30 || r.Tree.N != 70 {
		t.Errorf("report %+v", r)
	}
	if diff := cmp.Diff(before, files(t, to)); diff != "" {
		t.Errorf("the copy was changed:\n%.1000s", diff)
	}
}

func TestOneCopierAtATime(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	to := t.TempDir()
	src := l.publish(t, t.TempDir())
	_, err := mirror.Copy(t.Context(), src, to, l.policy, mirror.Options{
		Hold: func(ctx context.Context, _ string, _ torchwood.Checkpoint) error {
			_, err := mirror.Copy(ctx, src, to, l.policy, mirror.Options{})
			return err
		},
	})
	if err == nil || !strings.Contains(err.Error(), "by another process") {
		t.Errorf("error %v", err)
	}
}

// TestRevokedKeysAndWrites asks for what else a mirror has to say.
func TestRevokedKeysAndWrites(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	raw, err := attest.Revoke(l.key, "lost")
	must(t, err)
	l.add(t, raw)
	to := t.TempDir()
	copyLog(t, l, l.publish(t, t.TempDir()), to)
	answer, err := mirror.Open(t.Context(), mirror.Dir(to))
	must(t, err)
	c := client.NewLocal(to, answer)
	k, err := c.GetKey(t.Context(), &cairnv1.GetKeyRequest{Fingerprint: string(l.key.Public.Fingerprint)})
	if err != nil || k.GetKey().GetEnrolledIndex() != 0 || k.GetKey().RevokedIndex == nil || k.GetKey().GetRevokedIndex() != 1 {
		t.Errorf("key %v, %v", k, err)
	}
	for name, call := range map[string]func() (proto.Message, error){
		"submit": func() (proto.Message, error) {
			return c.SubmitAttestation(t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw})
		},
		"builds": func() (proto.Message, error) { return c.ListBuilds(t.Context(), &cairnv1.ListBuildsRequest{}) },
		"queue":  func() (proto.Message, error) { return c.QueueBuild(t.Context(), &cairnv1.QueueBuildRequest{}) },
		"watch": func() (proto.Message, error) {
			for m, err := range c.WatchCheckpoints(t.Context(), &cairnv1.WatchCheckpointsRequest{}) {
				return m, err
			}
			return nil, nil
		},
	} {
		if _, err := call(); err == nil || !strings.Contains(err.Error(), "a mirror of a ledger answers no") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
