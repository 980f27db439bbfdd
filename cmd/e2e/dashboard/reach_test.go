package dashboard

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// focused is what the keyboard is at.
type focused struct {
	Tag, Text, Type string
	Visible         bool // in the window, with an outline
}

func (p *tab) focused() focused {
	p.Helper()
	return eval[focused](p, `(() => {
		const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);
		const near = r.right > 0 && r.left < innerWidth && r.bottom > 0 && r.top < innerHeight;
		return {Tag: e.tagName, Text: e.textContent.trim().slice(0, 80), Type: e.type ?? "", Visible: near && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2};
	})()`)
}

// testKeyboard goes through the matrix with the Tab key alone.
func testKeyboard(t *testing.T, v *village, browser context.Context) {
	for _, l := range []look{wide, narrow} {
		p := open(t, browser, l, v.url)
		p.visit(v.url + "/packages")
		reached := make(map[string]bool)
		for i := range 150 {
			p.do(chromedp.KeyEvent(kb.Tab))
			f := p.focused()
			if f.Tag == "BODY" {
				t.Fatalf("%s: the focus is lost after %d steps", l, i)
			}
			if !f.Visible && f.Type != "file" {
				t.Errorf("%s: the focus is at %+v, where nobody sees it", l, f)
			}
			switch {
			case i == 0 && f.Text == "To the content":
				reached["the link to the content"] = true
			case f.Type == "search":
				reached["the search box"] = true
			case f.Text == "Bootstrap":
				reached["the menu"] = true
			case strings.Contains(f.Text, "user-postgres"):
				reached["a package of the table"] = true
			case f.Tag == "DIV":
				reached["the region that scrolls"] = true
			}
			if len(reached) == 5 {
				break
			}
		}
		for _, want := range []string{"the link to the content", "the search box", "the menu", "a package of the table", "the region that scrolls"} {
			if !reached[want] {
				t.Errorf("%s: the keyboard does not reach %s", l, want)
			}
		}
		p.do(chromedp.KeyEvent(kb.Enter))
		p.await("goes where the link leads", `location.pathname !== "/packages"`)
	}
}

// testSearch asks the box for what it can find.
func testSearch(t *testing.T, v *village, browser context.Context) {
	gcc := v.images["core-gcc"]
	p := open(t, browser, narrow, v.url)
	for _, ask := range []struct{ name, text, path, want string }{
		{"a digest", string(gcc.digest), "/p/", "core-gcc"},
		{"the hex of a digest", gcc.digest.Hex(), "/p/", "core-gcc"},
		{"a package URL", gcc.lookup(t), "/p/", "✓ reproduced"},
		{"a package URL without qualifiers", "pkg:deb/debian/bash", "", "pkg:deb/debian/bash"},
		{"an entry", "7", "/e/7", "Its way to the root"},
		{"a part of a name", "postgres", "/p/", "✗ differs"},
		{"a part of several names", "stage", "/search", "bootstrap-stage2"},
		{"a key", string(v.rebuilders[1].key()), "/search", "rebuilder"},
		{"nothing", "no such thing", "/search", "Nothing found for no such thing"},
	} {
		t.Run(ask.name, func(t *testing.T) {
			p.visit(v.url + "/")
			p.do(chromedp.SetValue(chromedp.CSS("input[name=q]"), ask.text), chromedp.Focus(chromedp.CSS("input[name=q]")), chromedp.KeyEvent(kb.Enter))
			p.await("leaves the front page", `location.pathname !== "/" && document.readyState === "complete"`)
			if path := eval[string](p, `location.pathname`); !strings.HasPrefix(path, ask.path) {
				t.Errorf("it leads to %s, want %s…", path, ask.path)
			}
			p.reads(ask.want)
		})
	}
}

// testFile gives the search box a file. Its digest leaves the browser, and nothing else.
func testFile(t *testing.T, v *village, browser context.Context) {
	p := open(t, browser, wide, v.url)
	p.visit(v.url + "/")
	before := len(p.sent())
	const content = "image user-postgres"
	p.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{v.write(t, "secret name.img", content)}))
	p.await("goes where the digest leads", `location.pathname.startsWith("/p/") && document.readyState === "complete"`)
	p.reads("✗ differs", "user-postgres")
	sent := p.sent()[before:]
	asked := "/search?q=" + url.QueryEscape(string(v.images["user-postgres"].digest))
	if !slices.ContainsFunc(sent, func(r request) bool { return strings.HasSuffix(r.url, asked) }) {
		t.Errorf("the digest is not what is asked for: %+v", sent)
	}
	for _, r := range sent {
		if u, err := url.PathUnescape(r.url); err != nil || r.method != "GET" || r.body != "" || strings.Contains(u, "secret") || strings.Contains(u, "image user") {
			t.Errorf("of the file, this is sent: %+v", r)
		}
	}
}

// testLive watches the log of a build that runs.
func testLive(t *testing.T, v *village, browser context.Context) {
	p := open(t, browser, wide, v.url)
	w := v.worker(t)
	w.queue("core-m4", "git+https://codeberg.example/stagex/stagex", v.images["core-m4"].digest)
	running := w.takes("moss-2", "https://moss.example")
	running.writes("configure: checking for a compiler\n")
	p.visit(fmt.Sprintf("%s/builds/%d", v.url, running.id))
	p.reads("configure: checking for a compiler")
	running.writes("the next line \x1b[31min red\x1b[0m <b>and bold</b>\n")
	p.await("shows what was written since", `document.getElementById("build-log").innerText.includes("the next line in red <b>and bold</b>")`)
	shoot(p, "build that runs", 1500)
}

// testBadge looks at the badges and the feed.
func testBadge(t *testing.T, v *village, browser context.Context) {
	p := open(t, browser, wide, v.url)
	for name, want := range map[string]string{"core-gcc": "reproduced", "user-postgres": "differs", "core-ocaml": "build failed", "core-nodejs": "not enough evidence", "user-helm": "not tried"} {
		page := "/p/" + string(v.images[name].digest)
		if _, svg, err := v.get(t.Context(), page+".svg"); err != nil || !strings.Contains(string(svg), " "+want) {
			t.Errorf("the badge of %s does not read %q: %v\n%s", name, want, err, svg)
		}
		p.visit(v.url + page)
		p.await("shows the badge", `document.querySelector("img[src$='.svg']").naturalWidth > 60`)
	}
	_, body, err := v.get(t.Context(), "/feed.atom")
	if err != nil {
		t.Fatal(err)
	}
	var feed struct {
		Entry []struct {
			Title string `xml:"title"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(body, &feed); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	titles := fmt.Sprint(feed.Entry)
	if len(feed.Entry) < 5 || !strings.Contains(titles, "user-postgres") || !strings.Contains(titles, "pkg:deb/debian/bash") {
		t.Errorf("the feed has %d entries: %s", len(feed.Entry), titles)
	}
}
