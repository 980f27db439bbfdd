package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	maxQuery   = 4096 // bytes
	maxResults = 100
)

// searchView is what was asked, and what was found.
type searchView struct {
	Query string `json:"query"`
	// Kind is what the question was taken for: a digest, a package URL, an entry, a key,
	// a page or a part of a name.
	Kind    string    `json:"kind,omitempty"`
	Results []hit     `json:"results"`
	More    bool      `json:"more"`              // there may be more than are listed
	Problem string    `json:"problem,omitempty"` // why nothing can be found
	Names   bool      `json:"names"`             // whether parts of names can be looked for here
	Limits  hitLimits `json:"-"`
}

type hitLimits struct{ Query, Results int }

// hit is something that was found. Its Path is on this site, whatever others named it.
type hit struct {
	Path    string          `json:"path"`
	Kind    string          `json:"kind"` // package, entry, rebuilder or page
	Name    string          `json:"name"`
	Digest  leaf.Digest     `json:"digest,omitempty"`
	Verdict *verify.Verdict `json:"verdict,omitempty"`
}

// search finds what a text names. If that is one thing, its page is the answer.
func (s *Site) search(r *http.Request) (*page, error) {
	q := r.URL.Query().Get("q")
	if len(q) > maxQuery {
		return nil, reason.Errorf(reason.ArgumentInvalid, "q has %d bytes, at most %d are looked for", len(q), maxQuery)
	}
	q = strings.TrimSpace(q)
	v := &searchView{Query: q, Results: []hit{}, Names: s.cfg.Survey != nil, Limits: hitLimits{maxQuery, maxResults}}
	p := &page{name: "search", title: "Search", view: v}
	if q == "" {
		return p, nil
	}
	var err error
	if v.Kind, v.Results, err = s.find(r, q); err != nil {
		if refusal, ok := reason.Of(err); !ok || refusal.Reason != reason.PurlInvalid {
			return nil, err
		}
		v.Problem = err.Error()
	}
	if v.Results == nil {
		v.Results = []hit{}
	}
	if len(v.Results) >= maxResults {
		v.Results, v.More = v.Results[:maxResults], true
	}
	p.title = "Search: " + q
	if len(v.Results) == 1 {
		p.redirect = v.Results[0].Path
	}
	return p, nil
}

// find takes a text for what it looks like.
func (s *Site) find(r *http.Request, q string) (kind string, found []hit, err error) {
	ctx := r.Context()
	if path, ok := ourPath(r, q); ok {
		return "a page of this site", []hit{{Path: path, Kind: "page", Name: path}}, nil
	}
	if index, ok := s.indexIn(q); ok {
		return "an entry", s.findEntry(index), nil
	}
	if isPurl(q) {
		found, err = s.findPurl(ctx, q)
		return "a package URL", found, err
	}
	if d, ok := digestIn(q); ok {
		found, err = s.findDigest(ctx, d)
		return "a digest, or the fingerprint of a key", found, err
	}
	found, err = s.findText(ctx, q)
	return "a part of a name", found, err
}

// ourPath returns the path of a page that a URL of this site names.
func ourPath(r *http.Request, q string) (string, bool) {
	u, err := url.Parse(q)
	if err != nil || u.Host != "" && (u.Host != r.Host || u.Scheme != "http" && u.Scheme != "https") || !strings.HasPrefix(u.Path, "/") {
		return "", false
	}
	number := func(name string) bool { _, err := number63("", name); return err == nil }
	for below, valid := range map[string]func(string) bool{
		"/p/":          func(name string) bool { return name != "" && path.Clean("/"+name) == "/"+name },
		"/rebuilders/": func(name string) bool { return leaf.Fingerprint(name).Valid() },
		"/e/":          number,
		"/builds/":     number,
	} {
		if name, found := strings.CutPrefix(u.Path, below); found {
			name, _ = suffixOf(name)
			return pathOf(below, name), valid(name)
		}
	}
	name, _ := suffixOf(u.Path)
	for _, m := range menu {
		if name == m.Path {
			return m.Path, true
		}
	}
	return "", false
}

// indexIn returns the index that a number, or this log's origin, # and a number, names.
func (s *Site) indexIn(q string) (int64, bool) {
	if origin, index, found := strings.Cut(q, "#"); found {
		latest := s.cfg.Board.Latest()
		if latest == nil || latest.Origin != origin {
			return 0, false
		}
		q = index
	}
	index, err := strconv.ParseInt(q, 10, 64)
	return index, err == nil && index >= 0
}

func (s *Site) findEntry(index int64) []hit {
	if latest := s.cfg.Board.Latest(); latest == nil || index >= latest.N {
		return nil
	}
	text := strconv.FormatInt(index, 10)
	return []hit{{Path: "/e/" + text, Kind: "entry", Name: text}}
}

func isPurl(q string) bool { return len(q) >= 4 && strings.EqualFold(q[:4], "pkg:") }

// findPurl finds a package; without a version, also those that have one.
func (s *Site) findPurl(ctx context.Context, q string) ([]hit, error) {
	name, err := attest.LookupName(q)
	if err != nil {
		return nil, err
	}
	if s.cfg.Survey == nil {
		return s.listEntries(ctx, &cairnv1.ListAttestationsRequest{Name: name})
	}
	found, err := s.findPackage(ctx, name)
	if len(found) > 0 || err != nil {
		return found, err
	}
	return s.findRows(ctx, name)
}

