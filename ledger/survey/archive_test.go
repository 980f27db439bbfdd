package survey

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// witness cosigns at a time.
type witness struct {
	*torchwood.CosignatureSigner
	key ed25519.PrivateKey
	at  time.Time
}

func newWitness(t *testing.T, name string) *witness {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%-32s", name)))
	s, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return &witness{CosignatureSigner: s, key: key}
}

// Sign implements note.Signer.
func (w *witness) Sign(msg []byte) ([]byte, error) {
	sig := binary.BigEndian.AppendUint64(nil, uint64(w.at.Unix()))
	return append(sig, ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", w.at.Unix(), msg))...), nil
}

// archived is a table of an archive in memory.
type archived struct {
	*filled
	log      note.Signer
	other    note.Signer // of another log that the ledger's policy has
	segments [][]byte
	notes    int
	warned   []string
}

// Segment implements Archive.
func (a *archived) Segment(_ context.Context, n uint64) (io.ReadSeekCloser, error) {
	if n >= uint64(len(a.segments)) {
		return nil, fs.ErrNotExist
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(a.segments[n]), io.NopCloser(nil)}, nil
}

func newArchived(t *testing.T, witnesses ...*witness) *archived {
	t.Helper()
	a := &archived{filled: newFilled(t, 0)}
	skey, vkey, err := note.GenerateKey(nil, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if a.log, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	skey, other, err := note.GenerateKey(nil, "localhost/other")
	if err != nil {
		t.Fatal(err)
	}
	if a.other, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	text := "log " + vkey + "\nlog " + other + "\n"
	for i, w := range witnesses {
		text += fmt.Sprintf("witness w%d %s\n", i, w.Verifier())
	}
	if a.cfg.Trust, err = policy.Parse([]byte(text + "quorum none\n")); err != nil {
		t.Fatal(err)
	}
	a.cfg.Archive, a.cfg.Warn = a, func(err error) { a.warned = append(a.warned, err.Error()) }
	return a
}

// add archives a checkpoint of the log that these signed.
func (a *archived) add(size int64, signers ...note.Signer) {
	a.Helper()
	a.addOf(testOrigin, size, signers...)
}

// addOf is add, of a log.
func (a *archived) addOf(origin string, size int64, signers ...note.Signer) {
	a.Helper()
	c := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size}}
	signed, err := note.Sign(&note.Note{Text: c.String()}, signers...)
	if err != nil {
		a.Fatal(err)
	}
	if a.notes%checkpoint.SegmentNotes == 0 {
		a.segments = append(a.segments, nil)
	}
	a.notes++
	last := &a.segments[len(a.segments)-1]
	*last = checkpoint.AppendArchived(*last, signed)
}

func (a *archived) followed() {
	a.Helper()
	if err := a.followArchive(context.Background()); err != nil {
		a.Fatal(err)
	}
}

