package dashboard

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// concludes waits until a check on the page has come to a state, and returns what it
// says.
func (p *tab) concludes(id, state string) string {
	p.Helper()
	p.await("concludes "+id, fmt.Sprintf(`/^[✓✗?] /.test(document.getElementById(%q)?.textContent)`, id))
	got := eval[string](p, fmt.Sprintf(`document.getElementById(%q)?.dataset.state ?? "there is no such check"`, id))
	says := eval[string](p, fmt.Sprintf(`document.getElementById(%q)?.innerText ?? ""`, id))
	if got != state {
		p.Errorf("%s: the check %q is %s, want %s: %s", p.look, id, got, state, says)
	}
	if glyph := map[string]string{"ok": "✓ ", "bad": "✗ ", "unknown": "? "}[state]; !strings.HasPrefix(says, glyph) {
		p.Errorf("%s: the check %q does not begin with %q: %s", p.look, id, glyph, says)
	}
	return says
}

// wrong changes base64 in one place, for what is base64, too.
func wrong(text string) string {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		panic(fmt.Sprintf("%q is no base64", text))
	}
	b[len(b)/2] ^= 1
	return base64.StdEncoding.EncodeToString(b)
}

// inJSON alters an answer that is JSON.
func inJSON(change func(answer map[string]any)) alteration {
	return func(path string, body []byte) []byte {
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil {
			panic(fmt.Sprintf("%s: %v: %s", path, err, body))
		}
		change(answer)
		text, err := json.Marshal(answer)
		if err != nil {
			panic(err)
		}
		return text
	}
}

// wrongLine changes the base64 at the end of the line that begins with a text, of a
// signed checkpoint.
func wrongLine(signed, begin string) string {
	at := strings.Index(signed, begin)
	if at < 0 {
		panic(fmt.Sprintf("%q has no %q", signed, begin))
	}
	line, _, _ := strings.Cut(signed[at:], "\n")
	space := strings.LastIndexByte(line, ' ')
	return strings.Replace(signed, line, line[:space+1]+wrong(line[space+1:]), 1)
}

// wrongRoot changes the root of a signed checkpoint.
func wrongRoot(signed string) string {
	lines := strings.SplitAfterN(signed, "\n", 4)
	lines[2] = wrong(strings.TrimSpace(lines[2])) + "\n"
	return strings.Join(lines, "")
}

// everywhere changes each checkpoint that a server hands out.
func everywhere(change func(signed string) string) alteration {
	inPage := inData("frame-data", func(d map[string]any) { d["checkpoint"] = change(d["checkpoint"].(string)) })
	inEntry := inData("entry-data", func(d map[string]any) { d["checkpoint"] = change(d["checkpoint"].(string)) })
	inAnswer := inJSON(func(a map[string]any) {
		if c, ok := a["checkpoint"].(string); ok {
			a["checkpoint"] = change(c)
		}
	})
	return func(path string, body []byte) []byte {
		switch {
		case path == "/checkpoint":
			return []byte(change(string(body)))
		case strings.HasPrefix(path, "/v1/"):
			return inAnswer(path, body)
		}
		return inEntry(path, inPage(path, body))
	}
}

// testFork has a server prove an entry in one tree, and show another of the same size.
func testFork(t *testing.T, v *village, browser context.Context) {
	c := v.conspiracy(t)
	server := newLiar(t, v.world)
	server.lies(inData("frame-data", func(d map[string]any) {
		d["checkpoint"] = c.signs(t, sizeOf(d["checkpoint"].(string)), tlog.Hash{1, 2, 3})
	}))
	p := open(t, browser, wide, server.URL)
	p.visit(server.URL + v.entry("core-gcc"))
	if says := p.concludes("checked", "bad"); !strings.Contains(says, "does not lead to the root") {
		t.Errorf("it does not say what is wrong: %s", says)
	}
}

