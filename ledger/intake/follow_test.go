package intake

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// filler is the text of a leaf whose attestation nobody will ask for.
func filler(t *testing.T, n int) []byte {
	t.Helper()
	d := leaf.SHA256(fmt.Append(nil, "filler ", n))
	l := leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Claim: leaf.ClaimOther, Result: leaf.NoResult,
		Envelope: d, Payload: d, Keys: []leaf.Fingerprint{leaf.Fingerprint(d)}, Subjects: []leaf.Digest{d},
	}
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// filled returns a disk whose log was appended to by another process: nothing
// of it is indexed.
func filled(t *testing.T, n int) *disk {
	t.Helper()
	d := newDisk()
	for i := range n {
		d.grow(filler(t, i))
	}
	return d
}

func wantIndexed(t *testing.T, d *disk) {
	t.Helper()
	if len(d.index) != len(d.leaves) {
		t.Fatalf("%d of %d entries are indexed", len(d.index), len(d.leaves))
	}
	for i, e := range d.index {
		if e.Index != uint64(i) || !bytes.Equal(e.Text, d.leaves[i]) || e.Leaf == nil {
			t.Fatalf("entry %d is indexed as %d: %q", i, e.Index, e.Text)
		}
	}
}

func TestFollowReadsAnyStretch(t *testing.T) {
	for _, stretches := range [][]int{
		{0}, {1}, {255}, {256}, {257}, {600}, {1, 255, 256, 257, 511, 512, 513}, {3, 3, 300}, {followBatch + 300}, {200, 2 * followBatch},
	} {
		d := newDisk()
		r := open(t, d, false)
		for _, size := range stretches {
			for i := len(d.leaves); i < size; i++ {
				d.grow(filler(t, i))
			}
			if err := r.Follow(t.Context(), uint64(size)); err != nil {
				t.Fatalf("following to %d of %v: %v", size, stretches, err)
			}
			wantIndexed(t, d)
		}
	}
}

func TestFollowStopsAtTheSizeItIsGiven(t *testing.T) {
	d := newDisk()
	r := open(t, d, false)
	for i := range 300 {
		d.grow(filler(t, i))
	}
	for _, size := range []int{0, 10, 256, 256, 299} {
		if err := r.Follow(t.Context(), uint64(size)); err != nil || len(d.index) != size {
			t.Fatalf("following to %d indexed %d: %v", size, len(d.index), err)
		}
	}
}

// unfollowed opens an intake on a disk without catching up.
func unfollowed(t *testing.T, d *disk) *rig {
	t.Helper()
	r := open(t, newDisk(), false)
	r.cfg.Log, r.cfg.Prover, r.cfg.Index, r.cfg.Blobs = log{d}, engine.NewProver(log{d}), index{disk: d}, blobs{d}
	return r
}

// only changes one entry of a bundle.
func only(index uint64, change func([]byte) []byte) func(uint64, []byte) []byte {
	return func(i uint64, e []byte) []byte {
		if i == index {
			return change(bytes.Clone(e))
		}
		return e
	}
}

func TestFollowDetects(t *testing.T) {
	const size = 300
	for _, test := range []struct {
		name    string
		tamper  func(*disk)
		want    error // nil for any
		indexed int   // how far the index may be
	}{
		{"an entry with a flipped bit", func(d *disk) {
			d.tamperEntry = only(257, func(e []byte) []byte {
				e[len(e)-2] ^= 1
				return e
			})
		}, errContradiction, 0},
		{"two entries that changed places", func(d *disk) {
			d.tamperEntry = func(i uint64, e []byte) []byte {
				if i == 7 || i == 8 {
					return d.leaves[15-i]
				}
				return e
			}
		}, errContradiction, 0},
		{"a bundle that ends early", func(d *disk) {
			d.tamperEntry = only(299, func([]byte) []byte { return nil })
		}, nil, 0},
		{"a tile with a flipped bit", func(d *disk) {
			d.tamperTile = func(b []byte) []byte {
				b[0] ^= 1
				return b
			}
		}, errContradiction, 0},
		{"a tile that ends early", func(d *disk) {
			d.tamperTile = func(b []byte) []byte { return b[:len(b)-1] }
		}, nil, 0},
		{"an index ahead of the log", func(d *disk) {
			d.leaves, d.hashes = d.leaves[:size-1], nil
		}, errContradiction, size},
		{"an index that cannot be written", func(d *disk) { d.add = lost }, errBroken, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := filled(t, size)
			if test.indexed > 0 {
				open(t, d, false)
			}
			r := unfollowed(t, d)
			test.tamper(d)
			err := r.Follow(t.Context(), uint64(len(d.leaves)))
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Follow() = %v, want %v", err, test.want)
			}
			if len(d.index) != test.indexed {
				t.Errorf("%d entries are indexed, want %d", len(d.index), test.indexed)
			}
		})
	}
}