// findPackage finds what goes by a look-up name or digest.
func (s *Site) findPackage(ctx context.Context, name string) ([]hit, error) {
	if s.cfg.Survey == nil {
		return nil, nil
	}
	p, err := s.cfg.Survey.Package(ctx, name)
	if errors.Is(err, survey.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h := hit{Path: pathOf("/p/", name), Kind: "package", Name: p.Package, Verdict: &p.Verdict}
	if len(p.Artifacts) > 0 {
		h.Digest = p.Artifacts[0].Digest
	}
	return []hit{h}, nil
}

func (s *Site) findRows(ctx context.Context, text string) ([]hit, error) {
	rows, err := s.cfg.Survey.Find(ctx, text, maxResults)
	if err != nil {
		return nil, err
	}
	var found []hit
	for i := range rows {
		row := &rows[i]
		found = append(found, hit{pathOf("/p/", row.Package), "package", row.Package, row.Artifact, &row.Verdict})
	}
	return found, nil
}

// digestIn returns the digest or fingerprint in a text: also hex alone, which is the
// digest of its length or an OpenPGP fingerprint, and in capitals.
func digestIn(q string) (string, bool) {
	q = strings.ToLower(q)
	switch len(q) {
	case 40:
		q = "openpgp:" + q
	case 64:
		q = "sha256:" + q
	case 128:
		q = "sha512:" + q
	}
	return q, leaf.Digest(q).Valid() || leaf.Fingerprint(q).Valid()
}

// findDigest finds what a digest is of: artifacts first, then keys, attestations and
// leaves. For artifacts that have no page, their entries are found.
func (s *Site) findDigest(ctx context.Context, d string) ([]hit, error) {
	var found []hit
	finders := []func(context.Context, string) ([]hit, error){s.findKey}
	if leaf.Digest(d).Valid() {
		finders = []func(context.Context, string) ([]hit, error){s.findArtifact, s.findKey, s.findEnvelope, s.findLeaf}
	}
	for _, f := range finders {
		more, err := f(ctx, d)
		if err != nil {
			return nil, err
		}
		for _, h := range more {
			if !slices.ContainsFunc(found, func(other hit) bool { return other.Path == h.Path }) {
				found = append(found, h)
			}
		}
	}
	return found, nil
}

func (s *Site) findArtifact(ctx context.Context, d string) ([]hit, error) {
	found, err := s.findPackage(ctx, d)
	if len(found) > 0 || err != nil {
		return found, err
	}
	return s.listEntries(ctx, &cairnv1.ListAttestationsRequest{Digest: d})
}

func (s *Site) listEntries(ctx context.Context, req *cairnv1.ListAttestationsRequest) ([]hit, error) {
	req.PageSize = maxResults
	list, err := s.cfg.Reads.ListAttestations(ctx, req)
	if err != nil {
		return nil, err
	}
	var found []hit
	for _, e := range list.GetEntries() {
		found = append(found, entryHit(e.GetIndex(), ""))
	}
	return found, nil
}

func entryHit(index int64, of string) hit {
	text := strconv.FormatInt(index, 10)
	return hit{Path: "/e/" + text, Kind: "entry", Name: strings.TrimSpace(text + " " + of)}
}

func (s *Site) findKey(ctx context.Context, d string) ([]hit, error) {
	if !leaf.Fingerprint(d).Valid() {
		return nil, nil
	}
	_, err := s.cfg.Reads.GetKey(ctx, &cairnv1.GetKeyRequest{Fingerprint: d})
	if missing, err := noneIf(err, reason.KeyNotFound); missing || err != nil {
		return nil, err
	}
	return []hit{{Path: pathOf("/rebuilders/", d), Kind: "rebuilder", Name: d}}, nil
}

func (s *Site) findEnvelope(ctx context.Context, d string) ([]hit, error) {
	if strings.HasPrefix(d, "sha512:") {
		return nil, nil
	}
	a, err := s.cfg.Reads.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: d})
	if missing, err := noneIf(err, reason.AttestationNotFound); missing || err != nil {
		return nil, err
	}
	return []hit{entryHit(a.GetEntry().GetIndex(), "has this attestation")}, nil
}

func (s *Site) findLeaf(ctx context.Context, d string) ([]hit, error) {
	if strings.HasPrefix(d, "sha512:") {
		return nil, nil
	}
	p, err := s.cfg.Reads.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{LeafHash: d})
	if missing, err := noneIf(err, reason.EntryNotFound); missing || err != nil {
		return nil, err
	}
	return []hit{entryHit(p.GetIndex(), "has this leaf hash")}, nil
}

// noneIf tells a refusal that says that there is no such thing, or nothing at all yet,
// from other errors.
func noneIf(err error, none reason.Reason) (bool, error) {
	if reason.Is(err, none) || reason.Is(err, reason.NothingPublished) {
		return true, nil
	}
	return false, err
}

// findText finds packages and rebuilders by a part of their names.
func (s *Site) findText(ctx context.Context, q string) ([]hit, error) {
	if s.cfg.Survey == nil {
		return nil, nil
	}
	found, err := s.findPackage(ctx, q)
	if len(found) > 0 || err != nil {
		return found, err
	}
	if found, err = s.findRows(ctx, q); err != nil {
		return nil, err
	}
	list, err := s.cfg.Survey.Rebuilders(ctx, maxResults)
	if err != nil {
		return nil, err
	}
	lower := strings.ToLower(q)
	for _, p := range list {
		if strings.Contains(strings.ToLower(p.Name), lower) || strings.Contains(strings.ToLower(p.Operator), lower) {
			found = append(found, hit{Path: pathOf("/rebuilders/", string(p.Key)), Kind: "rebuilder", Name: strings.TrimSpace(p.Name + " " + p.Operator)})
		}
	}
	return found, nil
}
