package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Texts that want to be more than text. Each sets a mark that no page may have.
var hostile = []struct{ name, text string }{
	{"elements", `"'><script>window.pwned=1</script><img src=x onerror="window.pwned=1"><marquee>pwned`},
	{"ends", `</title></script></pre></svg><!-- ]]> --><svg onload=window.pwned=1>{{.}}${window.pwned=1}`},
	{"a link", `javascript:window.pwned=1//%0Awindow.pwned=1`},
	{"right to left", "invoice\u202egnp.exe\u2066\u2067\u200f abc"},
	{"terminal", "\x1b[2J\x1b[31mred\x1b]0;pwned\x07\x00\b\r over"},
	{"marks", "Z" + strings.Repeat("\u0301\u0489\u0335", 200) + "algo"},
	{"a long word", strings.Repeat("W", 10_000)},
	{"many lines", strings.Repeat("line\n\u2028\v", 500)},
}

// hostility is a world in which everybody writes such texts.
type hostility struct {
	*world
	pages []string
}

func newHostility(t testing.TB) *hostility {
	t.Helper()
	alice := newPerson(t, "alice", "https://alice.example/<script>window.pwned=1</script>", "")
	bob := newPerson(t, "bob", "https://bob.example/", "")
	mallory := newPerson(t, "mallory", `https://mallory.example/"><img/src=x/onerror=window.pwned=1>`, "")
	more := ""
	for _, p := range []*person{alice, bob} {
		more += fmt.Sprintf("rebuilder %s %s operator=%s\n", p.name, p.key(), p.operator)
	}
	h := &hostility{world: newWorld(t, more+"rebuild-group two 2 alice bob\nrebuild-quorum two\n")}
	h.enrol(t, alice, bob)
	h.enrolAs(t, mallory, `https://mallory.example/"><img/src=x/onerror=window.pwned=1>`, "javascript:window.pwned=1")
	h.pages = []string{
		"/", "/packages?everyone=1", "/bootstrap", "/log", "/witnesses", "/rebuilders", "/compare", "/builds", "/api",
		"/rebuilders/" + string(mallory.key()), "/rebuilders/" + string(alice.key()),
	}
	for i, text := range hostile {
		a := h.artifact(text.text, i)
		h.says(t, a, text.text, alice, mallory)
		h.pages = append(h.pages, "/p/"+string(a.digest), "/p/"+url.PathEscape(a.lookup(t)),
			"/search?q="+url.QueryEscape(cut(text.text, 4000)), "/packages?q="+url.QueryEscape(cut(text.text, 190)),
			"/bootstrap?to="+string(a.digest), fmt.Sprintf("/e/%d", 3+2*i))
	}
	h.jobs(t)
	h.settled(t, "/packages.json?everyone=1", func(view map[string]any) bool { return fmt.Sprint(view["total"]) == fmt.Sprint(len(hostile)) })
	return h
}

// enrolAs enrols a key, if the ledger takes what its owner says.
func (h *hostility) enrolAs(t testing.TB, p *person, operator, address string) {
	t.Helper()
	raw, err := attest.Enrol(p.signer, operator, address)
	if err != nil {
		t.Logf("refused: %v", err)
		raw, err = attest.Enrol(p.signer, "https://mallory.example", "https://mallory.example/")
	}
	if err != nil {
		t.Fatal(err)
	}
	h.submit(t, raw)
}

// artifact is called what the text says.
func (h *hostility) artifact(text string, n int) *artifact {
	d := leaf.SHA256(fmt.Appendf(nil, "hostile %d", n))
	name := cut(text, 800)
	return &artifact{
		name: text, digest: d, purl: fmt.Sprintf("pkg:generic/%s@%d", strings.ReplaceAll(url.QueryEscape(name), "+", "%20"), n),
		from: []attest.ResourceDescriptor{
			{Name: text, Digest: digestSet(leaf.SHA256([]byte(text))), Annotations: map[string]any{"role": attest.RoleSource}},
			{Name: text, URI: "javascript:window.pwned=1", Digest: digestSet(leaf.SHA256([]byte(text + "tool"))), Annotations: map[string]any{"role": attest.RoleToolchain}},
		},
	}
}

