package build

import (
	"context"

	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/tree"
)

// LoggedClaims finds the images that builds of the same tree, or from the same
// inputs, gave, as a ledger has them: each image once, with the first entry that
// claims it.
func (b *Builder) LoggedClaims(l *record.Ledger, id *record.Identity) Claims {
	return func(ctx context.Context, p *tree.Package, inputs string) ([]*record.Claimed, error) {
		platform := b.platform(p)
		builds, err := l.Builds(ctx, id.Purl(p.ID(), "", platform))
		if err != nil {
			return nil, err
		}
		digest, err := b.treeDigest()
		if err != nil {
			return nil, err
		}
		var claims []*record.Claimed
		seen := make(map[string]bool)
		for _, build := range builds {
			if seen[build.Manifest] || !build.IsOf(p.ID(), platform, digest, inputs) {
				continue
			}
			seen[build.Manifest] = true
			claims = append(claims, &build.Claimed)
		}
		return claims, nil
	}
}

// PublishedClaims finds the images that a list of digests names: StageX's
// digests/*.txt.
func PublishedClaims(digests image.Digests) Claims {
	return func(_ context.Context, p *tree.Package, _ string) ([]*record.Claimed, error) {
		d, ok := digests[p.ID()]
		if !ok {
			return nil, nil
		}
		return []*record.Claimed{{Manifest: d.String()}}, nil
	}
}
