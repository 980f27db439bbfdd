package importer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Schema is that of a Report in JSON.
const Schema = "cairn/import/v1"

// maxMessage is the most bytes of a refusal's message that are kept.
const maxMessage = 600

// Report says what became of the items of a source.
type Report struct {
	Schema   string     `json:"schema"`
	Source   string     `json:"source"`
	Origin   string     `json:"origin,omitempty"` // of the log
	DryRun   bool       `json:"dryRun,omitempty"`
	Complete bool       `json:"complete"` // false if the import ended before its source
	Items    int        `json:"items"`
	New      int        `json:"new"`              // logged by this import
	Known    int        `json:"known"`            // logged before
	Resumed  int        `json:"resumed"`          // logged by an earlier run, as its state says
	Passed   int        `json:"passed,omitempty"` // of a dry run: nothing is wrong with them
	Refused  int        `json:"refused"`
	Groups   []Group    `json:"groups,omitempty"`
	Refusals []Refusals `json:"refusals,omitempty"`
	// Size is that of the largest checkpoint that entries were verified to be in.
	Size int64 `json:"size,omitempty"`
	// SignatureChecked says whether the checkpoints satisfied a policy.
	SignatureChecked bool `json:"signatureChecked"`
}

// Group counts the items of one group.
type Group struct {
	Name    string `json:"name"`
	Logged  int    `json:"logged"` // new, known, resumed, or passed
	Refused int    `json:"refused"`
}

// Refusals are the items that were refused for one reason.
type Refusals struct {
	Reason reason.Reason `json:"reason"`
	Count  int           `json:"count"`
	Items  []Refused     `json:"items"`
}

// Refused is an item that was refused.
type Refused struct {
	Name    string `json:"name"`
	Group   string `json:"group,omitempty"`
	Message string `json:"message"`
}

func newReport(source string, dryRun bool) *Report {
	return &Report{Schema: Schema, Source: source, DryRun: dryRun}
}

// outcome is what became of an item.
type outcome struct {
	entry   Entry
	resumed bool
	err     error
}

// tally collects what a report lists once the import is over.
type tally struct {
	groups   map[string]*Group
	refusals map[reason.Reason]*Refusals
}

func (t *tally) add(r *Report, item *Item, o outcome) {
	r.Items++
	r.Size = max(r.Size, o.entry.Size)
	switch {
	case o.err != nil:
		r.Refused++
		t.refuse(item, o.err)
	case o.resumed:
		r.Resumed++
	case r.DryRun:
		r.Passed++
	case o.entry.Created:
		r.New++
	default:
		r.Known++
	}
	if item.Group == "" {
		return
	}
	if t.groups == nil {
		t.groups = make(map[string]*Group)
	}
	g := t.groups[item.Group]
	if g == nil {
		g = &Group{Name: item.Group}
		t.groups[item.Group] = g
	}
	if o.err != nil {
		g.Refused++
	} else {
		g.Logged++
	}
}

func (t *tally) refuse(item *Item, err error) {
	why := cmdline.SourceIncomplete
	if e, ok := reason.Of(err); ok {
		why = e.Reason
	}
	if t.refusals == nil {
		t.refusals = make(map[reason.Reason]*Refusals)
	}
	list := t.refusals[why]
	if list == nil {
		list = &Refusals{Reason: why}
		t.refusals[why] = list
	}
	list.Count++
	message := err.Error()
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	list.Items = append(list.Items, Refused{Name: item.Name, Group: item.Group, Message: message})
}

// finish puts the lists in an order that does not depend on who was first.
func (t *tally) finish(r *Report) {
	for _, name := range slices.Sorted(maps.Keys(t.groups)) {
		r.Groups = append(r.Groups, *t.groups[name])
	}
	for _, list := range t.refusals {
		slices.SortFunc(list.Items, func(a, b Refused) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Message, b.Message))
		})
		r.Refusals = append(r.Refusals, *list)
	}
	slices.SortFunc(r.Refusals, func(a, b Refusals) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
}

// Line says in one line how far an import is.
func (r *Report) Line() string {
	if r.DryRun {
		return fmt.Sprintf("%d checked: %d good, %d refused", r.Items, r.Passed, r.Refused)
	}
	line := fmt.Sprintf("%d done: %d new, %d known, %d refused", r.Items, r.New, r.Known, r.Refused)
	if r.Resumed > 0 {
		line += fmt.Sprintf(", %d by an earlier run", r.Resumed)
	}
	return line
}
