package audit_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// published returns the archived checkpoints of a copy as anchors.
func published(t *testing.T, dir string) (anchors []audit.Anchor) {
	t.Helper()
	rearchive(func(_ *testing.T, notes [][]byte) [][]byte {
		for i, n := range notes {
			anchors = append(anchors, audit.Anchor{Where: fmt.Sprint("anchor ", i), Signed: n})
		}
		return notes
	})(t, &damaged{dir})
	return anchors
}

// ofSize returns the anchor of a size, of an archived checkpoint or of its own.
func ofSize(t *testing.T, dir string, size int64) audit.Anchor {
	t.Helper()
	for _, a := range published(t, dir) {
		if strings.Split(string(a.Signed), "\n")[1] == fmt.Sprint(size) {
			return a
		}
	}
	t.Fatalf("no checkpoint of size %d was archived", size)
	return audit.Anchor{}
}

func TestAnchorsOfTheLog(t *testing.T) {
	dir := copyOf(t)
	anchors := published(t, dir)
	for name, o := range map[string]audit.Options{
		"from the start": {Anchors: anchors},
		"from a state":   {Anchors: anchors, State: resumable(t)},
	} {
		r := run(t, open(t, dir), o)
		wantClean(t, r)
		if got := r.Counts.Anchors.Load(); got != uint64(len(anchors)) || got < 20 {
			t.Errorf("%s: %d of %d anchors were compared", name, got, len(anchors))
		}
	}
	empty, err := built().log.Sign(tlog.Tree{Hash: tlog.Hash(sha256.Sum256(nil))}, audittest.Witnesses)
	if err != nil {
		t.Fatal(err)
	}
	wantClean(t, run(t, open(t, dir), audit.Options{Anchors: []audit.Anchor{{Where: "empty", Signed: empty}}}))
}

// A ledger that was rolled back, or tells another story since, is flawless by
// itself, and not beside the anchors of before.
func TestAnchorsThatTheLogContradicts(t *testing.T) {
	anchors := published(t, copyOf(t))
	early := ofSize(t, copyOf(t), 296)
	for name, x := range map[string]struct {
		dir    string
		kind   audit.Kind
		anchor audit.Anchor
		want   damage
	}{
		"another history":              {otherHistory(t, 400), audit.Ledger, early, damage{kind: "anchor-contradicted", exit: 5}},
		"another history, a mirror":    {otherHistory(t, 400), audit.Mirror, early, damage{kind: "anchor-contradicted", exit: 5}},
		"another history of that size": {otherHistory(t, 296), audit.Ledger, early, damage{kind: "anchor-contradicted", exit: 5}},
		"a log rolled back":            {earlyCopy(t), audit.Ledger, anchors[len(anchors)-1], damage{kind: "checkpoint-shrank", exit: 5}},
		"a copy that is behind":        {earlyCopy(t), audit.Remote, anchors[len(anchors)-1], damage{kind: "anchor-ahead", exit: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, x.dir)
			wantClean(t, run(t, c, audit.Options{NoSignatures: true}))
			c.Kind = x.kind
			r := run(t, c, audit.Options{NoSignatures: true, Anchors: []audit.Anchor{x.anchor}})
			x.want.check(t, r)
			i := slices.IndexFunc(r.Findings, func(f audit.Finding) bool { return f.Kind == x.want.kind })
			if e := r.Findings[i].Evidence; x.want.exit == 5 && (len(e) != 2 || e[0] != string(x.anchor.Signed) || e[1] != r.Checkpoint.Signed) {
				t.Errorf("evidence %q, want the anchored checkpoint and the audited one", e)
			}
		})
	}
}

