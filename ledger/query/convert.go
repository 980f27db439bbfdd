package query

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func itoa(i uint64) string { return strconv.FormatUint(i, 10) }

// parseSHA256 takes a sha256 digest in hex, with or without its algorithm.
func parseSHA256(what, s string) (leaf.Digest, error) {
	d := leaf.Digest("sha256:" + strings.TrimPrefix(s, "sha256:"))
	if !d.Valid() {
		return "", reason.Errorf(reason.ArgumentInvalid, "%s %.80q is not a SHA-256 in lower-case hex", what, s)
	}
	return d, nil
}

func parseFingerprint(s string) (leaf.Fingerprint, error) {
	fp := leaf.Fingerprint(s)
	if !fp.Valid() {
		return "", reason.Errorf(reason.ArgumentInvalid, "fingerprint %.80q is neither sha256:<64 hex> nor openpgp:<40 or 64 hex>", s)
	}
	return fp, nil
}

func protoEntry(e *store.Entry, envelope leaf.Digest) *cairnv1.Entry {
	return &cairnv1.Entry{Index: int64(e.Index), Leaf: string(e.Text), Envelope: envelope.Hex()}
}

func entryOf(e *store.Entry) (*cairnv1.Entry, error) {
	l, err := leaf.Parse(e.Text)
	if err != nil {
		return nil, err
	}
	return protoEntry(e, l.Envelope), nil
}

func protoClaim(a *attest.Attestation) *cairnv1.Claim {
	c := &a.Claim
	p := &cairnv1.Claim{
		Kind:          string(c.Kind),
		Format:        c.Format,
		Claim:         string(c.Claim),
		Obtained:      string(c.Obtained),
		PredicateType: c.PredicateType,
		Subjects:      protoResources(c.Subjects),
		Outputs:       protoResources(c.Outputs),
		Materials:     protoResources(c.Materials),
		BuilderId:     c.BuilderID,
		Operator:      c.Operator,
	}
	if c.Result != leaf.NoResult {
		p.Result = string(c.Result)
	}
	for _, k := range a.Keys {
		p.Keys = append(p.Keys, string(k.Fingerprint))
	}
	return p
}

func protoResources(rs []attest.Resource) []*cairnv1.Resource {
	ps := make([]*cairnv1.Resource, 0, len(rs))
	for i := range rs {
		ps = append(ps, protoResource(&rs[i]))
	}
	return ps
}

func protoResource(r *attest.Resource) *cairnv1.Resource {
	p := &cairnv1.Resource{Name: r.Name, Uri: r.URI, Role: r.Role}
	for _, alg := range slices.Sorted(maps.Keys(r.Digests)) {
		p.Digests = append(p.Digests, alg+":"+r.Digests[alg])
	}
	return p
}

// ProtoKey returns a key as an answer has it.
func ProtoKey(k *store.Key) *cairnv1.Key {
	p := &cairnv1.Key{
		Fingerprint:   string(k.Fingerprint),
		PublicKey:     k.PEM,
		Operator:      k.Operator,
		Url:           k.URL,
		EnrolledIndex: int64(k.Enrolled),
		Endorser:      string(k.Endorser),
		Withdrawn:     k.Withdrawn,
	}
	if k.Revoked != nil {
		i := int64(*k.Revoked)
		p.RevokedIndex = &i
	}
	return p
}
