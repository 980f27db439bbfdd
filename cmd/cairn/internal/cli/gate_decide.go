package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/cairnlog/cairn/cmd/cairn/internal/oci"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/gate"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// decider returns what decides by the policy on what the ledger has, as `cairn
// verify` does.
func (a *app) decider() (gate.Decider, error) {
	if err := a.requirePolicy(); err != nil {
		return nil, err
	}
	pol, err := cmdline.ReadPolicy(a.policy)
	if err != nil {
		return nil, err
	}
	if len(pol.Rebuilders()) == 0 {
		return nil, cmdline.Usagef("add rebuilder and rebuild-quorum lines to it", "the policy %s names no rebuilder, so that nothing would be accepted", a.policy)
	}
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, img gate.Image) (*verify.Report, error) {
		purl, err := referenceOf(img).Purl(img.Digest)
		if err != nil {
			return nil, err
		}
		t := &target{digest: img.Digest, names: []string{purl}}
		// Decisions are made at the same time: each has a session of its own.
		o := &online{Client: c.Client, policy: pol, logs: pol.Logs(), memory: a.remember(pol.Logs())}
		q := &inquiry{a: a, policy: pol, at: time.Now().UTC(), online: o}
		b, err := o.Collect(ctx, t.digest, t.names, pol, client.CollectOptions{})
		if err != nil {
			return nil, err
		}
		ev, err := q.open(b)
		if err != nil {
			return nil, err
		}
		return q.judge(t, ev), nil
	}, nil
}

func referenceOf(img gate.Image) oci.Reference {
	return oci.Reference{Repository: img.Repository, Digest: img.Digest}
}

// instances asks the registry for the platform manifests of an index.
func (a *app) instances(ctx context.Context, img gate.Image) ([]leaf.Digest, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := oci.Resolve(ctx, referenceOf(img), a.userAgent())
	if err != nil {
		return nil, fmt.Errorf("asking the registry: %w", err)
	}
	if !c.Index {
		return nil, nil
	}
	digests := make([]leaf.Digest, len(c.Images))
	for i, m := range c.Images {
		digests[i] = m.Digest
	}
	return digests, nil
}

// resolveTag asks the registry which image a tag names now.
func (a *app) resolveTag(ctx context.Context, repository, tag string) (gate.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := oci.Resolve(ctx, oci.Reference{Repository: repository, Tag: tag}, a.userAgent())
	if err != nil {
		return gate.Image{}, err
	}
	return gate.Image{Repository: repository, Digest: c.Digest}, nil
}