// TestArchive: what the archive has of checkpoints is told, by verified cosignatures.
func TestArchive(t *testing.T) {
	w, x := newWitness(t, "witness.example"), newWitness(t, "other.example")
	a := newArchived(t, w, x)
	a.followed() // there is none yet
	stranger := newWitness(t, "stranger.example")
	begun := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	w.at, x.at, stranger.at = begun, begun.Add(2*time.Second), begun.Add(99*time.Hour)
	a.add(10, a.log, w, x, stranger)
	a.followed()
	w.at = begun.Add(30 * time.Minute)
	a.add(20, a.log, w)
	a.add(30, w) // which the log's key did not sign
	a.addOf("localhost/other", 1000, a.other, w)
	w.at = begun.Add(3 * time.Hour)
	a.add(40, a.log, w)
	a.add(50, a.log)
	torn := checkpoint.AppendArchived(nil, []byte("cut short"))
	a.segments[0] = append(a.segments[0], torn[:5]...)
	a.followed()
	a.followed()
	got, err := a.Cosigned(t.Context(), 10)
	want := []Cosigned{
		{Size: 50, At: a.now, Times: map[string]time.Time{}},
		{Size: 40, At: begun.Add(3 * time.Hour), Times: map[string]time.Time{"witness.example": begun.Add(3 * time.Hour)}},
		{Size: 20, At: begun.Add(30 * time.Minute), Times: map[string]time.Time{"witness.example": begun.Add(30 * time.Minute)}},
		{Size: 10, At: begun.Add(2 * time.Second), Times: map[string]time.Time{"witness.example": begun, "other.example": begun.Add(2 * time.Second)}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if len(a.warned) != 2 || !strings.Contains(a.warned[0], "did not sign") || !strings.Contains(a.warned[1], "of log \"localhost/other\"") {
		t.Errorf("it warned %q", a.warned)
	}
	points, err := a.Growth(t.Context())
	if diff := cmp.Diff([]Point{{begun.Add(30 * time.Minute), 20}, {begun.Add(3 * time.Hour), 40}, {a.now, 50}}, points); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for entry, want := range map[uint64]time.Time{0: begun.Add(2 * time.Second), 9: begun.Add(2 * time.Second), 10: begun.Add(30 * time.Minute), 39: begun.Add(3 * time.Hour), 50: {}} {
		if at, err := a.Logged(t.Context(), entry); err != nil || !at.Equal(want) {
			t.Errorf("entry %d was logged at %v, %v; want %v", entry, at, err, want)
		}
	}
}

// TestLongArchive: of an old archive, the hours stay, and of the latest checkpoints
// each.
func TestLongArchive(t *testing.T) {
	w := newWitness(t, "witness.example")
	a := newArchived(t, w)
	begun := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	const notes = 4*checkpoint.SegmentNotes + 100
	for i := range notes {
		w.at = begun.Add(time.Duration(i) * time.Minute)
		a.add(int64(i+1), a.log, w)
	}
	a.followed()
	list, err := a.Cosigned(t.Context(), notes)
	var kept int
	if err := a.r.QueryRow("SELECT count(*) FROM notes").Scan(&kept); err != nil || kept != keptNotes {
		t.Errorf("%d rows are kept, %v", kept, err)
	}
	if err != nil || len(list) != keptNotes || list[0].Size != notes || list[keptNotes-1].Size != notes-keptNotes+1 {
		t.Fatalf("%d checkpoints are kept, %v", len(list), err)
	}
	points, err := a.Growth(t.Context())
	if err != nil || len(points) < 60 || len(points) > 300 || points[len(points)-1] != (Point{w.at, notes}) {
		t.Errorf("%d points, %v", len(points), err)
	}
	for i := range points {
		if i > 0 && (points[i].Size < points[i-1].Size || points[i].At.Before(points[i-1].At)) {
			t.Errorf("point %d goes back: %v, %v", i, points[i-1], points[i])
		}
	}
	at, err := a.Logged(t.Context(), 100)
	if known := begun.Add(100 * time.Minute); err != nil || at.Before(known) || at.After(known.Add(time.Hour)) {
		t.Errorf("an old entry was logged at %v, %v", at, err)
	}
	// An entry of a claim keeps the time that it was first known with.
	a.next = notes - 5
	a.says(word("x", hello, digestOf("a"), Obtained))
	if at, err := a.Logged(t.Context(), notes-5); err != nil || !at.Equal(w.at.Add(-4*time.Minute)) {
		t.Errorf("a late entry was logged at %v, %v; want %v", at, err, w.at.Add(-4*time.Minute))
	}
}

// TestRunFollowsTheArchive: also while nothing is logged.
func TestRunFollowsTheArchive(t *testing.T) {
	a := newArchived(t)
	a.add(10, a.log)
	ctx, cancel := context.WithCancel(t.Context())
	a.cfg.Published = func(context.Context, uint64) (uint64, error) { cancel(); return 0, ctx.Err() }
	a.Run(ctx)
	if list, err := a.Cosigned(t.Context(), 10); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	a.cfg.Archive = broken{}
	a.tryArchive(t.Context())
	if len(a.warned) != 1 || !strings.Contains(a.warned[0], "following the archive") {
		t.Errorf("it warned %q", a.warned)
	}
}

// broken is an archive that cannot be read.
type broken struct{}

// Segment implements Archive.
func (broken) Segment(context.Context, uint64) (io.ReadSeekCloser, error) {
	return nil, fs.ErrPermission
}

// TestTableOutlives: a table is that of a log and a policy, and made anew for another
// policy, or after it was deleted.
func TestTableOutlives(t *testing.T) {
	f := newFilled(t, 1)
	f.says(word("r0", hello, digestOf("a"), Obtained))
	cfg := f.cfg
	_ = f.Close()
	again := func(when string, rows int) {
		t.Helper()
		s, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if err := s.Answerable(); err == nil {
			t.Errorf("%s, it answers before it followed the log", when)
		}
		if p, err := s.Packages(t.Context(), Filter{}); err != nil || len(p.Rows) != rows {
			t.Errorf("%s, it has %d rows, %v", when, len(p.Rows), err)
		}
		if next, err := s.readScanned(t.Context()); err != nil || next != uint64(rows) {
			t.Errorf("%s, it goes on from %d, %v", when, next, err)
		}
	}
	again("opened again", 1)
	cfg.Policy = newFilled(t, 2).cfg.Policy
	again("by another policy", 0)
	cfg.Origin = "localhost/other"
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("that of another log: %v", err)
	}
}
