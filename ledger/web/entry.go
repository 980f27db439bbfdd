package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// maxDecoded is the most bytes of an attestation that its entry's page shows.
const maxDecoded = 64 << 10

// entryView is the page of an entry.
type entryView struct {
	Origin string     `json:"origin"`
	Index  int64      `json:"index"`
	Logged *time.Time `json:"logged,omitempty"` // of the first checkpoint known to cover it
	Kind   leaf.Kind  `json:"kind"`
	Format string     `json:"format"`
	Claim  leaf.Claim `json:"claim"`
	// Lines are what the leaf says. Of an entry of Rekor they are derived from it.
	Lines []leafLine `json:"lines"`
	Names []named    `json:"names"` // that the leaf's name lines are the hashes of, as far as they are held
	Leaf  string     `json:"leaf"`
	Rekor bool       `json:"rekor"` // the leaf is Rekor's JSON
	// Attestation is what was signed; nil of an entry that is its own leaf.
	Attestation *attestationView `json:"attestation,omitempty"`
	Proof       proofView        `json:"proof"`

	Sentence string    `json:"-"` // what the entry is, in one sentence
	Drawing  drawing   `json:"-"`
	Data     entryData `json:"-"`
	Saved    bool      `json:"-"` // the page is saved, and has nothing to ask
	all      entryData // what Data is then
}

// leafLine is a line of a leaf.
type leafLine struct {
	Word  string `json:"word"`
	Value string `json:"value"`
	Link  string `json:"-"`
	Hash  bool   `json:"-"`
}

// named is a package that an entry names.
type named struct {
	Name string `json:"name"`
	Link string `json:"-"`
}

// attestationView is an attestation's bytes, for people.
type attestationView struct {
	Envelope leaf.Digest `json:"envelope"`
	Bytes    int         `json:"bytes"`
	Problem  string      `json:"problem,omitempty"` // why there is no text
	What     string      `json:"what"`              // what Text is
	Text     string      `json:"text"`              // at most maxDecoded bytes
	Cut      bool        `json:"cut"`               // there is more
}

// entryData is what the script proves an entry from: in a saved page all of it, else
// what it has to ask for is missing.
type entryData struct {
	Index       string          `json:"index"`
	Checkpoint  string          `json:"checkpoint"`
	Entry       json.RawMessage `json:"entry,omitempty"` // a GetEntryResponse
	Attestation string          `json:"attestation,omitempty"`
}

// entries serves an entry's page, its twin, and the page that can be saved.
func (s *Site) entries(w http.ResponseWriter, r *http.Request) {
	index, kind := suffixOf(r.PathValue("index"))
	r.SetPathValue("index", index)
	switch kind {
	case "":
		s.serve(s.entry, html).ServeHTTP(w, r)
	case ".json":
		s.serve(s.entry, twin).ServeHTTP(w, r)
	case ".html":
		s.serve(s.entry, saved).ServeHTTP(w, r)
	default:
		s.serve(s.missing, html).ServeHTTP(w, r)
	}
}

func (s *Site) entry(r *http.Request) (*page, error) {
	index, err := number63("the number of an entry", r.PathValue("index"))
	if err != nil {
		return nil, err
	}
	got, err := s.cfg.Reads.GetEntry(r.Context(), &cairnv1.GetEntryRequest{Index: index})
	if err != nil {
		return nil, err
	}
	l, err := leaf.Parse([]byte(got.GetEntry().GetLeaf()))
	if err != nil {
		return nil, fmt.Errorf("reading the leaf of entry %d: %w", index, err)
	}
	checkpoint, _, err := tlogproof.Open([]byte(got.GetCheckpoint()), nil)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint of entry %d: %w", index, err)
	}
	v := &entryView{
		Origin: checkpoint.Origin, Index: index, Kind: l.Kind, Format: l.Format, Claim: l.Claim,
		Lines: leafLines(l), Names: []named{}, Leaf: got.GetEntry().GetLeaf(), Rekor: l.Rekor != "", Sentence: sentence(l),
		Proof: newProof(got, checkpoint),
		Data:  entryData{Index: strconv.FormatInt(index, 10), Checkpoint: got.GetCheckpoint()},
	}
	v.Drawing = drawProof(&v.Proof)
	v.all = v.Data
	if v.all.Entry, err = protojson.Marshal(got); err != nil {
		return nil, fmt.Errorf("encoding entry %d: %w", index, err)
	}
	if err := s.attestation(r.Context(), v, l); err != nil {
		return nil, err
	}
	if s.cfg.Survey != nil {
		if at, err := s.cfg.Survey.Logged(r.Context(), uint64(index)); err == nil && !at.IsZero() {
			v.Logged = &at
		}
	}
	return &page{name: "entry", title: "Entry " + number(index), twin: fmt.Sprintf("/e/%d.json", index), view: v}, nil
}

