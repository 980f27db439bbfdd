package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairnlog/cairn/ledger/attest"
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
	entry, err := r.record(ctx, path, func(raw []byte) bool { return r.isOf(raw, res) }, func() ([]byte, error) { return r.Identity.Build(res) })
	if err != nil || entry == nil {
		return err
	}
	res.Logged = entry
	return r.Results.Put(res)
}

// Reproduction attests a rebuild of c and logs it. Its entry is nil without a
// ledger.
func (r *Recorder) Reproduction(ctx context.Context, c *Claimed, res *Result, o *Outcome) (*Entry, error) {
	// Every rebuild is a run of its own: one that was kept is of an earlier run,
	// and was logged, or is lost with a run that did not end.
	earlier := func([]byte) bool { return false }
	return r.record(ctx, r.path(res, "reproduction"), earlier, func() ([]byte, error) { return r.Identity.Reproduction(c, res, o) })
}

// path is where the attestation of a result is kept.
func (r *Recorder) path(res *Result, kind string) string {
	return filepath.Join(r.Results.Dir, res.Package+"."+kind+".attestation")
}

// record makes an attestation, keeps it and logs it. One that was kept and is
// the same build's is logged as it is, so that a crash between the two makes no
// second entry.
func (r *Recorder) record(ctx context.Context, path string, same func(raw []byte) bool, sign func() ([]byte, error)) (*Entry, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading a kept attestation: %w", err)
	}
	if !same(raw) {
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

// isOf reports whether raw is an attestation by this key of the build of res:
// the same image, from the same materials, with the same engine. Only when it
// ran may differ.
func (r *Recorder) isOf(raw []byte, res *Result) bool {
	kept, err := r.provenance(raw)
	if err != nil {
		return false
	}
	if raw, err = r.Identity.Build(res); err != nil {
		return false
	}
	now, err := r.provenance(raw)
	return err == nil && bytes.Equal(kept, now)
}

// provenance returns what an attestation says of a build but for how it ran, as
// text.
func (r *Recorder) provenance(raw []byte) ([]byte, error) {
	a, err := attest.Open(raw, attest.NewKeyring(r.Identity.Signer.Public))
	if err != nil {
		return nil, err
	}
	p, err := a.Statement.Provenance()
	if err != nil {
		return nil, err
	}
	p.BuildDefinition.InternalParameters, p.RunDetails.Metadata = nil, nil
	return json.Marshal(struct {
		Subject    []attest.ResourceDescriptor
		Provenance *attest.Provenance
	}{a.Statement.Subject, p})
}
