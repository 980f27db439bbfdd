package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// witnessesView is who vouches for the log beside itself.
type witnessesView struct {
	Origin     string    `json:"origin,omitempty"`
	OriginHash string    `json:"originHash,omitempty"` // by which witnesses know the log
	Size       int64     `json:"size"`
	At         time.Time `json:"at,omitzero"` // when the latest checkpoint was published
	Quorum     string    `json:"quorum"`
	Ring       ring      `json:"ring"`
	// Missing says what the latest checkpoint lacks, and Margin how many of those that
	// cosigned it may be missing; negative for how many more are needed.
	Missing   []string      `json:"missing"`
	Margin    int           `json:"margin"`
	Witnessed time.Time     `json:"witnessed,omitzero"` // as old is the checkpoint by its witnesses
	Problem   string        `json:"problem,omitempty"`  // why its signatures do not count
	Witnesses []witnessView `json:"witnesses"`
	Kept      bool          `json:"kept"` // whether this ledger keeps a table of checkpoints
	History   history       `json:"history"`
	Evidence  []Evidence    `json:"evidence"`
	// Known is not set if it is not known whether there is evidence here.
	Known  bool   `json:"evidenceKnown"`
	Policy string `json:"policy"` // about checkpoints

	Lanes *lanes    `json:"-"`
	Now   time.Time `json:"-"`
}

// witnessView is one witness of the policy.
type witnessView struct {
	Name     string `json:"name"` // in the policy
	Key      string `json:"key"`  // its name
	VKey     string `json:"vkey"`
	URL      string `json:"url,omitempty"`
	Asked    bool   `json:"asked"`    // the quorum can draw on it
	Cosigned bool   `json:"cosigned"` // the latest checkpoint
	// Time is that of its cosignature of the latest checkpoint; zero if there is none.
	Time time.Time `json:"time,omitzero"`
	// Count is how many of History.Checkpoints it cosigned; Median and Largest are how far
	// behind the first to cosign it was, in seconds.
	Count    int       `json:"count"`
	Median   float64   `json:"medianLag"`
	Largest  float64   `json:"largestLag"`
	Last     time.Time `json:"last,omitzero"` // its last cosignature
	LastSize uint64    `json:"lastSize,omitempty"`

	Link     string `json:"-"` // to the URL, if it is one to follow
	Evidence string `json:"-"` // where it shows what it knows of this log
}

// history is what is kept of published checkpoints.
type history struct {
	Checkpoints int       `json:"checkpoints"`
	From        time.Time `json:"from,omitzero"`
	To          time.Time `json:"to,omitzero"`
	Met         int       `json:"quorumMet"` // by how many of them
}

// maxHistory is how many checkpoints are drawn.
const maxHistory = 512

func (s *Site) witnesses(r *http.Request) (*page, error) {
	v := &witnessesView{
		Quorum: s.cfg.Policy.Quorum(), Missing: []string{}, Evidence: []Evidence{}, Witnesses: []witnessView{},
		Policy: checkpointPolicy(s.cfg.Policy), Now: s.cfg.Now().UTC(),
	}
	sigs := v.latest(s)
	v.those(s.cfg.Policy, sigs)
	if s.cfg.Survey != nil {
		v.Kept = true
		cosigned, err := s.cfg.Survey.Cosigned(r.Context(), maxHistory)
		if err != nil {
			return nil, err
		}
		v.past(s.cfg.Policy, cosigned)
	}
	if s.cfg.Evidence != nil {
		evidence, err := s.cfg.Evidence()
		if err != nil {
			s.cfg.Logger.ErrorContext(r.Context(), "reading the evidence", slog.Any("err", err))
		}
		v.Known, v.Evidence = err == nil, append(v.Evidence, evidence...)
	}
	return &page{name: "witnesses", title: "Witnesses", view: v}, nil
}

