package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
)

// maxRebuilders is how many rebuilders are listed.
const maxRebuilders = 500

// rebuildersView is who says something about packages.
type rebuildersView struct {
	Rebuilders []profileRow `json:"rebuilders"` // the policy's first
	Heard      int          `json:"heard"`
	Most       int          `json:"most"` // at which the list ends
}

// profileRow is a rebuilder in the list.
type profileRow struct {
	survey.Profile
	ratio
	Path   string      `json:"-"`
	Shares []wordShare `json:"-"` // by wordOrder, without silence
}

// ratio is how a rebuilder's words stand to the verdicts.
type ratio struct {
	Segments []segment `json:"-"`
	Label    string    `json:"-"`
}

func newRatio(p *survey.Profile) ratio {
	r := ratio{Segments: segments([]int{p.Agrees, p.Disagrees}, []string{"reproduced", "differs"}), Label: "no verdict to compare with"}
	if total := p.Agrees + p.Disagrees; total > 0 {
		r.Label = fmt.Sprintf("agrees with %s of %s (%s)", number(p.Agrees), counted(total, "verdict", "verdicts"), share(p.Agrees, total))
	}
	return r
}

// said are the words that a rebuilder can have said, in the order of wordOrder.
var said = wordOrder[:len(wordOrder)-1]

func sharesOf(words survey.WordCounts) []wordShare {
	total := 0
	for _, w := range said {
		total += words[w]
	}
	shares := make([]wordShare, len(said))
	for i, w := range said {
		shares[i] = wordShare{words[w], share(words[w], total)}
	}
	return shares
}

// fill makes a profile's lists show as lists.
func fill(p survey.Profile) survey.Profile {
	p.Days, p.Environments, p.Latest = list(p.Days), list(p.Environments), list(p.Latest)
	return p
}

// rebuilders makes the list of rebuilders.
func (s *Site) rebuilders(r *http.Request) (*page, error) {
	if s.cfg.Survey == nil {
		return noTable(), nil
	}
	profiles, err := s.cfg.Survey.Rebuilders(r.Context(), maxRebuilders)
	if err != nil {
		return nil, fmt.Errorf("asking for rebuilders: %w", err)
	}
	v := &rebuildersView{Rebuilders: []profileRow{}, Most: maxRebuilders}
	for _, p := range profiles {
		if p.Heard {
			v.Heard++
		}
		v.Rebuilders = append(v.Rebuilders, profileRow{
			Profile: fill(p), ratio: newRatio(&p), Path: pathOf("/rebuilders/", string(p.Key)), Shares: sharesOf(p.Words),
		})
	}
	return &page{name: "rebuilders", title: "Rebuilders", view: v}, nil
}

// Unheard is how many rebuilders of the list the policy does not hear.
func (v *rebuildersView) Unheard() int { return len(v.Rebuilders) - v.Heard }

// Said are the columns of words.
func (v *rebuildersView) Said() []survey.Word { return said }

// profileView is all about one rebuilder.
type profileView struct {
	survey.Profile
	Calendar calendar    `json:"-"`
	Ratio    ratio       `json:"-"`
	Words    []wordCount `json:"words"`
	Home     string      `json:"-"` // its URL, if that can be linked
	Now      time.Time   `json:"-"`
}

type wordCount struct {
	Word  survey.Word `json:"word"`
	Count int         `json:"count"`
	Share string      `json:"share"` // of all of its words, in per cent
}

// rebuilder makes the page of one rebuilder.
func (s *Site) rebuilder(r *http.Request) (*page, error) {
	if s.cfg.Survey == nil {
		return noTable(), nil
	}
	key := leaf.Fingerprint(r.PathValue("key"))
	if !key.Valid() {
		return nil, reason.Errorf(reason.ArgumentInvalid, "%.80q is no key: want sha256:<64 hex> or openpgp:<40 or 64 hex>, in lower case", string(key))
	}
	p, err := s.cfg.Survey.Profile(r.Context(), key)
	if err != nil {
		return nil, fmt.Errorf("asking for a rebuilder: %w", err)
	}
	now := s.cfg.Now().UTC()
	v := &profileView{Profile: fill(*p), Ratio: newRatio(p), Calendar: newCalendar(p.Days, now), Words: []wordCount{}, Home: linkable(p.URL), Now: now}
	for i, n := range sharesOf(p.Words) {
		v.Words = append(v.Words, wordCount{said[i], n.Count, n.Share})
	}
	return &page{name: "rebuilder", title: "Rebuilder " + displayed(p.Rebuilder), view: v}, nil
}

// Called is what the rebuilder is called.
func (v *profileView) Called() string { return short(200, displayed(v.Rebuilder)) }

// RevokedIn is the entry by which the key was revoked, or nothing.
func (v *profileView) RevokedIn() string {
	if v.Revoked == nil {
		return ""
	}
	return fmt.Sprint(*v.Revoked)
}

// displayed is the policy's name of a rebuilder, or else its own operator's, or its key.
func displayed(r survey.Rebuilder) string {
	for _, text := range []string{r.Name, r.Operator} {
		if strings.TrimSpace(text) != "" {
			return text
		}
	}
	return string(r.Key)
}

// maxURL is the longest URL of others that is linked.
const maxURL = 2000

// linkable returns a URL that others wrote if it is one of the web.
func linkable(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return u.String()
}
