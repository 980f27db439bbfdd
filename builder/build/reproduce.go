package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairnlog/cairn/builder/compare"
	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Reproduction is what came of the rebuild of one distributed image.
type Reproduction struct {
	Package string
	Claimed *record.Claimed
	Outcome record.Outcome
	Result  *record.Result // without an image if there is none
	Entry   *record.Entry  // nil without a ledger
	// Diff says what differs, where the distributed image is at hand.
	Diff *compare.Report
}

// Claims finds what was distributed of a package: the images to reproduce. It
// is asked once the package's inputs are known.
type Claims func(ctx context.Context, p *tree.Package, inputs string) ([]*record.Claimed, error)

// ReproduceOptions say what to reproduce, and what of.
type ReproduceOptions struct {
	Claims Claims
	// Against is a directory of OCI layouts, out/<id> each, of distributed images,
	// to tell what differs; empty for none.
	Against string
	// Each is called for each reproduction, one call at a time.
	Each func(*Reproduction)
}

// Reproduce rebuilds the named packages from images of its own, compares each
// with what was distributed, and logs what came of it. What they are built from
// is built where it was not yet. It returns an error for what kept it from
// finding out, not for an image that differs.
func (b *Builder) Reproduce(ctx context.Context, ids []string, opts ReproduceOptions) error {
	plan, err := b.plan(ids)
	if err != nil {
		return err
	}
	named := make(map[string]bool)
	for _, id := range ids {
		p, err := b.cfg.Tree.Lookup(id)
		if err != nil {
			return err
		}
		named[p.ID()] = true
	}
	return b.run(ctx, plan, func(ctx context.Context, p *tree.Package) Report {
		if !named[p.ID()] {
			return b.build(ctx, p, false)
		}
		return b.reproduce(ctx, p, opts)
	})
}

func (b *Builder) reproduce(ctx context.Context, p *tree.Package, opts ReproduceOptions) Report {
	in, err := b.inputs(ctx, p)
	if err != nil {
		return Report{Err: err}
	}
	claims, err := opts.Claims(ctx, p, in.digest)
	if err != nil {
		return Report{Err: fmt.Errorf("%s: finding what to reproduce: %w", p.ID(), err)}
	}
	if len(claims) == 0 {
		return Report{Err: fmt.Errorf("%s: nobody has logged a build of it to reproduce: build it with `cairn-builder build %s`, or name what was distributed with --digests DIR", p.ID(), p.ID())}
	}
	started := time.Now()
	m, err := b.make(ctx, p, in, true)
	var failed *engine.StepError
	if err != nil && !errors.As(err, &failed) {
		return Report{Err: err}
	}
	if failed != nil {
		m = &made{result: b.newResult(p, in)}
		m.result.Started, m.result.Ended = started, time.Now()
		if m.result.Parameters, err = b.parameters(p, in); err != nil {
			return Report{Err: err}
		}
	} else {
		defer m.discard()
	}
	for _, c := range claims {
		if err := b.settle(ctx, c, m, failed, opts); err != nil {
			return Report{Err: err}
		}
	}
	if failed != nil {
		return Report{Err: failed}
	}
	return Report{Action: Built, Result: m.result, Err: b.keep(m)}
}

// settle compares a rebuild with one distributed image, and attests what came
// of it.
func (b *Builder) settle(ctx context.Context, c *record.Claimed, m *made, failed *engine.StepError, opts ReproduceOptions) error {
	r := &Reproduction{Package: m.result.Package, Claimed: c, Result: m.result}
	if failed != nil {
		r.Outcome = record.Outcome{Result: leaf.BuildFailed, Failure: summary(failed)}
	} else {
		r.Outcome = Judge(c, m.result)
		if err := b.explain(ctx, r, m, opts.Against); err != nil {
			return err
		}
	}
	if b.cfg.Recorder != nil {
		var err error
		if r.Entry, err = b.cfg.Recorder.Reproduction(ctx, c, m.result, &r.Outcome); err != nil {
			return err
		}
	}
	if opts.Each != nil {
		opts.Each(r)
	}
	return nil
}

// Judge compares a rebuild with what is known of a distributed image: by its
// bytes, then its layers, then its content, these two only where both run the
// same. A difference after building from
// other images than the claim's says nothing about the package.
func Judge(c *record.Claimed, r *record.Result) record.Outcome {
	switch {
	case r.Manifest == c.Manifest:
		return record.Outcome{Result: leaf.Identical}
	case c.Running != r.Running:
		// Equal files that run otherwise are not equivalent.
	case len(c.DiffIDs) > 0 && slices.Equal(c.DiffIDs, r.DiffIDs):
		return record.Outcome{Result: leaf.Equivalent, Method: record.MethodLayers}
	case c.Content != "" && c.Content == r.Content:
		return record.Outcome{Result: leaf.Equivalent, Method: record.MethodContent}
	}
	if others := otherImages(c, r); len(others) > 0 {
		return record.Outcome{Result: leaf.Inconclusive, Failure: "built from other images than the claim: " + strings.Join(others, ", ")}
	}
	return record.Outcome{Result: leaf.Different}
}

// otherImages returns the images that a rebuild used in other bytes than the
// build it repeats.
func otherImages(c *record.Claimed, r *record.Result) []string {
	var others []string
	for _, m := range r.Materials {
		if theirs, ok := c.Images[m.Name]; ok && m.Role == "toolchain" && theirs != m.SHA256 {
			others = append(others, m.Name)
		}
	}
	return others
}

// explain compares the images themselves, where the distributed one is at hand
// and is what the claim says.
func (b *Builder) explain(ctx context.Context, r *Reproduction, m *made, against string) error {
	if against == "" || r.Outcome.Result == leaf.Identical {
		return nil
	}
	theirs, err := image.Open(layoutIn(against, r.Package), r.Result.Platform)
	if err != nil {
		return fmt.Errorf("%s: reading the distributed image: %w", r.Package, err)
	}
	if theirs.Manifest.Digest.String() != r.Claimed.Manifest {
		return nil
	}
	ours, err := image.Open(m.layout, r.Result.Platform)
	if err != nil {
		return fmt.Errorf("%s: reading the rebuilt image: %w", r.Package, err)
	}
	if r.Diff, err = compare.Compare(ctx, theirs, ours); err != nil {
		return fmt.Errorf("%s: comparing the images: %w", r.Package, err)
	}
	return nil
}

// summary is what an attestation says of a failure; its log may hold anything.
func summary(e *engine.StepError) string {
	const limit = 2048
	s := e.Error()
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
