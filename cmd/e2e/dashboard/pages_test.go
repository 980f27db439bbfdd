package dashboard

import (
	"context"
	"testing"
)

// paper is a page, and what a person reads there.
type paper struct {
	path string
	want []string
}

// papers are the pages of the village.
func (v *village) papers(t testing.TB) []paper {
	t.Helper()
	return []paper{
		{"/", []string{"Packages", "Witnesses", "Log"}},
		{"/packages", []string{"Packages"}},
		{"/p/" + string(v.images["user-jq"].digest), nil},
		{"/bootstrap", nil},
		{"/log", nil},
		{"/e/3", nil},
		{"/witnesses", nil},
		{"/rebuilders", nil},
		{"/rebuilders/" + string(v.rebuilders[0].key()), nil},
		{"/compare", nil},
		{"/builds", nil},
		{"/api", nil},
		{"/search?q=gcc", nil},
		{"/nothing", []string{"There is no page here."}},
	}
}

func testPages(t *testing.T, v *village, browser context.Context) {
	for _, l := range []look{wide, narrow, {width: 1440, height: 900, dark: true}, {width: 360, height: 800, dark: true}} {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			p := open(t, browser, l, v.url)
			for _, page := range v.papers(t) {
				p.visit(v.url + page.path)
				if page.path == "/nothing" && !p.expect("status of 404") {
					t.Error("a page that is not there is there")
				}
				p.reads(page.want...)
				p.fits(page.path)
				shoot(p, "page"+page.path, 5000)
				p.accessible(page.path)
			}
		})
	}
}