// testLies has a server lie about an entry in each way. The page must say so.
func testLies(t *testing.T, v *village, browser context.Context) {
	c := v.conspiracy(t)
	entry := v.entry("core-gcc")
	proof := func(change func(proof []any)) alteration {
		return below("/v1/log/", inJSON(func(a map[string]any) { change(a["inclusionProof"].([]any)) }))
	}
	for _, lie := range []struct {
		name  string
		alter alteration
		says  string // what the page says is wrong
	}{
		{"none", nil, "is in the log of"},
		{"a wrong sibling hash", proof(func(p []any) { p[2] = wrong(p[2].(string)) }), "does not lead to the root"},
		{"a proof that is too short", below("/v1/log/", inJSON(func(a map[string]any) { a["inclusionProof"] = a["inclusionProof"].([]any)[1:] })), "does not lead to the root"},
		{"a sibling that is drawn wrong", below("/e/", func(_ string, body []byte) []byte { return redraw(body, "right1") }), "step 2"},
		{"a wrong root", everywhere(wrongRoot), "does not lead to the root"},
		{"a wrong root that all have signed", everywhere(func(signed string) string {
			return c.signs(t, sizeOf(signed), tlog.Hash{1, 2, 3})
		}), "does not lead to the root"},
		{"a wrong cosignature", everywhere(func(s string) string { return wrongLine(s, "— w1.example") }), "w1: wrong signature"},
		{"a wrong signature of the log", everywhere(func(s string) string { return wrongLine(s, "— "+c.origin) }), "wrong signature"},
		{"no cosignature", everywhere(func(s string) string { return without(s, "— w2.example") }), "quorum"},
		{"another leaf", below("/v1/log/entries/", inJSON(func(a map[string]any) {
			e := a["entry"].(map[string]any)
			e["leaf"] = strings.Replace(e["leaf"].(string), "result", "Result", 1) + " "
		})), "does not lead to the root"},
		{"a leaf that is shown wrong", func(path string, body []byte) []byte {
			return bytes.ReplaceAll(body, []byte("<dt>claim</dt><dd>build"), []byte("<dt>claim</dt><dd>reproduction"))
		}, "what the page says of the leaf"},
		{"other bytes of the attestation", below("/v1/attestations/", inJSON(func(a map[string]any) { a["attestation"] = wrong(a["attestation"].(string)) })), "bytes"},
	} {
		t.Run(lie.name, func(t *testing.T) {
			server := newLiar(t, v.world)
			server.lies(lie.alter)
			p := open(t, browser, wide, server.URL)
			p.visit(server.URL + entry)
			state := "bad"
			if lie.alter == nil {
				state = "ok"
			}
			if says := p.concludes("checked", state); !strings.Contains(says, lie.says) {
				t.Errorf("it does not say %q: %s", lie.says, says)
			}
			steps := eval[[]string](p, `[...document.querySelectorAll("[data-step] output, #signatures li")].filter((o) => o.dataset.state !== "ok" || !o.textContent.startsWith("✓")).map((o) => o.closest("[data-step]")?.dataset.step ?? o.textContent)`)
			if (len(steps) == 0) != (lie.alter == nil) {
				t.Errorf("the steps that are not right are %q", steps)
			}
			if lie.alter == nil {
				p.concludes("seen", "ok")
				if n := eval[int](p, `document.querySelectorAll("[data-step]").length`); n < 8 {
					t.Errorf("there are only %d steps", n)
				}
			}
			if lie.alter != nil && !server.lied() {
				t.Error("the server told the truth")
			}
			shoot(p, "lie "+lie.name, 2500)
		})
	}
}

// redraw changes the hash that a page draws as one fact.
func redraw(body []byte, fact string) []byte {
	at := bytes.LastIndex(body, []byte(`data-is="`+fact+`"`)) // in the table
	if at < 0 {
		panic("the page draws no " + fact)
	}
	b := at + bytes.Index(body[at:], []byte("<b>")) + len("<b>")
	body = bytes.Clone(body)
	if body[b]++; body[b] == 'g' || body[b] == ':' {
		body[b] = '0'
	}
	return body
}

func sizeOf(signed string) (size int64) {
	if _, err := fmt.Sscanf(strings.SplitN(signed, "\n", 3)[1], "%d", &size); err != nil {
		panic(err)
	}
	return size
}

func without(signed, begin string) string {
	before, after, _ := strings.Cut(signed, begin)
	_, after, _ = strings.Cut(after, "\n")
	return before + after
}

