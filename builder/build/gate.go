package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/tree"
)

// Gate says whether enough independent results agree on an image.
type Gate interface {
	// Pass returns nil once at least n independent results, this builder's
	// included, agree on the image of res, and a *GateError if they do not. It
	// may wait.
	Pass(ctx context.Context, res *record.Result, n int) error
}

// GateError is a gate that stays shut.
type GateError struct {
	Package string
	Reason  string
}

func (e *GateError) Error() string {
	return fmt.Sprintf("%s: the gate is shut: %s", e.Package, e.Reason)
}

// pass asks the gate of a package. Once it was open for an image, it is.
func (b *Builder) pass(ctx context.Context, p *tree.Package, res *record.Result) error {
	if p.Gate <= 1 {
		return nil
	}
	key := p.ID() + "@" + res.Manifest
	b.mu.Lock()
	open := b.opened[key]
	b.mu.Unlock()
	if open {
		return nil
	}
	if b.cfg.Gate == nil {
		return &GateError{p.ID(), fmt.Sprintf(
			"%d independent results must agree on it, and no ledger was named to ask: give --ledger URL with --key FILE, or --gate off to build on it all the same", p.Gate)}
	}
	if err := b.cfg.Gate.Pass(ctx, res, p.Gate); err != nil {
		return err
	}
	b.mu.Lock()
	b.opened[key] = true
	b.mu.Unlock()
	return nil
}

// OpenGate lets everything pass. It is for people who say so.
type OpenGate struct{}

// Pass implements Gate.
func (OpenGate) Pass(context.Context, *record.Result, int) error { return nil }

// LedgerGate asks a ledger.
type LedgerGate struct {
	Ledger *record.Ledger
	// Operators are those whose results count; if empty, those of all enrolled
	// keys.
	Operators []string
	// Grown returns once the ledger has published more than size entries, and its
	// error once waiting is over; nil asks once.
	Grown func(ctx context.Context, size int64) error
	// Waiting is told why the gate is still shut.
	Waiting func(reason string)
}

// Pass implements Gate.
func (g *LedgerGate) Pass(ctx context.Context, res *record.Result, n int) error {
	for {
		a, err := g.Ledger.Agreement(ctx, res.Manifest)
		if err != nil {
			return fmt.Errorf("%s: asking its gate: %w", res.Package, err)
		}
		if dissent := g.dissent(a); dissent != "" {
			return &GateError{res.Package, dissent}
		}
		shut := g.lacking(a, n)
		if shut == "" {
			return nil
		}
		if g.Grown == nil {
			return &GateError{res.Package, shut}
		}
		if g.Waiting != nil {
			g.Waiting(shut)
		}
		if err := g.Grown(ctx, a.Size); err != nil {
			return &GateError{res.Package, shut + "; waiting for more ended: " + err.Error()}
		}
	}
}

// dissent returns what an operator that counts says against the image.
func (g *LedgerGate) dissent(a *record.Agreement) string {
	for _, d := range a.Dissent {
		if g.counts(d.Operator) {
			return fmt.Sprintf("%s says %s of %s in entry %s", d.Operator, d.Result, a.Manifest, d.Entry)
		}
	}
	return ""
}

// lacking returns what is lacking for n results, or nothing. What an engine is
// called is the operator's word: it tells results apart only of operators who
// were named.
func (g *LedgerGate) lacking(a *record.Agreement, n int) string {
	named := func(r record.Independent) bool { return len(g.Operators) > 0 && r.Engine != "" }
	var who []string
	for _, r := range a.Results {
		switch {
		case !g.counts(r.Operator):
		case named(r):
			who = append(who, r.Operator+" with "+r.Engine)
		case !slices.ContainsFunc(a.Results, func(o record.Independent) bool { return o.Operator == r.Operator && named(o) }):
			who = append(who, r.Operator)
		}
	}
	slices.Sort(who)
	if who = slices.Compact(who); len(who) >= n {
		return ""
	}
	said := "nobody"
	if len(who) > 0 {
		said = strings.Join(who, ", ")
	}
	return fmt.Sprintf("%d independent results must agree on %s, and %d do: %s", n, a.Manifest, len(who), said)
}

func (g *LedgerGate) counts(operator string) bool {
	return len(g.Operators) == 0 || slices.Contains(g.Operators, operator)
}
