package cli

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

func (a *app) newStagex() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "stagex",
		Short: "Check what StageX's maintainers signed",
		Long: `Stagex checks the signatures of StageX, a Linux distribution whose every image is
to be built and signed by several maintainers. It asks no ledger.`,
		Example: `  cairn stagex verify stagex/ --signatures signatures/ --threshold 2
  cairn stagex verify stagex/ --signatures https://sigs.stagex.tools --keyring maintainers.asc`,
	}, a.newStagexVerify())
}

// stagexVerifyFlags are those of cairn stagex verify.
type stagexVerifyFlags struct {
	keyrings                   []string
	signatures, commit, sigsAt string
	at                         string
	threshold                  int
}

func (a *app) newStagexVerify() *cobra.Command {
	var f stagexVerifyFlags
	cmd := &cobra.Command{
		Use:   "verify TREE",
		Short: "Count who signed each image of a tree",
		Long: `Verify counts, for every line of the tree's digests/*.txt, the maintainers whose
signature over that name and digest verifies. A maintainer has one vote, however many files,
signatures and keys there are: keys are a person's by the tree's MAINTAINERS, and
each a person of its own where there is no such file. Keys of nobody in it do not
count.

Signatures are at [signatures/]stagex/NAME@sha256=HEX/signature-N in the tree, or in
--signatures. Keys are those of --keyring, or of stagex-keyring.pgp where the
signatures are. A signature is judged as of when it was made; with --at, it must
have been made by then, and it and its key be good still.

The exit code is 0 if every image has enough votes; 1 if a file contradicts itself:
it is over another name or digest than its path says, or names a key by which it does not
verify; and 3 if there are only too few votes.`,
		Example: `  cairn stagex verify stagex/ --signatures signatures/ --threshold 2
  cairn stagex verify stagex.git --commit b4f0c7df --keyring maintainers.asc -o json
  cairn stagex verify stagex/ --signatures https://sigs.stagex.tools --keyring maintainers.asc --at 2026-03-01T00:00:00Z`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.stagexVerify(ctx, args[0], &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.IntVar(&f.threshold, "threshold", 2, "demand the votes of `N` maintainers")
	fl.StringVar(&f.signatures, "signatures", "", "find signatures in the directory or git repository, or at the `URL`\n(default TREE)")
	fl.StringArrayVar(&f.keyrings, "keyring", nil, "the maintainers' OpenPGP keys in `FILE`; repeatable")
	fl.StringVar(&f.at, "at", "", "judge as of `TIME`, as in 2026-03-01T00:00:00Z")
	fl.StringVar(&f.commit, "commit", "", "read `COMMIT` of the tree's git repository")
	fl.StringVar(&f.sigsAt, "signatures-commit", "", "read `COMMIT` of the signatures' git repository")
	return cmd
}

func (a *app) stagexVerify(ctx context.Context, path string, f *stagexVerifyFlags) error {
	t := stagex.Tally{Threshold: f.threshold}
	if f.threshold < 1 {
		return cmdline.Usagef("give --threshold 2", "a threshold of %d demands nothing", f.threshold)
	}
	if f.at != "" {
		var err error
		if t.At, err = time.Parse(time.RFC3339, f.at); err != nil {
			return cmdline.Usagef("write it as 2026-03-01T00:00:00Z", "--at %q is no time", f.at)
		}
	}
	tree, err := openTree(ctx, path, f.commit)
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	if t.Images, err = stagex.ReadImages(ctx, tree); err != nil {
		return cmdline.Unreadable("reading the digests of "+path, err)
	}
	if t.Maintainers, err = stagex.ReadMaintainers(ctx, tree); err != nil {
		return cmdline.Unreadable("reading the maintainers of "+path, err)
	}
	store := &stagexStore{Store: stagex.NewTreeStore(path, tree), tree: tree}
	if f.signatures != "" {
		if store, err = a.openStagexStore(ctx, f.signatures, f.sigsAt); err != nil {
			return err
		}
		defer func() { _ = store.Close() }()
	}
	t.Store = store
	ring, err := a.stagexRing(ctx, store, f.keyrings)
	if err != nil {
		return err
	}
	t.Verifier = ring
	r, err := t.Count(ctx)
	if err != nil {
		return sourceProblem("reading the signatures", err)
	}
	r.Tree = filepath.Clean(path)
	r.Maintainers = t.Maintainers.Known(ring.Fingerprints())
	return a.answerStagex(r)
}

// stagexRing reads the maintainers' keys.
func (a *app) stagexRing(ctx context.Context, store *stagexStore, files []string) (*stagex.Ring, error) {
	var rings [][]byte
	for _, path := range files {
		b, err := cmdline.ReadUpTo("keyring", path, maxKeyring)
		if err != nil {
			return nil, err
		}
		rings = append(rings, b)
	}
	if len(files) == 0 {
		b, err := store.keyring(ctx)
		if err != nil {
			return nil, cmdline.Unreadable("reading "+stagexKeyring, err)
		}
		if b == nil {
			return nil, cmdline.Usagef("give --keyring FILE with the maintainers' public keys", "there is no %s where the signatures are", stagexKeyring)
		}
		rings = append(rings, b)
	}
	var blocks [][]byte
	for _, b := range rings {
		each, err := attest.SplitOpenPGPKeys(b)
		if err != nil {
			return nil, cmdline.Doing("reading the keyring", err)
		}
		blocks = append(blocks, each...)
	}
	ring, left := stagex.NewRing(blocks...)
	for _, err := range left {
		a.Note("a key of the keyring is left out: %v", err)
	}
	if len(ring.Fingerprints()) == 0 {
		return nil, cmdline.Usagef("give --keyring FILE with the maintainers' public keys", "the keyring holds no key that may sign")
	}
	return ring, nil
}

func (a *app) answerStagex(r *stagex.Report) error {
	a.Answer(r, func(p term.Printer) { stagexText(p, r) })
	switch {
	case r.Contradictions > 0:
		return &cmdline.Silent{Exit: reason.ExitNo}
	case r.Unmet > 0:
		return &cmdline.Silent{Exit: reason.ExitUnproven}
	}
	return nil
}

func stagexText(p term.Printer, r *stagex.Report) {
	width := 0
	for _, i := range r.Images {
		width = max(width, len(i.Name))
	}
	for _, i := range r.Images {
		mark := p.Paint(term.Good, "ok")
		if !i.Met {
			mark = p.Paint(term.Bad, "NO")
		}
		notes := ""
		if s := ignoredText(i); s != "" {
			notes = "  (" + s + ")"
		}
		p.Printf("%s  %-*s  sha256:%.12s  %d of %d  %s%s\n", mark, width, i.Name, i.Digest.Hex(), len(i.Signers), r.Threshold, strings.Join(i.Signers, " "), notes)
	}
	for _, i := range r.Images {
		for _, f := range i.Ignored {
			if f.Problem.Contradicts() {
				p.Printf("%s %s: %s\n", p.Paint(term.Bad, string(f.Problem)), f.File, f.Message)
			}
		}
	}
	p.Printf("%d of %d images have the votes of %d maintainers; %d files contradict themselves\n", r.Met, len(r.Images), r.Threshold, r.Contradictions)
}

// ignoredText counts the files that give no vote.
func ignoredText(a *stagex.Approval) string {
	counts := make(map[stagex.Problem]int)
	for _, i := range a.Ignored {
		counts[i.Problem]++
	}
	var words []string
	if a.Repeated > 0 {
		words = append(words, fmt.Sprintf("%d repeated", a.Repeated))
	}
	for _, problem := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[problem], problem))
	}
	return strings.Join(words, ", ")
}
