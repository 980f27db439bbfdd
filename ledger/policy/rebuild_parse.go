package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
)

func (p *parser) rebuilder(args []string) error {
	const want = "rebuilder <name> <key> operator=<operator> [cpu-vendor=<vendor>] [country=<country>]"
	if len(args) < 3 {
		return fmt.Errorf("want %s, got %d arguments", want, len(args))
	}
	if len(p.policy.rebuilderList) == MaxRebuilders {
		return fmt.Errorf("more than %d rebuilders", MaxRebuilders)
	}
	r := &Rebuilder{Name: args[0], Key: leaf.Fingerprint(args[1])}
	if err := p.checkNew(r.Name); err != nil {
		return err
	}
	if !r.Key.Valid() {
		return fmt.Errorf("key %.80q is no fingerprint: want sha256:<64 hex digits> or openpgp:<40 or 64 hex digits>, in lower case", args[1])
	}
	if err := r.attributes(args[2:]); err != nil {
		return err
	}
	if r.Operator == "" {
		return fmt.Errorf("rebuilder %s has no operator: want %s", printable(r.Name), want)
	}
	// Who is counted twice because of a slash is counted twice.
	folded := strings.ToLower(strings.TrimRight(r.Operator, "/"))
	if other, ok := p.operators[folded]; ok && other != r.Operator {
		return fmt.Errorf("operator %s is spelled %s on an earlier line: one operator has one spelling", r.Operator, other)
	}
	if err := p.addKey(r.Key, "rebuilder "+printable(r.Name)); err != nil {
		return err
	}
	p.operators[folded] = r.Operator
	if _, ok := p.lines["rebuilder"]; !ok {
		p.lines["rebuilder"] = p.n
	}
	p.policy.rebuilderList = append(p.policy.rebuilderList, r)
	p.policy.rebuilders[r.Key] = r
	p.policy.components[r.Name] = component{rebuilder: r}
	return nil
}

func (r *Rebuilder) attributes(args []string) error {
	fields := map[string]*string{"operator": &r.Operator, "cpu-vendor": &r.CPUVendor, "country": &r.Country}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		field := fields[name]
		switch {
		case !ok || field == nil:
			return fmt.Errorf("unknown attribute %.80q: want operator=, cpu-vendor= or country=", a)
		case *field != "":
			return fmt.Errorf("second attribute %s=", name)
		case value == "":
			return fmt.Errorf("attribute %s= has no value", name)
		case len(value) > maxValue:
			return fmt.Errorf("attribute %s= of %d bytes is over the limit of %d", name, len(value), maxValue)
		case printable(value) != value:
			return fmt.Errorf("attribute %s= has characters that are not printable", name)
		}
		*field = value
	}
	return nil
}

func (p *parser) rebuildGroup(args []string) error {
	if len(args) < 3 {
		return errors.New("want rebuild-group <name> <k>|any|all <member>..., with at least one member")
	}
	if len(p.policy.rebuildGroups) == MaxRebuildGroups {
		return fmt.Errorf("more than %d rebuild-groups", MaxRebuildGroups)
	}
	g := &rebuildGroup{name: args[0], members: args[2:]}
	if err := p.checkNew(g.name); err != nil {
		return err
	}
	for _, m := range g.members {
		if err := p.checkKind("member", m, component.rebuilds, "a rebuilder or rebuild-group"); err != nil {
			return err
		}
	}
	if err := p.checkTree(g); err != nil {
		return err
	}
	g.of = p.policy.voices(g.members)
	var err error
	if g.k, err = parseThreshold(args[1], g.of, fmt.Sprintf("the %d operators and groups that are members", g.of)); err != nil {
		return err
	}
	p.lines["rebuild-group "+g.name] = p.n
	p.policy.rebuildGroups = append(p.policy.rebuildGroups, g)
	p.policy.components[g.name] = component{rebuildGroup: g}
	return nil
}

// voices counts who can speak in a group: operators, and groups.
func (p *Policy) voices(members []string) int {
	operators := make(map[string]bool)
	groups := 0
	for _, m := range members {
		if r := p.components[m].rebuilder; r != nil {
			operators[r.Operator] = true
		} else {
			groups++
		}
	}
	return len(operators) + groups
}

