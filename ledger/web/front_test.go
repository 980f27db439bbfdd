package web

import (
	"context"
	"fmt"
	stdhtml "html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// hostileText is what a name, an operator or a log may hold: markup, controls, text turned
// round, and a word that no line has room for.
var hostileText = "<script>alert(1)</script>\x1b[2J\u202e\"'&" + strings.Repeat("W", 10_000)

// logReads answers from entries, whose indexes end with the checkpoint's size.
type logReads struct {
	entries []*cairnv1.Entry
	key     leaf.Fingerprint // that is enrolled
	err     error
}

func (f *logReads) find(ok func(*leaf.Leaf, *cairnv1.Entry) bool) []*cairnv1.Entry {
	var found []*cairnv1.Entry
	for _, e := range f.entries {
		if l, err := leaf.Parse([]byte(e.GetLeaf())); err == nil && ok(l, e) {
			found = append(found, e)
		}
	}
	return found
}

func (f *logReads) ListAttestations(_ context.Context, req *cairnv1.ListAttestationsRequest) (*cairnv1.ListAttestationsResponse, error) {
	found := f.find(func(l *leaf.Leaf, e *cairnv1.Entry) bool {
		switch {
		case req.GetDigest() != "":
			return strings.Contains(fmt.Sprint(l.Subjects, l.Outputs), req.GetDigest())
		case req.GetName() != "":
			return strings.Contains(fmt.Sprint(l.Names), string(leaf.NameHash(req.GetName())))
		}
		return req.GetPageToken() == "" || req.GetPageToken() <= query.PageToken(uint64(e.GetIndex()))
	})
	return &cairnv1.ListAttestationsResponse{Entries: found}, f.err
}

func (f *logReads) GetAttestation(_ context.Context, req *cairnv1.GetAttestationRequest) (*cairnv1.GetAttestationResponse, error) {
	found := f.find(func(l *leaf.Leaf, _ *cairnv1.Entry) bool {
		return l.Envelope.Hex() == strings.TrimPrefix(req.GetEnvelope(), "sha256:")
	})
	if len(found) == 0 {
		return nil, reason.Errorf(reason.AttestationNotFound, "no such attestation")
	}
	return &cairnv1.GetAttestationResponse{Entry: found[0]}, f.err
}

func (f *logReads) GetEntry(_ context.Context, req *cairnv1.GetEntryRequest) (*cairnv1.GetEntryResponse, error) {
	found := f.find(func(_ *leaf.Leaf, e *cairnv1.Entry) bool { return e.GetIndex() == req.GetIndex() })
	if len(found) == 0 {
		return nil, reason.Errorf(reason.EntryNotFound, "no such entry")
	}
	return &cairnv1.GetEntryResponse{Entry: found[0]}, f.err
}

func (f *logReads) GetInclusionProof(_ context.Context, req *cairnv1.GetInclusionProofRequest) (*cairnv1.GetInclusionProofResponse, error) {
	found := f.find(func(_ *leaf.Leaf, e *cairnv1.Entry) bool {
		if req.Index != nil {
			return e.GetIndex() == req.GetIndex()
		}
		return fmt.Sprintf("%x", leaf.Hash([]byte(e.GetLeaf()))) == strings.TrimPrefix(req.GetLeafHash(), "sha256:")
	})
	if len(found) == 0 {
		return nil, reason.Errorf(reason.EntryNotFound, "no such leaf")
	}
	return &cairnv1.GetInclusionProofResponse{Index: found[0].GetIndex()}, f.err
}

func (f *logReads) GetKey(_ context.Context, req *cairnv1.GetKeyRequest) (*cairnv1.GetKeyResponse, error) {
	if f.key == "" || req.GetFingerprint() != string(f.key) {
		return nil, reason.Errorf(reason.KeyNotFound, "no such key")
	}
	return &cairnv1.GetKeyResponse{Key: &cairnv1.Key{Fingerprint: string(f.key)}}, f.err
}

func sumOf(what string) leaf.Digest { return leaf.SHA256([]byte(what)) }

// entry returns an entry that says something of an artifact.
func entry(t testing.TB, index int64, result leaf.Result, artifact string) *cairnv1.Entry {
	t.Helper()
	l := &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Envelope: sumOf(fmt.Sprint("envelope", index)), Payload: sumOf(fmt.Sprint("payload", index)),
		Claim: leaf.ClaimReproduction, Result: result, Keys: []leaf.Fingerprint{leaf.Fingerprint(sumOf("key"))},
		Names: []leaf.Digest{leaf.NameHash("pkg:deb/debian/" + artifact)}, Subjects: []leaf.Digest{sumOf(artifact)},
	}
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &cairnv1.Entry{Index: index, Leaf: string(text), Envelope: l.Envelope.Hex()}
}