// Anchors that are no evidence of anything are findings, each of its own, and the
// others are compared all the same.
func TestBadAnchors(t *testing.T) {
	dir := copyOf(t)
	d := &damaged{dir}
	root := strings.Split(string(d.get(t, notePath)), "\n")[2]
	for name, x := range map[string]struct {
		anchor audit.Anchor
		want   damage
	}{
		"its proof fails":      {audit.Anchor{Problem: "no proof", Kind: "anchor-unproven"}, damage{kind: "anchor-unproven", exit: 10}},
		"no note":              {audit.Anchor{Signed: []byte("hello")}, damage{kind: "note-malformed", exit: 10}},
		"of another key":       {audit.Anchor{Signed: strangers(t)}, damage{kind: "log-unsigned", exit: 11}},
		"of another log":       {audit.Anchor{Signed: signedText(t, d, "other.example\n700\n"+root+"\n")}, damage{kind: "origin-unknown", exit: 11}},
		"unwitnessed":          {audit.Anchor{Signed: resigned(t, d, 1)}, damage{kind: "quorum-unmet", exit: 11}},
		"of a root of nothing": {audit.Anchor{Signed: forged(t, 300, audittest.Witnesses)}, damage{kind: "anchor-contradicted", exit: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			x.anchor.Where = "the anchor"
			r := run(t, open(t, dir), audit.Options{NoSignatures: true, Anchors: []audit.Anchor{x.anchor, ofSize(t, dir, 333)}})
			x.want.check(t, r)
			if len(r.Findings) != 1 || r.Findings[0].Where != "the anchor" || r.Counts.Anchors.Load() == 0 {
				t.Errorf("%d anchors were compared: %s", r.Counts.Anchors.Load(), list(r))
			}
		})
	}
}

// A checkpoint of another log that the policy knows says nothing about this one.
func TestAnchorOfAnotherLogOfThePolicy(t *testing.T) {
	key, err := checkpoint.CreateKey(filepath.Join(t.TempDir(), "key"), "other.example")
	if err != nil {
		t.Fatal(err)
	}
	both, err := policy.Parse([]byte("log " + key.VKey + "\n" + built().log.Policy.String()))
	if err != nil {
		t.Fatal(err)
	}
	dir := copyOf(t)
	root := strings.Split(string((&damaged{dir}).get(t, notePath)), "\n")[2]
	signed, err := note.Sign(&note.Note{Text: "other.example\n700\n" + root + "\n"}, key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, open(t, dir), audit.Options{Policy: both, NoSignatures: true, Anchors: []audit.Anchor{{Where: "the anchor", Signed: signed}}})
	(&damage{kind: "anchor-origin", exit: 11}).check(t, r)
	if r.Counts.Anchors.Load() != 0 {
		t.Error("it was compared with this log")
	}
}

// A damaged tile that an audit from a state does not compare with its entries
// accuses nobody of a fork.
func TestAnchorAndADamagedTile(t *testing.T) {
	for _, x := range []struct {
		do func(*testing.T, *damaged)
	}{{flip("log/tile/0/000", 40)}, {remove("log/tile/0/000")}} {
		d := &damaged{copyOf(t)}
		anchor := ofSize(t, d.dir, 37)
		x.do(t, d)
		r := run(t, open(t, d.dir), audit.Options{State: resumable(t), Anchors: []audit.Anchor{anchor}})
		if !r.Resumed || r.Found[audit.Fork] > 0 || r.Counts.Anchors.Load() > 0 ||
			!slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Kind == "anchor-uncompared" }) {
			t.Errorf("resumed %v, %d anchors were compared: %s", r.Resumed, r.Counts.Anchors.Load(), list(r))
		}
	}
	// Two checkpoints of one size contradict each other, whatever the tiles are.
	d := &damaged{copyOf(t)}
	flip(tile1, 3)(t, d)
	r := run(t, open(t, d.dir), audit.Options{NoSignatures: true, Anchors: []audit.Anchor{{Where: "the anchor", Signed: forged(t, worldSize, audittest.Witnesses)}}})
	(&damage{kind: "anchor-contradicted", exit: 5}).check(t, r)
}
