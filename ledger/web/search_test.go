package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// searched is a site with a package, a rebuilder and entries to search for.
func searched(t *testing.T) (*Site, *fakeSurvey, *logReads) {
	t.Helper()
	name := "pkg:deb/debian/hello@2.10-3"
	hello := &survey.Package{Package: name, Verdict: verify.VerdictDiffers, Artifacts: []survey.Artifact{{Digest: sumOf("hello")}}}
	s := &fakeSurvey{packages: map[string]*survey.Package{name: hello, string(sumOf("hello")): hello}}
	s.profiles = []survey.Profile{{Rebuilder: survey.Rebuilder{Key: leaf.Fingerprint(sumOf("key")), Name: "bob", Operator: "https://rebuild.example"}}}
	reads := &logReads{key: leaf.Fingerprint(sumOf("key")), entries: []*cairnv1.Entry{
		entry(t, 5, leaf.Identical, "zlib"), entry(t, 6, leaf.Different, "zlib"), entry(t, 7, leaf.Identical, "make"),
	}}
	return newSite(t, s, func(c *Config) { c.Reads = reads }), s, reads
}

// ask returns the status of a search, and where it sends the reader.
func ask(t testing.TB, site *Site, q string) (status int, location string) {
	t.Helper()
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/search?"+url.Values{"q": {q}}.Encode(), nil))
	return w.Code, w.Header().Get("Location")
}

func TestSearchGoesToTheOneThing(t *testing.T) {
	site, _, reads := searched(t)
	hash := func(b []byte) string { return fmt.Sprintf("%x", b) }
	hello := string(sumOf("hello"))
	tests := []struct{ name, q, want string }{
		{"a digest", hello, "/p/" + hello},
		{"hex alone", sumOf("hello").Hex(), "/p/" + hello},
		{"capitals and spaces", "  " + strings.ToUpper(sumOf("hello").Hex()) + "\n", "/p/" + hello},
		{"a digest in one entry, which has no page", string(sumOf("make")), "/e/7"},
		{"a key", string(sumOf("key")), "/rebuilders/" + string(sumOf("key"))},
		{"an attestation", sumOf("envelope6").Hex(), "/e/6"},
		{"a leaf", hash(leaf.Hash([]byte(reads.entries[0].GetLeaf()))), "/e/5"},
		{"a package URL", "pkg:deb/debian/hello@2.10-3", "/p/pkg:deb/debian/hello@2.10-3"},
		{"an index", "7", "/e/7"},
		{"an index of this log", "log.example/test#7", "/e/7"},
		{"a page", "http://example.com/e/7", "/e/7"},
		{"a twin", "http://example.com/p/pkg:deb/debian/hello@2.10-3.json", "/p/pkg:deb/debian/hello@2.10-3"},
		{"a page without its host", "/witnesses.json", "/witnesses"},
		{"a rebuilder", "Rebuild.Example", "/rebuilders/" + string(sumOf("key"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if status, got := ask(t, site, tt.q); status != http.StatusSeeOther || got != tt.want {
				t.Errorf("%d %s, want %s", status, got, tt.want)
			}
		})
	}
}

func TestSearchSaysThatThereIsNothing(t *testing.T) {
	site, _, _ := searched(t)
	for _, tt := range []struct{ name, q, says string }{
		{"an unknown digest", string(sumOf("x")), "a digest, or the fingerprint of a key"},
		{"a digest of another length", "sha512:" + strings.Repeat("a", 128), "a digest, or"},
		{"an unknown OpenPGP key", strings.Repeat("A", 40), "a digest, or the fingerprint"},
		{"an index beyond the end", "1234567", "taken for an entry"},
		{"an index of another log", "other.example#7", "taken for a part of a name"},
		{"a negative index", "-7", "taken for a part of a name"},
		{"another host's page", "http://evil.example/e/7", "taken for a part of a name"},
		{"no path of this site", "//evil.example/e/7", "taken for a part of a name"},
		{"a path that leads elsewhere", "/p/../..//evil.example", "taken for a part of a name"},
		{"a page of no entry", "/e/x", "taken for a part of a name"},
		{"a script", "javascript:alert(1)", "taken for a part of a name"},
		{"a bad package URL", "pkg:", "parsing package URL"},
		{"an unknown package", "pkg:deb/debian/nothing", "taken for a package URL"},
		{"hostile text", hostileText[:1000], `<script>alert(1)</script>\u001b[2J\u202e"'&WWW`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := wantText(t, site, "/search?q="+url.QueryEscape(tt.q), http.StatusOK, "Nothing found for", tt.says, "What can be asked for")
			wantHarmless(t, tt.q, body)
		})
	}
	wantText(t, site, "/search", http.StatusOK, "What can be asked for", "At most 4096 bytes are looked for, and 100 results are shown.")
	wantText(t, site, "/search?q="+strings.Repeat("a", maxQuery+1), http.StatusBadRequest, "q has 4097 bytes, at most 4096 are looked for")
}

