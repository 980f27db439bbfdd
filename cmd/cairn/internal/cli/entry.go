package cli

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// entryView is an entry in JSON: what its leaf says.
type entryView struct {
	ID       string             `json:"id"`
	Origin   string             `json:"origin"`
	Index    int64              `json:"index"`
	Kind     leaf.Kind          `json:"kind"`
	Format   string             `json:"format"`
	Claim    leaf.Claim         `json:"claim"`
	Result   string             `json:"result,omitempty"`
	Envelope leaf.Digest        `json:"envelope"`
	Payload  leaf.Digest        `json:"payload"`
	Keys     []leaf.Fingerprint `json:"keys"`
	Names    []leaf.Digest      `json:"names,omitempty"`
	Subjects []leaf.Digest      `json:"subjects"`
	Outputs  []leaf.Digest      `json:"outputs,omitempty"`
	Leaf     string             `json:"leaf"`
	LeafHash string             `json:"leafHash"`
}

func viewEntry(origin string, index int64, text string, l *leaf.Leaf) *entryView {
	return &entryView{
		ID: entryID(origin, index), Origin: origin, Index: index,
		Kind: l.Kind, Format: l.Format, Claim: l.Claim, Result: stated(l.Result),
		Envelope: l.Envelope, Payload: l.Payload,
		Keys: l.Keys, Names: l.Names, Subjects: l.Subjects, Outputs: l.Outputs,
		Leaf: text, LeafHash: hex.EncodeToString(leaf.Hash([]byte(text))),
	}
}

// stated returns a result, or nothing where the claim has none.
func stated(r leaf.Result) string {
	if r == leaf.NoResult {
		return ""
	}
	return string(r)
}

// what says in a word what an entry is about.
func (e *entryView) what() string {
	if e.Kind != leaf.KindAttestation {
		return string(e.Kind)
	}
	return string(e.Claim)
}

// line prints an entry on one line. The columns are the same for all.
func (e *entryView) line(p term.Printer) {
	p.Printf("%s  %-12s %s  %s  by %s\n", e.ID, e.what(), paintResult(p, e.Result), join(e.Subjects), join(e.Keys))
}

// paintResult pads a result to a column.
func paintResult(p term.Printer, result string) term.Painted {
	switch leaf.Result(result) {
	case leaf.Identical, leaf.Equivalent:
		return p.Paint(term.Good, fmt.Sprintf("%-12s", result))
	case leaf.Different, leaf.BuildFailed:
		return p.Paint(term.Bad, fmt.Sprintf("%-12s", result))
	case "":
		result = "-"
	}
	return p.Paint(term.Dim, fmt.Sprintf("%-12s", result))
}

func join[T ~string](list []T) string {
	s := make([]string, len(list))
	for i, v := range list {
		s[i] = string(v)
	}
	return strings.Join(s, " ")
}

// field prints one labelled line of a longer answer.
func field(p term.Printer, label, format string, args ...any) {
	p.Printf("%-11s"+format+"\n", append([]any{label}, args...)...)
}
