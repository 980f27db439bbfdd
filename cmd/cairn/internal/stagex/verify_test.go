package stagex_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex"
	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex/stagextest"
	"github.com/cairnlog/cairn/ledger/attest"
)

// world is a tree that was signed in every way there is.
type world struct {
	*stagextest.Tree
	alice, aliceToo, bob, carol, stranger, unlisted *stagextest.Signer
}

func newWorld(t *testing.T, images int) *world {
	w := &world{Tree: stagextest.NewTree(t, images)}
	for i, s := range []**stagextest.Signer{&w.alice, &w.aliceToo, &w.bob, &w.carol, &w.stranger, &w.unlisted} {
		*s = stagextest.New(t, uint64(i+1), 0)
	}
	w.Maintainers(map[string][]*stagextest.Signer{"alice": {w.alice, w.aliceToo}, "bob": {w.bob}, "carol": {w.carol}}, w.unlisted)
	return w
}

var (
	monday  = stagextest.Made.AddDate(0, 6, 0)
	tuesday = monday.AddDate(0, 0, 1)
)

// sign returns a signature of the n-th image.
func sign(t *testing.T, s *stagextest.Signer, n int, at time.Time) []byte {
	return s.Sign(t, stagextest.Payload(stagextest.Name(n), stagextest.Digest(n)), at)
}

// ways are how images are signed, in turn, and the row that comes of it.
var ways = []struct {
	row  string
	sign func(t *testing.T, w *world, n int) [][]byte
}{
	{"yes alice bob", func(t *testing.T, w *world, n int) [][]byte {
		return [][]byte{sign(t, w.alice, n, monday), sign(t, w.bob, n, monday)}
	}},
	{"no alice", func(t *testing.T, w *world, n int) [][]byte {
		return [][]byte{sign(t, w.alice, n, monday)}
	}},
	{"no", func(*testing.T, *world, int) [][]byte { return nil }},
	{"no alice, 1 repeated", func(t *testing.T, w *world, n int) [][]byte { // the same file twice
		one := sign(t, w.alice, n, monday)
		return [][]byte{one, one}
	}},
	{"no alice, 2 repeated", func(t *testing.T, w *world, n int) [][]byte { // signed again, and by another key
		return [][]byte{sign(t, w.alice, n, monday), sign(t, w.alice, n, tuesday), sign(t, w.aliceToo, n, monday)}
	}},
	{"no bob, foreign foreign", func(t *testing.T, w *world, n int) [][]byte {
		return [][]byte{sign(t, w.stranger, n, monday), sign(t, w.bob, n, monday), sign(t, w.unlisted, n, monday)}
	}},
	{"no bob, misplaced", func(t *testing.T, w *world, n int) [][]byte { // carol's of another image
		return [][]byte{sign(t, w.bob, n, monday), sign(t, w.carol, n+1, monday)}
	}},
	{"no carol, forged", func(t *testing.T, w *world, n int) [][]byte {
		return [][]byte{forged(t, w.alice, n), sign(t, w.carol, n, monday)}
	}},
	{"yes alice bob carol, 1 repeated", func(t *testing.T, w *world, n int) [][]byte {
		older := w.carol.Sign(t, stagextest.OlderPayload(stagextest.Name(n), stagextest.Digest(n)), monday)
		return [][]byte{older, sign(t, w.bob, n, monday), sign(t, w.aliceToo, n, monday), sign(t, w.bob, n, tuesday)}
	}},
	{"yes alice bob, invalid invalid", func(t *testing.T, w *world, n int) [][]byte {
		return [][]byte{nil, []byte("hello\n"), sign(t, w.alice, n, monday), sign(t, w.bob, n, monday)}
	}},
}

// forged returns a message of alice whose text was exchanged.
func forged(t *testing.T, s *stagextest.Signer, n int) []byte {
	return s.SignOther(t, stagextest.Payload(stagextest.Name(n), stagextest.Digest(n)), monday)
}

func row(a *stagex.Approval) string {
	words := []string{"no"}
	if a.Met {
		words[0] = "yes"
	}
	s := strings.Join(append(words, a.Signers...), " ")
	var notes []string
	if a.Repeated > 0 {
		notes = append(notes, fmt.Sprintf("%d repeated", a.Repeated))
	}
	for _, i := range a.Ignored {
		notes = append(notes, string(i.Problem))
	}
	if len(notes) > 0 {
		s += ", " + strings.Join(notes, " ")
	}
	return s
}