func TestFollowRefusesWhatIsNoLeaf(t *testing.T) {
	for _, text := range []string{"", "hello", "cairn.leaf/v1\n", string(filler(t, 0)) + "more\n"} {
		d := newDisk()
		r := open(t, d, false)
		d.grow([]byte(text))
		if err := r.Follow(t.Context(), 1); err == nil || len(d.index) != 0 {
			t.Errorf("the entry %.20q was indexed: %v", text, err)
		}
	}
}

// history logs two keys, of which one is revoked, and what they attested.
func history(t *testing.T) (d *disk, valid, revoked author, old []byte) {
	t.Helper()
	d = newDisk()
	r := open(t, d, true).start()
	valid, revoked = newAuthor(t), newAuthor(t)
	old = revoked.about(1)
	for _, raw := range [][]byte{valid.enrolment(), revoked.enrolment(), old, valid.about(2), revoked.revocation()} {
		r.submit(raw)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	return d, valid, revoked, old
}

// TestFollowRebuildsALostIndex has the whole history in one batch, unlike when
// it was logged.
func TestFollowRebuildsALostIndex(t *testing.T) {
	d, valid, revoked, old := history(t)
	before := slices.Clone(d.index)
	for _, left := range []int{0, 1, 2, 4, 5} {
		d.index = slices.Clone(before[:left])
		r := open(t, d, true).start()
		wantIndexed(t, d)
		for i, e := range d.index {
			if diff := cmp.Diff(before[i].Keys, e.Keys); diff != "" {
				t.Errorf("with %d entries left, entry %d does to keys (-before +now):\n%s", left, i, diff)
			}
		}
		if res := r.submit(old); res.Created || res.Index != 2 {
			t.Errorf("with %d entries left, a retry: %+v", left, res)
		}
		if res := r.submit(valid.about(2)); res.Created || res.Index != 3 {
			t.Errorf("with %d entries left, a retry by the valid key: %+v", left, res)
		}
		_, err := r.Submit(t.Context(), revoked.about(9), "127.0.0.1")
		wantReason(t, "the revoked key", err, reason.KeyRevoked)
		_ = r.stop()
	}
}

func TestFollowBelievesTheLogAboutKeys(t *testing.T) {
	t.Run("the bytes of an enrolment are missing", func(t *testing.T) {
		d, _, _, _ := history(t)
		d.index = nil
		clear(d.blobs)
		wantFollowFails(t, d, nil)
	})
	t.Run("the store holds another enrolment in its place", func(t *testing.T) {
		d, _, _, _ := history(t)
		l, err := leaf.Parse(d.leaves[0])
		if err != nil {
			t.Fatal(err)
		}
		d.index = nil
		d.blobs[l.Envelope] = newAuthor(t).enrolment()
		wantFollowFails(t, d, errContradiction)
	})
	t.Run("the store holds another attestation in its place", func(t *testing.T) {
		d, _, _, _ := history(t)
		l, err := leaf.Parse(d.leaves[0])
		if err != nil {
			t.Fatal(err)
		}
		d.index = nil
		d.blobs[l.Envelope] = newAuthor(t).revocation()
		wantFollowFails(t, d, nil)
	})
}

func wantFollowFails(t *testing.T, d *disk, want error) {
	t.Helper()
	r := unfollowed(t, d)
	err := r.Follow(t.Context(), uint64(len(d.leaves)))
	if err == nil || want != nil && !errors.Is(err, want) || len(d.index) != 0 {
		t.Errorf("Follow() = %v with %d entries indexed, want %v and none", err, len(d.index), want)
	}
}
