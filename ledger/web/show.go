package web

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// mark is how a verdict or a word looks: a glyph and a word always, a colour by the
// class, which style.css has for light and dark.
type mark struct {
	Glyph string
	Word  string
	Class string // of style.css, and the name of its icon
}

var verdictMarks = [...]mark{
	verify.VerdictUnproven:   {"?", "not enough evidence", "unproven"},
	verify.VerdictReproduced: {"✓", "reproduced", "reproduced"},
	verify.VerdictDiffers:    {"✗", "differs", "differs"},
	verify.VerdictFailed:     {"!", "build failed", "failed"},
	verify.VerdictUntried:    {"·", "not tried", "untried"},
}

// verdictOrder is the order in which verdicts are shown, in legends and bars.
var verdictOrder = []verify.Verdict{
	verify.VerdictReproduced, verify.VerdictDiffers, verify.VerdictFailed, verify.VerdictUnproven, verify.VerdictUntried,
}

var wordMarks = [...]mark{
	survey.Silent:       {"·", "says nothing", "untried"},
	survey.Signed:       {"○", "signed, not built", "unproven"},
	survey.Inconclusive: {"?", "inconclusive", "unproven"},
	survey.Failed:       {"!", "could not build it", "failed"},
	survey.Obtained:     {"✓", "obtained it", "reproduced"},
	survey.Different:    {"✗", "got something else", "differs"},
}

func verdictMark(v verify.Verdict) mark { return verdictMarks[v] }

func wordMark(w survey.Word) mark { return wordMarks[w] }

// funcs are the functions of templates.
func (s *Site) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": s.assetURL,
		"menu":  func() any { return menu },
		"mark":  verdictMark,
		"word":  wordMark,
		"order": func() []verify.Verdict { return verdictOrder },
		// text shows what others wrote, long shows it up to a length.
		"text":   plain.Line,
		"lines":  plain.Lines,
		"short":  short,
		"number": number,
		"utc":    utc,
		"ago":    func(now, t time.Time) string { return ago(now.Sub(t)) },
		"share":  share,
		"hash":   newHash,
		"path":   pathOf,
		"query":  url.QueryEscape,
		"add":    func(a, b int) int { return a + b },
		"called": displayed,
		// entry finds an entry's index; the others put statements into words.
		"entry":       entryOf,
		"saying":      saying,
		"environment": environmentText,
		"dissent":     func(r leaf.Result) mark { return wordMark(dissentWord(r)) },
		"part":        func(kv ...any) (map[string]any, error) { return part(kv) },
	}
}

// part makes the argument of a part of a page from names and values.
func part(kv []any) (map[string]any, error) {
	m := make(map[string]any)
	for i := 0; i+1 < len(kv); i += 2 {
		name, ok := kv[i].(string)
		if !ok {
			return nil, fmt.Errorf("part: %v is no name", kv[i])
		}
		m[name] = kv[i+1]
	}
	return m, nil
}

// short returns at most n characters of a text, as plain.Line shows it.
func short(n int, text string) string {
	text = plain.Line(text)
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// number returns a number with thin spaces between thousands.
func number(v any) string {
	digits := fmt.Sprint(v)
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "−", rest
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u2009" + digits[i:]
	}
	return sign + digits
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// ago returns an age in one unit.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " d"
}

// share returns a part of a whole in per cent. It is 100 only of all, and 0 only of
// nothing.
func share(n, of int) string {
	switch {
	case of <= 0 || n <= 0:
		return "0 %"
	case n >= of:
		return "100 %"
	}
	return strconv.Itoa(min(99, max(1, (n*100+of/2)/of))) + " %"
}

// hash is a digest or fingerprint as it is shown: its beginning and end, the rest at
// hand.
type hash struct{ Algorithm, Head, Rest, Tail, Full string }

const hashHead, hashTail = 8, 4

// newHash takes anything whose text is alg:hex, or hex.
func newHash(v any) hash {
	full := plain.Line(fmt.Sprint(v))
	h := hash{Full: full, Head: full}
	alg, hex, found := strings.Cut(full, ":")
	if !found {
		alg, hex = "", full
	}
	if len(hex) > hashHead+hashTail+4 {
		h.Algorithm, h.Head, h.Rest, h.Tail = alg, hex[:hashHead], hex[hashHead:len(hex)-hashTail], hex[len(hex)-hashTail:]
	}
	return h
}

// pathOf returns the path of what others named: a package below /p/, a rebuilder's
// key below /rebuilders/. See suffixOf.
func pathOf(below, name string) string {
	if n, kind := suffixOf(name); kind != "" || n != name {
		name += "/"
	}
	return (&url.URL{Path: below + name}).EscapedPath()
}
