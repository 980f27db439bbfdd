package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/seen"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// memory is what holds a ledger to the checkpoints that were verified before.
// Without a policy nothing was verified, and nothing is remembered.
type memory struct {
	store *seen.Store
	logs  []policy.Log
	note  func(format string, args ...any)

	held    tlog.Tree // the last that was
	largest int64     // of this run: answers to requests at one time may come in any order
	told    bool      // that the ledger lags, or that nothing is remembered
}

// remember returns the memory of the logs of a policy, or nil if the environment
// names no directory for it.
func (a *app) remember(logs []policy.Log) *memory {
	dir := a.Getenv("XDG_STATE_HOME")
	if home := a.Getenv("HOME"); !filepath.IsAbs(dir) && filepath.IsAbs(home) {
		dir = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(dir) {
		return nil
	}
	return &memory{store: seen.New(filepath.Join(dir, "cairn")), logs: logs, note: a.Note}
}

// hold holds a verified checkpoint to what is remembered of its log, and to the
// other answers of this run.
func (o *online) hold(ctx context.Context, signed string, c torchwood.Checkpoint) error {
	if err := o.sameLog(c); err != nil {
		return err
	}
	m := o.memory
	if m == nil || m.held == c.Tree {
		return nil
	}
	for _, l := range m.signers(signed, c.Origin) {
		now := seen.Checkpoint{VKey: l.VKey, Signed: signed, Tree: c.Tree}
		held, err := m.store.Hold(ctx, now, o.extends)
		if errors.Is(err, seen.ErrNotRemembered) {
			m.tell("%v: set XDG_STATE_HOME to a directory that can be written", err)
			continue
		}
		if err != nil {
			return o.unheld(ctx, l, err)
		}
		if held.Largest > max(c.N, m.largest) {
			m.tell("the ledger is behind: its checkpoint is of size %d, and one of size %d was seen before", c.N, held.Largest)
		}
	}
	m.held, m.largest = c.Tree, max(m.largest, c.N)
	return nil
}

// tell says a thing once in a run.
func (m *memory) tell(format string, args ...any) {
	if !m.told {
		m.note(format, args...)
	}
	m.told = true
}

// signers returns the logs of the policy with this origin that signed a note.
func (m *memory) signers(signed, origin string) []policy.Log {
	var signers []policy.Log
	for _, l := range m.logs {
		if _, err := note.Open([]byte(signed), note.VerifierList(l.Verifier)); err == nil && l.Name == origin {
			signers = append(signers, l)
		}
	}
	return signers
}

// unheld says what to do about a checkpoint that does not stand to what is
// remembered.
func (o *online) unheld(ctx context.Context, l policy.Log, err error) error {
	var contradiction *seen.ContradictionError
	var behind *seen.BehindError
	switch {
	case errors.As(err, &contradiction):
		p := cmdline.Classify(err)
		if file, ferr := o.fork(ctx, l, contradiction); ferr == nil {
			p.Hint = fmt.Sprintf("show it to the log's witnesses: `cairn evidence verify %s --policy FILE` convicts the log", file)
		}
		return p
	case errors.As(err, &behind):
		return &cmdline.Problem{Reason: cmdline.LedgerBehind, Err: fmt.Errorf("%s is behind: %w", o.URL(), err)}
	case errors.Is(err, seen.ErrUnreadable):
		return &cmdline.Problem{
			Reason: cmdline.FileUnreadable, Err: err,
			Hint: "mend the file, or move it away: then the log is believed as if it was never seen before",
		}
	}
	return err
}

// Collect is the client's, under a checkpoint that is held to what is remembered.
func (o *online) Collect(ctx context.Context, artifact leaf.Digest, names []string, pol *policy.Policy, opts client.CollectOptions) (*bundle.Bundle, error) {
	opts.Hold = o.hold
	return o.Client.Collect(ctx, artifact, names, pol, opts)
}

// ClaimsBy is the client's, under a checkpoint that is held to what is remembered.
func (o *online) ClaimsBy(ctx context.Context, q *cairnv1.ListAttestationsRequest, pol torchwood.Policy, heard func([]leaf.Fingerprint) bool) (*client.Claims, error) {
	found, err := o.Client.ClaimsBy(ctx, q, pol, heard)
	if err != nil {
		return nil, err
	}
	return found, o.hold(ctx, found.Checkpoint, torchwood.Checkpoint{
		Origin: found.Origin, Tree: tlog.Tree{N: found.Size, Hash: found.Root},
	})
}
