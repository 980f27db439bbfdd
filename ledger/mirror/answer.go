package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/query"
)

// Open returns what answers from a mirror in a ledger's place. All answers are
// made from the checkpoint that the mirror has now. The error wraps
// fs.ErrNotExist if there is no mirror.
func Open(ctx context.Context, files Files) (client.Answer, error) {
	signed, err := files.Read(ctx, "checkpoint", maxNote)
	if err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	c, err := client.VerifyCheckpoint(string(signed), nil)
	if err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	if _, err := files.Read(ctx, progressPath, maxNote); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the log's files have no index to find anything by: copy it with `cairn log mirror` first")
	} else if err != nil {
		return nil, fmt.Errorf("opening the mirror: %w", err)
	}
	latest := &checkpoint.Published{Checkpoint: c, Signed: signed}
	ix := newIndex(files, uint64(c.N))
	s := &query.Service{
		Latest: func() (*checkpoint.Published, error) { return latest, nil },
		Prover: engine.NewProver(tiles{files}),
		Blobs:  blobs{files},
		Index:  ix,
		Keys:   ring{ix},
	}
	return s.Answer, nil
}

// ring finds keys as attest.Open wants them.
type ring struct{ *index }

// Lookup returns an enrolled key. What cannot be read is not enrolled: then the
// attestation does not open.
func (r ring) Lookup(fp leaf.Fingerprint) (*attest.PublicKey, bool) {
	key, err := r.Key(context.Background(), fp)
	if err != nil {
		return nil, false
	}
	p, err := attest.ParsePublicKey([]byte(key.PEM))
	return p, err == nil
}
