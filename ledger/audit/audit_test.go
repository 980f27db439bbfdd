package audit_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
)

// world is a ledger's directory with 700 entries, built once.
type world struct {
	log     *audittest.Log
	early   string // a copy of the directory, at earlySize
	authors []*audittest.Author
	err     error
}

const (
	enrolments = 3   // entries 0 to 2
	revokedAt  = 650 // by the third author
	earlySize  = 333
	worldSize  = 700
)

var built = sync.OnceValue(func() *world {
	w := &world{}
	dir, err := os.MkdirTemp("", "cairn-audit-test-")
	if err != nil {
		return &world{err: err}
	}
	w.err = w.build(dir)
	return w
})

func TestMain(m *testing.M) {
	code := m.Run()
	if w := built(); w.log != nil {
		_ = os.RemoveAll(w.log.Dir)
		_ = os.RemoveAll(w.early)
	}
	os.Exit(code)
}

func (w *world) build(dir string) (err error) {
	ctx := context.Background()
	if w.log, err = audittest.New(ctx, dir); err != nil {
		return err
	}
	for range enrolments {
		a, err := audittest.NewAuthor()
		if err != nil {
			return err
		}
		w.authors = append(w.authors, a)
	}
	var batch []audittest.Entry
	for i := range worldSize {
		e, err := w.entry(i)
		if err != nil {
			return err
		}
		batch = append(batch, e)
		// Of many sizes, also those within and at the ends of bundles.
		if n := i + 1; n%37 == 0 || n == 1 || n == 256 || n == 512 || n == worldSize {
			if err := w.log.Add(ctx, batch...); err != nil {
				return err
			}
			if err := w.log.Publish(ctx); err != nil {
				return err
			}
			batch = nil
			if n == earlySize {
				if err := w.keepEarly(ctx); err != nil {
					return err
				}
			}
		}
	}
	return w.log.Close()
}

// ring is the keys of all authors.
func (w *world) ring() attest.Keyring {
	var keys []*attest.PublicKey
	for _, a := range w.authors {
		keys = append(keys, a.Public)
	}
	return attest.NewKeyring(keys...)
}

// keepEarly copies the directory as it is.
func (w *world) keepEarly(ctx context.Context) (err error) {
	if err := w.log.Close(); err != nil {
		return err
	}
	w.early = w.log.Dir + "-early"
	if err := os.CopyFS(w.early, os.DirFS(w.log.Dir)); err != nil {
		return err
	}
	w.log, err = audittest.New(ctx, w.log.Dir)
	return err
}

func (w *world) entry(i int) (audittest.Entry, error) {
	switch {
	case i < enrolments:
		return w.authors[i].Enrolment("https://operator.example/")
	case i == revokedAt:
		return w.authors[2].Revocation("it was lost")
	case i == revokedAt-1:
		return w.authors[1].Enrolment("https://moved.example/") // a second time
	case i < revokedAt:
		return w.authors[i%enrolments].Reproduction(i)
	}
	return w.authors[i%2].Reproduction(i)
}

// copyOf returns a copy of the world's directory.
func copyOf(t *testing.T) string {
	t.Helper()
	return copyDir(t, func(w *world) string { return w.log.Dir })
}

// earlyCopy returns a copy of it as it was at earlySize.
func earlyCopy(t *testing.T) string {
	t.Helper()
	return copyDir(t, func(w *world) string { return w.early })
}

