package web

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
)

const feedEntries = 50

// atomFeed is an Atom feed (RFC 4287). All text in it has gone through plain.Line:
// XML 1.0 has no way to write most control characters.
type atomFeed struct {
	XMLName  xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID       string      `xml:"id"`
	Title    string      `xml:"title"`
	Subtitle string      `xml:"subtitle"`
	Updated  string      `xml:"updated"`
	Author   string      `xml:"author>name"`
	Links    []atomLink  `xml:"link"`
	Entries  []atomEntry `xml:"entry"`
}

// atomLink has a path: readers resolve it against where they got the feed, so that no
// header of a request has to be believed.
type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr"`
	Href string `xml:"href,attr"`
}

type atomEntry struct {
	ID      string   `xml:"id"`
	Title   string   `xml:"title"`
	Updated string   `xml:"updated"`
	Author  string   `xml:"author>name"`
	Link    atomLink `xml:"link"`
	Summary string   `xml:"summary"`
}

// feed answers with the latest disagreements.
func (s *Site) feed(w http.ResponseWriter, r *http.Request) {
	latest := s.cfg.Board.Latest()
	switch {
	case s.cfg.Survey == nil:
		http.Error(w, "this ledger keeps no table of packages, and knows no disagreements; its operator can configure one with verdicts.database", http.StatusNotFound)
		return
	case latest == nil:
		http.Error(w, "no checkpoint is published yet; try again later", http.StatusServiceUnavailable)
		return
	}
	list, err := s.cfg.Survey.Disagreements(r.Context(), 0, feedEntries)
	if err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "reading disagreements", slog.Any("err", err))
		http.Error(w, "the disagreements cannot be read; try again later", http.StatusServiceUnavailable)
		return
	}
	f, updated := newFeed(latest.Origin, list)
	text, err := xml.MarshalIndent(f, "", " ")
	if err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "writing the feed", slog.Any("err", err))
		http.Error(w, "the feed could not be written", http.StatusInternalServerError)
		return
	}
	text = append([]byte(xml.Header), text...)
	h := w.Header()
	h.Set("Content-Type", "application/atom+xml; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("ETag", `"`+leaf.SHA256(text).Hex()[:32]+`"`)
	http.ServeContent(w, r, "", updated, bytes.NewReader(text))
}

// newFeed returns the feed of a log's disagreements, and when it last changed.
//
// Atom wants a time of every entry. Of those that were logged before the survey
// watched the log none is known: they have the beginning of 1970, which does not
// change, makes them news to nobody, and is not taken for a time at which they were
// logged.
func newFeed(origin string, list []survey.Disagreement) (*atomFeed, time.Time) {
	name := plain.Line(origin)
	tag := "tag:cairnlog.github.io,2026:disagreements/" + url.PathEscape(origin)
	updated := time.Unix(0, 0)
	f := &atomFeed{
		ID: tag, Title: "Disagreements in " + name, Author: name,
		Subtitle: "Who built something, and got something else than another did, as " + name + " logs it",
		Links:    []atomLink{{"self", "application/atom+xml", "/feed.atom"}, {"alternate", "text/html", "/"}},
	}
	for i := range list {
		e, at := newFeedEntry(tag, &list[i])
		if at.After(updated) {
			updated = at
		}
		f.Entries = append(f.Entries, e)
	}
	f.Updated = utc(updated)
	return f, updated
}

func newFeedEntry(tag string, d *survey.Disagreement) (atomEntry, time.Time) {
	st := &d.Statement
	at, logged := st.At, "at a time that is not known"
	if at.IsZero() {
		at = time.Unix(0, 0)
	} else {
		logged = "at " + utc(at)
	}
	who := short(200, st.Rebuilder.Operator)
	if who == "" {
		who = string(st.Rebuilder.Key)
	}
	says := wordMark(st.Word).Word
	if st.Output != "" {
		says = "got " + string(st.Output)
	}
	m := verdictMark(d.Verdict)
	return atomEntry{
		ID:      fmt.Sprintf("%s/%d/%s", tag, st.Entry, st.Artifact),
		Title:   fmt.Sprintf("%s %s: %s: %s %s", m.Glyph, m.Word, short(200, d.Package), who, says),
		Updated: utc(at),
		Author:  who,
		Link:    atomLink{"alternate", "text/html", pathOf("/p/", d.Package)},
		Summary: fmt.Sprintf("Entry %d, logged %s: %s %s, of %s.", st.Entry, logged, who, says, st.Artifact),
	}, at
}
