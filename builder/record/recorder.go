package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Recorder attests results and logs them.
type Recorder struct {
	Identity *Identity
	Ledger   *Ledger // nil keeps the attestations for a later `cairn submit`
	Results  Results
	// Confirm is asked right before anything is submitted, if it is not nil: with
	// an error, nothing is.
	Confirm func(context.Context) error
}

// Build attests a build and logs it, unless that was done.
func (r *Recorder) Build(ctx context.Context, res *Result) error {
	if res.Logged != nil || res.Obtained != attest.Built {
		return nil
	}
	path := r.path(res, "build")
	entry, err := r.record(ctx, path, res.Manifest, func() ([]byte, error) { return r.Identity.Build(res) })
	if err != nil || entry == nil {
		return err
	}
	res.Logged = entry
	return r.Results.Put(res)
}

// Reproduction attests a rebuild of c and logs it. Its entry is nil without a
// ledger.
func (r *Recorder) Reproduction(ctx context.Context, c *Claimed, res *Result, o *Outcome) (*Entry, error) {
	path := r.path(res, "reproduction")
	// Every rebuild is a run of its own: one that was kept is of an earlier run,
	// and was logged, or is lost with a run that did not end.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("making room for an attestation: %w", err)
	}
	return r.record(ctx, path, c.Manifest, func() ([]byte, error) { return r.Identity.Reproduction(c, res, o) })
}

// path is where the attestation of a result is kept.
func (r *Recorder) path(res *Result, kind string) string {
	return filepath.Join(r.Results.Dir, res.Package+"."+kind+".attestation")
}

// record makes an attestation about the subject, keeps it and logs it. One that
// was kept is logged as it is, so that a crash between the two makes no second
// entry.
func (r *Recorder) record(ctx context.Context, path, subject string, sign func() ([]byte, error)) (*Entry, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading a kept attestation: %w", err)
	}
	if !r.isAbout(raw, subject) {
		if raw, err = sign(); err != nil {
			return nil, err
		}
		if err := WriteFile(path, raw); err != nil {
			return nil, err
		}
	}
	if r.Ledger == nil {
		return nil, nil
	}
	if r.Confirm != nil {
		if err := r.Confirm(ctx); err != nil {
			return nil, fmt.Errorf("confirming that %s is to be logged: %w", path, err)
		}
	}
	entry, err := r.Ledger.Log(ctx, raw, r.Identity.Signer.Public)
	if err != nil {
		return nil, fmt.Errorf("logging what is kept in %s: %w", path, err)
	}
	return entry, nil
}

// isAbout reports whether raw is an attestation by this key about the subject.
func (r *Recorder) isAbout(raw []byte, subject string) bool {
	a, err := attest.Open(raw, attest.NewKeyring(r.Identity.Signer.Public))
	return err == nil && slices.Contains(a.Leaf.Subjects, leaf.Digest("sha256:"+strings.TrimPrefix(subject, "sha256:")))
}
