// Package audit checks a whole log, offline, in one streaming pass: every tile
// and root is rebuilt from the entries, every archived checkpoint compared with
// the root at its size and with the policy, every attestation's signatures
// verified with the keys that were enrolled before it, its leaf derived again,
// and the query index compared row for row with what the leaves give.
//
// That each checkpoint's root is that of the leaves proves all of them
// consistent with each other, without any consistency proof.
//
// Invariants:
//   - Nothing is written but the state's own files.
//   - Whatever a copy of a log holds, it leads to findings, never to a panic; an
//     error is only what kept the audit from going on.
//   - A report is clean only if the audit came to its end and found nothing.
//   - Memory does not grow with the log, beyond 24 bytes for 4096 entries of an
//     index, and the enrolled keys. Every read is bounded.
//   - A damaged file does not accuse the log of a fork: which of a bundle and
//     its tile is right is decided by the tree above them.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Source is where a copy of a log is read.
type Source interface {
	// Read returns a file of the log's directory, such as "checkpoint",
	// "tile/0/000" or "checkpoints/000000000". It wraps fs.ErrNotExist if the
	// file is not there, and returns a *Damage if it cannot be read as a file of
	// at most limit bytes. Any other error ends the audit.
	Read(ctx context.Context, path string, limit int64) ([]byte, error)
	// Attestations returns attestations by the digests of their bytes, in their
	// order, and nil for each that is missing. Errors are as those of Read.
	Attestations(ctx context.Context, envelopes []leaf.Digest) ([][]byte, error)
	// Files calls visit for every file that stands where the log's do, in the
	// order of their paths. ErrUnlisted says that the source cannot list them.
	Files(ctx context.Context, visit func(File) error) error
	Close() error
}

// File is what stands at a path, which is relative to the log's directory.
type File struct {
	Path    string
	Size    int64
	Problem string // why it is no regular file that can be read, if so
}

// Damage is an error that is a finding: what is there is not what it should be.
type Damage struct{ What string }

func (d *Damage) Error() string { return d.What }

// ErrUnlisted is returned by sources that cannot list their files.
var ErrUnlisted = errors.New("the source cannot list its files")

// ErrState is wrapped where a state cannot be used.
var ErrState = errors.New("the state cannot be used")

// Copy is a copy of a log with what is known about it.
type Copy struct {
	Source
	Place string // as it was named
	Kind  Kind
	// Index and Blobs are the paths of the databases of the query index and of
	// the attestations, where there are any.
	Index, Blobs string
	// Unpublished gives the size that the log's storage had at least, for the
	// directories of ledgers and mirrors, where entries may be ahead of the
	// checkpoint. It is nil for other copies.
	Unpublished func() uint64
}

// Kind is what a copy is.
type Kind string

// The kinds of copies.
const (
	Ledger Kind = "ledger directory"
	Mirror Kind = "mirror directory"
	Remote Kind = "served log"
)

// Options say how to audit. Policy is required.
type Options struct {
	Policy *policy.Policy
	// State is the file of the cursor; none if empty.
	State string
	// NoSignatures leaves the attestations out, enrolments excepted.
	NoSignatures bool
	// Anchors are checkpoints of the log that were kept elsewhere.
	Anchors []Anchor
	// Certificate refuses an attestation whose key comes with a certificate that is
	// not trusted. If it is nil, nobody asks who issued certificates, and the report
	// says so.
	Certificate func(*attest.Attestation) error
	// Progress is told how far the audit is, after every few entries, if it is
	// set; from one goroutine.
	Progress func(Progress)
	// Workers is how many verify at the same time; by default as many as can.
	Workers int
}

// Progress is how far an audit is.
type Progress struct {
	Phase       string
	Entries, Of uint64
	Signatures  uint64
	Findings    int
	Elapsed     time.Duration
}

// Run audits a copy. The report is never nil; with an error it says how far the
// audit came, and is not clean.
func Run(ctx context.Context, c Copy, o Options) (*Report, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	a := newAuditor(c, o)
	if o.Policy == nil {
		return &a.report, errors.New("auditing: no policy says which log to believe")
	}
	began := time.Now()
	err := a.run(ctx)
	a.finish(time.Since(began), err)
	if err != nil {
		return &a.report, fmt.Errorf("auditing %s: %w", c.Place, err)
	}
	return &a.report, nil
}

// auditor is one run. The pass is one goroutine; findings come from all.
type auditor struct {
	Copy
	o       Options
	began   time.Time
	verify  *noteVerifier
	report  Report
	end     *checked // the checkpoint that is audited
	cursor  *state   // where an earlier run ended; nil from the start
	contras *checked // the checkpoint of a state that this log contradicts
	tree    *tree
	tileErr error    // of a tile that became full
	broke   bool     // whether the pass ended before the audited size
	aligned [][]byte // the compact range at the end of the last full bundle
	notes   *noteStream
	past    history
	// unreadable says that no attestation can be read, which was found.
	unreadable atomic.Bool
	// unasked counts the certificates that no trusted root was asked about, since
	// the log's first entry.
	unasked atomic.Uint64
	ring    *ring
	terms   *terms // nil without an index
	rows    *rows  // nil but of a ledger
	ids     *identities

	findings
}

func newAuditor(c Copy, o Options) *auditor {
	a := &auditor{Copy: c, o: o, began: time.Now(), ring: newRing(), past: history{times: make(map[string]int64)}}
	a.report = Report{
		Schema: Schema, Place: c.Place, Kind: c.Kind, Findings: []Finding{}, Found: map[Class]int{},
	}
	return a
}

func (a *auditor) run(ctx context.Context) (err error) {
	a.verify = newNoteVerifier(a.o.Policy)
	if err := a.readEnd(ctx); err != nil || a.end == nil {
		return err
	}
	if err := a.resume(ctx); err != nil {
		return err
	}
	if a.ids, err = openIdentities(a.o.State, a.start()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.ids.close()) }()
	a.openRows(ctx)
	a.openShards()
	if a.rows != nil {
		defer func() { err = errors.Join(err, a.rows.close()) }()
	}
	if err := a.pass(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		phase string
		do    func(context.Context) error
	}{
		{"earlier checkpoints", a.checkLate},
		{"anchors", a.checkAnchors},
		{"repeated entries", a.checkRepeats},
		{"the query index", a.checkRows},
		{"the database of attestations", a.checkBlobs},
		{"the files", a.checkFiles},
	} {
		a.tell(step.phase)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return a.saveState()
}

// start is the first entry that this run looks at.
func (a *auditor) start() uint64 {
	if a.cursor == nil {
		return 0
	}
	return a.cursor.Size
}

func (a *auditor) tell(phase string) {
	if a.o.Progress != nil {
		a.o.Progress(Progress{
			Phase: phase, Entries: a.report.Counts.Entries.Load(), Of: a.end.N() - a.start(),
			Signatures: a.report.Counts.Attestations.Load(), Findings: a.findings.count(), Elapsed: time.Since(a.began),
		})
	}
}

// isMissing reports whether an error of a source says that there is nothing.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// damageOf returns what an error of a source finds, if it is no more than that.
func damageOf(err error) (string, bool) {
	var d *Damage
	if errors.As(err, &d) {
		return d.What, true
	}
	return "", false
}
