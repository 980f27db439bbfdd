package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/survey"
)

func TestRebuilders(t *testing.T) {
	site := newSite(t, someSurvey(), nil)
	wantsText(t, site, "/rebuilders", http.StatusOK,
		"7 whom the policy of this ledger's operator hears, and 1 other, who change no verdict here",
		"✓ obtained it ✗ got something else ! could not build it ? inconclusive ○ signed, not built",
		"alice https://alice.example", "agrees with 428 of 430 verdicts (99 %) 428 96 % 2 1 % 5 1 % 9 2 %",
		"https://zurich.example not heard")
	if list := twinOf(t, site, "/rebuilders.json")["rebuilders"].([]any); len(list) != 8 {
		t.Errorf("twin has %d rebuilders", len(list))
	}
	wantsText(t, newSite(t, nil, nil), "/rebuilders", http.StatusNotFound, "keeps no table of packages")
	wantsText(t, newSite(t, &fakeSurvey{}, nil), "/rebuilders", http.StatusOK, "Nobody has said anything about an artifact yet.")
	twinOf(t, newSite(t, &fakeSurvey{}, nil), "/rebuilders.json")
}

func TestRebuilder(t *testing.T) {
	f := someSurvey()
	revoked := uint64(77)
	f.profiles[1].Revoked, f.profiles[1].Endorser = &revoked, keyOf(0)
	site := newSite(t, f, nil)
	body := wantsText(t, site, "/rebuilders/"+string(keyOf(0)), http.StatusOK,
		"alice Heard by the policy", "In the year to 2026-11-22:", "2026-07", "agrees with 428 of 430 verdicts (99 %)",
		"obtained it 428 96 %", "Enrolled in entry 12", "400 cpuVendor AMD, os linux", "4 293", "got something else")
	wants(t, body, "<title>Rebuilder alice – ", `<a href="https://alice.example/ci" rel="nofollow noopener noreferrer">`, `href="/e/12"`)
	wantsText(t, site, "/rebuilders/"+string(keyOf(1)), http.StatusOK, "key revoked", "Revoked in entry 77", "Endorsed by")
	wantsText(t, site, "/rebuilders/"+string(keyOf(7)), http.StatusOK, "Not heard by the policy")
	if view := twinOf(t, site, "/rebuilders/"+string(keyOf(0))+".json"); view["key"] != string(keyOf(0)) || len(view["words"].([]any)) != 5 {
		t.Errorf("twin: %v", view)
	}
}

func TestRebuilderOfNothing(t *testing.T) {
	site := newSite(t, someSurvey(), nil)
	wantsText(t, site, "/rebuilders/"+string(keyOf(99)), http.StatusNotFound, "The log has nothing of that name.")
	wantsText(t, site, "/rebuilders/alice", http.StatusBadRequest, `"alice" is no key: want sha256:<64 hex>`)
	wantsText(t, newSite(t, nil, nil), "/rebuilders/"+string(keyOf(0)), http.StatusNotFound, "keeps no table of packages")
	f := &fakeSurvey{profiles: []survey.Profile{{Rebuilder: survey.Rebuilder{Key: keyOf(0)}}}}
	wantsText(t, newSite(t, f, nil), "/rebuilders/"+string(keyOf(0)), http.StatusOK,
		"0 statements on 0 days", "no verdict to compare with", "none stated", "It has said nothing about an artifact yet.")
	twinOf(t, newSite(t, f, nil), "/rebuilders/"+string(keyOf(0))+".json")
}

func TestRebuilderOfHostileText(t *testing.T) {
	for _, bad := range []string{nasty, longWord, "javascript:alert(1)", "https://x.example/" + longWord} {
		f := someSurvey()
		p := &f.profiles[0]
		p.Name, p.Operator, p.URL = "", bad, bad
		p.Environments = []survey.Environment{{Values: map[string]string{bad: bad}, Statements: 1}}
		site := newSite(t, f, nil)
		for _, path := range []string{"/rebuilders", "/rebuilders/" + string(keyOf(0))} {
			_, body := get(t, site, path)
			harmless(t, path, body)
			if strings.Contains(body, `href="javascript:`) || strings.Contains(body, longWord) {
				t.Errorf("%s with %.20q: %s", path, bad, body)
			}
		}
	}
}

func TestCalendar(t *testing.T) {
	sunday := time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)
	c := newCalendar([]survey.Day{
		{Date: "2024-11-22", Words: survey.WordCounts{survey.Obtained: 1000}}, // before the year
		{Date: "2026-11-01", Words: survey.WordCounts{survey.Obtained: 1}},
		{Date: "2026-11-22", Words: survey.WordCounts{survey.Obtained: 900, survey.Different: 100}},
	}, sunday)
	if len(c.Days) != weeks*7 {
		t.Errorf("%d days, want %d: it is a Sunday", len(c.Days), weeks*7)
	}
	last, first := c.Days[len(c.Days)-1], c.Days[0]
	want := square{X: (weeks - 1) * dayStep, Y: calendarTop + 6*dayStep, Class: "l4 dissent", Title: "2026-11-22: 1\u2009000 statements, got something else: 100"}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("today (-want +got):\n%s", diff)
	}
	if first.Title != "2025-11-17: 0 statements" || first.Class != "l0" {
		t.Errorf("the first day is %+v", first)
	}
	if diff := cmp.Diff([]month{{Name: "2026-11", Count: 1001, Different: 100}}, c.Months); diff != "" {
		t.Errorf("months (-want +got):\n%s", diff)
	}
	if c.Label != "In the year to 2026-11-22: 1\u2009001 statements on 2 days" {
		t.Error(c.Label)
	}
}

func TestCompare(t *testing.T) {
	f := someSurvey()
	f.distributions = append(f.distributions, survey.Distribution{Name: nasty}, survey.Distribution{Name: longWord, Packages: 1})
	site := newSite(t, f, nil)
	body := wantsText(t, site, "/compare", http.StatusOK,
		"Of this ledger's own data: what is not logged here is not counted.",
		"deb/debian 34 512 20 000 58 % 14 512 42 % 6 2 2 5 0 0 % 32 000 93 %",
		"oci/stagex 444 0 0 % 444 100 % 8 3 2 4 440 99 % 430 97 %",
		"How each column is computed", "One operator with several keys counts once.", "the policy's seeds alone")
	harmless(t, "/compare", body)
	wants(t, body, `<a href="/packages?distribution=oci%2Fstagex">`)
	view := twinOf(t, site, "/compare.json")
	if d := view["distributions"].([]any)[1].(map[string]any); d["reproduced"] != 430.0 || d["stage0"] != 440.0 {
		t.Errorf("twin: %v", d)
	}
	wantsText(t, newSite(t, nil, nil), "/compare", http.StatusNotFound, "keeps no table of packages")
	wantsText(t, newSite(t, &fakeSurvey{}, nil), "/compare", http.StatusOK, "Nobody named a package of a distribution yet.")
	twinOf(t, newSite(t, &fakeSurvey{}, nil), "/compare.json")
}
