package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Text writes the report for people: the verdict first, then why, then each
// check. A glyph always stands beside a word. With ascii, glyphs are two
// letters and all other characters outside ASCII are escaped. What others wrote
// cannot move the cursor or begin a line.
func (r *EntryReport) Text(w io.Writer, ascii bool) error {
	t := &textWriter{w: w, ascii: ascii}
	t.verdict(r)
	for _, why := range r.Reasons {
		t.field("why", why)
	}
	for _, s := range r.Subjects {
		t.field("subject", s.String())
	}
	for _, o := range r.Outputs {
		t.field("output", o.String())
	}
	for _, k := range r.Keys {
		t.field("key", string(k))
	}
	if c := r.Certificate; c != nil {
		t.field("certified", c.String())
	}
	if r.BuilderID != "" {
		t.field("builder", shorten(r.BuilderID))
	}
	if r.Operator != "" {
		t.field("operator", shorten(r.Operator)+" (claimed by the signer)")
	}
	if r.Origin != "" {
		name := "logged"
		if r.ID == "" {
			name = "log"
		}
		t.field(name, r.logged())
	}
	for _, c := range r.Checks {
		t.line("    " + t.status(c.Status) + " " + c.Name + ": " + c.Detail)
	}
	return t.err
}

// String says whom the certificate names, and who says so.
func (c *Certificate) String() string {
	says := fmt.Sprintf("%q by %q", shorten(strings.Join(c.Names, " ")), shorten(c.Issuer))
	if c.Trusted {
		return says
	}
	return says + " (says the certificate; its issuer was not checked)"
}

// logged says where and under which checkpoint.
func (r *EntryReport) logged() string {
	where := r.ID
	if where == "" {
		where = r.Origin
	}
	s := fmt.Sprintf("%s, checkpoint %d", where, r.CheckpointSize)
	if r.Witnesses.Total == 0 {
		return s + ", no witnesses (policy none)"
	}
	return fmt.Sprintf("%s, %d of %d witnesses (policy %s)", s, r.Witnesses.Cosigned, r.Witnesses.Total, r.Witnesses.Quorum)
}

// maxWord is how much is shown of a text that the signer chose. Its digests must
// not be out of sight behind it.
const maxWord = 256

// String returns name, URI and digests, as far as they are known.
func (a NamedArtifact) String() string {
	var words []string
	for _, s := range []string{shorten(a.Name), shorten(a.URI)} {
		// A signer may give the package URL or a key's fingerprint as the name.
		if s != "" && (len(words) == 0 || words[0] != s) {
			words = append(words, s)
		}
	}
	for _, d := range a.Digests {
		if len(words) == 0 || words[0] != string(d) {
			words = append(words, string(d))
		}
	}
	return strings.Join(words, " ")
}

func shorten(s string) string {
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "..."
}

// textWriter keeps the first error of w.
type textWriter struct {
	w     io.Writer
	ascii bool
	err   error
}

func (t *textWriter) verdict(r *EntryReport) {
	words := []string{t.outcome(r.Outcome)}
	if r.Kind == leaf.KindAttestation {
		words = append(words, string(r.Claim))
	} else if r.Kind != "" {
		words = append(words, string(r.Kind))
	}
	if r.Result != "" && r.Result != leaf.NoResult {
		words = append(words, string(r.Result))
	}
	if len(r.Subjects) > 0 {
		first := r.Subjects[0].String()
		if more := len(r.Subjects) - 1; more > 0 {
			first += fmt.Sprintf(" and %d more", more)
		}
		words = append(words, first)
	}
	t.line(strings.Join(words, "   "))
}

func (t *textWriter) outcome(o Outcome) string {
	switch o {
	case Proven:
		return t.status(OK) + " logged"
	case Refuted:
		return t.status(Failed) + " refuted"
	}
	return t.status(NotDone) + " unproven"
}

func (t *textWriter) status(s Status) string {
	glyph, letters := "?", "??"
	switch s {
	case OK:
		glyph, letters = "✓", "ok"
	case Failed:
		glyph, letters = "✗", "NO"
	}
	if t.ascii {
		return letters
	}
	return glyph
}

func (t *textWriter) field(name, value string) { t.line(fmt.Sprintf("    %-8s %s", name, value)) }

func (t *textWriter) line(s string) {
	if t.err == nil {
		shown := plain.Line(s)
		if t.ascii {
			shown = plain.ASCII(s)
		}
		_, t.err = io.WriteString(t.w, shown+"\n")
	}
}
