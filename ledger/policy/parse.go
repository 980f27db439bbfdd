package policy

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Parse reads a policy's text.
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("policy of %d bytes is over the limit of %d", len(text), MaxSize)
	}
	p := newParser()
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		p.n++
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.n, err)
		}
	}
	if len(p.policy.logs) == 0 {
		return nil, errors.New("the policy has no log line")
	}
	if p.policy.quorum == "" {
		return nil, errors.New("the policy has no quorum line; `quorum none` asks for no witnesses")
	}
	if err := p.whole(); err != nil {
		return nil, err
	}
	return p.policy, nil
}

type parser struct {
	policy   *Policy
	n        int                         // of the line that is read, from 1
	keys     map[leaf.Fingerprint]string // public key to the line that has it, for messages
	memberOf map[string]string           // witness or group to the group that has it as a member

	// The lines that whole may have to blame, by what stands behind their first
	// word, and by first word alone those of which there is one.
	lines     map[string]int
	operators map[string]string // operator in folded spelling to its first spelling
}

func newParser() *parser {
	return &parser{
		policy: &Policy{
			components: make(map[string]component),
			verifiers:  make(map[keyID]note.Verifier),
			rebuilders: make(map[leaf.Fingerprint]*Rebuilder),
		},
		keys:      make(map[leaf.Fingerprint]string),
		memberOf:  make(map[string]string),
		lines:     make(map[string]int),
		operators: make(map[string]string),
	}
}

func (p *parser) line(line []byte) error {
	// A comment is held to the octets too, as C2SP says: it cannot hide a
	// carriage return that another editor shows as a new line.
	if i := slices.IndexFunc(line, func(c byte) bool { return c != '\t' && (c < 0x20 || c == 0x7f) }); i >= 0 {
		if line[i] == '\r' {
			return fmt.Errorf("carriage return in column %d: lines end in a newline alone", i+1)
		}
		return fmt.Errorf("control character %#02x in column %d", line[i], i+1)
	}
	// Not strings.Fields: only space and tab separate, and octets above 0x7f
	// are opaque.
	f := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(f) == 0 || f[0][0] == '#' {
		return nil
	}
	word, args := f[0], f[1:]
	switch word {
	case "log":
		return p.log(args)
	case "witness":
		return p.witness(args)
	case "group":
		return p.group(args)
	case "quorum":
		return p.quorum(args)
	case "rebuilder":
		return p.rebuilder(args)
	case "rebuild-group":
		return p.rebuildGroup(args)
	case "rebuild-quorum":
		return p.rebuildQuorum(args)
	case "distinct":
		return p.distinct(args)
	case "dissent":
		return p.dissent(args)
	case "seed":
		return p.seed(args)
	case "except":
		return p.except(args)
	case "max-age":
		return p.maxAge(args)
	}
	return fmt.Errorf("unknown word %.40q: want log, witness, group, quorum, rebuilder, rebuild-group, rebuild-quorum, "+
		"distinct, dissent, seed, except or max-age", word)
}

func (p *parser) log(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("want log <vkey> [<url>], got %d arguments", len(args))
	}
	if len(p.policy.logs) == MaxLogs {
		return fmt.Errorf("more than %d logs", MaxLogs)
	}
	k, err := parseVKey(args[0])
	if err != nil {
		return fmt.Errorf("reading log key: %w", err)
	}
	v, err := k.logVerifier()
	if err != nil {
		return err
	}
	l := Log{Name: v.Name(), VKey: k.String(), Verifier: v}
	if l.URL, err = urlArg(args[1:]); err != nil {
		return err
	}
	if err := p.addVKey(k, v, "log "+printable(l.Name)); err != nil {
		return err
	}
	p.policy.logs = append(p.policy.logs, l)
	return nil
}

func (p *parser) witness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return fmt.Errorf("want witness <name> <vkey> [<url>], got %d arguments", len(args))
	}
	if len(p.policy.witnesses) == MaxWitnesses {
		return fmt.Errorf("more than %d witnesses", MaxWitnesses)
	}
	if err := p.checkNew(args[0]); err != nil {
		return err
	}
	k, err := parseVKey(args[1])
	if err != nil {
		return fmt.Errorf("reading witness key: %w", err)
	}
	v, err := k.witnessVerifier()
	if err != nil {
		return err
	}
	w := &Witness{Name: args[0], VKey: k.String(), Verifier: v}
	if w.URL, err = urlArg(args[2:]); err != nil {
		return err
	}
	if err := p.addVKey(k, v, "witness "+printable(w.Name)); err != nil {
		return err
	}
	p.policy.witnesses = append(p.policy.witnesses, *w)
	p.policy.components[w.Name] = component{witness: w}
	return nil
}

