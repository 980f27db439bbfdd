package query

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	defaultPageSize = 100
	maxPageSize     = 1000
	// maxClaims and maxClaimBytes bound GetArtifact, which reads each claim's
	// attestation; the answer is of the order of their size.
	maxClaims     = 250
	maxClaimBytes = 4 << 20
	// maxReading bounds how long it does so: what an OpenPGP key was at some index
	// may have to be found out.
	maxReading = 5 * time.Second
	// maxPageBytes bounds the leaves of a page; at least one is given.
	maxPageBytes = 2 << 20
)

// ListAttestations implements cairnv1.LedgerServiceServer.
func (s *Service) ListAttestations(ctx context.Context, req *cairnv1.ListAttestationsRequest) (*cairnv1.ListAttestationsResponse, error) {
	from, err := parsePageToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit := int(req.GetPageSize())
	switch {
	case limit == 0:
		limit = defaultPageSize
	case limit < 0 || limit > maxPageSize:
		return nil, reason.Errorf(reason.ArgumentInvalid, "page_size %d is not between 1 and %d", limit, maxPageSize)
	}
	found, latest, err := s.findPage(ctx, req, from, limit+1)
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.ListAttestationsResponse{Checkpoint: string(latest.Signed), CompleteUpTo: latest.N}
	return resp, s.fillPage(ctx, resp, found, limit)
}

// fillPage puts at most limit of the found entries into resp, and the token of
// the next page if there are more.
func (s *Service) fillPage(ctx context.Context, resp *cairnv1.ListAttestationsResponse, found []uint64, limit int) error {
	size := 0
	for i, index := range found {
		if i == limit || size > maxPageBytes {
			resp.NextPageToken = PageToken(index)
			return nil
		}
		entries, err := s.Index.Entries(ctx, found[i:i+1])
		if err != nil {
			return err
		}
		e, err := entryOf(&entries[0])
		if err != nil {
			return err
		}
		resp.Entries = append(resp.Entries, e)
		size += len(e.Leaf)
	}
	return nil
}

// findPage returns the published entries that a request asks for, and the
// checkpoint that they are published by.
func (s *Service) findPage(ctx context.Context, req *cairnv1.ListAttestationsRequest, from uint64, limit int) ([]uint64, *checkpoint.Published, error) {
	term, all, err := listTerm(req)
	if err != nil {
		return nil, nil, err
	}
	if all {
		latest, err := s.Latest()
		if err != nil {
			return nil, nil, err
		}
		var found []uint64
		for i := from; i < uint64(latest.N) && len(found) < limit; i++ {
			found = append(found, i)
		}
		return found, latest, nil
	}
	return s.published(ctx, func() ([]uint64, error) { return s.Index.Find(ctx, term, from, limit) })
}

// listTerm returns the term that a request names, or that it names none.
func listTerm(req *cairnv1.ListAttestationsRequest) (t store.Term, all bool, err error) {
	given := 0
	for _, v := range []string{req.GetDigest(), req.GetName(), req.GetKey()} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return t, true, nil
	case given > 1:
		return t, false, reason.Errorf(reason.ArgumentInvalid, "give one of digest, name and key")
	case req.GetDigest() != "":
		d, err := leaf.ParseDigest(req.GetDigest())
		if err != nil {
			return t, false, reason.Errorf(reason.ArgumentInvalid, "digest: %w", err)
		}
		return store.DigestTerm(d), false, nil
	case req.GetKey() != "":
		fp, err := parseFingerprint(req.GetKey())
		return store.KeyTerm(fp), false, err
	}
	d, err := parseName(req.GetName())
	return store.NameTerm(d), false, err
}

// parseName returns the name hash of a purl, or of a hash as it is.
func parseName(s string) (leaf.Digest, error) {
	if strings.HasPrefix(s, "sha256:") {
		return parseSHA256("name", s)
	}
	name, err := attest.LookupName(s)
	if err != nil {
		return "", err
	}
	return leaf.NameHash(name), nil
}

// GetArtifact implements cairnv1.LedgerServiceServer.
func (s *Service) GetArtifact(ctx context.Context, req *cairnv1.GetArtifactRequest) (*cairnv1.GetArtifactResponse, error) {
	digest, err := leaf.ParseDigest(req.GetDigest())
	if err != nil {
		return nil, reason.Errorf(reason.ArgumentInvalid, "digest: %w", err)
	}
	found, latest, err := s.published(ctx, func() ([]uint64, error) {
		return s.Index.Find(ctx, store.DigestTerm(digest), 0, maxClaims+1)
	})
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.GetArtifactResponse{Checkpoint: string(latest.Signed), CompleteUpTo: latest.N}
	if len(found) > maxClaims {
		found, resp.Truncated = found[:maxClaims], true
	}
	entries, err := s.Index.Entries(ctx, found)
	if err != nil {
		return nil, err
	}
	a := artifact{digest: digest, service: s}
	cut, err := a.read(ctx, entries)
	if err != nil {
		return nil, err
	}
	resp.Truncated = resp.Truncated || cut
	resp.Groups, resp.Materials = a.groups, a.materials
	return resp, nil
}

