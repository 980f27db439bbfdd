package web

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	stdhtml "html"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

var tags = regexp.MustCompile(`<[^>]*>`)

// mainText returns what a page's main part says, without its markup.
func mainText(t testing.TB, body string) string {
	t.Helper()
	_, text, found := strings.Cut(body, `<main id="main">`)
	text, _, closed := strings.Cut(text, "</main>")
	if !found || !closed {
		t.Fatalf("no main part in %s", body)
	}
	return strings.Join(strings.Fields(stdhtml.UnescapeString(tags.ReplaceAllString(text, " "))), " ")
}

// wants checks that a text has others in it.
func wants(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// wantsText checks the status of a page, and what it says.
func wantsText(t testing.TB, site *Site, path string, status int, parts ...string) (body string) {
	t.Helper()
	got, body := get(t, site, path)
	if got != status {
		t.Errorf("%s: status %d, want %d", path, got, status)
	}
	wants(t, mainText(t, body), parts...)
	return body
}

// twinOf returns the view of a page's twin.
func twinOf(t testing.TB, site *Site, path string) map[string]any {
	t.Helper()
	status, body := get(t, site, path)
	var a struct{ View map[string]any }
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", path, status, err, body)
	}
	if strings.Contains(strings.ReplaceAll(body, `"ancestry": null`, ""), ": null") {
		t.Errorf("%s has null: %s", path, body)
	}
	return a.View
}

// harmless checks that nothing that others wrote became markup, or reorders text.
func harmless(t testing.TB, path, body string) {
	t.Helper()
	for _, part := range []string{"<script>alert", "\u202e", "\x1b"} {
		if strings.Contains(body, part) {
			t.Errorf("%s has %q", path, part)
		}
	}
}

func TestPackages(t *testing.T) {
	f := someSurvey()
	f.page = somePage(8, 3, debianName)
	f.page.Next, f.page.Rows[1].Others, f.page.Rows[2].Heard = "on&on", 7, false
	site := newSite(t, f, nil)
	body := wantsText(t, site, "/packages", http.StatusOK,
		"Of 8 packages: 6 reproduced, 1 build failed, 1 not enough evidence.",
		"all 8", "✓ reproduced 6", "✗ differs 0", "· not tried 0",
		"everyone: also what nobody whom the policy hears names (12)",
		"Verdict Package alice bob carol others",
		"! build failed pkg:deb/debian/ ", "+7", "not heard",
		"✓ obtained it 6 75 % 7 88 % 6 75 %", "· says nothing 1 13 % 0 0 % 1 13 %",
	)
	wants(t, body, `rel="next" href="/packages?from=on%26on"`, `href="/packages?verdict=differs"`, `aria-label="obtained it">✓</a>`,
		`<img class="pixels" src="/packages/strip.png" width="1000" height="16"`, `<title>Packages – log.example/test</title>`)
	view := twinOf(t, site, "/packages.json")
	if rows := view["rows"].([]any); len(rows) != 8 || view["next"] != "/packages?from=on%26on" {
		t.Errorf("twin has %d rows, next %v", len(rows), view["next"])
	}
}