func (p *parser) group(args []string) error {
	if len(args) < 3 {
		return errors.New("want group <name> all|any|<k> <member>..., with at least one member")
	}
	if len(p.policy.groups) == MaxGroups {
		return fmt.Errorf("more than %d groups", MaxGroups)
	}
	g := &group{name: args[0], members: args[2:]}
	if err := p.checkNew(g.name); err != nil {
		return err
	}
	var err error
	if g.k, err = parseThreshold(args[1], len(g.members), fmt.Sprintf("the %d members", len(g.members))); err != nil {
		return err
	}
	for _, m := range g.members {
		if err := p.checkKind("member", m, component.cosigns, "a witness or group"); err != nil {
			return err
		}
		// C2SP: "Each defined name can be listed as a group member at most
		// once." Two groups that share a witness would count it twice.
		if other, ok := p.memberOf[m]; ok {
			return fmt.Errorf("%q is already a member of group %q; a name is a member at most once", m, other)
		}
		p.memberOf[m] = g.name
	}
	p.policy.groups = append(p.policy.groups, *g)
	p.policy.components[g.name] = component{group: g}
	return nil
}

func (p *parser) quorum(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want quorum <name>|none, got %d arguments", len(args))
	}
	if p.policy.quorum != "" {
		return errors.New("second quorum line")
	}
	if args[0] != none {
		if err := p.checkKind("quorum", args[0], component.cosigns, "a witness or group"); err != nil {
			return err
		}
	}
	p.policy.quorum = args[0]
	return nil
}

// checkNew checks that a name stands for nothing yet. Witnesses, rebuilders and
// both kinds of groups share their names, so that a reader need not know which
// is meant.
func (p *parser) checkNew(name string) error {
	if name == none {
		return errors.New(`the name "none" is reserved`)
	}
	if _, ok := p.policy.components[name]; ok {
		return fmt.Errorf("%q is defined twice", name)
	}
	return nil
}

// checkKind checks that a name is defined, and is of the wanted kind.
func (p *parser) checkKind(role, name string, is func(component) bool, want string) error {
	c, ok := p.policy.components[name]
	if !ok {
		return fmt.Errorf("%s %q is not defined on an earlier line", role, name)
	}
	if !is(c) {
		return fmt.Errorf("%s %q is a %s, want %s", role, name, c.kind(), want)
	}
	return nil
}

func (p *parser) addVKey(k *vkey, v note.Verifier, line string) error {
	f, err := k.fingerprint()
	if err != nil {
		return err
	}
	if err := p.addKey(f, line); err != nil {
		return err
	}
	// Key ids are 32 bits. Two keys with one id could not be told apart in a
	// note, and one of them could never count.
	if _, ok := p.policy.verifiers[idOf(v)]; ok {
		return fmt.Errorf("%s has the same key name and id as another key", line)
	}
	p.policy.verifiers[idOf(v)] = v
	return nil
}

// addKey makes a key known, unless it is already: under whatever name and for
// whatever role.
func (p *parser) addKey(f leaf.Fingerprint, line string) error {
	if other, ok := p.keys[f]; ok {
		return fmt.Errorf("%s has the same public key as %s", line, other)
	}
	p.keys[f] = line
	return nil
}

// parseThreshold reads a threshold of what there are n of.
func parseThreshold(s string, n int, what string) (int, error) {
	switch s {
	case "all":
		return n, nil
	case "any":
		return 1, nil
	}
	k, err := parseNumber(s)
	if err != nil {
		return 0, fmt.Errorf("threshold %.40q is not all, any or a decimal number", s)
	}
	if k < 1 || k > n {
		return 0, fmt.Errorf("threshold %d is not between 1 and %s", k, what)
	}
	return k, nil
}

// parseNumber reads a number in its one spelling.
func parseNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%.40q is not a decimal number", s)
	}
	return n, nil
}

func urlArg(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	u, err := url.Parse(args[0])
	if err != nil || u.Scheme == "" {
		return "", fmt.Errorf("%.80q is not an absolute URL (a comment stands on a line of its own)", args[0])
	}
	return args[0], nil
}
