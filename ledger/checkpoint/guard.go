// Package checkpoint signs, publishes and proves: thin over torchwood and
// x/mod.
//
// Invariants:
//   - A Guard never signs two checkpoints that contradict each other, also
//     after a crash or with a log directory restored from an older copy: what
//     it last signed is on disk before the signature exists.
//   - A Publisher never makes public a checkpoint that its policy does not
//     accept; the one before it keeps being served.
//   - Checkpoints have no extension lines.
package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// ErrRollback is wrapped by every refusal to sign that would contradict, or
// could not be shown not to contradict, what was signed before.
var ErrRollback = errors.New("the log contradicts what was signed before")

// State keeps the last tree that a Guard signed. It is an unsigned checkpoint:
// origin, size and root.
type State interface {
	// Load returns the stored text, or nil if there never was one.
	Load(ctx context.Context) ([]byte, error)
	// Swap durably replaces old by text, and fails if old is not what is stored.
	// After another failure, either may be.
	Swap(ctx context.Context, old, text []byte) error
	io.Closer
}

// ProveFunc returns the consistency proof between two sizes of the log's tree,
// read from the log's storage.
type ProveFunc func(ctx context.Context, from, to uint64) ([][]byte, error)

// Guard is the only holder of the log's signing key. It signs a tree only if
// the tree extends the one it signed last.
type Guard struct {
	signer note.Signer
	state  State

	mu   sync.Mutex // serialises signing
	text []byte     // as stored
	last tlog.Tree
	used bool  // whether anything was ever signed
	err  error // of a Swap: what is stored is not known any more
}

// NewGuard returns a Guard for the log that is named as signer is. It fails with a
// *MovedError if the log moved away from the state.
func NewGuard(ctx context.Context, signer note.Signer, state State) (*Guard, error) {
	g := &Guard{signer: signer, state: state}
	text, err := state.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading the signer's state: %w", err)
	}
	if text == nil {
		return g, nil
	}
	if moved := parseMoved(text); moved != nil {
		return nil, moved
	}
	c, err := parseText(string(text))
	if err != nil {
		return nil, fmt.Errorf("parsing the signer's state: %w", err)
	}
	if c.Origin != signer.Name() {
		return nil, fmt.Errorf("the signer's state is of origin %q, want %q", c.Origin, signer.Name())
	}
	g.text, g.last, g.used = text, c.Tree, true
	return g, nil
}

// parseText parses an unsigned checkpoint, of which it accepts one text for each
// origin and tree: there are no extension lines.
func parseText(text string) (tlogproof.Checkpoint, error) {
	c, err := tlogproof.ParseCheckpoint(text)
	if err == nil && c.Extension != "" {
		return tlogproof.Checkpoint{}, errors.New("the checkpoint has extension lines")
	}
	return c, err
}

// Origin returns the log's name.
func (g *Guard) Origin() string { return g.signer.Name() }

// Last returns the tree signed last, and whether there is one.
func (g *Guard) Last() (tlog.Tree, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last, g.used
}

// Check reports whether a log whose storage holds size leaves can have come
// from the one that was signed last, as far as sizes tell. It is meant for a
// start, before anything is appended.
func (g *Guard) Check(size uint64) error {
	last, used := g.Last()
	if !used && size > 0 {
		return fmt.Errorf("%w: the log holds %d entries, but the signer's state is missing; "+
			"restore it beside the key, or nobody can tell what was signed", ErrRollback, size)
	}
	if used && size < uint64(last.N) {
		return fmt.Errorf("%w: a checkpoint of size %d was signed, but the log holds only %d entries; "+
			"the log directory is an older copy: restore the newest one", ErrRollback, last.N, size)
	}
	return nil
}