// latest holds the published checkpoint to the policy, and returns its signatures that
// verify.
func (v *witnessesView) latest(s *Site) []note.Signature {
	published := s.cfg.Board.Latest()
	v.Ring = newRing(s.cfg.Policy, published, v.Now)
	if published == nil {
		return nil
	}
	v.Origin, v.Size, v.At = published.Origin, published.N, published.At.UTC()
	v.OriginHash = leaf.SHA256([]byte(v.Origin)).Hex()
	_, sigs, err := tlogproof.Open(published.Signed, s.cfg.Policy)
	if err != nil {
		v.Problem = "The signatures of the published checkpoint do not verify."
		return nil
	}
	e := s.cfg.Policy.ExplainAt(v.Origin, sigs, v.Now)
	v.Missing, v.Witnessed = e.Missing, e.Witnessed
	v.Margin, _ = s.cfg.Policy.Margin(sigs)
	return sigs
}

// those lists the policy's witnesses, and which of them the signatures are by.
func (v *witnessesView) those(p *policy.Policy, sigs []note.Signature) {
	asked := make(map[string]bool) // by name, quoted where the explanation quotes it
	e := p.Explain("", nil)
	var walk func(n *policy.Node)
	walk = func(n *policy.Node) {
		asked[n.Name] = true
		for i := range n.Members {
			walk(&n.Members[i])
		}
	}
	walk(&e.Quorum)
	for _, w := range p.Witnesses() {
		line := witnessView{Name: w.Name, Key: w.Verifier.Name(), VKey: w.VKey, URL: w.URL, Asked: asked[w.Name] || asked[strconv.Quote(w.Name)]}
		for _, sig := range sigs {
			if sig.Name != w.Verifier.Name() || sig.Hash != w.Verifier.KeyHash() {
				continue
			}
			line.Cosigned = true
			if at, err := torchwood.CosignatureTimestamp(sig); err == nil {
				line.Time = time.Unix(at, 0).UTC()
			}
		}
		if u, err := url.Parse(w.URL); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
			line.Link = w.URL
			line.Evidence = strings.TrimRight(w.URL, "/") + "/evidence?origin-hash=" + v.OriginHash
		}
		v.Witnesses = append(v.Witnesses, line)
	}
}

// past counts and draws the cosignatures of published checkpoints, which come the
// latest first.
func (v *witnessesView) past(p *policy.Policy, cosigned []survey.Cosigned) {
	list := slices.Clone(cosigned)
	slices.Reverse(list)
	v.History.Checkpoints = len(list)
	if len(list) == 0 || len(v.Witnesses) == 0 {
		return
	}
	met := make([]bool, len(list))
	lags := make([][]float64, len(v.Witnesses))
	for i, c := range list {
		first := firstTime(c)
		for k := range v.Witnesses {
			w := &v.Witnesses[k]
			at, ok := c.Times[w.Key]
			if !ok {
				continue
			}
			w.Count++
			w.Last, w.LastSize = at.UTC(), c.Size
			lags[k] = append(lags[k], at.Sub(first).Seconds())
		}
		if met[i] = quorumOf(p, c); met[i] {
			v.History.Met++
		}
	}
	for k := range v.Witnesses {
		if slices.Sort(lags[k]); len(lags[k]) > 0 {
			v.Witnesses[k].Median, v.Witnesses[k].Largest = lags[k][len(lags[k])/2], lags[k][len(lags[k])-1]
		}
	}
	v.Lanes = newLanes(v.Witnesses, list, met, v.Now)
	v.History.From, v.History.To = v.Lanes.From, v.Lanes.To
}

// firstTime returns when a checkpoint was first cosigned.
func firstTime(c survey.Cosigned) time.Time {
	var first time.Time
	for _, at := range c.Times {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// quorumOf reports whether those who cosigned a checkpoint are a quorum. That they did
// is the survey's word: the signatures were verified when it noted them.
func quorumOf(p *policy.Policy, c survey.Cosigned) bool {
	var sigs []note.Signature
	for _, w := range p.Witnesses() {
		if _, ok := c.Times[w.Verifier.Name()]; ok {
			sigs = append(sigs, note.Signature{Name: w.Verifier.Name(), Hash: w.Verifier.KeyHash()})
		}
	}
	e := p.Explain("", sigs)
	return e.QuorumMet
}

// checkpointPolicy returns the lines of a policy that are about checkpoints.
func checkpointPolicy(p *policy.Policy) string {
	var b strings.Builder
	for line := range strings.Lines(p.String()) {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "log", "witness", "group", "quorum":
			b.WriteString(line)
		}
	}
	return b.String()
}
