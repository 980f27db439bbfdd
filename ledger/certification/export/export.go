// Package export writes a log's certifications into a directory, in the layout of
// package certification, so that any web server can serve it and any tool copy it.
//
// Invariants:
//   - Every entry is proven to be in the tree of a checkpoint that satisfies the
//     policy, and every attestation verified with its proof, before it is written.
//   - A file is written before a list names it, and the checkpoint last: what it
//     covers stands complete in the directory, at any time and after any crash.
//   - Nothing is deleted, and what is there already is not written again.
//   - A log that contradicts what was exported before changes nothing.
package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/certification"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/internal/durable"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	atOnce  = 16 // attestations that are asked for at a time
	maxNote = 1 << 20
)

// batchSize is how many attestations become durable together. Tests have it
// smaller.
var batchSize = 256

// The paths of the lock and of files in the making.
const (
	workDir   = ".export"
	makingDir = workDir + "/new"
)

// ErrOtherLog is that a directory has the certifications of another log than the
// policy's, or the source's.
var ErrOtherLog = errors.New("the directory has the certifications of another log")

// Options are what Run may be told beside source and directory.
type Options struct {
	// Names are the look-up names to export; all if there is none. An export of
	// some is not complete, and says nothing about how far it is.
	Names []string
	// At is when the age of cosignatures is judged, for a policy with max-age.
	At time.Time
	// Hold is given the checkpoint once the policy accepted it.
	Hold func(ctx context.Context, signed string, c torchwood.Checkpoint) error
	// Progress is told how many of the log's entries were looked at.
	Progress func(entries, size int64)
}

// Report is what was exported.
type Report struct {
	Checkpoint string // signed: what was exported is of its tree
	Entries    int64  // that were looked at
	Written    int64  // attestations that are new in the directory
	// Withheld is the attestations that the source does not hold. While there are
	// any, the directory's checkpoint stays as it was, and the next run asks again.
	Withheld int64
	// Behind is the size of the source's checkpoint, if the directory's is larger.
	Behind *int64
}