func copyDir(t *testing.T, which func(*world) string) string {
	t.Helper()
	w := built()
	if w.err != nil {
		t.Fatal(w.err)
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	if err := os.CopyFS(dir, os.DirFS(which(w))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "ledger.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t *testing.T, dir string) audit.Copy {
	t.Helper()
	c, err := audit.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run audits, and wants no error.
func run(t *testing.T, c audit.Copy, o audit.Options) *audit.Report {
	t.Helper()
	if o.Policy == nil {
		o.Policy = built().log.Policy
	}
	r, err := audit.Run(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantClean(t *testing.T, r *audit.Report) {
	t.Helper()
	if !r.Clean || r.ExitCode() != 0 {
		t.Errorf("clean %v, exit %d, findings %+v", r.Clean, r.ExitCode(), r.Findings)
	}
}

func TestAuditOfALedgerIsClean(t *testing.T) {
	r := run(t, open(t, copyOf(t)), audit.Options{})
	wantClean(t, r)
	if got := r.Counts.Entries.Load(); got != worldSize {
		t.Errorf("%d entries, want %d", got, worldSize)
	}
	if got := r.Counts.Attestations.Load(); got != worldSize {
		t.Errorf("%d attestations, want %d", got, worldSize)
	}
	if got := r.Counts.Checkpoints.Load(); got < 20 {
		t.Errorf("%d checkpoints", got)
	}
	want := audit.Coverage{Signatures: true, Index: true, Archive: true, FilesListed: true, Certificates: true}
	if r.Coverage != want {
		t.Errorf("coverage %+v", r.Coverage)
	}
}

// resumable returns the state of an audit of the early copy.
func resumable(t *testing.T) string {
	t.Helper()
	early.once.Do(func() {
		path := filepath.Join(t.TempDir(), "state")
		wantClean(t, run(t, open(t, earlyCopy(t)), audit.Options{State: path}))
		early.state, _ = os.ReadFile(path)
		early.identities, _ = os.ReadFile(path + ".identities")
	})
	path := filepath.Join(t.TempDir(), "state")
	d := &damaged{}
	d.put(t, path, early.state)
	d.put(t, path+".identities", early.identities)
	return path
}

// early is the state of an audit of the early copy.
var early struct {
	once              sync.Once
	state, identities []byte
}

// What Tessera left in the making when it was killed is counted, and is no damage.
func TestAuditOfWhatACrashLeft(t *testing.T) {
	d := &damaged{copyOf(t)}
	for _, path := range []string{"log/checkpoint1902410498", bundle1 + "7"} {
		d.put(t, path, []byte("half"))
	}
	if r := run(t, open(t, d.dir), audit.Options{}); !r.Clean || r.Counts.Leftover.Load() != 2 {
		t.Errorf("%d left over: %s", r.Counts.Leftover.Load(), list(r))
	}
	for _, path := range []string{"log/checkpointing", "log/checkpoint12345678901"} {
		d := &damaged{copyOf(t)}
		d.put(t, path, []byte("other"))
		if r := run(t, open(t, d.dir), audit.Options{}); r.Clean {
			t.Errorf("%s is taken for a leftover", path)
		}
	}
}

// A checkpoint of no entries needs no witness.
func TestAuditOfAnUnwitnessedBeginning(t *testing.T) {
	d := &damaged{copyOf(t)}
	rearchive(func(t *testing.T, notes [][]byte) [][]byte {
		signed, err := built().log.Sign(tlog.Tree{Hash: tlog.Hash(sha256.Sum256(nil))}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Insert(notes, 0, signed)
	})(t, d)
	if r := run(t, open(t, d.dir), audit.Options{}); !r.Clean {
		t.Errorf("not clean: %s", list(r))
	}
}

func TestAuditGoesOnFromItsState(t *testing.T) {
	path := resumable(t)
	for _, step := range []struct{ from, entries uint64 }{{earlySize, worldSize - earlySize}, {worldSize, 0}} {
		r := run(t, open(t, copyOf(t)), audit.Options{State: path})
		wantClean(t, r)
		if got := r.Counts.Entries.Load(); !r.Resumed || r.From != step.from || got != step.entries {
			t.Errorf("resumed %v from %d with %d entries, want %+v", r.Resumed, r.From, got, step)
		}
	}
}

func TestAuditWithoutSignatures(t *testing.T) {
	r := run(t, open(t, copyOf(t)), audit.Options{NoSignatures: true})
	wantClean(t, r)
	if got := r.Counts.Attestations.Load(); got != enrolments+1 || r.Coverage.Signatures {
		t.Errorf("%d attestations verified, coverage %+v", got, r.Coverage)
	}
}

func TestZeroReportIsNotClean(t *testing.T) {
	var r audit.Report
	if r.Clean || r.ExitCode() == 0 {
		t.Error("nothing was checked, and that is a success")
	}
}

func TestAuditNeedsAPolicy(t *testing.T) {
	if r, err := audit.Run(t.Context(), open(t, copyOf(t)), audit.Options{}); err == nil || r.ExitCode() == 0 {
		t.Errorf("Run() without a policy = %d, %v", r.ExitCode(), err)
	}
}

func TestAuditThatIsStoppedIsNotClean(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, err := audit.Run(ctx, open(t, copyOf(t)), audit.Options{
		Policy: built().log.Policy, Progress: func(audit.Progress) { cancel() },
	})
	if err == nil || r.Clean || r.ExitCode() == 0 {
		t.Errorf("Run() = exit %d, %v", r.ExitCode(), err)
	}
}
