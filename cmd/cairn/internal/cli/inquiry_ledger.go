package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// latestBuild returns what the build that was logged last under a name says it
// built: of the policy's rebuilders, if it has any, and else of anybody.
func (q *inquiry) latestBuild(ctx context.Context, purl string) (*target, error) {
	found, err := q.online.ClaimsBy(ctx, &cairnv1.ListAttestationsRequest{Name: purl}, q.online.policy, q.heard)
	if err != nil {
		return nil, cmdline.Doing("looking for builds of "+purl, err)
	}
	for i := len(found.Logged) - 1; i >= 0; i-- {
		l := &found.Logged[i]
		if l.Claim.Claim != leaf.ClaimBuild {
			continue
		}
		if d := named(&l.Claim, purl); d != "" {
			q.a.Note("%s is %s, by the build that was logged last, %s", purl, d, entryID(found.Origin, l.Index))
			return &target{digest: d, names: []string{purl}}, nil
		}
	}
	whose := ""
	if q.hears() {
		whose = " by a rebuilder of the policy"
	}
	return nil, &cmdline.Problem{Reason: cmdline.NothingFound, Err: fmt.Errorf("no build of %s%s is logged", purl, whose)}
}

// named returns the first subject of a claim that goes by a name, or nothing. A
// build may have others.
func named(c *attest.Claim, purl string) leaf.Digest {
	want, err := attest.LookupName(purl)
	if err != nil {
		return ""
	}
	for i := range c.Subjects {
		s := &c.Subjects[i]
		if name, err := attest.LookupName(s.URI); err == nil && name == want && len(s.Strong()) > 0 {
			return s.Strong()[0]
		}
	}
	return ""
}

// hears reports whether the policy says who is heard.
func (q *inquiry) hears() bool { return q.policy != nil && len(q.policy.Rebuilders()) > 0 }

func (q *inquiry) heard(keys []leaf.Fingerprint) bool {
	return !q.hears() || slices.ContainsFunc(keys, func(k leaf.Fingerprint) bool {
		_, ok := q.policy.Rebuilder(k)
		return ok
	})
}

// subject returns the artifact that an entry is about.
func (q *inquiry) subject(ctx context.Context, n name) (*target, error) {
	e, err := q.online.entry(ctx, n.index)
	if err != nil {
		return nil, err
	}
	if err := q.online.requireOrigin(n.origin); err != nil {
		return nil, err
	}
	id := entryID(q.online.origin, n.index)
	if e.leaf.Kind != leaf.KindAttestation {
		return nil, cmdline.Usagef("give the artifact's digest, file or package URL", "entry %s is about a key, not an artifact", id)
	}
	// One artifact may be named by a sha512 beside its sha256.
	subjects := slices.DeleteFunc(slices.Clone(e.leaf.Subjects), func(d leaf.Digest) bool { return strings.HasPrefix(string(d), "sha512:") })
	if len(subjects) == 0 {
		subjects = e.leaf.Subjects
	}
	if len(subjects) != 1 {
		return nil, cmdline.Usagef("give one of them: "+join(subjects), "entry %s is about %d artifacts", id, len(subjects))
	}
	q.a.Note("%s is about %s", id, subjects[0])
	return &target{digest: subjects[0]}, nil
}
