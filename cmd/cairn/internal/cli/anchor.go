package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/anchor"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/rekor"
)

// anchorSuffix is that of the anchors in a directory.
const anchorSuffix = ".anchor"

// anchorAnswer is the JSON of cairn anchor.
type anchorAnswer struct {
	Schema     string           `json:"schema"` // cairn/anchored/v1
	File       string           `json:"file,omitempty"`
	Created    bool             `json:"created"` // false if it was anchored before
	Checkpoint checkpointView   `json:"checkpoint"`
	Rekor      string           `json:"rekor"`
	UUID       string           `json:"uuid"`
	LogIndex   int64            `json:"logIndex"`
	Key        leaf.Fingerprint `json:"key"`
}

// anchorFlags are the flags of cairn anchor.
type anchorFlags struct {
	rekor    rekorFlags
	key, out string
}

func (a *app) newAnchor() *cobra.Command {
	var f anchorFlags
	cmd := &cobra.Command{
		Use:   "anchor --rekor URL --rekor-key PEM --key FILE --out DIR|FILE --policy FILE",
		Short: "Put the ledger's checkpoint into a Rekor log",
		Long: `Anchor puts the digest of the ledger's current checkpoint, with its cosignatures,
into a Rekor v1 log, signed with your key, and keeps the proof: an anchor. If the
ledger is ever rolled back or forked, cairn audit --anchor shows it, and the Rekor
log shows when the checkpoint was there.

The checkpoint must satisfy the policy, and what the Rekor log answers must verify
with its pinned key. The key that signs must be ECDSA P-256, which Rekor can verify
by a digest alone; it need not be enrolled.

Where --out is a directory, the anchor's file is named after the checkpoint's size;
a checkpoint that has a valid anchor there is not anchored again.`,
		Example: `  cairn keygen --type p256 -o anchor.key
  cairn anchor --rekor https://rekor.example --rekor-key rekor.pub --key anchor.key \
      --out anchors/ --policy trusted.policy
  cairn anchor --rekor https://rekor.example --rekor-key rekor.pub --key anchor.key \
      --out 2026-11.anchor --policy trusted.policy --ledger https://ledger.example
  cairn audit mirror/ --anchor anchors/ --rekor-key rekor.pub --policy trusted.policy`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.anchor(ctx, &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.rekor.add(fl)
	fl.StringVar(&f.key, "key", "", "sign with the private key in `FILE`")
	fl.StringVarP(&f.out, "out", "O", "", "write the anchor to `FILE`, or into that directory")
	return cmd
}

func (a *app) anchor(ctx context.Context, f *anchorFlags) error {
	if a.policy == "" {
		return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY; the least is `log VKEY` and `quorum none`", "no policy says which checkpoints may be anchored")
	}
	if f.out == "" {
		return cmdline.Usagef("give --out DIR/ or --out FILE", "no file is named for the anchor, which is the proof")
	}
	signer, err := readAnchorKey(f.key)
	if err != nil {
		return err
	}
	log, key, err := f.rekor.open(a)
	if err != nil {
		return err
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	signed, c, err := o.latest(ctx)
	if err != nil {
		return err
	}
	path, err := anchorPath(f.out, c.N)
	if err != nil {
		return err
	}
	v := &anchorAnswer{Schema: "cairn/anchored/v1", File: path, Checkpoint: o.viewCheckpoint(signed, c), Rekor: log.URL()}
	kept, by, err := keptAnchor(path, key)
	switch {
	case err != nil:
		return err
	case kept == nil:
		v.Created = true
		if kept, err = a.putAnchor(ctx, log, path, signed, signer); err != nil {
			return err
		}
		by = signer.Public
	default:
		if err := sameTree(kept, path, c.Origin, c.Tree.N, c.Tree.Hash.String()); err != nil {
			return err
		}
	}
	v.UUID, v.LogIndex, v.Key = kept.Entry.UUID, kept.Entry.LogIndex, by.Fingerprint
	a.Answer(v, v.text)
	return nil
}

// readAnchorKey reads a key that a Rekor log can verify signatures of by a digest.
func readAnchorKey(path string) (*attest.Signer, error) {
	signer, err := cmdline.ReadKey(path)
	if err != nil {
		return nil, err
	}
	if !signer.Public.SignsDigests() {
		return nil, cmdline.Usagef("make one with `cairn keygen --type p256 -o anchor.key`", "%s is an Ed25519 key, and a Rekor log, which is shown a digest alone, cannot verify its signatures", path)
	}
	return signer, nil
}

// anchorPath returns the file for the anchor of a size.
func anchorPath(out string, size int64) (string, error) {
	info, err := os.Stat(out)
	if strings.HasSuffix(out, "/") || err == nil && info.IsDir() {
		if err := os.MkdirAll(out, 0o755); err != nil {
			return "", cmdline.Unwritable("making directory "+out, cmdline.PathCause(err))
		}
		return filepath.Join(out, fmt.Sprintf("%d%s", size, anchorSuffix)), nil
	}
	return out, nil
}

// keptAnchor returns the anchor that stands at a path, and who signed it. It is
// nil if there is none. Another file there is never overwritten.
func keptAnchor(path string, key *rekor.Key) (*anchor.Anchor, *attest.PublicKey, error) {
	b, err := cmdline.ReadSmall("anchor", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	kept, err := anchor.Parse(b)
	if err != nil {
		return nil, nil, cmdline.Usagef("name another file with --out", "%s is there, and is no anchor: %w", path, err)
	}
	by, err := kept.Verify(key)
	if err != nil {
		return nil, nil, cmdline.Usagef("name another file with --out; if it was made with this log and key, it was changed", "%s is there, and does not verify: %w", path, err)
	}
	return kept, by, nil
}

// sameTree checks that an anchor that is there already is of the checkpoint that
// was to be anchored.
func sameTree(kept *anchor.Anchor, path, origin string, size int64, root string) error {
	tree, err := kept.Tree()
	if err != nil {
		return err
	}
	switch {
	case tree.Origin != origin || tree.N != size:
		return cmdline.Usagef("name another file with --out, or a directory", "%s is the anchor of size %d of %s: anchors are not overwritten", path, tree.N, tree.Origin)
	case tree.Hash.String() != root:
		return client.Misbehaved("size %d was anchored with root %s in %s, and now has root %s", size, tree.Hash, path, root)
	}
	return nil
}

// putAnchor anchors a checkpoint and writes the anchor.
func (a *app) putAnchor(ctx context.Context, log *rekor.Client, path, signed string, signer *attest.Signer) (*anchor.Anchor, error) {
	signature, err := signer.SignBytes([]byte(signed))
	if err != nil {
		return nil, err
	}
	entry, err := log.Add(ctx, []byte(signed), signature, signer.Public)
	if err != nil {
		return nil, rekorProblem("anchoring", err)
	}
	put := &anchor.Anchor{Checkpoint: []byte(signed), Rekor: log.URL(), Entry: entry}
	text, err := put.Marshal()
	if err != nil {
		return nil, err
	}
	return put, writeNew(path, text, 0o644)
}

func (v *anchorAnswer) text(p term.Printer) {
	state := "anchored"
	if !v.Created {
		state = "was anchored before"
	}
	p.Printf("%s, size %d: %s as entry %d of %s\n  %s\n", v.Checkpoint.Origin, v.Checkpoint.Size, state, v.LogIndex, v.Rekor, v.File)
}