func count(t *testing.T, dir string, change func(*stagex.Tally)) *stagex.Report {
	t.Helper()
	ctx := t.Context()
	tree, err := importer.OpenTree(ctx, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	tally := stagex.Tally{Store: stagex.NewTreeStore(dir, tree), Threshold: 2}
	if tally.Images, err = stagex.ReadImages(ctx, tree); err != nil {
		t.Fatal(err)
	}
	if tally.Maintainers, err = stagex.ReadMaintainers(ctx, tree); err != nil {
		t.Fatal(err)
	}
	tally.Verifier = ring(t, ctx, tree)
	if change != nil {
		change(&tally)
	}
	r, err := tally.Count(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ring(t *testing.T, ctx context.Context, tree importer.Tree) *stagex.Ring {
	t.Helper()
	b, err := tree.Read(ctx, "signatures/stagex-keyring.pgp", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := attest.SplitOpenPGPKeys(b)
	if err != nil {
		t.Fatal(err)
	}
	r, left := stagex.NewRing(blocks...)
	if len(left) > 0 {
		t.Fatal(left)
	}
	return r
}

func TestFiveHundredImages(t *testing.T) {
	const images = 500
	w := newWorld(t, images)
	var want []string
	for n := range images {
		way := ways[n%len(ways)]
		for _, raw := range way.sign(t, w, n) {
			w.Add(n, raw)
		}
		want = append(want, stagextest.Name(n)+": "+way.row)
	}
	r := count(t, w.Dir, nil)
	var got []string
	for _, a := range r.Images {
		got = append(got, a.Name+": "+row(a))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if r.Met != 150 || r.Unmet != 350 || r.Contradictions != 100 {
		t.Errorf("%d met, %d unmet, %d contradictions", r.Met, r.Unmet, r.Contradictions)
	}
}

func TestTheSameOverHTTP(t *testing.T) {
	w := newWorld(t, 2*len(ways))
	for n := range 2 * len(ways) {
		for _, raw := range ways[n%len(ways)].sign(t, w, n) {
			w.Add(n, raw)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(w.Dir, "signatures"))))
	defer server.Close()
	web := &importer.Web{Client: server.Client(), Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	want := count(t, w.Dir, nil)
	got := count(t, w.Dir, func(tally *stagex.Tally) { tally.Store = stagex.NewLookaside(server.URL, web) })
	rows := func(r *stagex.Report) (rows []string) {
		for _, a := range r.Images {
			rows = append(rows, a.Name+": "+row(a))
		}
		return rows
	}
	if diff := cmp.Diff(rows(want), rows(got)); diff != "" {
		t.Errorf("over HTTP (-want +got):\n%s", diff)
	}
}

func TestWithoutMaintainersKeysArePersons(t *testing.T) {
	w := newWorld(t, 1)
	w.Add(0, sign(t, w.alice, 0, monday))
	w.Add(0, sign(t, w.aliceToo, 0, monday))
	if r := count(t, w.Dir, nil); r.Met != 0 {
		t.Error("two keys of one person are two votes")
	}
	r := count(t, w.Dir, func(tally *stagex.Tally) { tally.Maintainers = nil })
	if r.Met != 1 || len(r.Images[0].Signers) != 2 {
		t.Errorf("signers %v", r.Images[0].Signers)
	}
}

// times are when a tree is judged: the first signature is of Monday, by a key that
// expires ten days later; the second of Tuesday, by one that does not expire.
var times = []struct {
	name string
	at   time.Time
	want string
}{
	{"as of when each was made", time.Time{}, "yes alice bob"},
	{"once both were made", tuesday, "yes alice bob"},
	{"before the second was made", tuesday.Add(-time.Second), "no alice, expired"},
	{"before the first was made", monday.Add(-time.Second), "no, expired expired"},
	{"once the first key expired", monday.AddDate(0, 0, 10), "no bob, expired"},
}

func TestAsOfATime(t *testing.T) {
	tree := stagextest.NewTree(t, 1)
	alice := stagextest.New(t, 1, monday.AddDate(0, 0, 10).Sub(stagextest.Made))
	bob := stagextest.New(t, 2, 0)
	tree.Maintainers(map[string][]*stagextest.Signer{"alice": {alice}, "bob": {bob}})
	tree.Add(0, sign(t, alice, 0, monday))
	tree.Add(0, sign(t, bob, 0, tuesday))
	for _, tc := range times {
		r := count(t, tree.Dir, func(tally *stagex.Tally) { tally.At = tc.at })
		if got := row(r.Images[0]); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestASignatureThatExpires(t *testing.T) {
	tree := stagextest.NewTree(t, 1)
	alice := stagextest.New(t, 1, 0)
	tree.Maintainers(map[string][]*stagextest.Signer{"alice": {alice}})
	alice.Expiry = time.Hour
	tree.Add(0, sign(t, alice, 0, monday))
	for at, want := range map[time.Time]string{
		{}:                                  "no alice",
		monday.Add(time.Hour - time.Second): "no alice",
		monday.Add(time.Hour):               "no, expired",
	} {
		r := count(t, tree.Dir, func(tally *stagex.Tally) { tally.At = at })
		if got := row(r.Images[0]); got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
}

// TestAnotherDocumentIsNoVote signs a list of files that has an image's digest.
func TestAnotherDocumentIsNoVote(t *testing.T) {
	tree := stagextest.NewTree(t, 1)
	alice := stagextest.New(t, 1, 0)
	tree.Maintainers(map[string][]*stagextest.Signer{"alice": {alice}})
	tree.Add(0, alice.Sign(t, []byte(stagextest.Digest(0).Hex()+"  image.tar\n"), monday))
	if got := row(count(t, tree.Dir, nil).Images[0]); got != "no, invalid" {
		t.Error(got)
	}
}

// TestAnotherName exchanges the digests of two images, each signed under its own
// name: whoever writes digests/*.txt must not pass the one off as the other.
func TestAnotherName(t *testing.T) {
	w := newWorld(t, 2)
	for n := range 2 {
		w.Add(n, sign(t, w.alice, n, monday))
		w.Add(n, sign(t, w.bob, n, monday))
	}
	lines := fmt.Sprintf("%s %s\n%s %s\n", stagextest.Digest(1).Hex(), stagextest.Name(0), stagextest.Digest(0).Hex(), stagextest.Name(1))
	w.Write("digests/core.txt", []byte(lines))
	r := count(t, w.Dir, nil)
	for _, a := range r.Images {
		if got := row(a); got != "no, renamed renamed" {
			t.Errorf("%s: %s", a.Name, got)
		}
	}
	if r.Contradictions != 0 {
		t.Errorf("%d contradictions", r.Contradictions)
	}
}

// TestMisnamedSignatures moves good signatures to the path of another name, and
// signs the right name of another registry.
func TestMisnamedSignatures(t *testing.T) {
	w := newWorld(t, 1)
	payload := stagextest.Payload(stagextest.Name(0), stagextest.Digest(0))
	w.Add(0, w.alice.Sign(t, stagextest.Payload("core-other", stagextest.Digest(0)), monday))
	w.Add(0, w.bob.Sign(t, bytes.Replace(payload, []byte("stagex/"), []byte("mallory/"), 1), monday))
	w.Add(0, w.carol.Sign(t, bytes.Replace(payload, []byte("stagex/"), []byte("quay.io/stagex/"), 1), monday))
	r := count(t, w.Dir, nil)
	if got := row(r.Images[0]); got != "no carol, misplaced misplaced" || r.Contradictions != 2 {
		t.Errorf("%s, %d contradictions", got, r.Contradictions)
	}
}

var badMaintainers = []struct{ text, want string }{
	{"", "no keys"},
	{"[keys", "parsing MAINTAINERS"},
	{"[keys.alice.a]\nid = \"E90A401336C8AAA9\"\n", "want a fingerprint"},
	{"[keys.alice.a]\nid = \"" + strings.Repeat("A", 40) + "\"\n[keys.bob.a]\nid = \"" + strings.Repeat("a", 40) + "\"\n", "both alice's and bob's"},
}

func TestBadMaintainers(t *testing.T) {
	for _, tc := range badMaintainers {
		if _, err := stagex.ParseMaintainers([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
	}
}

func TestKnownMaintainers(t *testing.T) {
	w := newWorld(t, 1)
	r := count(t, w.Dir, func(tally *stagex.Tally) {
		known := tally.Maintainers.Known(tally.Verifier.(*stagex.Ring).Fingerprints())
		if want := []string{"alice", "bob", "carol"}; !slices.Equal(known, want) {
			t.Errorf("known %v, want %v", known, want)
		}
	})
	if r.Unmet != 1 {
		t.Errorf("nobody signed, and %d images are unmet", r.Unmet)
	}
}
