package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
)

// sumsSuffix is that of the manifests in GuixSigs.
const sumsSuffix = ".SHA256SUMS"

// builderKeys is where GuixSigs has the keys of those who sign.
const builderKeys = "builder-keys"

// GuixSigs is the attestations of Guix builds as Bitcoin Core collects them: a
// tree of
//
//	builder-keys/<signer>.gpg
//	<version>/<signer>/{noncodesigned,all}.SHA256SUMS
//	<version>/<signer>/{noncodesigned,all}.SHA256SUMS.asc
//
// where the .asc is a detached signature. It implements Source. Items are grouped
// by signer.
type GuixSigs struct {
	Name string
	Tree Tree
	Keys Keys // beside those of builder-keys
}

// String implements Source.
func (g *GuixSigs) String() string { return "guix-sigs " + g.Name }

// Items implements Source.
func (g *GuixSigs) Items(ctx context.Context, done func(string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		keys, paths, err := g.list(ctx)
		if err != nil {
			yield(Item{}, err)
			return
		}
		if !g.Keys.yield(yield) || !keys.yield(yield) {
			return
		}
		for _, p := range paths {
			if !g.manifest(ctx, p, done, yield) {
				return
			}
		}
	}
}

// list returns the keys and the paths of the manifests.
func (g *GuixSigs) list(ctx context.Context) (keys Keys, manifests []string, err error) {
	all, err := g.Tree.List(ctx, ".")
	if err != nil {
		return nil, nil, fmt.Errorf("listing %s: %w", g.Name, err)
	}
	for _, p := range all {
		switch {
		case path.Dir(p) == builderKeys:
			b, err := g.Tree.Read(ctx, p, maxKeyring)
			if err == nil {
				err = keys.AddKeyring(p, b)
			}
			if err != nil { // others' keys are no worse for it
				keys = append(keys, Item{Name: p, Group: groupKeys, Err: unobtained(err)})
			}
		case strings.HasSuffix(p, sumsSuffix) && strings.Count(p, "/") == 2:
			manifests = append(manifests, p)
		}
	}
	if len(manifests) == 0 {
		return nil, nil, fmt.Errorf("%s holds no <version>/<signer>/*%s", g.Name, sumsSuffix)
	}
	return keys, manifests, nil
}

// manifest yields the signatures of one manifest, and reports whether more are
// wanted.
func (g *GuixSigs) manifest(ctx context.Context, p string, done func(string) bool, yield func(Item, error) bool) bool {
	item := Item{Name: p + ".asc", Group: path.Base(path.Dir(p))}
	if done(item.Name) {
		return yield(item, nil)
	}
	document, err := g.Tree.Read(ctx, p, attest.MaxEnvelope)
	var signature []byte
	if err == nil {
		signature, err = g.Tree.Read(ctx, item.Name, attest.MaxEnvelope)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no signature of %s beside it", p)
	}
	var each [][]byte
	if err == nil {
		each, err = JoinEach(document, signature)
	}
	if err != nil {
		item.Err = unobtained(err)
		return yield(item, nil)
	}
	return yieldEach(item, each, yield)
}
