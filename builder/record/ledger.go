package record

import (
	"context"
	"fmt"
	"slices"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Ledger is where attestations are logged and looked up.
type Ledger struct {
	Client *client.Client
	// Policy is what checkpoints must satisfy, and who is behind which key if it
	// names rebuilders; nil holds checkpoints to nothing, and believes the keys'
	// enrolments.
	Policy *policy.Policy
}

// trust returns the policy as the client takes it: nil if there is none.
func (l *Ledger) trust() torchwood.Policy {
	if l.Policy == nil {
		return nil
	}
	return l.Policy
}

// operators returns who is behind the keys that signed a claim, sorted.
func (l *Ledger) operators(c *client.Logged) []string {
	if l.Policy == nil || len(l.Policy.Rebuilders()) == 0 {
		return c.Operators
	}
	var list []string
	for _, k := range c.Keys {
		if r, ok := l.Policy.Rebuilder(k.Fingerprint); ok {
			list = append(list, r.Operator)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Log submits an attestation and returns its entry, once it is proven to be in
// the tree of a published checkpoint.
func (l *Ledger) Log(ctx context.Context, raw []byte, signer *attest.PublicKey) (*Entry, error) {
	key := &cairnv1.Key{Fingerprint: string(signer.Fingerprint), PublicKey: signer.PEM}
	s, err := l.Client.Submit(ctx, raw, []*cairnv1.Key{key}, l.trust())
	if err != nil {
		return nil, err
	}
	return &Entry{Origin: s.Checkpoint.Origin, Index: s.Answer.GetIndex(), Envelope: string(s.Leaf.Envelope)}, nil
}

// Builds returns what is logged of builds of a package's image, by its name, in
// log order.
func (l *Ledger) Builds(ctx context.Context, name string) ([]*LoggedBuild, error) {
	claims, err := l.Client.Claims(ctx, &cairnv1.ListAttestationsRequest{Name: name}, l.trust())
	if err != nil {
		return nil, fmt.Errorf("asking the ledger for builds of %s: %w", name, err)
	}
	var builds []*LoggedBuild
	for i := range claims.Logged {
		if b := buildOf(claims.Origin, &claims.Logged[i]); b != nil {
			builds = append(builds, b)
		}
	}
	return builds, nil
}

// Build returns the build of an image that the attestation with this digest
// claims.
func (l *Ledger) Build(ctx context.Context, manifest, envelope string) (*LoggedBuild, error) {
	claims, err := l.Client.Claims(ctx, &cairnv1.ListAttestationsRequest{Digest: manifest}, l.trust())
	if err != nil {
		return nil, fmt.Errorf("asking the ledger for the build of %s: %w", manifest, err)
	}
	for i := range claims.Logged {
		c := &claims.Logged[i]
		if b := buildOf(claims.Origin, c); b != nil && b.Manifest == manifest && string(c.Leaf.Envelope) == envelope {
			return b, nil
		}
	}
	return nil, fmt.Errorf("the ledger has no build of %s with the attestation %s", manifest, envelope)
}

// buildOf returns what an attestation says of a build of ours, or nil.
func buildOf(origin string, c *client.Logged) *LoggedBuild {
	if c.Claim.PredicateType != attest.PredicateProvenance || len(c.Claim.Subjects) != 1 {
		return nil
	}
	p, err := c.Statement.Provenance()
	hex, ok := c.Claim.Subjects[0].Digests["sha256"]
	if err != nil || !ok || p.BuildDefinition.BuildType != attest.BuildTypeStageX {
		return nil
	}
	b := &LoggedBuild{Claimed: *ClaimedOf("sha256:"+hex, p), Parameters: p.BuildDefinition.ExternalParameters, Operators: c.Operators}
	b.Entry = &Entry{Origin: origin, Index: c.Index, Envelope: string(c.Leaf.Envelope)}
	return b
}

// LoggedBuild is a build that somebody logged.
type LoggedBuild struct {
	Claimed
	Parameters map[string]any // of the package
	Operators  []string       // behind the keys that signed, as enrolled
}

// IsOf reports whether the build was of a package for the platform, of the tree
// with this digest, in hex, or from these inputs.
func (b *LoggedBuild) IsOf(pkg, platform, tree, inputs string) bool {
	ref, _ := b.Parameters["tree"].(map[string]any)
	digest, _ := ref["digest"].(map[string]any)
	same := digest["sha256"] == tree || inputs != "" && b.Parameters["inputs"] == inputs
	return b.Parameters["package"] == pkg && b.Parameters["platform"] == platform && same
}

// Agreement is who obtained the same image by building it, and who did not.
type Agreement struct {
	Manifest string
	Size     int64 // of the log, up to which it is known
	Results  []Independent
	Dissent  []Dissent
}

// Independent is an operator and an engine with which the image was obtained;
// the engine is empty if the attestation does not name just one.
type Independent struct{ Operator, Engine string }

// Dissent is a claim that the image cannot be had by building it.
type Dissent struct {
	Operator string
	Result   leaf.Result // DIFFERENT or BUILD_FAILED
	Entry    string
}

// Agreement returns who built an image, or rebuilt it to an equal one. Those who
// only fetched it do not count.
func (l *Ledger) Agreement(ctx context.Context, manifest string) (*Agreement, error) {
	a := &Agreement{Manifest: manifest}
	claims, err := l.Client.Claims(ctx, &cairnv1.ListAttestationsRequest{Digest: manifest}, l.trust())
	if reason.Is(err, reason.NothingPublished) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking the ledger who built %s: %w", manifest, err)
	}
	a.Size = claims.Size
	for i := range claims.Logged {
		if err := a.add(claims.Origin, &claims.Logged[i], l.operators(&claims.Logged[i])); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// add counts one claim. Only claims about the image itself count, not those
// whose rebuild of something else gave it, and only those of these operators.
func (a *Agreement) add(origin string, c *client.Logged, operators []string) error {
	if !slices.Contains(c.Leaf.Subjects, leaf.Digest(a.Manifest)) || c.Statement == nil {
		return nil
	}
	switch c.Claim.Claim {
	case leaf.ClaimBuild:
		p, err := c.Statement.Provenance()
		if err != nil {
			return err
		}
		a.agree(operators, p.RunDetails.Builder.Version)
	case leaf.ClaimReproduction:
		r, err := c.Statement.Reproduction()
		if err != nil {
			return err
		}
		switch {
		case r.Result == leaf.Different || r.Result == leaf.BuildFailed:
			for _, o := range operators {
				a.Dissent = append(a.Dissent, Dissent{o, r.Result, (&Entry{Origin: origin, Index: c.Index}).String()})
			}
		case r.Obtained == attest.Built && (r.Result == leaf.Identical || r.Result == leaf.Equivalent):
			a.agree(operators, r.Rebuilder.Version)
		}
	}
	return nil
}

// agree adds one result of each operator: an attestation is of one run, however
// many engines it names.
func (a *Agreement) agree(operators []string, engines map[string]string) {
	engine := ""
	if len(engines) == 1 {
		for engine = range engines {
		}
	}
	for _, o := range operators {
		a.Results = append(a.Results, Independent{o, engine})
	}
}
