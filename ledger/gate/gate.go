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
	// Unread says why the manifest could not be read, which tells an index.
	Unread string `json:"unread,omitempty"`
	// Reasons say why it is not accepted. It is empty if and only if Accepted.
	Reasons []string `json:"reasons"`
}

// Exit returns the exit code for the decision.
func (d *Decision) Exit() int {
	switch {
	case d.Accepted:
		return reason.ExitYes
	case d.Report != nil && d.Report.Exit() == reason.ExitNo:
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
	if err != nil || d.Accepted || d.Exit() == reason.ExitNo {
		return d, err
	}
	instances, err := g.ownOfInstances(ctx, d)
	if err != nil || len(instances) == 0 {
		return d, err
	}
	d.takeInstances(instances)
	return d, nil
}

// Expand decides about an image, and about each platform manifest if it is an
// index: runtimes look for the signature of the manifest that they run.
func (g *Gate) Expand(ctx context.Context, img Image) ([]*Decision, error) {
	d, err := g.own(ctx, img)
	if err != nil {
		return nil, err
	}
	instances, err := g.ownOfInstances(ctx, d)
	if err != nil {
		return nil, err
	}
	if !d.Accepted && d.Exit() != reason.ExitNo && len(instances) > 0 {
		d.takeInstances(instances)
	}
	return append([]*Decision{d}, instances...), nil
}

// ownOfInstances decides about each manifest of an index on its own.
func (g *Gate) ownOfInstances(ctx context.Context, d *Decision) ([]*Decision, error) {
	if g.Instances == nil {
		return nil, nil
	}
	digests, err := g.Instances(ctx, d.Image)
	if err == nil && len(digests) > MaxInstances {
		err = fmt.Errorf("it has %d manifests, over the limit of %d", len(digests), MaxInstances)
	}
	if err != nil {
		// That it is an index could only make it better.
		d.Unread = fmt.Sprintf("if %s is an index, it could not be read: %v", d.Image, err)
		if !d.Accepted {
			d.Reasons = append(d.Reasons, d.Unread)
		}
		return nil, nil
	}
	var all []*Decision
	for _, digest := range digests {
		i, err := g.own(ctx, Image{d.Image.Repository, digest})
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// takeInstances decides about an index by its manifests.
func (d *Decision) takeInstances(instances []*Decision) {
	d.Instances, d.Accepted = instances, true
	for _, i := range instances {
		if !i.Accepted {
			d.Accepted = false
			d.Reasons = append(d.Reasons, fmt.Sprintf("its manifest %s is %s", i.Image.Digest, i.Report.Verdict))
		}
	}
	if d.Accepted {
		d.Reasons = []string{}
	}
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

// Remarks says what someone who relies on an acceptance should know of it.
func (d *Decision) Remarks() []string {
	var remarks []string
	if d.Accepted && d.Unread != "" {
		remarks = append(remarks, d.Unread)
	}
	for _, each := range append([]*Decision{d}, d.Instances...) {
		if r := each.Report; r != nil && r.Accepted {
			remarks = append(remarks, remarksOn(each.Image, r)...)
		}
	}
	return remarks
}

func remarksOn(img Image, r *verify.Report) []string {
	var remarks []string
	if r.Verdict != verify.VerdictReproduced {
		why := "by an exception of the policy"
		if r.Exception != nil {
			why = r.Exception.String()
		}
		remarks = append(remarks, fmt.Sprintf("%s is %s, and accepted: %s", img, r.Verdict, why))
	}
	for _, d := range r.Dissent {
		remarks = append(remarks, fmt.Sprintf("%s is accepted in spite of %s, which says %s in entry %s", img, d.Operator, d.Result, d.Entry))
	}
	return remarks
}