func TestPackagesAsked(t *testing.T) {
	f := someSurvey()
	site := newSite(t, f, nil)
	body := wantsText(t, site, "/packages?verdict=failed&distribution=deb/debian&arch=amd64&q=perl&everyone=1&order=name&from=x&limit=7", http.StatusOK)
	failed := verify.VerdictFailed
	want := survey.Filter{Verdict: &failed, Distribution: "deb/debian", Arch: "amd64", Text: "perl", Everyone: true, ByName: true, From: "x", Limit: 7}
	if diff := cmp.Diff(want, f.filter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
	wants(t, body, `<input type="hidden" name="verdict" value="failed">`, `<option value="deb/debian" selected>`, `<option value="amd64" selected>`,
		`value="perl"`, `value="1" checked>`, `<option value="name" selected>`,
		`href="/packages?arch=amd64&amp;distribution=deb%2Fdebian&amp;everyone=1&amp;limit=7&amp;order=name&amp;q=perl&amp;verdict=differs"`)
}

func TestPackagesRefuses(t *testing.T) {
	for query, want := range map[string]string{
		"verdict=good":                      "parameter verdict: unknown verdict",
		"everyone=yes":                      `parameter everyone has 3 bytes: at most 1`,
		"everyone=2":                        `parameter everyone is "2": want 1`,
		"order=size":                        `parameter order is "size": want disagreement or name`,
		"limit=0":                           `parameter limit is "0": want 1 to 1000`,
		"limit=1001":                        `parameter limit is "1001": want 1 to 1000`,
		"limit=1&limit=2":                   "parameter limit is there 2 times",
		"page=2":                            `parameter "page" is not known`,
		"q=" + strings.Repeat("x", 201):     "parameter q has 201 bytes: at most 200 are taken",
		"from=" + strings.Repeat("x", 8193): "parameter from has 8193 bytes: at most 8192 are taken",
	} {
		wantsText(t, newSite(t, someSurvey(), nil), "/packages?"+query, http.StatusBadRequest, want, "ARGUMENT_INVALID")
	}
}

func TestPackagesOfNothing(t *testing.T) {
	wantsText(t, newSite(t, nil, nil), "/packages", http.StatusNotFound, "keeps no table of packages", "verdicts.database")
	wantsText(t, newSite(t, &fakeSurvey{}, nil), "/packages", http.StatusOK, "Nothing is logged about any package yet.")
	twinOf(t, newSite(t, &fakeSurvey{}, nil), "/packages.json")
	wantsText(t, newSite(t, &fakeSurvey{}, nil), "/packages", http.StatusOK, "names no policy: everybody is listed")
	unheard := &fakeSurvey{summary: survey.Summary{Unheard: 3}}
	wantsText(t, newSite(t, unheard, nil), "/packages", http.StatusOK, "Show what others name: 3")
}

func TestPackagesOfHostileNames(t *testing.T) {
	f := someSurvey()
	f.page = somePage(3, 2, func(i int) string { return []string{nasty, longWord, "pkg:generic/" + nasty + "@" + longWord}[i] })
	f.page.Rebuilders[0].Name, f.page.Rebuilders[1].Name, f.page.Rebuilders[1].Operator = nasty, "", longWord
	f.page.Distributions, f.page.Archs = []string{nasty, longWord}, []string{nasty}
	body := wantsText(t, newSite(t, f, nil), "/packages", http.StatusOK, `<script>alert(1)</script>\u202e"'&\u001b[31m`)
	harmless(t, "/packages", body)
	for _, word := range strings.Fields(mainText(t, body)) {
		if len(word) > 400 {
			t.Errorf("a word of %d bytes", len(word))
		}
	}
}

func TestPackagesOfMoreColumnsThanFit(t *testing.T) {
	f := someSurvey()
	f.page = somePage(10, survey.MaxColumns, debianName)
	body := wantsText(t, newSite(t, f, nil), "/packages", http.StatusOK, "alice", "zurich-2")
	wants(t, body, `<div class="scroll" tabindex="0" role="region" aria-label="Packages and rebuilders">`)
}

// A page is small enough for slow lines whatever the distribution: Debian's names are
// many, and StageX's are long.
func TestPackagesAreSmall(t *testing.T) {
	const compressed, raw = 100_000, 600_000
	for what, name := range map[string]func(int) string{"Debian": debianName, "StageX": stagexName} {
		f := someSurvey()
		f.page = somePage(survey.DefaultRows, 8, name)
		f.page.Total, f.summary.Packages = 35_000, 35_000
		_, body := get(t, newSite(t, f, nil), "/packages")
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, %d compressed", what, len(body), b.Len())
		if len(body) > raw || b.Len() > compressed {
			t.Errorf("%s: %d bytes, %d compressed; at most %d and %d are allowed", what, len(body), b.Len(), raw, compressed)
		}
	}
}

func TestStrip(t *testing.T) {
	f := someSurvey()
	f.strip = make([]verify.Verdict, 35_001)
	f.strip[501] = verify.VerdictReproduced
	site := newSite(t, f, nil)
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/packages/strip.png", nil))
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != "image/png" {
		t.Fatalf("%d %s", w.Code, got)
	}
	img, err := png.Decode(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 500 || b.Dy() != 71 {
		t.Errorf("bounds are %v", b)
	}
	for _, p := range []struct {
		x, y int
		want verify.Verdict
	}{{0, 0, verify.VerdictUnproven}, {1, 1, verify.VerdictReproduced}, {0, 70, verify.VerdictUnproven}, {1, 70, verify.VerdictUntried + 1}} {
		if got, want := img.At(p.x, p.y), stripPalette[p.want]; got != want {
			t.Errorf("at %d, %d is %v, want %v", p.x, p.y, got, want)
		}
	}
	again := httptest.NewRequest(http.MethodGet, "/packages/strip.png", nil)
	again.Header.Set("If-None-Match", w.Header().Get("ETag"))
	w = httptest.NewRecorder()
	if site.ServeHTTP(w, again); w.Code != http.StatusNotModified {
		t.Errorf("the second time: %d, want 304", w.Code)
	}
	if status, _ := get(t, newSite(t, nil, nil), "/packages/strip.png"); status != http.StatusNotFound {
		t.Errorf("without a table: %d", status)
	}
}

func FuzzAsked(f *testing.F) {
	for _, query := range []string{"verdict=failed&limit=7", "q=%00&everyone=1&order=name&from=x", "arch=a&arch=b", "%zz", "limit=01"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		a, err := parseAsked(values)
		if err != nil {
			return
		}
		u, err := url.Parse(a.path("from", a.From))
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseAsked(u.Query())
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		if diff := cmp.Diff(a.Filter, again.Filter); diff != "" || a.Limit > survey.MaxRows {
			t.Errorf("%s (-first +again):\n%s", u, diff)
		}
	})
}

// BenchmarkPackages draws the first page of a matrix of 35,000 packages and 8 rebuilders.
func BenchmarkPackages(b *testing.B) {
	f := someSurvey()
	f.page = somePage(survey.DefaultRows, 8, debianName)
	site := newSite(b, f, nil)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "/packages", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		if site.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		b.ReportMetric(float64(w.Body.Len()), "bytes")
	}
}