// checkTree checks that below a group no name is twice, and no operator is in
// two groups: so that nobody counts twice, in whatever role.
func (p *parser) checkTree(root *rebuildGroup) error {
	names, operators := make(map[string]string), make(map[string]string)
	var walk func(g *rebuildGroup) error
	walk = func(g *rebuildGroup) error {
		for _, m := range g.members {
			if in, ok := names[m]; ok {
				return fmt.Errorf("%q is a member of rebuild-group %q and again of %q: it would count twice", m, in, g.name)
			}
			names[m] = g.name
			c := p.policy.components[m]
			if c.rebuildGroup != nil {
				if err := walk(c.rebuildGroup); err != nil {
					return err
				}
				continue
			}
			op := c.rebuilder.Operator
			if in, ok := operators[op]; ok && in != g.name {
				return fmt.Errorf("operator %s is in rebuild-group %q and again in %q: it would count twice", op, in, g.name)
			}
			operators[op] = g.name
		}
		return nil
	}
	return walk(root)
}

func (p *parser) rebuildQuorum(args []string) error {
	if len(args) != 1 && (len(args) != 3 || args[1] != "for") {
		return errors.New("want rebuild-quorum <name> [for <purl glob>]")
	}
	if len(p.policy.rebuildQuorums) == MaxRebuildQuorums {
		return fmt.Errorf("more than %d rebuild-quorums", MaxRebuildQuorums)
	}
	if err := p.checkKind("rebuild-quorum", args[0], component.rebuilds, "a rebuilder or rebuild-group"); err != nil {
		return err
	}
	q := &rebuildQuorum{name: args[0], line: p.n}
	if len(args) == 3 {
		g, err := parseGlob(args[2])
		if err != nil {
			return err
		}
		q.glob = &g
	}
	for _, other := range p.policy.rebuildQuorums {
		switch {
		case q.glob == nil && other.glob == nil:
			return errors.New("second rebuild-quorum line without `for`")
		case q.glob != nil && other.glob != nil && other.glob.covers(q.glob):
			return fmt.Errorf("this line never counts: all that %s matches is matched by %s on line %d", q.glob.text, other.glob.text, other.line)
		}
	}
	p.policy.rebuildQuorums = append(p.policy.rebuildQuorums, q)
	return nil
}

func (p *parser) distinct(args []string) error {
	if len(args) != 2 || !slices.Contains(distinctWhats, args[0]) {
		return errors.New("want distinct operator|cpu-vendor|engine|country <k>")
	}
	k, err := parseNumber(args[1])
	if err != nil || k < 1 || k > MaxRebuilders {
		return fmt.Errorf("distinct %s %.40q: want a number between 1 and %d", args[0], args[1], MaxRebuilders)
	}
	if p.policy.distinctOf(args[0]) != 0 {
		return fmt.Errorf("second line distinct %s", args[0])
	}
	p.lines["distinct "+args[0]] = p.n
	p.policy.distinct = append(p.policy.distinct, Distinct{args[0], k})
	slices.SortFunc(p.policy.distinct, func(a, b Distinct) int {
		return slices.Index(distinctWhats, a.What) - slices.Index(distinctWhats, b.What)
	})
	return nil
}

func (p *parser) dissent(args []string) error {
	if _, ok := p.lines["dissent"]; ok {
		return errors.New("second dissent line")
	}
	p.lines["dissent"] = p.n
	switch {
	case len(args) == 1 && args[0] == "block":
		return nil
	case len(args) == 2 && args[0] == "tolerate":
		n, err := parseNumber(args[1])
		if err != nil || n < 1 {
			return fmt.Errorf("dissent tolerate %.40q: want a number of operators of at least 1; `dissent block` tolerates none", args[1])
		}
		p.policy.tolerates = n
		return nil
	}
	return errors.New("want dissent block|tolerate <n>")
}

func (p *parser) seed(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want seed sha256:<hex>, got %d arguments", len(args))
	}
	if len(p.policy.seeds) == MaxSeeds {
		return fmt.Errorf("more than %d seeds", MaxSeeds)
	}
	d := leaf.Digest(args[0])
	if !d.Valid() || !strings.HasPrefix(args[0], "sha256:") {
		return fmt.Errorf("seed %.80q is not sha256:<64 hex digits in lower case>", args[0])
	}
	if other, ok := p.lines["seed "+args[0]]; ok {
		return fmt.Errorf("seed %s is on line %d already", d, other)
	}
	p.lines["seed "+args[0]] = p.n
	p.policy.seeds = append(p.policy.seeds, d)
	return nil
}