// artifact collects the claims about one digest.
type artifact struct {
	digest    leaf.Digest
	service   *Service
	groups    []*cairnv1.OutputGroup
	materials []*cairnv1.Resource
	bytes     int             // of the attestations read
	seen      map[string]bool // materials, by URI and digests
}

// read adds entries, and reports whether it left some out, as they take too much.
func (a *artifact) read(ctx context.Context, entries []store.Entry) (cut bool, err error) {
	reading, stop := context.WithTimeout(ctx, cmp.Or(a.service.Patience, maxReading))
	defer stop()
	for i := range entries {
		if a.bytes > maxClaimBytes {
			return true, nil
		}
		err := reading.Err()
		if err == nil {
			err = a.add(reading, &entries[i])
		}
		switch {
		case err != nil && reading.Err() != nil && ctx.Err() == nil:
			return true, nil
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

func (a *artifact) add(ctx context.Context, e *store.Entry) error {
	l, err := leaf.Parse(e.Text)
	if err != nil {
		return err
	}
	if l.Kind != leaf.KindAttestation {
		return nil
	}
	att, err := a.service.open(ctx, e)
	if err != nil {
		return err
	}
	a.bytes += len(att.Raw)
	keys, err := a.service.enrolled(ctx, att)
	if err != nil {
		return err
	}
	g := a.group(outputFor(a.digest, &att.Claim))
	g.Claims = append(g.Claims, &cairnv1.LoggedClaim{Index: int64(e.Index), Claim: protoClaim(att)})
	for _, key := range keys {
		if i, ok := slices.BinarySearch(g.Operators, key.Operator); !ok {
			g.Operators = slices.Insert(g.Operators, i, key.Operator)
		}
	}
	if att.Claim.Claim == leaf.ClaimBuild {
		a.addMaterials(att.Claim.Materials)
	}
	return nil
}

func (a *artifact) group(output string) *cairnv1.OutputGroup {
	for _, g := range a.groups {
		if g.Output == output {
			return g
		}
	}
	g := &cairnv1.OutputGroup{Output: output}
	a.groups = append(a.groups, g)
	return g
}

func (a *artifact) addMaterials(ms []attest.Resource) {
	if a.seen == nil {
		a.seen = make(map[string]bool)
	}
	for i := range ms {
		m := protoResource(&ms[i])
		key := m.Uri + "\n" + strings.Join(m.Digests, "\n")
		if !a.seen[key] {
			a.seen[key] = true
			a.materials = append(a.materials, m)
		}
	}
}

// outputFor returns the digest that a claim reports for the artifact: the
// artifact's own where they are equal, otherwise the output of the same name,
// otherwise the first. Empty if the claim obtained nothing.
func outputFor(digest leaf.Digest, c *attest.Claim) string {
	has := func(r attest.Resource) bool { return slices.Contains(r.Strong(), digest) }
	if c.Claim != leaf.ClaimReproduction || slices.ContainsFunc(c.Outputs, has) {
		return string(digest)
	}
	if len(c.Outputs) == 0 {
		if c.Result == leaf.Identical {
			return string(digest)
		}
		return ""
	}
	if i := slices.IndexFunc(c.Subjects, has); i >= 0 && c.Subjects[i].Name != "" {
		name := c.Subjects[i].Name
		if j := slices.IndexFunc(c.Outputs, func(r attest.Resource) bool { return r.Name == name }); j >= 0 {
			return string(c.Outputs[j].Strong()[0])
		}
	}
	return string(c.Outputs[0].Strong()[0])
}

// PageToken returns the token of the page of ListAttestations that begins at an index.
// It stays right while the log grows.
func PageToken(index uint64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("from " + itoa(index)))
}

func parsePageToken(token string) (uint64, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		if digits, ok := strings.CutPrefix(string(b), "from "); ok {
			if index, err := strconv.ParseUint(digits, 10, 62); err == nil {
				return index, nil
			}
		}
	}
	return 0, reason.Errorf(reason.ArgumentInvalid, "page_token %.40q is not one that this ledger gave", token)
}