// Sign returns the signed checkpoint of a tree. The root is compared with what
// prove reads from storage; a tree that does not extend the last one is refused
// with ErrRollback. The same tree may be signed again. After a failure to store
// what is about to be signed, nothing is signed any more: the state may have
// changed or not, and only a new Guard, which loads it, finds out.
func (g *Guard) Sign(ctx context.Context, tree tlog.Tree, prove ProveFunc) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return nil, fmt.Errorf("nothing is signed until the signer's state is loaded again: %w", g.err)
	}
	if err := g.extends(ctx, tree, prove); err != nil {
		return nil, err
	}
	text := []byte(torchwood.Checkpoint{Origin: g.signer.Name(), Tree: tree}.String())
	if !g.used || tree != g.last {
		// The intent is stored first: if the signature is made and then lost in
		// a crash, the next start still knows of it.
		if err := g.state.Swap(ctx, g.text, text); err != nil {
			g.err = fmt.Errorf("storing what is about to be signed: %w", err)
			return nil, g.err
		}
		g.text, g.last, g.used = text, tree, true
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, g.signer)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint of size %d: %w", tree.N, err)
	}
	return signed, nil
}

// extends checks that tree extends the last one. g.mu must be held.
func (g *Guard) extends(ctx context.Context, tree tlog.Tree, prove ProveFunc) error {
	if tree.N < 0 {
		return fmt.Errorf("signing a tree of size %d", tree.N)
	}
	if tree.N == 0 && tree.Hash != emptyRoot() {
		return fmt.Errorf("signing an empty tree with root %s", tree.Hash)
	}
	if !g.used || g.last.N == 0 {
		return nil
	}
	if tree.N < g.last.N {
		return fmt.Errorf("%w: asked to sign size %d after size %d", ErrRollback, tree.N, g.last.N)
	}
	if tree.N == g.last.N {
		if tree.Hash != g.last.Hash {
			return fmt.Errorf("%w: asked to sign size %d with root %s after root %s", ErrRollback, tree.N, tree.Hash, g.last.Hash)
		}
		return nil
	}
	path, err := prove(ctx, uint64(g.last.N), uint64(tree.N))
	if err != nil {
		return fmt.Errorf("reading the consistency proof from size %d to %d: %w", g.last.N, tree.N, err)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(g.last.N), uint64(tree.N), path, g.last.Hash[:], tree.Hash[:]); err != nil {
		return fmt.Errorf("%w: size %d does not extend size %d: %w", ErrRollback, tree.N, g.last.N, err)
	}
	return nil
}

// Genesis returns a signer for the checkpoint of the empty tree and nothing
// else: what an engine needs to create a log.
func (g *Guard) Genesis(ctx context.Context) note.Signer { return genesis{ctx, g} }

type genesis struct {
	ctx   context.Context
	guard *Guard
}

func (s genesis) Name() string    { return s.guard.signer.Name() }
func (s genesis) KeyHash() uint32 { return s.guard.signer.KeyHash() }

// Sign implements note.Signer.
func (s genesis) Sign(msg []byte) ([]byte, error) {
	want := torchwood.Checkpoint{Origin: s.Name(), Tree: tlog.Tree{Hash: emptyRoot()}}.String()
	if string(msg) != want {
		return nil, errors.New("only the publisher signs checkpoints of a log with entries")
	}
	signed, err := s.guard.Sign(s.ctx, tlog.Tree{Hash: emptyRoot()}, nil)
	if err != nil {
		return nil, err
	}
	return rawSignature(signed)
}

// rawSignature returns the signature bytes of a note's only signature line,
// without the key hash.
func rawSignature(signed []byte) ([]byte, error) {
	n, err := note.Open(signed, nil)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return nil, err
	}
	sigs := append(n.Sigs, n.UnverifiedSigs...)
	if len(sigs) != 1 {
		return nil, fmt.Errorf("note has %d signatures, want 1", len(sigs))
	}
	b, err := base64.StdEncoding.DecodeString(sigs[0].Base64)
	if err != nil || len(b) < 4 {
		return nil, fmt.Errorf("decoding signature: %w", err)
	}
	return b[4:], nil
}

func emptyRoot() tlog.Hash { return tlog.Hash(sha256.Sum256(nil)) }

// Close releases the state.
func (g *Guard) Close() error { return g.state.Close() }