// enrolment returns the entry of a key.
func enrolment(t testing.TB, index int64) *cairnv1.Entry {
	t.Helper()
	l := &leaf.Leaf{
		Kind: leaf.KindEnrol, Format: "dsse", Envelope: sumOf("enrolment"), Payload: sumOf("key's payload"), Claim: leaf.ClaimOther, Result: leaf.NoResult,
		Keys: []leaf.Fingerprint{leaf.Fingerprint(sumOf("key"))}, Subjects: []leaf.Digest{sumOf("key")},
	}
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &cairnv1.Entry{Index: index, Leaf: string(text), Envelope: l.Envelope.Hex()}
}

// wantText fails unless a page shows all texts and answers with a status.
func wantText(t *testing.T, site *Site, path string, status int, texts ...string) string {
	t.Helper()
	got, body := get(t, site, path)
	if got != status {
		t.Errorf("%s: status %d, want %d", path, got, status)
	}
	seen := pageText(body)
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			t.Errorf("%s does not say %q:\n%s", path, text, seen)
		}
	}
	return body
}

// pageText returns what a page says: its text, with one space between words.
func pageText(body string) string {
	if _, main, found := strings.Cut(body, `<main id="main">`); found {
		body, _, _ = strings.Cut(main, "</main>")
	}
	body = regexp.MustCompile("</(td|th|dt|dd|li|p|h[1-6])>").ReplaceAllString(body, " ")
	text := strings.ReplaceAll(stdhtml.UnescapeString(regexp.MustCompile("<[^>]*>").ReplaceAllString(body, "")), "\u2009", "")
	return strings.Join(strings.Fields(text), " ")
}

// wantHarmless fails if a page lets hostile text through.
func wantHarmless(t *testing.T, path, body string) {
	t.Helper()
	for _, bad := range []string{"<script>alert", "\x1b", "\u202e"} {
		if strings.Contains(body, bad) {
			t.Errorf("%s has %q in it", path, bad)
		}
	}
}

func differing(name, operator string) survey.Disagreement {
	return survey.Disagreement{Package: name, Verdict: verify.VerdictDiffers, Statement: survey.Statement{
		Entry: 1234560, At: now.Add(-3 * time.Hour), Word: survey.Different, Artifact: sumOf("a"), Output: sumOf("b"),
		Claim: leaf.ClaimReproduction, Result: leaf.Different,
		Rebuilder: survey.Rebuilder{Key: leaf.Fingerprint(sumOf("key")), Operator: operator, Heard: true},
	}}
}

