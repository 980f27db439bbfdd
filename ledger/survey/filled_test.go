package survey

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/verify"
)

// noKeys is an index that knows no keys.
type noKeys struct{ store.Index }

func (noKeys) Key(context.Context, leaf.Fingerprint) (*store.Key, error) {
	return nil, store.ErrNotFound
}

const testOrigin = "localhost/survey"

// filled is a table that is filled by hand, but through the way that entries take.
type filled struct {
	testing.TB
	*Survey
	now  time.Time
	next uint64
}

func keyOf(name string) leaf.Fingerprint { return leaf.Fingerprint(leaf.SHA256([]byte(name))) }

// newFilled returns an empty table, by the policy of so many rebuilders, r0 and so on.
func newFilled(t testing.TB, rebuilders int) *filled {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	c := torchwood.Checkpoint{Origin: testOrigin, Tree: tlog.Tree{N: 1 << 40}}
	signed, err := note.Sign(&note.Note{Text: c.String()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	text := "log " + vkey + "\nquorum none\n"
	var members []string
	for i := range rebuilders {
		name := fmt.Sprint("r", i)
		text += fmt.Sprintf("rebuilder %s %s operator=https://%s.example\n", name, keyOf(name), name)
		members = append(members, name)
	}
	if rebuilders > 0 {
		text += "rebuild-group all any " + strings.Join(members, " ") + "\nrebuild-quorum all\n"
	}
	pol, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f := &filled{TB: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	published := &checkpoint.Published{Checkpoint: c, Signed: signed, At: f.now}
	f.Survey, err = Open(context.Background(), Config{
		Path: filepath.Join(t.TempDir(), "survey.db"), Origin: testOrigin, Policy: pol, Trust: pol, Index: noKeys{},
		Latest: func() (*checkpoint.Published, error) { return published, nil },
		Now:    func() time.Time { return f.now }, Warn: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	f.current.Store(f.now.Unix())
	return f
}

// says takes in what is said, each an entry of its own.
func (f *filled) says(list ...*said) {
	f.Helper()
	for len(list) > 0 {
		some := list[:min(len(list), followBatch)]
		list = list[len(some):]
		changes := make([]change, len(some))
		for i, s := range some {
			changes[i] = change{index: f.next, said: s}
			for _, who := range s.signers {
				if f.ids[who.key] != 0 {
					changes[i].about = append(changes[i].about, s.subjects[0].digest)
				}
			}
			f.next++
		}
		if err := f.inBatch(context.Background(), func(b *batch) error { return b.take(changes, f.next, f.now) }); err != nil {
			f.Fatal(err)
		}
		f.scanned.Store(f.next)
	}
}

// judges takes in a verdict about an artifact.
func (f *filled) judges(d leaf.Digest, v verify.Verdict, until int64) {
	f.Helper()
	one := due{digest: d}
	if err := f.r.QueryRow("SELECT id, verdict FROM artifacts WHERE digest = ?", string(d)).Scan(&one.id, &one.was); err != nil {
		f.Fatal(err)
	}
	report := marshal(&verify.Report{Verdict: v, Artifact: d})
	err := f.inBatch(context.Background(), func(b *batch) error {
		return b.save(one, &judgement{verdict: v, due: until, needs: []leaf.Digest{d}, report: report})
	})
	if err != nil {
		f.Fatal(err)
	}
}

// word is that somebody says a word about an artifact, by a name.
func word(who, name string, d leaf.Digest, w Word) *said {
	s := &said{claim: leaf.ClaimReproduction, result: leaf.Identical, signers: []signer{{keyOf(who), "https://" + who + ".example"}},
		subjects: []subject{{digest: d, word: w}}, environment: `{"arch":"x86_64","os":"linux"}`}
	if w == Different {
		s.result = leaf.Different
	}
	if name != "" {
		s.subjects[0].names = []string{name}
	}
	return s
}