func TestSearchLists(t *testing.T) {
	site, s, reads := searched(t)
	s.found = []survey.Row{
		{Package: "pkg:deb/debian/hello@1", Artifact: sumOf("1"), Verdict: verify.VerdictReproduced},
		{Package: hostileText, Artifact: sumOf("2")},
	}
	body := wantText(t, site, "/search?q=hell", http.StatusOK, "2 results for hell, taken for a part of a name.",
		"✓ reproduced pkg:deb/debian/hello@1 package", "? not enough evidence <script>alert(1)</script>")
	wantHarmless(t, "/search?q=hell", body)
	_, text := get(t, site, "/search.json?q=hell")
	for _, want := range []string{`"kind": "a part of a name"`, `"path": "/p/pkg:deb/debian/hello@1"`, `"verdict": "reproduced"`, `"more": false`} {
		if !strings.Contains(text, want) {
			t.Errorf("the twin has no %s:\n%s", want, text)
		}
	}
	wantText(t, site, "/search?q="+string(sumOf("zlib")), http.StatusOK, "2 results for", "5 entry", "6 entry")
	// A digest can be a key's and an attestation's at once.
	reads.key = leaf.Fingerprint(sumOf("envelope7"))
	wantText(t, site, "/search?q="+sumOf("envelope7").Hex(), http.StatusOK, string(reads.key)+" rebuilder", "7 has this attestation entry")
	s.found = make([]survey.Row, maxResults)
	wantText(t, site, "/search?q=hell", http.StatusOK, "The first 100 results for hell, taken for a part of a name. Ask for more")
	if _, text := get(t, site, "/search.json?q=nothing"); !strings.Contains(text, `"more": true`) {
		t.Errorf("the twin does not say that there is more")
	}
}

func TestSearchWithoutATable(t *testing.T) {
	_, _, reads := searched(t)
	site := newSite(t, nil, func(c *Config) { c.Reads = reads })
	if _, got := ask(t, site, "pkg:deb/debian/make"); got != "/e/7" {
		t.Errorf("a package URL leads to %s", got)
	}
	wantText(t, site, "/search?q=make", http.StatusOK, "Nothing found for", "this ledger keeps no table of packages")
}

// Wherever a search leads to is a path of this site.
func FuzzSearch(f *testing.F) {
	for _, q := range []string{"7", "//evil.example", "/p//evil.example", "http://example.com//evil.example", `/\evil.example`, "/e/..//evil", "/p/a.json/", "pkg:deb/debian/hello@1?arch=amd64", "log.example/test#7", "/builds/%2e%2e"} {
		f.Add(q)
	}
	site := newSite(f, &fakeSurvey{found: []survey.Row{{Package: "a"}}}, func(c *Config) { c.Reads = &logReads{} })
	f.Fuzz(func(t *testing.T, q string) {
		status, location := ask(t, site, q)
		switch {
		case status != http.StatusSeeOther && status != http.StatusOK && status != http.StatusBadRequest:
			t.Errorf("%q: %d", q, status)
		case status == http.StatusSeeOther && (!strings.HasPrefix(location, "/") || strings.HasPrefix(location, "//") || strings.Contains(location, `\`)):
			t.Errorf("%q leads to %s", q, location)
		}
	})
}
