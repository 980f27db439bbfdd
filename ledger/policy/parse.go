package policy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// reserved are the words of Cairn's own lines. They are refused until they are
// enforced: a rule that is written down must not be one that nobody applies.
var reserved = []string{
	"rebuilder", "rebuild-group", "rebuild-quorum", "distinct", "dissent", "seed", "except", "max-age",
}

// Parse reads a policy's text.
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("policy of %d bytes is over the limit of %d", len(text), MaxSize)
	}
	p := &parser{
		policy: &Policy{
			components: make(map[string]component),
			verifiers:  make(map[keyID]note.Verifier),
		},
		keys:     make(map[string]string),
		memberOf: make(map[string]string),
	}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(p.policy.logs) == 0 {
		return nil, errors.New("the policy has no log line")
	}
	if p.policy.quorum == "" {
		return nil, errors.New("the policy has no quorum line; `quorum none` asks for no witnesses")
	}
	return p.policy, nil
}

type parser struct {
	policy   *Policy
	keys     map[string]string // public key to the line that has it, for messages
	memberOf map[string]string // name to the group that has it as a member
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
	}
	if slices.Contains(reserved, word) {
		return fmt.Errorf("%s lines are not supported yet", word)
	}
	return fmt.Errorf("unknown word %.40q: want log, witness, group or quorum", word)
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
	if k.alg != algEd25519 {
		return fmt.Errorf("log key %q is of type %#02x%s, want an Ed25519 key of type 0x01", k.name, k.alg, hint(k.alg))
	}
	v, err := note.NewVerifier(k.String())
	if err != nil {
		return fmt.Errorf("reading log key: %w", err)
	}
	l := Log{Name: v.Name(), VKey: k.String(), Verifier: v}
	if l.URL, err = urlArg(args[1:]); err != nil {
		return err
	}
	if err := p.addKey(k, v, "log "+printable(l.Name)); err != nil {
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
	if k.alg != algCosignatureV1 {
		return fmt.Errorf("witness key %q is of type %#02x%s, want a cosignature/v1 key of type 0x04", k.name, k.alg, hint(k.alg))
	}
	v, err := torchwood.NewCosignatureVerifier(k.String())
	if err != nil {
		return fmt.Errorf("reading witness key: %w", err)
	}
	w := &Witness{Name: args[0], VKey: k.String(), Verifier: v}
	if w.URL, err = urlArg(args[2:]); err != nil {
		return err
	}
	if err := p.addKey(k, v, "witness "+printable(w.Name)); err != nil {
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
	if g.k, err = parseThreshold(args[1], len(g.members)); err != nil {
		return err
	}
	for _, m := range g.members {
		if _, ok := p.policy.components[m]; !ok {
			return fmt.Errorf("member %q is not defined on an earlier line", m)
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
	if _, ok := p.policy.components[args[0]]; !ok && args[0] != none {
		return fmt.Errorf("quorum %q is not defined on an earlier line", args[0])
	}
	p.policy.quorum = args[0]
	return nil
}

func (p *parser) checkNew(name string) error {
	if name == none {
		return errors.New(`the name "none" is reserved`)
	}
	if _, ok := p.policy.components[name]; ok {
		return fmt.Errorf("%q is defined twice", name)
	}
	return nil
}

// addKey makes a key known, unless it is already: under whatever name and for
// whatever role.
func (p *parser) addKey(k *vkey, v note.Verifier, line string) error {
	if other, ok := p.keys[string(k.pub)]; ok {
		return fmt.Errorf("%s has the same public key as %s", line, other)
	}
	// Key ids are 32 bits. Two keys with one id could not be told apart in a
	// note, and one of them could never count.
	if _, ok := p.policy.verifiers[idOf(v)]; ok {
		return fmt.Errorf("%s has the same key name and id as another key", line)
	}
	p.keys[string(k.pub)] = line
	p.policy.verifiers[idOf(v)] = v
	return nil
}

func parseThreshold(s string, members int) (int, error) {
	switch s {
	case "all":
		return members, nil
	case "any":
		return 1, nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(k) != s {
		return 0, fmt.Errorf("threshold %.40q is not all, any or a decimal number", s)
	}
	if k < 1 || k > members {
		return 0, fmt.Errorf("threshold %d is not between 1 and the %d members", k, members)
	}
	return k, nil
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

// Signature types of C2SP signed-note.
const (
	algEd25519       = 0x01
	algCosignatureV1 = 0x04
	algMLDSA44       = 0x06
)

func hint(alg byte) string {
	switch alg {
	case algEd25519:
		return " (that of a log)"
	case algCosignatureV1:
		return " (that of a witness)"
	case algMLDSA44:
		return " (ML-DSA-44, not supported yet)"
	}
	return ""
}

// vkey is a signed-note verifier key: <name>+<id in hex>+<base64 of type and
// public key>. The libraries check the id against the rest.
type vkey struct {
	name string
	id   uint32
	alg  byte
	pub  []byte
}

func parseVKey(s string) (*vkey, error) {
	name, rest, _ := strings.Cut(s, "+")
	id16, key64, ok := strings.Cut(rest, "+")
	id, err := strconv.ParseUint(id16, 16, 32)
	if !ok || err != nil || len(id16) != 8 {
		return nil, fmt.Errorf("malformed vkey %.120q: want <name>+<8 hex digits>+<base64>", s)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(key64)
	if err != nil || len(key) < 2 {
		return nil, fmt.Errorf("malformed vkey %.120q: its last part is not base64 of a key", s)
	}
	return &vkey{name: name, id: uint32(id), alg: key[0], pub: key[1:]}, nil
}

// String returns the one spelling of the key: its id in lower case.
func (k *vkey) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.id, base64.StdEncoding.EncodeToString(append([]byte{k.alg}, k.pub...)))
}
