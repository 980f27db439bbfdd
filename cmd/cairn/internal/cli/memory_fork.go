package cli

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/seen"
	"github.com/cairnlog/cairn/ledger/policy"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
	"github.com/cairnlog/cairn/witness/evidence"
)

// fork makes evidence of a contradiction that anybody can verify, if the ledger
// shows what is missing for it, and keeps it beside the two checkpoints.
func (o *online) fork(ctx context.Context, l policy.Log, c *seen.ContradictionError) (file string, err error) {
	keys := []note.Verifier{l.Verifier}
	small, err := evidence.Open([]byte(c.Remembered), keys)
	if err != nil {
		return "", err
	}
	large, err := evidence.Open([]byte(c.Shown), keys)
	if err != nil {
		return "", err
	}
	if small.N > large.N {
		small, large = large, small
	}
	var p *evidence.Prefix
	if small.N < large.N {
		if p, err = o.prefix(ctx, small.N, large.Tree); err != nil {
			return "", err
		}
	}
	e, err := evidence.AgainstLog(keys, small, large, p)
	if err != nil {
		return "", err
	}
	file = filepath.Join(c.Dir, "fork.evidence")
	return file, os.WriteFile(file, e.Marshal(), 0o600)
}

// prefix returns what the ledger shows as the prefix of a tree. It need not be
// believed: evidence that does not verify is not made.
func (o *online) prefix(ctx context.Context, size int64, of tlog.Tree) (*evidence.Prefix, error) {
	index := size - 1 // an empty tree contradicts none
	e, err := o.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: index})
	if err != nil {
		return nil, err
	}
	inclusion, err := o.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &index, Size: size})
	if err != nil {
		return nil, err
	}
	tree, err := client.RootAt(size, []byte(e.GetEntry().GetLeaf()), inclusion.GetInclusionProof())
	if err != nil {
		return nil, err
	}
	consistency, err := o.GetConsistencyProof(ctx, &cairnv1.GetConsistencyProofRequest{From: size, To: of.N})
	if err != nil {
		return nil, err
	}
	p := &evidence.Prefix{AltRoot: tree.Hash}
	for _, h := range consistency.GetConsistencyProof() {
		if len(h) != tlog.HashSize {
			return nil, client.Misbehaved("a hash of %d bytes", len(h))
		}
		p.Proof = append(p.Proof, tlog.Hash(h))
	}
	return p, nil
}
