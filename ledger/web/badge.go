package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"unicode/utf8"

	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// badgeView is a badge: two texts beside each other.
type badgeView struct {
	Label, Text string
	Title       string // all of it, for who does not see it
	Colour      string // behind Text, which is white: contrast of 4.5 to 1 at least
	Left, Right int    // widths
	Middle      int    // of the left text
	TextMiddle  int    // of the right text
	LeftText    int    // length of the left text
	RightText   int    // length of the right text
}

// Width is that of the badge.
func (b *badgeView) Width() int { return b.Left + b.Right }

// badgeColours are dark enough for white text. Only what is reproduced is green.
var badgeColours = [...]string{
	verify.VerdictUnproven:   "#0b5078",
	verify.VerdictReproduced: "#00664b",
	verify.VerdictDiffers:    "#9a3d00",
	verify.VerdictFailed:     "#6b4700",
	verify.VerdictUntried:    "#57606a",
}

const badgeGrey = "#57606a"

// badgeTemplate has no style of its own: the Content-Security-Policy refuses it.
var badgeTemplate = template.Must(template.New("badge").Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="20" role="img" aria-label="{{.Title}}">
<title>{{.Title}}</title>
<rect width="{{.Width}}" height="20" rx="3" fill="{{.Colour}}"/>
<path d="M3 0h{{.LeftBox}}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#3b434b"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{{.Middle}}" y="14" textLength="{{.LeftText}}">{{.Label}}</text>
<text x="{{.TextMiddle}}" y="14" textLength="{{.RightText}}">{{.Text}}</text>
</g>
</svg>
`))

// LeftBox is how far the left box goes behind its round corner.
func (b *badgeView) LeftBox() int { return b.Left - 3 }

// newBadge lays a badge out. The lengths of its texts are estimates that it tells who
// draws it to keep to, whatever the font.
func newBadge(name, text, colour string) *badgeView {
	const margin = 6
	b := &badgeView{Label: "rebuilt", Text: text, Colour: colour, Title: short(120, name) + " rebuilt: " + text}
	b.LeftText, b.RightText = textLength(b.Label), textLength(b.Text)
	b.Left, b.Right = b.LeftText+2*margin, b.RightText+2*margin
	b.Middle, b.TextMiddle = b.Left/2, b.Left+b.Right/2
	return b
}

// textLength is about that of a text in Verdana at 11 pixels.
func textLength(text string) int { return utf8.RuneCountInString(text)*13/2 + 2 }

// badge answers with the badge of a name or an artifact.
func (s *Site) badge(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, status := newBadge(name, "unknown", badgeGrey), http.StatusNotFound
	if s.cfg.Survey != nil {
		found, err := s.lookedUp(r.Context(), name)
		switch {
		case err == nil:
			b, status = s.badgeOf(r, found), http.StatusOK
		case reason.Is(err, reason.ArgumentInvalid):
			status = http.StatusBadRequest
		case !errors.Is(err, survey.ErrNotFound):
			s.failure(r, err)
			b, status = newBadge(name, "not known now", badgeGrey), http.StatusServiceUnavailable
		}
	}
	var body bytes.Buffer
	if err := badgeTemplate.Execute(&body, b); err != nil {
		http.Error(w, "the badge could not be drawn", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	s.write(w, r, status, body.Bytes())
}

// badgeOf is the badge of what is known. While the table does not follow the log, no
// verdict is told.
func (s *Site) badgeOf(r *http.Request, p *survey.Package) *badgeView {
	state, err := s.cfg.Survey.State(r.Context())
	if err != nil || state.Problem != nil || state.Current.IsZero() {
		return newBadge(p.Package, "not known now", badgeGrey)
	}
	m := verdictMark(p.Verdict)
	text := m.Glyph + " " + m.Word
	if have, of, ok := agreement(p); ok && (p.Verdict == verify.VerdictReproduced || p.Verdict == verify.VerdictUnproven) {
		text += fmt.Sprintf(" %d of %d", have, of)
	}
	return newBadge(p.Package, text, badgeColours[p.Verdict])
}

// agreement is how many of those whom the policy asks obtained the one artifact that
// the verdict is about.
func agreement(p *survey.Package) (have, of int, ok bool) {
	if len(p.Artifacts) == 0 || len(p.Artifacts) > 1 && p.Artifacts[1].Current {
		return 0, 0, false
	}
	lines := linesOf(p.Artifacts[0].Report)
	if len(lines) != 1 || p.Verdict != p.Artifacts[0].Verdict {
		return 0, 0, false
	}
	return lines[0].Have, lines[0].Of, true
}