func TestFront(t *testing.T) {
	s := &fakeSurvey{
		summary:       survey.Summary{Packages: 1200, Unheard: 3, Rebuilders: 8, Operators: 5, Counts: survey.Counts{verify.VerdictReproduced: 1100, verify.VerdictDiffers: 100}},
		disagreements: []survey.Disagreement{differing("pkg:deb/debian/hello@2.10-3", "https://alice.example")},
		growth:        []survey.Point{{At: now.Add(-48 * time.Hour), Size: 1000}, {At: now, Size: 1234567}},
	}
	reads := &logReads{entries: []*cairnv1.Entry{enrolment(t, 1234564), entry(t, 1234565, leaf.Identical, "hello"), entry(t, 1234566, leaf.BuildFailed, "zlib")}}
	site := newSite(t, s, func(c *Config) { c.Reads, c.Builds = reads, &fakeQueue{builds: someBuilds()} })
	body := wantText(t, site, "/", http.StatusOK,
		"1234567 entries", "1200 packages, by 8 keys of 5 operators", "1100 ✓ reproduced", "100 ✗ differs",
		"✗ differs pkg:deb/debian/hello@2.10-3 https://alice.example ✗ got something else", "(3 h ago)",
		"1234566 reproduction ! build failed", "1234565 reproduction ✓ identical", "1234564 enrol – enrol", "core-go reproduction 7: worker-1 of https://bob.example",
		"no witnesses are asked for", "Trust it only as far as you check it", "log log.example/test+", "export CAIRN_LEDGER=http://example.com")
	for _, link := range []string{
		`href="/e/1234566"`, `href="/e/1234560"`, `href="/p/pkg:deb/debian/hello@2.10-3"`, `href="/p/` + string(sumOf("zlib")) + `"`,
		`href="/rebuilders/` + string(sumOf("key")) + `"`, `href="/builds/7"`, `src="/packages/strip.png"`, `href="/readyz"`,
	} {
		if !strings.Contains(body, link) {
			t.Errorf("no %s", link)
		}
	}
	if strings.Contains(body, `href="/p/`+string(sumOf("key"))) {
		t.Error("a key is linked as an artifact")
	}
	_, text := get(t, site, "/index.json")
	for _, want := range []string{`"schema": "cairn/web/front/v1"`, `"size": 1234567`, `"checkpoint": "2026-11-22T11:59:00Z"`, `"verdict": "differs"`, `"packages": 1200`} {
		if !strings.Contains(text, want) {
			t.Errorf("the twin has no %s:\n%s", want, text)
		}
	}
}

func TestFrontWithLittle(t *testing.T) {
	body := wantText(t, newSite(t, nil, nil), "/", http.StatusOK,
		"This ledger keeps no table of packages.", "verdicts.database", "Not known: without a table of packages", "There are none yet.")
	if strings.Contains(body, "Builds running now") || strings.Contains(body, "strip.png") {
		t.Error("the page shows what this ledger does not keep")
	}
	wantText(t, newSite(t, &fakeSurvey{err: context.DeadlineExceeded}, nil), "/", http.StatusOK,
		"The table of packages cannot be read.", "Not known:", "1234567 entries")
	wantText(t, newSite(t, &fakeSurvey{}, nil), "/", http.StatusOK, "0 packages", "None: nobody whom the policy hears contradicts another.")
	_, text := get(t, newSite(t, nil, nil), "/index.json")
	if strings.Contains(text, "null") {
		t.Errorf("a list of the twin is null: %s", text)
	}
}

func TestFrontShowsHostileTextAsText(t *testing.T) {
	site := newSite(t, &fakeSurvey{disagreements: []survey.Disagreement{differing(hostileText, hostileText)}}, func(c *Config) {
		c.Builds = &fakeQueue{builds: []*cairnv1.Build{hostileBuild()}}
	})
	wantHarmless(t, "/", wantText(t, site, "/", http.StatusOK, `<script>alert(1)</script>\u001b[2J\u202e"'&WWW`))
}

func TestBaseURL(t *testing.T) {
	for host, want := range map[string]string{
		"ledger.example:8080": "http://ledger.example:8080", "[::1]:80": "http://[::1]:80",
		"": "https://LEDGER", "x;rm -rf ~": "https://LEDGER", "x`id`": "https://LEDGER", strings.Repeat("a", 256): "https://LEDGER",
	} {
		r := &http.Request{Host: host, Header: http.Header{}}
		if got := baseURL(r); got != want {
			t.Errorf("of host %q: %q, want %q", host, got, want)
		}
	}
}