func (p *parser) except(args []string) error {
	if len(args) < 5 || args[1] != "until" || args[3] != "reason" {
		return errors.New("want except <purl glob> until <date> reason <text>")
	}
	if len(p.policy.exceptions) == MaxExceptions {
		return fmt.Errorf("more than %d exceptions", MaxExceptions)
	}
	g, err := parseGlob(args[0])
	if err != nil {
		return err
	}
	if other, ok := p.lines["except "+g.text]; ok {
		return fmt.Errorf("an exception for %s is on line %d already", g.text, other)
	}
	until, err := parseUntil(args[2])
	if err != nil {
		return err
	}
	e := exception{glob: g, Exception: Exception{Glob: g.text, Until: until, Reason: strings.Join(args[4:], " ")}}
	if len(e.Reason) > maxValue {
		return fmt.Errorf("reason of %d bytes is over the limit of %d", len(e.Reason), maxValue)
	}
	// It is shown to people, so it must not do anything to their terminals.
	if !printableText(e.Reason) {
		return fmt.Errorf("reason %.80q has characters that are not printable", e.Reason)
	}
	p.lines["except "+g.text] = p.n
	p.policy.exceptions = append(p.policy.exceptions, e)
	return nil
}

func (p *parser) maxAge(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want max-age <duration>, got %d arguments", len(args))
	}
	if p.policy.maxAge != 0 {
		return errors.New("second max-age line")
	}
	var err error
	p.lines["max-age"] = p.n
	p.policy.maxAge, err = parseAge(args[0])
	return err
}

// whole checks what no line shows alone: that each rule is applied to something,
// and that what the lines ask for together can be met.
func (p *parser) whole() error {
	pol := p.policy
	blame := func(line, format string, args ...any) error {
		return fmt.Errorf("line %d: %w", p.lines[line], fmt.Errorf(format, args...))
	}
	if len(pol.rebuilderList) > 0 && len(pol.rebuildQuorums) == 0 {
		return blame("rebuilder", "no rebuild-quorum line asks for a rebuilder, so nothing would ever be reproduced")
	}
	reached := make(map[string]bool)
	for _, q := range pol.rebuildQuorums {
		pol.reach(q.name, reached)
	}
	for _, g := range pol.rebuildGroups {
		if !reached[g.name] {
			return blame("rebuild-group "+g.name, "no rebuild-quorum asks for rebuild-group %q", g.name)
		}
	}
	if err := p.wholeDistinct(); err != nil {
		return err
	}
	if _, ok := p.lines["dissent"]; ok && len(pol.rebuilderList) == 0 {
		return blame("dissent", "there is no rebuilder who could dissent")
	}
	if n := len(p.operators); pol.tolerates > 0 && pol.tolerates >= n {
		return blame("dissent", "dissent tolerate %d would let every one of the %d operators dissent", pol.tolerates, n)
	}
	if pol.maxAge != 0 && pol.quorum == none {
		return blame("max-age", "max-age needs a witness quorum: the time is that of cosignatures, and `quorum none` asks for none")
	}
	return nil
}

// reach adds to reached what is below a name.
func (p *Policy) reach(name string, reached map[string]bool) {
	if reached[name] {
		return
	}
	reached[name] = true
	if g := p.components[name].rebuildGroup; g != nil {
		for _, m := range g.members {
			p.reach(m, reached)
		}
	}
}

// wholeDistinct checks that each quorum's own members can be as different as
// each distinct line wants.
func (p *parser) wholeDistinct() error {
	for _, d := range p.policy.distinct {
		line := p.lines["distinct "+d.What]
		if len(p.policy.rebuildQuorums) == 0 {
			return fmt.Errorf("line %d: there is no rebuild-quorum that distinct %s could be asked of", line, d.What)
		}
		for _, q := range p.policy.rebuildQuorums {
			if n, bounded := p.policy.variety(q.name, d.What); bounded && n < d.K {
				return fmt.Errorf("line %d: distinct %s %d can never be met: the rebuilders of the rebuild-quorum on line %d have %d",
					line, d.What, d.K, q.line, n)
			}
		}
	}
	return nil
}

// variety counts how many different values the members below a name can have.
// It is not bounded if the lines leave one to the attestations.
func (p *Policy) variety(name, what string) (n int, bounded bool) {
	members := make(map[string]bool)
	p.reach(name, members)
	values := make(map[string]bool)
	for m := range members {
		r := p.components[m].rebuilder
		if r == nil {
			continue
		}
		v := r.stated(what)
		if v == "" {
			return 0, false
		}
		values[v] = true
	}
	return len(values), true
}
