package cli

import (
	"context"
	"encoding/base64"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
)

func (a *app) newLog() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "log",
		Short: "Read the log itself, and hold it to its past",
		Long:  `Log reads the Merkle log under the attestations: checkpoints, entries and proofs.`,
		Example: `  cairn log checkpoint > last.checkpoint
  cairn log prove 7 > hello.tlog-proof
  cairn log consistency last.checkpoint
  cairn log mirror https://ledger.example /srv/mirror --policy trusted.policy`,
	}, a.newLogCheckpoint(), a.newLogEntry(), a.newLogProve(), a.newLogConsistency(), a.newLogMirror(), a.newLogKey())
}

// checkpointAnswer is the JSON of cairn log checkpoint.
type checkpointAnswer struct {
	Schema string `json:"schema"` // cairn/checkpoint/v1
	checkpointView
}

func (a *app) newLogCheckpoint() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the latest checkpoint",
		Long: `Checkpoint prints the latest published checkpoint, a signed note. Kept, it holds
the log to what it said: see cairn log consistency.`,
		Example: `  cairn log checkpoint > last.checkpoint
  cairn log checkpoint -o json`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			o, err := a.connect()
			if err != nil {
				return err
			}
			signed, c, err := o.latest(ctx)
			if err != nil {
				return err
			}
			if err := showable(signed); err != nil {
				return err
			}
			v := checkpointAnswer{"cairn/checkpoint/v1", o.viewCheckpoint(signed, c)}
			a.Answer(v, func(p term.Printer) { p.Printf("%s", term.Painted(signed)) })
			return nil
		}),
	}
}

// showable checks that a text that must be printed to the letter does nothing
// to a terminal.
func showable(text string) error {
	if plain.Lines(text) != text {
		return client.Misbehaved("the checkpoint holds characters that are not to be printed: %q", text)
	}
	return nil
}

// entryAnswer is the JSON of cairn log entry.
type entryAnswer struct {
	Schema     string         `json:"schema"` // cairn/entry/v1
	Entry      *entryView     `json:"entry"`
	Checkpoint checkpointView `json:"checkpoint"`
}

func (a *app) newLogEntry() *cobra.Command {
	return &cobra.Command{
		Use:   "entry INDEX",
		Short: "Print the leaf at an index",
		Long: `Entry prints the leaf at an index, to the letter, once it is proven to be there.
The log's leaf hash is RFC 6962's over exactly these bytes.`,
		Example: `  cairn log entry 7
  cairn log entry log.example/2026#7 -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			o, e, err := a.namedEntry(ctx, args[0])
			if err != nil {
				return err
			}
			v := entryAnswer{"cairn/entry/v1", viewEntry(o.origin, e.index, e.text, e.leaf), o.viewCheckpoint(e.signed, e.checkpoint)}
			a.Answer(v, func(p term.Printer) { p.Printf("%s", term.Painted(e.text)) })
			return nil
		}),
	}
}

// namedEntry gets the entry that an argument names, and proves it.
func (a *app) namedEntry(ctx context.Context, arg string) (*online, *proven, error) {
	n, err := parseName(arg)
	if err != nil {
		return nil, nil, err
	}
	if n.kind != byIndex {
		return nil, nil, cmdline.Usagef("give an index, such as 7; `cairn show` takes other names", "%q names no entry", arg)
	}
	o, err := a.connect()
	if err != nil {
		return nil, nil, err
	}
	e, err := o.entry(ctx, n.index)
	if err != nil {
		return nil, nil, err
	}
	return o, e, o.requireOrigin(n.origin)
}

// proveAnswer is the JSON of cairn log prove.
type proveAnswer struct {
	Schema     string         `json:"schema"` // cairn/prove/v1
	Entry      *entryView     `json:"entry"`
	Path       []string       `json:"inclusionProof"` // base64, from the leaf's sibling up
	Checkpoint checkpointView `json:"checkpoint"`
	Proof      string         `json:"proof"` // C2SP tlog-proof
}

func (a *app) newLogProve() *cobra.Command {
	return &cobra.Command{
		Use:   "prove INDEX",
		Short: "Print the proof that an entry is in the log",
		Long: `Prove verifies that an entry is in the tree of the latest checkpoint, and prints
the proof as a C2SP tlog-proof, with which it can be verified offline.`,
		Example: `  cairn log prove 7 > hello.tlog-proof
  cairn log prove log.example/2026#7 -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			o, e, err := a.namedEntry(ctx, args[0])
			if err != nil {
				return err
			}
			return a.prove(ctx, o, e)
		}),
	}
}

func (a *app) prove(ctx context.Context, o *online, e *proven) error {
	h, err := o.attestation(ctx, e.leaf.Envelope)
	switch {
	case isNotFound(err, reason.AttestationNotFound):
		a.Note("the ledger does not hold the attestation: the proof brings no keys")
		h = &held{}
	case err != nil:
		return cmdline.Doing("getting the entry's keys", err)
	default:
		if err := holds(e, h); err != nil {
			return err
		}
	}
	b, err := proofBytes(e, h.keys)
	if err != nil {
		return err
	}
	if err := showable(string(b)); err != nil {
		return err
	}
	v := proveAnswer{
		Schema: "cairn/prove/v1", Entry: viewEntry(o.origin, e.index, e.text, e.leaf), Path: []string{},
		Checkpoint: o.viewCheckpoint(e.signed, e.checkpoint), Proof: string(b),
	}
	for _, hash := range e.path {
		v.Path = append(v.Path, base64.StdEncoding.EncodeToString(hash))
	}
	a.Answer(v, func(p term.Printer) { p.Printf("%s", term.Painted(v.Proof)) })
	return nil
}
