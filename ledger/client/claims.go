package client

import (
	"context"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Claims is what a ledger holds about one artifact or package, verified here.
type Claims struct {
	Checkpoint string // signed: all entries are in its tree
	Origin     string
	Size       int64
	Root       tlog.Hash
	Logged     []Logged // in log order
}

// Logged is an attestation that is proven to be in the log.
type Logged struct {
	*attest.Attestation
	Index int64
	// Operators are those that the signing keys' enrolments claim, sorted, each
	// once. Whom to believe is a policy's decision.
	Operators []string

	path [][]byte // of the inclusion proof
}

// Claims returns every attestation that the ledger has for the query, which
// names a digest or a package name. Each is opened here, and proven to be in the
// tree of one checkpoint, which is held to pol as by VerifyCheckpoint; so are
// the enrolments that say who operates a key. That the ledger left out none is
// not proven.
func (c *Client) Claims(ctx context.Context, query *cairnv1.ListAttestationsRequest, pol torchwood.Policy) (*Claims, error) {
	return c.ClaimsBy(ctx, query, pol, nil)
}

// ClaimsBy is Claims of those who are heard, by the keys that signed: what others
// logged is not read, however much it is.
func (c *Client) ClaimsBy(ctx context.Context, query *cairnv1.ListAttestationsRequest, pol torchwood.Policy, heard func([]leaf.Fingerprint) bool) (*Claims, error) {
	about, err := aboutQuery(query)
	if err != nil {
		return nil, err
	}
	r, err := c.reader(ctx, pol)
	if err != nil {
		return nil, err
	}
	var keep func(*cairnv1.Entry) bool
	if heard != nil {
		keep = func(e *cairnv1.Entry) bool {
			l, err := leaf.Parse([]byte(e.GetLeaf()))
			return err == nil && heard(l.Keys)
		}
	}
	entries, err := r.list(ctx, query, keep)
	if err != nil {
		return nil, err
	}
	if err := r.read(ctx, entries); err != nil {
		return nil, err
	}
	logged, err := r.listed(entries, about)
	if err != nil {
		return nil, err
	}
	if err := r.readKeys(ctx); err != nil {
		return nil, err
	}
	claims := &Claims{Checkpoint: r.signed, Origin: r.checkpoint.Origin, Size: r.checkpoint.N, Root: r.checkpoint.Hash}
	for _, held := range logged {
		l := *held
		for _, k := range l.Leaf.Keys {
			if s := r.keys[k]; s != nil { // it is not of an entry that brings its key
				l.Operators = append(l.Operators, s.enrolment.Enrolment.Operator)
			}
		}
		slices.Sort(l.Operators)
		l.Operators = slices.Compact(l.Operators)
		claims.Logged = append(claims.Logged, l)
	}
	return claims, nil
}

// aboutQuery returns whether a leaf is about what a query names.
func aboutQuery(query *cairnv1.ListAttestationsRequest) (func(*leaf.Leaf) bool, error) {
	digest, key, name := leaf.Digest(query.GetDigest()), leaf.Fingerprint(query.GetKey()), leaf.Digest(query.GetName())
	if query.GetName() != "" && !name.Valid() {
		lookup, err := attest.LookupName(query.GetName())
		if err != nil {
			return nil, err
		}
		name = leaf.NameHash(lookup)
	}
	return func(l *leaf.Leaf) bool {
		return (digest == "" || slices.Contains(l.Subjects, digest) || slices.Contains(l.Outputs, digest)) &&
			(key == "" || slices.Contains(l.Keys, key)) &&
			(name == "" || slices.Contains(l.Names, name))
	}, nil
}
