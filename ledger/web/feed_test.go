package web

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/survey"
)

func getFeed(site *Site, header http.Header) *http.Response {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://evil.example/feed.atom", nil)
	for k, v := range header {
		r.Header[k] = v
	}
	site.ServeHTTP(w, r)
	return w.Result()
}

// read parses a feed.
func read(t *testing.T, resp *http.Response) *atomFeed {
	t.Helper()
	f := &atomFeed{}
	if err := xml.NewDecoder(resp.Body).Decode(f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFeed(t *testing.T) {
	old := differing("core-go", "")
	old.Statement.At, old.Statement.Entry, old.Statement.Word, old.Statement.Output = time.Time{}, 7, survey.Failed, ""
	site := newSite(t, &fakeSurvey{disagreements: []survey.Disagreement{differing("pkg:deb/debian/hello@2.10-3?arch=amd64", "https://alice.example"), old}}, nil)
	resp := getFeed(site, nil)
	tag := "tag:cairnlog.github.io,2026:disagreements/log.example%2Ftest"
	name := xml.Name{Space: "http://www.w3.org/2005/Atom", Local: "feed"}
	a, b, key := string(sumOf("a")), string(sumOf("b")), string(sumOf("key"))
	want := &atomFeed{
		XMLName: name, ID: tag, Title: "Disagreements in log.example/test", Updated: "2026-11-22T09:00:00Z", Author: "log.example/test",
		Subtitle: "Who built something, and got something else than another did, as log.example/test logs it",
		Links:    []atomLink{{"self", "application/atom+xml", "/feed.atom"}, {"alternate", "text/html", "/"}},
		Entries: []atomEntry{
			{
				ID: tag + "/1234560/" + a, Title: "✗ differs: pkg:deb/debian/hello@2.10-3?arch=amd64: https://alice.example got " + b,
				Updated: "2026-11-22T09:00:00Z", Author: "https://alice.example",
				Link:    atomLink{"alternate", "text/html", "/p/pkg:deb/debian/hello@2.10-3%3Farch=amd64"},
				Summary: "Entry 1234560, logged at 2026-11-22T09:00:00Z: https://alice.example got " + b + ", of " + a + ".",
			},
			{
				ID: tag + "/7/" + a, Title: "✗ differs: core-go: " + key + " could not build it", Updated: "1970-01-01T00:00:00Z", Author: key,
				Link:    atomLink{"alternate", "text/html", "/p/core-go"},
				Summary: "Entry 7, logged at a time that is not known: " + key + " could not build it, of " + a + ".",
			},
		},
	}
	if diff := cmp.Diff(want, read(t, resp)); diff != "" {
		t.Errorf("the feed (-want +got):\n%s", diff)
	}
	for header, value := range map[string]string{
		"Content-Type": "application/atom+xml; charset=utf-8", "Cache-Control": "public, max-age=60", "Last-Modified": "Sun, 22 Nov 2026 09:00:00 GMT",
	} {
		if got := resp.Header.Get(header); got != value {
			t.Errorf("%s is %q, want %q", header, got, value)
		}
	}
	if again := getFeed(site, http.Header{"If-None-Match": {resp.Header.Get("ETag")}}); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same feed again: %s", again.Status)
	}
}

func TestFeedIsXMLWhateverIsInIt(t *testing.T) {
	odd := hostileText[:100] + "\x00\x01\ufffe\uffff]]>\xff"
	site := newSite(t, &fakeSurvey{disagreements: []survey.Disagreement{differing(odd, odd)}}, nil)
	f := read(t, getFeed(site, nil))
	if got, want := f.Entries[0].Title, `✗ differs: <script>alert(1)</script>\u001b[2J\u202e"'&WW`; !strings.HasPrefix(got, want) {
		t.Errorf("the title is %q", got)
	}
	if got, want := f.Entries[0].Author, `\u0000\u0001\ufffe\uffff]]>\xff`; !strings.HasSuffix(got, want) {
		t.Errorf("the author is %q", got)
	}
}

func TestFeedOfNothing(t *testing.T) {
	if f := read(t, getFeed(newSite(t, &fakeSurvey{}, nil), nil)); f.Entries != nil || f.Updated != "1970-01-01T00:00:00Z" {
		t.Errorf("a feed without disagreements is %+v", f)
	}
	for name, tt := range map[string]struct {
		s    Survey
		want int
	}{
		"no table of packages":        {nil, http.StatusNotFound},
		"a table that cannot be read": {&fakeSurvey{err: context.DeadlineExceeded}, http.StatusServiceUnavailable},
	} {
		if got := getFeed(newSite(t, tt.s, nil), nil); got.StatusCode != tt.want {
			t.Errorf("%s: %s, want %d", name, got.Status, tt.want)
		}
	}
}
