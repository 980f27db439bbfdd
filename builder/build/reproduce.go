package build

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	// Against is a directory of OCI layouts, <id> each, of distributed images.
	// Without it, only IDENTICAL can be told from DIFFERENT; empty for none.
	Against string
	// Each is called for each reproduction, one call at a time.
	Each func(*Reproduction)
}

// Reproduce rebuilds the named packages from images of its own, compares each
// with what was distributed, and logs what came of it. What they are built from
// is built where it was not yet. It returns an error for what kept it from
// finding out, and of the first package that could not be built; an image that
// differs is none. A package that cannot be built ends only what needs it.
func (b *Builder) Reproduce(ctx context.Context, ids []string, opts ReproduceOptions) error {
	if b.cfg.Images != "" {
		return errors.New("a rebuild that rests on the images of others proves nothing of them: reproduce without them")
	}
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
	return b.run(ctx, plan, true, func(ctx context.Context, p *tree.Package) Report {
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
		if err := b.keep(m); err != nil {
			return Report{Err: err}
		}
	}
	for _, c := range claims {
		if err := b.settle(ctx, c, m, failed, opts); err != nil {
			return Report{Err: err}
		}
	}
	if failed != nil {
		return Report{Err: failed}
	}
	return Report{Action: Built, Result: m.result}
}

// settle compares a rebuild with one distributed image, and attests what came
// of it.
func (b *Builder) settle(ctx context.Context, c *record.Claimed, m *made, failed *engine.StepError, opts ReproduceOptions) error {
	r := &Reproduction{Package: m.result.Package, Claimed: c, Result: m.result}
	if failed != nil {
		r.Outcome = judgeFailure(c, m.result, failed)
	} else {
		theirs, err := b.distributed(ctx, r, opts.Against)
		if err != nil {
			return err
		}
		r.Outcome = Judge(c, m.result, theirs)
		if err := b.explain(ctx, r, m, theirs); err != nil {
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

// Distributed is what was read of a distributed image itself.
type Distributed struct {
	Image *image.Image
	sameness
}

// sameness is by what two images of different bytes may be equal.
type sameness struct {
	diffIDs          []string
	content, running string
}

// method returns how r is equivalent, or nothing: by its layers or its content,
// these only where both run the same.
func (s *sameness) method(r *record.Result) string {
	switch {
	case s.running != r.Running:
		return ""
	case len(s.diffIDs) > 0 && slices.Equal(s.diffIDs, r.DiffIDs):
		return record.MethodLayers
	case s.content != "" && s.content == r.Content:
		return record.MethodContent
	}
	return ""
}

// Judge compares a rebuild with a distributed image: by its bytes, or by what was
// read of it; theirs is nil where it is not at hand. What an attestation says of
// an image's content is its signer's word, so it makes nothing EQUIVALENT: else
// a bad image would be taken for the good one that its builder names. Nor does
// a difference after building from other images than the claim's say anything.
func Judge(c *record.Claimed, r *record.Result, theirs *Distributed) record.Outcome {
	if r.Manifest == c.Manifest {
		return record.Outcome{Result: leaf.Identical}
	}
	if theirs != nil {
		if method := theirs.method(r); method != "" {
			return record.Outcome{Result: leaf.Equivalent, Method: method}
		}
	} else if said := (&sameness{c.DiffIDs, c.Content, c.Running}); said.method(r) != "" {
		return record.Outcome{Result: leaf.Inconclusive,
			Failure: "its attestation says that the distributed image is equivalent, and the image is not at hand to see that: give --against DIR"}
	}
	if others := otherImages(c, r); others != "" {
		return record.Outcome{Result: leaf.Inconclusive, Failure: others}
	}
	return record.Outcome{Result: leaf.Different}
}

// judgeFailure says what a build that failed says of a distributed image: like a
// difference, nothing if it was built from other images than the claim's.
func judgeFailure(c *record.Claimed, r *record.Result, failed *engine.StepError) record.Outcome {
	if others := otherImages(c, r); others != "" {
		return record.Outcome{Result: leaf.Inconclusive, Failure: others + "; " + failed.Error()}
	}
	return record.Outcome{Result: leaf.BuildFailed, Failure: failed.Error()}
}

// otherImages says which images a rebuild used in other bytes than the build it
// repeats, or nothing.
func otherImages(c *record.Claimed, r *record.Result) string {
	var others []string
	for _, m := range r.Materials {
		if theirs, ok := c.Images[m.Name]; ok && m.Role == "toolchain" && theirs != m.SHA256 {
			others = append(others, m.Name)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return "built from other images than the claim: " + strings.Join(others, ", ")
}

// distributed reads the distributed image, if it is at hand and is what the
// claim says; nil if not, or if nothing depends on it.
func (b *Builder) distributed(ctx context.Context, r *Reproduction, against string) (*Distributed, error) {
	if against == "" || r.Result.Manifest == r.Claimed.Manifest {
		return nil, nil
	}
	dir := layoutIn(against, r.Package)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	im, err := image.Open(dir, r.Result.Platform)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the distributed image: %w", r.Package, err)
	}
	if im.Manifest.Digest.String() != r.Claimed.Manifest {
		return nil, nil
	}
	read := &made{layout: dir, result: &record.Result{Package: r.Package, Platform: r.Result.Platform}}
	if err := read.describe(ctx); err != nil {
		return nil, err
	}
	return &Distributed{im, sameness{read.result.DiffIDs, read.result.Content, read.result.Running}}, nil
}

// explain says what differs from the distributed image.
func (b *Builder) explain(ctx context.Context, r *Reproduction, m *made, theirs *Distributed) error {
	if theirs == nil {
		return nil
	}
	ours, err := image.Open(m.layout, r.Result.Platform)
	if err != nil {
		return fmt.Errorf("%s: reading the rebuilt image: %w", r.Package, err)
	}
	if r.Diff, err = compare.Compare(ctx, theirs.Image, ours); err != nil {
		return fmt.Errorf("%s: comparing the images: %w", r.Package, err)
	}
	return nil
}
