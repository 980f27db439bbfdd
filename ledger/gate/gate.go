// Package gate makes container runtimes obey a trust policy: it gives an image
// its signature, or a pod its admission, only once the policy is satisfied.
//
// containers/image, on which podman, skopeo, buildah and CRI-O rest, can demand
// a signature by one key (signedBy), but not by k of n operators. So the gate has
// a key of its own, and signs what the policy accepts. Kubernetes asks the gate
// itself, by an admission webhook. Both rest on one decision.
//
// Invariants:
//   - No signature is made, and nothing admitted, without an accepting report
//     about this very digest. An error is never a yes.
//   - Every digest is decided on its own. An index is accepted if its own digest
//     is, or if each of its platform manifests is; what is accepted of an index
//     accepts none of its manifests.
//   - Only accepting decisions are kept, for a bounded time and in a bounded
//     number.
//   - Who is not asked about is not answered about: images outside the scopes
//     cause no look-up.
package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

// Decider answers by the policy whether an image may run. Its report is about
// the image's digest; an error says that the question could not be answered.
type Decider func(context.Context, Image) (*verify.Report, error)

// Instances returns the platform manifests of an index, and none for what is no
// index.
type Instances func(context.Context, Image) ([]leaf.Digest, error)

// MaxInstances bounds the platform manifests of one index.
const MaxInstances = 64

// Gate decides about images.
type Gate struct {
	Decide Decider
	// Instances reads indexes; if it is nil, only their own digests count.
	Instances Instances
}

// Decision is what the gate says of an image. The zero value refuses.
type Decision struct {
	Image    Image          `json:"image"`
	Accepted bool           `json:"accepted"`
	Report   *verify.Report `json:"report"`
	// Instances are the decisions about an index's manifests, if its own digest
	// is not accepted.
	Instances []*Decision `json:"instances,omitempty"`
	// Reasons say why it is not accepted. It is empty if and only if Accepted.
	Reasons []string `json:"reasons"`
}

// Exit returns the exit code for the decision.
func (d *Decision) Exit() int {
	switch {
	case d.Accepted:
		return reason.ExitYes
	case d.Report != nil && (d.Report.Verdict == verify.VerdictDiffers || d.Report.Verdict == verify.VerdictFailed):
		return reason.ExitNo
	}
	for _, i := range d.Instances {
		if i.Exit() == reason.ExitNo {
			return reason.ExitNo
		}
	}
	return reason.ExitUnproven
}

// Judge decides about an image.
func (g *Gate) Judge(ctx context.Context, img Image) (*Decision, error) {
	d, err := g.own(ctx, img)
	if err != nil || d.Accepted || d.Exit() == reason.ExitNo || g.Instances == nil {
		return d, err
	}
	digests, err := g.Instances(ctx, img)
	switch {
	case err != nil:
		// That it is an index could only make it better.
		d.Reasons = append(d.Reasons, fmt.Sprintf("whether it is an index could not be seen: %v", err))
		return d, nil
	case len(digests) == 0:
		return d, nil
	}
	return d, g.judgeInstances(ctx, d, digests)
}

// own decides about an image's own digest.
func (g *Gate) own(ctx context.Context, img Image) (*Decision, error) {
	r, err := g.Decide(ctx, img)
	if err != nil {
		return nil, fmt.Errorf("deciding about %s: %w", img, err)
	}
	if r == nil || r.Artifact != img.Digest {
		return nil, fmt.Errorf("deciding about %s: %w", img, errOther)
	}
	d := &Decision{Image: img, Report: r, Accepted: r.Accepted, Reasons: []string{}}
	if !d.Accepted {
		d.Reasons = append(d.Reasons, r.Reasons...)
		if len(d.Reasons) == 0 {
			d.Reasons = append(d.Reasons, "the policy is not satisfied")
		}
	}
	return d, nil
}

var errOther = errors.New("the report is about another artifact")

// judgeInstances decides about an index by its manifests.
func (g *Gate) judgeInstances(ctx context.Context, d *Decision, digests []leaf.Digest) error {
	if len(digests) > MaxInstances {
		d.Reasons = append(d.Reasons, fmt.Sprintf("the index has %d manifests, over the limit of %d", len(digests), MaxInstances))
		return nil
	}
	accepted := true
	for _, digest := range digests {
		i, err := g.own(ctx, Image{d.Image.Repository, digest})
		if err != nil {
			return err
		}
		d.Instances = append(d.Instances, i)
		if !i.Accepted {
			accepted = false
			d.Reasons = append(d.Reasons, fmt.Sprintf("its manifest %s is %s", digest, i.Report.Verdict))
		}
	}
	if accepted {
		d.Accepted, d.Reasons = true, []string{}
	}
	return nil
}

// Expand decides about an image, and about each platform manifest if it is an
// index: runtimes look for the signature of the manifest that they run.
func (g *Gate) Expand(ctx context.Context, img Image) ([]*Decision, error) {
	d, err := g.Judge(ctx, img)
	if err != nil {
		return nil, err
	}
	all := append([]*Decision{d}, d.Instances...)
	if len(all) > 1 || g.Instances == nil {
		return all, nil
	}
	digests, err := g.Instances(ctx, img)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of %s: %w", img, err)
	}
	if len(digests) > MaxInstances {
		return nil, fmt.Errorf("the index %s has %d manifests, over the limit of %d", img, len(digests), MaxInstances)
	}
	for _, digest := range digests {
		i, err := g.own(ctx, Image{img.Repository, digest})
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// Remarks says what someone who relies on an acceptance should know of it.
func (d *Decision) Remarks() []string {
	var remarks []string
	for _, each := range append([]*Decision{d}, d.Instances...) {
		if r := each.Report; r != nil && each.Accepted {
			remarks = append(remarks, remarksOn(each.Image, r)...)
		}
	}
	return remarks
}

func remarksOn(img Image, r *verify.Report) []string {
	var remarks []string
	if r.Accepted && r.Verdict != verify.VerdictReproduced {
		remarks = append(remarks, fmt.Sprintf("%s is %s, and accepted by an exception of the policy", img, r.Verdict))
	}
	if r.Ancestry != nil && len(r.Ancestry.Dissent) > 0 {
		remarks = append(remarks, fmt.Sprintf("%s is accepted in spite of dissent: %v", img, r.Ancestry.Dissent))
	}
	return remarks
}