// attestation adds what was signed, and the names in it.
func (s *Site) attestation(ctx context.Context, v *entryView, l *leaf.Leaf) error {
	if v.Rekor {
		return nil
	}
	a := &attestationView{Envelope: l.Envelope}
	v.Attestation = a
	got, err := s.cfg.Reads.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: l.Envelope.Hex()})
	if reason.Is(err, reason.AttestationNotFound) {
		a.Problem = "This ledger does not hold the bytes: they were withdrawn, or never came here. The entry stays in the log."
		return nil
	}
	if err != nil {
		return err
	}
	raw := got.GetAttestation()
	a.Bytes, v.all.Attestation = len(raw), base64.StdEncoding.EncodeToString(raw)
	a.What, a.Text = decoded(l.Format, raw)
	if len(a.Text) > maxDecoded {
		a.Text, a.Cut = strings.ToValidUTF8(a.Text[:maxDecoded], ""), true
	}
	v.Names = namesIn(got.GetClaim(), l)
	return nil
}

// decoded returns what of an attestation people can read, as it is: it is not made fit
// to be shown yet.
func decoded(format string, raw []byte) (what, text string) {
	var envelope struct {
		Payload []byte `json:"payload"`
	}
	if format == attest.FormatDSSE && json.Unmarshal(raw, &envelope) == nil {
		return "the payload that was signed", pretty(envelope.Payload)
	}
	if utf8.Valid(raw) && !bytes.ContainsRune(raw, 0) {
		return "the attestation as it was received", pretty(raw)
	}
	return "the attestation, which is no text, in hex", hex.Dump(raw[:min(len(raw), maxDecoded/4)])
}

// pretty indents JSON, and leaves everything else.
func pretty(text []byte) string {
	var b bytes.Buffer
	if len(text) > 4*maxDecoded || json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}

// namesIn returns the names in a claim that the leaf has the hashes of.
func namesIn(c *cairnv1.Claim, l *leaf.Leaf) []named {
	list := []named{}
	for _, r := range slices.Concat(c.GetSubjects(), c.GetOutputs()) {
		for _, uri := range []string{r.GetUri(), r.GetName()} {
			name, err := attest.LookupName(uri)
			n := named{name, pathOf("/p/", name)}
			if err == nil && slices.Contains(l.Names, leaf.NameHash(name)) && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	return list
}

// leafLines returns what a leaf says, in the order of its lines.
func leafLines(l *leaf.Leaf) []leafLine {
	list := []leafLine{
		{Word: "kind", Value: string(l.Kind)},
		{Word: "format", Value: l.Format},
		{Word: "envelope", Value: string(l.Envelope), Hash: true},
		{Word: "payload", Value: string(l.Payload), Hash: true},
		{Word: "claim", Value: string(l.Claim)},
		{Word: "result", Value: string(l.Result)},
	}
	add := func(word, value, below string) {
		line := leafLine{Word: word, Value: value, Hash: true}
		if below != "" {
			line.Link = pathOf(below, value)
		}
		list = append(list, line)
	}
	for _, k := range l.Keys {
		add("key", string(k), "/rebuilders/")
	}
	for _, n := range l.Names {
		add("name", string(n), "")
	}
	below := "/p/"
	if l.Kind == leaf.KindEnrol || l.Kind == leaf.KindEndorse || l.Kind == leaf.KindRevoke {
		below = "/rebuilders/" // the subject is a key
	}
	for _, d := range l.Subjects {
		add("subject", string(d), below)
	}
	for _, d := range l.Outputs {
		add("output", string(d), "/p/")
	}
	return list
}

// sentence says what an entry is. What it claims may be wrong, whatever is proven.
func sentence(l *leaf.Leaf) string {
	switch {
	case l.Rekor != "":
		return "An entry of Rekor's format: that a key signed something with this digest."
	case l.Kind == leaf.KindEnrol:
		return "A key was enrolled: from here on it may sign what is logged."
	case l.Kind == leaf.KindEndorse:
		return "A key that is enrolled vouches for another, or takes that back."
	case l.Kind == leaf.KindRevoke:
		return "A key was revoked: from here on it may sign nothing more."
	case l.Kind == leaf.KindRedaction:
		return "An attestation was withdrawn."
	case l.Claim == leaf.ClaimBuild:
		return "The signer claims to have built this."
	case l.Claim == leaf.ClaimReproduction:
		return "The signer claims to have tried to reproduce this: " + resultWords[l.Result] + "."
	case l.Claim == leaf.ClaimReview:
		return "The signer claims to have reviewed this."
	}
	return "The signer vouches for this, and does not say to have built it."
}

var resultWords = map[leaf.Result]string{
	leaf.NoResult: "with no result", leaf.Identical: "it came out identical", leaf.Equivalent: "it came out equivalent",
	leaf.Different: "something else came out", leaf.BuildFailed: "the build failed", leaf.Inconclusive: "without a conclusion",
}

// Shown is the text of an attestation, fit to be shown.
func (a *attestationView) Shown() string { return plain.Lines(a.Text) }
