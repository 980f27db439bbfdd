package client

import (
	"context"
	"fmt"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Limits of one call of Claims.
const (
	MaxClaims     = 10_000    // entries that are looked at
	MaxClaimBytes = 512 << 20 // of their attestations together
)

// Claims is what a ledger holds about one artifact or package, verified here.
type Claims struct {
	Checkpoint string // signed: all entries are in its tree
	Origin     string
	Size       int64
	Logged     []Logged // in log order
}

// Logged is an attestation that is proven to be in the log.
type Logged struct {
	*attest.Attestation
	Index int64
	// Operators are those that the signing keys' enrolments claim, sorted, each
	// once. Whom to believe is a policy's decision.
	Operators []string
}

// Claims returns every attestation that the ledger has for the query, which
// names a digest or a package name. Each is opened here, and proven to be in the
// tree of one checkpoint, which is held to pol as by VerifyCheckpoint; so are
// the enrolments that say who operates a key. That the ledger left out none is
// not proven.
func (c *Client) Claims(ctx context.Context, query *cairnv1.ListAttestationsRequest, pol torchwood.Policy) (*Claims, error) {
	about, err := aboutQuery(query)
	if err != nil {
		return nil, err
	}
	r := &claimReader{client: c, about: about, policy: pol, operators: make(map[leaf.Fingerprint]string)}
	resp, err := c.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if err != nil {
		return nil, err
	}
	r.checkpoint, err = VerifyCheckpoint(resp.GetCheckpoint(), pol)
	if err != nil {
		return nil, err
	}
	entries, err := r.list(ctx, query)
	if err != nil {
		return nil, err
	}
	claims := &Claims{Checkpoint: resp.GetCheckpoint(), Origin: r.checkpoint.Origin, Size: r.checkpoint.N}
	for _, e := range entries {
		l, err := r.logged(ctx, e)
		if err != nil {
			return nil, err
		}
		claims.Logged = append(claims.Logged, *l)
	}
	return claims, nil
}

// claimReader holds all answers to one checkpoint.
type claimReader struct {
	client     *Client
	about      func(*leaf.Leaf) bool
	policy     torchwood.Policy
	checkpoint torchwood.Checkpoint
	operators  map[leaf.Fingerprint]string
	bytes      int // of the attestations so far
}

// aboutQuery returns whether a leaf is about what a query names.
func aboutQuery(query *cairnv1.ListAttestationsRequest) (func(*leaf.Leaf) bool, error) {
	digest, key, name := leaf.Digest(query.GetDigest()), leaf.Fingerprint(query.GetKey()), leaf.Digest(query.GetName())
	if query.GetName() != "" && !name.Valid() {
		lookup, err := attest.LookupName(query.GetName())
		if err != nil {
			return nil, err
		}
		name = leaf.SHA256([]byte(lookup))
	}
	return func(l *leaf.Leaf) bool {
		return (digest == "" || slices.Contains(l.Subjects, digest) || slices.Contains(l.Outputs, digest)) &&
			(key == "" || slices.Contains(l.Keys, key)) &&
			(name == "" || slices.Contains(l.Names, name))
	}, nil
}

// list returns the entries for the query that are in the checkpoint's tree.
// They must ascend, as log order does: no ledger can answer without end, and no
// entry counts twice.
func (r *claimReader) list(ctx context.Context, query *cairnv1.ListAttestationsRequest) ([]*cairnv1.Entry, error) {
	var entries []*cairnv1.Entry
	req := &cairnv1.ListAttestationsRequest{Digest: query.GetDigest(), Name: query.GetName(), Key: query.GetKey(), PageSize: 1000}
	last := int64(-1)
	for {
		resp, err := r.client.ListAttestations(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, e := range resp.GetEntries() {
			if e.GetIndex() <= last {
				return nil, Misbehaved("the list is not in log order: entry %d follows entry %d", e.GetIndex(), last)
			}
			if last = e.GetIndex(); last >= r.checkpoint.N {
				return entries, nil // and so is all that follows
			}
			if entries = append(entries, e); len(entries) > MaxClaims {
				return nil, Misbehaved("the answer has more than %d entries", MaxClaims)
			}
		}
		if resp.GetNextPageToken() == "" {
			return entries, nil
		}
		if len(resp.GetEntries()) == 0 {
			return nil, Misbehaved("a page of the list has no entry, and is not the last")
		}
		req.PageToken = resp.GetNextPageToken()
	}
}

// logged gets the attestation of an entry, opens it and proves the entry.
func (r *claimReader) logged(ctx context.Context, e *cairnv1.Entry) (*Logged, error) {
	resp, err := r.client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: e.GetEnvelope()})
	if err != nil {
		return nil, err
	}
	if r.bytes += len(resp.GetAttestation()); r.bytes > MaxClaimBytes {
		return nil, fmt.Errorf("the attestations together are over the limit of %d bytes", MaxClaimBytes)
	}
	att, err := VerifyAttestation(resp)
	if err != nil {
		return nil, err
	}
	if e.GetLeaf() != string(att.Text) {
		return nil, Misbehaved("the list and the attestation have different leaves for entry %d", e.GetIndex())
	}
	if !r.about(att.Leaf) {
		return nil, Misbehaved("entry %d is not about what was asked", e.GetIndex())
	}
	if err := r.prove(ctx, e.GetIndex(), att.Text); err != nil {
		return nil, err
	}
	l := &Logged{Attestation: att, Index: e.GetIndex()}
	for _, k := range resp.GetKeys() {
		operator, err := r.operator(ctx, k)
		if err != nil {
			return nil, err
		}
		l.Operators = append(l.Operators, operator)
	}
	slices.Sort(l.Operators)
	l.Operators = slices.Compact(l.Operators)
	return l, nil
}

func (r *claimReader) prove(ctx context.Context, index int64, text []byte) error {
	proof, err := r.client.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &index, Size: r.checkpoint.N})
	if err != nil {
		return err
	}
	return VerifyInclusion(leaf.Hash(text), index, proof.GetInclusionProof(), tlog.Tree{N: r.checkpoint.N, Hash: r.checkpoint.Hash})
}

// operator returns whom the enrolment of a key names. The answer's word is not
// enough: the enrolment is read and proven like any other entry.
func (r *claimReader) operator(ctx context.Context, k *cairnv1.Key) (string, error) {
	fp := leaf.Fingerprint(k.GetFingerprint())
	if name, ok := r.operators[fp]; ok {
		return name, nil
	}
	e, err := r.client.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: k.GetEnrolledIndex()})
	if err != nil {
		return "", err
	}
	resp, err := r.client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: e.GetEntry().GetEnvelope()})
	if err != nil {
		return "", err
	}
	att, err := VerifyAttestation(resp)
	if err != nil {
		return "", err
	}
	if att.Enrolment == nil || att.Enrolment.Key.Fingerprint != fp {
		return "", Misbehaved("entry %d is not the enrolment of key %s", k.GetEnrolledIndex(), fp)
	}
	if err := r.prove(ctx, k.GetEnrolledIndex(), att.Text); err != nil {
		return "", err
	}
	r.operators[fp] = att.Enrolment.Operator
	return att.Enrolment.Operator, nil
}
