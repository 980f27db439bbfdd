package verify

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// maxLines is how many lines of one kind are shown; all are in the JSON.
const maxLines = 20

// Text writes the report for people: the verdict first, then who agrees and who
// does not, the log, and why it is not accepted. It shows what others wrote as
// EntryReport's does. The ancestry is drawn by whoever wants it.
func (r *Report) Text(w io.Writer, ascii bool) error {
	t := &textWriter{w: w, ascii: ascii}
	t.line(strings.Join(r.headline(t), "   "))
	if r.Exception != nil {
		t.field("except", r.Exception.String())
	}
	t.fields("built", len(r.Operators), func(i int) string { return r.Operators[i].text(t) })
	t.fields("dissent", len(r.Dissent), func(i int) string { return r.Dissent[i].text(t) })
	t.fields("equivoc.", len(r.Equivocations), func(i int) string {
		e := &r.Equivocations[i]
		return fmt.Sprintf("%s %s of %s in %s", t.status(Failed), shorten(e.Operator), shorten(e.Name), strings.Join(few(e.Entries), ", "))
	})
	if r.Quorum != nil {
		t.fields("policy", len(r.Quorum.Quorums), func(i int) string { return quorumText(t, &r.Quorum.Quorums[i]) })
		t.fields("distinct", len(r.Quorum.Distinct), func(i int) string {
			d := &r.Quorum.Distinct[i]
			return fmt.Sprintf("%s %s: %d of %d", t.met(d.Satisfied), d.What, len(d.Have), d.Need)
		})
	}
	if r.Log.Origin != "" {
		t.field("log", r.Log.text(&r.Witnesses))
	}
	if r.Counts.Artifacts > 0 {
		t.field("ancestry", r.Counts.String())
	}
	t.fields("why", len(r.Reasons), func(i int) string { return r.Reasons[i] })
	return t.err
}

func (r *Report) headline(t *textWriter) []string {
	word := r.Verdict.String()
	glyph, letters := "?", "??"
	switch {
	case r.Accepted:
		glyph, letters = "✓", "ok"
	case r.Verdict == VerdictDiffers:
		glyph, letters = "✗", "NO"
	case r.Verdict == VerdictFailed:
		glyph, letters = "!", "NO"
	case r.Verdict == VerdictUntried:
		glyph = "·"
	}
	if t.ascii {
		glyph = letters
	}
	if r.Accepted && r.Verdict != VerdictReproduced {
		word = "excepted (" + word + ")"
	}
	words := []string{glyph + " " + word}
	if r.Name != "" {
		words = append(words, shorten(r.Name))
	}
	return append(words, string(r.Artifact))
}

// fields writes lines of one name, and how many were left out.
func (t *textWriter) fields(name string, n int, line func(i int) string) {
	for i := range min(n, maxLines) {
		t.field(name, line(i))
	}
	if n > maxLines {
		t.field(name, fmt.Sprintf("and %d more", n-maxLines))
	}
}

func (t *textWriter) met(ok bool) string {
	if ok {
		return t.status(OK)
	}
	return t.status(NotDone)
}

func who(operator string, rebuilders []string) string {
	if len(rebuilders) == 0 {
		return shorten(operator)
	}
	return shorten(operator) + " (" + shorten(strings.Join(rebuilders, ", ")) + ")"
}

func (o *Operator) text(t *textWriter) string {
	return fmt.Sprintf("%s %s in %s", t.status(OK), who(o.Operator, o.Rebuilders), strings.Join(few(o.Entries), ", "))
}

func (d *Dissent) text(t *textWriter) string {
	glyph := t.status(Failed)
	if d.Result == leaf.BuildFailed && !t.ascii {
		glyph = "!"
	}
	var names []string
	if d.Rebuilder != "" {
		names = []string{d.Rebuilder}
	}
	return fmt.Sprintf("%s %s %s in %s", glyph, who(d.Operator, names), d.Result, d.Entry)
}

func quorumText(t *textWriter, q *policy.RebuildQuorum) string {
	s := fmt.Sprintf("%s %s", t.met(q.Node.Satisfied), q.Line)
	if n := &q.Node; n.Need > 0 {
		s += fmt.Sprintf(": %d of %d, needs %d", n.Have, n.Of, n.Need)
	}
	return s
}

func (l *LogState) text(w *Witnesses) string {
	s := fmt.Sprintf("%s, checkpoint %d", shorten(l.Origin), l.Size)
	if l.Time != nil {
		s += " of " + timeText(*l.Time)
	}
	switch {
	case !l.SignatureChecked:
		return s + ", whose signature was not asked for"
	case w.Total == 0:
		return s + ", no witnesses (policy none)"
	}
	return fmt.Sprintf("%s, %d of %d witnesses (policy %s)", s, w.Cosigned, w.Total, w.Quorum)
}

// String says in one line how an ancestry stands.
func (c *Counts) String() string {
	s := fmt.Sprintf("%d of %d artifacts reproduced", c.Reproduced, c.Artifacts)
	for _, part := range []struct {
		n    int
		what string
	}{
		{c.Unstated, "from what nobody states"}, {c.Excepted, "excepted"}, {c.Differs, "differ"}, {c.Failed, "failed"}, {c.Unproven, "unproven"}, {c.Untried, "untried"},
		{c.Sources, "pinned sources"}, {c.Seeds, "seeds"}, {c.Refused, "refused materials"},
	} {
		if part.n > 0 {
			s += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return s
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
