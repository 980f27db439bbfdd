package dashboard

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// paper is a page, and what a person reads there.
type paper struct {
	name, path string
	title      string // what the title begins with
	want       []string
}

// papers are the pages of the village.
func (v *village) papers() []paper {
	p := func(name string) string { return "/p/" + string(v.images[name].digest) }
	return []paper{
		{"front", "/", "", []string{"Latest disagreements", "92 packages, by 8 keys of 7 operators", "2 of 2 witnesses, quorum met", "✗ differs", "pkg:oci/user-postgres", "! build failed", "Latest entries"}},
		{"packages", "/packages", "Packages", []string{"Of 92 packages: 65 reproduced, 5 differs, 1 build failed, 19 not enough evidence, 2 not tried", "pkg:oci/core-gcc", "pkg:deb/debian/bash", "quay", "larch-lab"}},
		{"differing packages", "/packages?verdict=differs", "Packages", []string{"5 of 5 packages", "pkg:oci/user-postgres"}},
		{"reproduced", p("core-gcc"), "✓ reproduced: ", []string{"✓ reproduced", "satisfied", "Check it yourself", "cairn verify", "https://quay.example", "What this page does not prove"}},
		{"differs", p("user-postgres"), "✗ differs: ", []string{"✗ differs", "https://tern.example", "Why it is not reproduced"}},
		{"equivocation", p("user-tor"), "✗ differs: ", []string{"contradicts itself", "https://fjord.example"}},
		{"failed", p("core-ocaml"), "! build failed: ", []string{"! build failed", "could not build it"}},
		{"unproven", p("core-nodejs"), "? not enough evidence: ", []string{"? not enough evidence", "2 of 7 obtained it", "not satisfied"}},
		{"untried", p("user-helm"), "· not tried: ", []string{"· not tried"}},
		{"bootstrap", "/bootstrap?to=" + string(v.images["pallet-rust"].digest), "", []string{"hex0-seed", "bootstrap-stage0", "core-gcc", "pallet-rust"}},
		{"frontier", "/bootstrap?to=" + string(v.images["user-typescript"].digest), "", []string{"core-nodejs", "? not enough evidence"}},
		{"log", "/log", "", []string{"entries", "Checkpoint"}},
		{"entry", v.entry("core-gcc"), "Entry ", []string{"Its way to the root", "What this page cannot prove", "attestation"}},
		{"witnesses", "/witnesses", "Witnesses", []string{"2 of 2", "w1", "w2", "quorum"}},
		{"rebuilders", "/rebuilders", "", []string{"https://quay.example", "https://heron.example"}},
		{"rebuilder", "/rebuilders/" + string(v.rebuilders[0].key()), "", []string{"https://quay.example", "GenuineIntel"}},
		{"revoked", "/rebuilders/" + string(v.retired.key()), "", []string{"revoked"}},
		{"compare", "/compare", "", []string{"deb/debian", "alpm/arch", "oci"}},
		{"builds", "/builds", "Builds", []string{"core-ocaml", "core-lua", "failed", "queued"}},
		{"build", fmt.Sprintf("/builds/%d", v.failed), "Build ", []string{"STEP_FAILED", "make: *** [all] Error 2"}},
		{"api", "/api", "API", []string{"/v1/attestations"}},
		{"search", "/search?q=gcc", "Search", []string{"core-gcc", "pallet-gcc"}},
		{"nothing", "/nothing", "Not Found", []string{"There is no page here."}},
	}
}

// read visits a page, and checks what a person sees of it.
func (p *tab) read(url string, page paper) {
	p.Helper()
	p.visit(url + page.path)
	if page.path == "/nothing" && !p.expect("status of 404") {
		p.Error("a page that is not there is there")
	}
	if title := eval[string](p, `document.title`); !strings.HasPrefix(title, page.title) || !strings.Contains(title, " – localhost/cairn-") {
		p.Errorf("%s: the title is %q, want it to begin with %q", page.name, title, page.title)
	}
	p.reads(page.want...)
	p.fits(page.name)
}

func testPages(t *testing.T, v *village, browser context.Context) {
	for _, l := range []look{wide, narrow, {width: 1440, height: 900, dark: true}} {
		t.Run(l.String(), func(t *testing.T) {
			p := open(t, browser, l, v.url)
			for _, page := range v.papers() {
				p.read(v.url, page)
				p.concludes("seen", "ok")
				if page.name == "entry" {
					p.concludes("checked", "ok")
				}
				shoot(p, page.name, 5000)
				p.accessible(page.name)
			}
			if got, want := eval[string](p, `getComputedStyle(document.documentElement).backgroundColor`), map[bool]string{false: "rgb(255, 255, 255)", true: "rgb(17, 21, 26)"}[l.dark]; got != want {
				t.Errorf("the background is %s, want %s", got, want)
			}
		})
	}
}

// testImages draws what the README shows.
func testImages(t *testing.T, v *village, browser context.Context) {
	p := open(t, browser, wide, v.url)
	p.visit(v.url + "/packages?q=pkg:oci&limit=30")
	p.concludes("seen", "ok")
	shootAs(p, "matrix.png", eval[float64](p, `document.querySelector(".chips").getBoundingClientRect().top`)-10, 690)
	p.visit(v.url + "/bootstrap?to=" + string(v.images["user-typescript"].digest))
	p.concludes("seen", "ok")
	eval[bool](p, `document.querySelector(".graph .scroll").scrollLeft = 1e6; true`)
	shootAs(p, "bootstrap.png", 0, 580)
}

// testNoScripts reads the same pages in a browser that runs no scripts.
func testNoScripts(t *testing.T, v *village, browser context.Context) {
	for _, l := range []look{wide, narrow} {
		l.noScript = true
		p := open(t, browser, l, v.url)
		for _, page := range v.papers() {
			p.read(v.url, page)
			p.reads("Not checked: this browser runs no scripts.")
			if strings.Contains(p.text(), "Checked here") {
				t.Errorf("%s: something is checked without scripts", page.name)
			}
		}
		p.visit(v.url + v.entry("core-gcc"))
		p.reads("Not checked: the steps below are for a browser with scripts, or for cairn show.")
		shoot(p, "entry without scripts", 3000)
	}
}