// says logs the text wherever a statement has room for one.
func (h *hostility) says(t testing.TB, a *artifact, text string, people ...*person) {
	t.Helper()
	var raw [][]byte
	for _, p := range people {
		as := *p
		as.environment = map[string]string{"os": text, "engine": text, cut(text, 100): text}
		raw = append(raw, as.got(t, a, leaf.Different, leaf.SHA256([]byte(text+p.name))))
	}
	h.submit(t, raw...)
}

// cut returns what a place for n bytes has room for.
func cut(text string, n int) string { return strings.ToValidUTF8(text[:min(len(text), n)], "") }

// jobs has workers whose names and logs are hostile.
func (h *hostility) jobs(t testing.TB) {
	t.Helper()
	w := h.worker(t)
	for i, text := range hostile {
		id := w.queue(fmt.Sprintf("hostile-%d", i), `https://tree.example/"><script>window.pwned=1</script>`, leaf.SHA256([]byte(text.text)))
		h.pages = append(h.pages, fmt.Sprintf("/builds/%d", id))
		j := w.takes(`<img src=x onerror=window.pwned=1>`, "https://worker.example/")
		j.writes(text.text + "\n" + text.text + "\xff\xfe\n")
		if i%2 == 0 {
			j.fails("STEP_FAILED", cut(text.text, 1000))
		}
	}
}

func testHostile(t *testing.T, _ *village, browser context.Context) {
	h := newHostility(t)
	for _, l := range []look{wide, narrow} {
		t.Run(l.String(), func(t *testing.T) {
			p := open(t, browser, l, h.url)
			for _, path := range h.pages {
				p.visit(h.url + path)
				p.expect("status of 4") // what cannot be found or is refused is a page, too
				p.harmless(path)
				p.fits(path)
				shoot(p, "hostile"+path, 3000)
			}
		})
	}
}

// harmless checks that nothing on the page is more than text.
func (p *tab) harmless(path string) {
	p.Helper()
	found := eval[[]string](p, `[
		...[...document.querySelectorAll("marquee, img:not([src^='/']), [onerror], [onload], iframe, object, embed, base, svg[onload]")].map((e) => e.outerHTML.slice(0, 200)),
		...[...document.querySelectorAll("script")].filter((s) => !s.src.startsWith(location.origin + "/static/") && s.type !== "application/json").map((s) => s.outerHTML.slice(0, 200)),
		...[...document.querySelectorAll("a[href], form[action]")].filter((a) => !/^https?:$/.test(new URL(a.href ?? a.action, location).protocol)).map((a) => a.outerHTML.slice(0, 200)),
		...("pwned" in window ? ["it ran"] : []),
		...(/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\u2028\0\x07\x08\x1b]/.exec(document.body.innerText + document.title) ? ["controls are shown as they are"] : []),
	]`)
	for _, f := range found {
		p.Errorf("%.100s, %s: %s", path, p.look, f)
	}
}

// fits checks that the page is not wider than the window, and nothing stands out of
// it but within what can be scrolled.
func (p *tab) fits(path string) {
	p.Helper()
	over := eval[[]string](p, `(() => {
		const doc = document.scrollingElement, inside = (e) => e && (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(e).overflowX) || inside(e.parentElement));
		const out = [...document.body.querySelectorAll("*")].filter((e) => !e.closest(".skip, .away, .hide") && !inside(e.parentElement) && e.getBoundingClientRect().right > innerWidth + 1);
		return doc.scrollWidth > innerWidth ? [doc.scrollWidth + " px wide", ...out.slice(0, 5).map((e) => e.outerHTML.slice(0, 120))] : [];
	})()`)
	if len(over) > 0 {
		p.Errorf("%.100s, %s: the page is %s", path, p.look, strings.Join(over, "\n\t"))
	}
}