// testVisits has a server show one log at a first visit, and another at the next.
func testVisits(t *testing.T, v *village, browser context.Context) {
	c := v.conspiracy(t)
	now, _ := v.checkpoint(t)
	show := func(signed string) alteration { return everywhere(func(string) string { return signed }) }
	fork := c.signs(t, sizeOf(now), tlog.Hash{4, 5, 6})
	usurper, vkey := c.usurper(t)
	for _, visits := range []struct {
		name          string
		first, second alteration
		state, says   string
	}{
		{"the log grew", show(v.earlier), nil, "ok", "Append-only since your visit of"},
		{"nothing happened", nil, nil, "ok", "Append-only since your visit of"},
		{"a shorter log", nil, show(v.earlier), "bad", "the log is shorter"},
		{"the same size with another root", nil, show(fork), "bad", "does not lead to the root"},
		{"a larger log that is another", show(v.earlier), everywhere(func(string) string { return fork }), "bad", "does not lead to the root"},
		{"a wrong consistency proof", show(v.earlier), below("/v1/log/proofs/consistency", inJSON(func(a map[string]any) {
			p := a["consistencyProof"].([]any)
			p[0] = wrong(p[0].(string))
		})), "bad", "does not lead to the root"},
		{"no consistency proof", show(v.earlier), below("/v1/log/proofs/consistency", inJSON(func(a map[string]any) { delete(a, "consistencyProof") })), "bad", "does not lead to the root"},
		{"another key", nil, func(path string, body []byte) []byte {
			body = show(usurper.signs(t, sizeOf(now)+1, tlog.Hash{7}))(path, body)
			return inData("frame-data", func(d map[string]any) {
				d["policy"] = strings.Replace(d["policy"].(string), v.vkey, vkey, 1)
			})(path, body)
		}, "bad", "another key signs"},
		{"a proof that does not come", show(v.earlier), below("/v1/log/proofs/consistency", func(string, []byte) []byte { return []byte("<html>") }), "unknown", "Not compared with your visit of"},
	} {
		t.Run(visits.name, func(t *testing.T) {
			server := newLiar(t, v.world)
			p := open(t, browser, wide, server.URL)
			server.lies(visits.first)
			p.visit(server.URL + "/witnesses")
			if says := p.concludes("seen", "ok"); !strings.Contains(says, "First visit: trusted on first use.") {
				t.Errorf("at the first visit: %s", says)
			}
			server.lies(visits.second)
			p.visit(server.URL + "/witnesses")
			if says := p.concludes("seen", visits.state); !strings.Contains(says, visits.says) {
				t.Errorf("it does not say %q: %s", visits.says, says)
			}
			if visits.second != nil && !server.lied() {
				t.Error("the server told the truth")
			}
			if visits.state != "bad" {
				return
			}
			// It is not forgotten when the server behaves again.
			shoot(p, "visits "+visits.name, 1200)
			server.lies(nil)
			p.visit(server.URL + "/log")
			p.concludes("seen", "bad")
		})
	}
}

// testGrowth visits the log before and after it grew, and reads how the one is proven to
// be the beginning of the other.
func testGrowth(t *testing.T, v *village, browser context.Context) {
	server := newLiar(t, v.world)
	p := open(t, browser, wide, server.URL)
	server.lies(everywhere(func(string) string { return v.earlier }))
	p.visit(server.URL + "/log")
	p.concludes("seen", "ok")
	const drawn = `[...document.querySelectorAll("#signatures li")].filter((l) => /^✓ consistency: hash\(01 ‖ [0-9a-f]{8} ‖ [0-9a-f]{8}\) = [0-9a-f]{8}$/.test(l.textContent)).length`
	if n := eval[int](p, drawn); n != 0 {
		t.Errorf("at the first visit %d steps of a proof are shown", n)
	}
	server.lies(nil)
	p.visit(server.URL + "/log")
	p.concludes("seen", "ok")
	if n := eval[int](p, drawn); n == 0 {
		t.Errorf("no step of the proof is shown: %s", eval[string](p, `document.querySelector("#signatures").innerText`))
	}
}

// testSaved keeps an entry's page as a file, and looks at it without any network.
func testSaved(t *testing.T, v *village, browser context.Context) {
	status, page, err := v.get(t.Context(), v.entry("core-gcc")+".html")
	if err != nil || status != 200 {
		t.Fatalf("status %d, %v", status, err)
	}
	for name, alter := range map[string]alteration{
		"as it is":                  nil,
		"a byte of the attestation": inData("entry-data", func(d map[string]any) { d["attestation"] = wrong(d["attestation"].(string)) }),
		"a byte of the leaf": inData("entry-data", func(d map[string]any) {
			e := d["entry"].(map[string]any)["entry"].(map[string]any)
			e["leaf"] = strings.Replace(e["leaf"].(string), "sha256:", "sha256:0", 1)
		}),
		"a byte of a sibling": inData("entry-data", func(d map[string]any) {
			p := d["entry"].(map[string]any)["inclusionProof"].([]any)
			p[0] = wrong(p[0].(string))
		}),
		"a byte of the root": inData("entry-data", func(d map[string]any) {
			e := d["entry"].(map[string]any)
			e["checkpoint"] = wrongRoot(e["checkpoint"].(string))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			text, state := page, "ok"
			if alter != nil {
				text, state = alter("", page), "bad"
			}
			file := v.write(t, "saved "+name+".html", string(text))
			p := open(t, browser, narrow, "file://")
			p.visit("file://" + file)
			p.concludes("checked", state)
			p.reads("What this page cannot prove")
			p.fits("the saved page")
			if sent := p.sent(); len(sent) != 1 {
				t.Errorf("the saved page asks for %v", sent)
			}
			shoot(p, "saved "+name, 3000)
		})
	}
}