// Run exports what the directory lacks. Source and client are of the same log.
// A *client.MisbehaviourError says that the log contradicts itself, or what was
// exported before.
func Run(ctx context.Context, src *mirror.Source, c *client.Client, dir string, pol *policy.Policy, opts Options) (*Report, error) {
	if pol == nil {
		return nil, errors.New("exporting certifications: no policy says which log is believed")
	}
	if err := os.MkdirAll(filepath.Join(dir, workDir), 0o755); err != nil {
		return nil, fmt.Errorf("making the export's directory: %w", err)
	}
	unlock, err := durable.Lock(filepath.Join(dir, workDir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("exporting to %s: %w", dir, err)
	}
	defer unlock()
	if err := durable.ClearMaking(dir, makingDir); err != nil {
		return nil, fmt.Errorf("removing what an earlier export left: %w", err)
	}
	e := &exporter{
		src: src, client: c, policy: pol, opts: opts, names: make(map[leaf.Digest]bool),
		tree: &tree{dir: dir, batch: durable.NewBatch(dir, makingDir)},
	}
	for _, n := range opts.Names {
		e.names[leaf.NameHash(n)] = true
	}
	err = e.run(ctx)
	return &e.report, err
}

// exporter is one run of Run.
type exporter struct {
	src    *mirror.Source
	client *client.Client
	policy *policy.Policy
	opts   Options
	names  map[leaf.Digest]bool // hashes of those that are wanted; empty for all
	tree   *tree

	signed string
	target torchwood.Checkpoint
	batch  []wanted
	report Report
}

// wanted is an entry whose attestation is to be exported.
type wanted struct {
	index int64
	text  []byte
	leaf  *leaf.Leaf
}

func (e *exporter) run(ctx context.Context) error {
	resp, err := e.client.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if err != nil {
		return err
	}
	e.signed = resp.GetCheckpoint()
	e.report.Checkpoint = e.signed
	if e.target, err = client.VerifyCheckpoint(e.signed, e.policy); err != nil {
		return err
	}
	if e.opts.Hold != nil {
		if err := e.opts.Hold(ctx, e.signed, e.target); err != nil {
			return err
		}
	}
	from, err := e.begin(ctx)
	if err != nil || e.report.Behind != nil {
		return err
	}
	if err := e.src.Entries(ctx, e.target.Tree, from, func(i int64, text []byte) error { return e.entry(ctx, i, text) }); err != nil {
		return err
	}
	if err := e.flush(ctx); err != nil {
		return err
	}
	if e.report.Withheld > 0 || len(e.names) > 0 || from == e.target.N && from > 0 {
		return nil
	}
	return e.tree.batch.Replace(certification.Checkpoint, []byte(e.signed))
}

// begin holds the log to what was exported before, and returns where to go on.
func (e *exporter) begin(ctx context.Context) (int64, error) {
	b, err := mirror.Dir(e.tree.dir).Read(ctx, certification.Checkpoint, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	had, err := client.VerifyCheckpoint(string(b), e.policy)
	if err != nil { // which is not what the source did
		return 0, fmt.Errorf("%w: %s: %v", ErrOtherLog, filepath.Join(e.tree.dir, filepath.FromSlash(certification.Checkpoint)), err)
	}
	if had.Origin != e.target.Origin {
		return 0, fmt.Errorf("%w: %s has those of %q, and the source is %q", ErrOtherLog, e.tree.dir, had.Origin, e.target.Origin)
	}
	from, to := had.Tree, e.target.Tree
	if from.N > to.N {
		e.report.Behind = &to.N
		return 0, nil
	}
	resp, err := e.client.GetConsistencyProof(ctx, &cairnv1.GetConsistencyProofRequest{From: from.N, To: to.N})
	if err != nil {
		return 0, err
	}
	if err := client.VerifyConsistency(from, to, resp.GetConsistencyProof()); err != nil {
		return 0, fmt.Errorf("holding the log to what was exported: %w", err)
	}
	if len(e.names) > 0 {
		return 0, nil // an earlier run may have left them out
	}
	return from.N, nil
}

// entry takes the next entry, which is verified.
func (e *exporter) entry(ctx context.Context, index int64, text []byte) error {
	l, err := leaf.Parse(text)
	if err != nil {
		return &client.MisbehaviourError{Message: fmt.Sprintf("the leaf of entry %d does not parse", index), Err: err}
	}
	e.report.Entries++
	if e.wants(l) {
		e.batch = append(e.batch, wanted{index, bytes.Clone(text), l})
	}
	if e.opts.Progress != nil {
		e.opts.Progress(index+1, e.target.N)
	}
	if len(e.batch) < batchSize {
		return nil
	}
	return e.flush(ctx)
}

func (e *exporter) wants(l *leaf.Leaf) bool {
	if l.Kind != leaf.KindAttestation {
		return false
	}
	if len(e.names) == 0 {
		return len(l.Names) > 0
	}
	return slices.ContainsFunc(l.Names, func(n leaf.Digest) bool { return e.names[n] })
}

// flush gets the attestations of the batch, verifies them, and writes them and the
// lists that name them.
func (e *exporter) flush(ctx context.Context) error {
	found := make([]*found, len(e.batch))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range e.batch {
		g.Go(func() (err error) {
			found[i], err = e.find(gctx, &e.batch[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, f := range found {
		if f == nil {
			e.report.Withheld++
			continue
		}
		if len(e.names) > 0 {
			f.names = slices.DeleteFunc(f.names, func(n string) bool { return !e.names[leaf.NameHash(n)] })
		}
		written, err := e.tree.add(f)
		if err != nil {
			return err
		}
		if written {
			e.report.Written++
		}
	}
	e.batch = e.batch[:0]
	return e.tree.commit()
}

// found is an attestation that was verified, with its proof.
type found struct {
	certification.Entry
	names      []string // look-up names
	raw, proof []byte
}

// find gets an attestation and its proof, or nil if the source does not hold it.
func (e *exporter) find(ctx context.Context, w *wanted) (*found, error) {
	resp, err := e.client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: w.leaf.Envelope.Hex()})
	if reason.Is(err, reason.AttestationNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	att, err := client.VerifyAttestation(resp)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(att.Text, w.text) {
		return nil, client.Misbehaved("the attestation that the source gave is not that of entry %d", w.index)
	}
	path, err := e.client.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &w.index, Size: e.target.N})
	if err != nil {
		return nil, err
	}
	p := tlogproof.Proof{Index: w.index, Leaf: w.text, Path: path.GetInclusionProof(), Checkpoint: []byte(e.signed)}
	for _, k := range resp.GetKeys() {
		p.Keys = append(p.Keys, k.GetPublicKey())
	}
	proof, err := p.Marshal()
	if err != nil {
		return nil, client.Misbehaved("the proof of entry %d cannot be one: %v", w.index, err)
	}
	// What whoever gets the files will ask.
	report := verify.Entry(verify.EntryInput{Attestation: att.Raw, Proof: proof, Policy: e.policy, At: e.opts.At})
	if report.Outcome != verify.Proven {
		return nil, &verify.OpenError{Entry: fmt.Sprintf("%s#%d", e.target.Origin, w.index), Outcome: report.Outcome, Reasons: report.Reasons}
	}
	return &found{certification.EntryOf(uint64(w.index), w.leaf), att.Names(), att.Raw, proof}, nil
}
