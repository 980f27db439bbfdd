package survey

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	packageurl "github.com/package-url/packageurl-go"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Bounds of what is kept of others' words.
const (
	maxText         = 512  // bytes of a name, or of a value
	maxEnvironment  = 24   // values
	maxMachine      = 2048 // bytes of an environment, as JSON: pages have thousands
	maxSubjectNames = 64
)

// cut returns a text that is not over the bound. What was cut off is said by an
// ellipsis.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// said is what an attestation says, as the table has it.
type said struct {
	claim       leaf.Claim
	result      leaf.Result
	environment string // JSON; empty for none
	signers     []signer
	subjects    []subject
	materials   string // JSON; empty for none
	vote        policy.Vote
}

// signer is a key that signed.
type signer struct {
	key      leaf.Fingerprint
	operator string // by this attestation
}

// subject is an artifact that an attestation is about.
type subject struct {
	digest  leaf.Digest
	aliases []leaf.Digest
	label   string
	names   []string // look-up names
	word    Word
	output  leaf.Digest // empty for none, or the artifact itself
}

// saidBy returns what an attestation says.
func saidBy(att *attest.Attestation) *said {
	c := &att.Claim
	said := &said{
		claim: c.Claim, result: c.Result, environment: environmentOf(c.Environment), materials: materialsOf(c.Materials),
		vote: policy.Vote{CPUVendor: c.Environment["cpuVendor"], Engine: c.Environment["engine"], Country: c.Environment["country"]},
	}
	operator := c.Operator
	if id := att.Identity; id != nil && len(id.Names) > 0 {
		operator = id.Names[0]
	}
	for _, k := range att.Keys {
		said.signers = append(said.signers, signer{k.Fingerprint, operator})
	}
	for i := range c.Subjects {
		r := &c.Subjects[i]
		digests := r.Strong()
		if len(digests) == 0 {
			continue
		}
		sub := subject{digest: digests[0], aliases: digests[1:], label: cut(r.Name, maxText), word: wordOf(c, digests[0])}
		if len(c.Subjects) == 1 {
			sub.names = att.Names() // an image has several
		} else if name, err := attest.LookupName(r.URI); err == nil {
			sub.names = []string{name}
		}
		sub.names = sub.names[:min(len(sub.names), maxSubjectNames)]
		sub.output = outputFor(c, r)
		said.subjects = append(said.subjects, sub)
	}
	return said
}

// rebuilder returns the policy's rebuilder of a key.
func (s *Survey) rebuilder(key leaf.Fingerprint) (policy.Rebuilder, bool) {
	id := s.ids[key]
	if id == 0 {
		return policy.Rebuilder{}, false
	}
	return s.heard[id-1], true
}

// wordOf returns what a claim says of an artifact, as package verify counts it: who
// obtained it, and who dissents.
func wordOf(c *attest.Claim, d leaf.Digest) Word {
	if c.Obtains(d) {
		return Obtained
	}
	switch c.Claim {
	case leaf.ClaimReview:
		return Signed
	case leaf.ClaimReproduction:
		switch c.Result {
		case leaf.Different:
			return Different
		case leaf.BuildFailed:
			return Failed
		case leaf.Identical, leaf.Equivalent:
			return Signed // it was fetched, or not what was built
		}
		return Inconclusive
	}
	return Silent
}

// outputFor returns what a reproduction obtained in place of one of its subjects:
// the output of that name, or the only one.
func outputFor(c *attest.Claim, r *attest.Resource) leaf.Digest {
	if c.Claim != leaf.ClaimReproduction {
		return ""
	}
	i := slices.IndexFunc(c.Outputs, func(o attest.Resource) bool {
		return o.Name != "" && o.Name == r.Name || o.URI != "" && o.URI == r.URI
	})
	if i < 0 && len(c.Outputs) == 1 {
		i = 0
	}
	if i < 0 {
		return ""
	}
	digests := c.Outputs[i].Strong()
	if len(digests) == 0 || slices.Contains(r.Strong(), digests[0]) {
		return ""
	}
	return digests[0]
}

// environmentOf returns an environment as JSON, within bounds.
func environmentOf(values map[string]string) string {
	if len(values) == 0 {
		return ""
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	bounded := make(map[string]string)
	text := marshal(bounded)
	for _, name := range names[:min(len(names), maxEnvironment)] {
		bounded[cut(name, maxText)] = cut(values[name], maxText)
		more := marshal(bounded)
		if len(more) > maxMachine {
			break
		}
		text = more
	}
	return string(text)
}

// made is a material as the table has it.
type made struct {
	Digest leaf.Digest `json:"d"`
	Name   string      `json:"n,omitempty"`
	Role   string      `json:"r,omitempty"`
}

// materialsOf returns materials as JSON, each digest once. What is pinned by no
// strong digest is left out.
func materialsOf(materials []attest.Resource) string {
	var list []made
	known := make(map[leaf.Digest]bool)
	for i := range materials {
		m := &materials[i]
		digests := m.Strong()
		if len(digests) == 0 || known[digests[0]] {
			continue
		}
		known[digests[0]] = true
		name := m.URI
		if name == "" {
			name = m.Name
		}
		list = append(list, made{digests[0], cut(name, maxText), m.Role})
	}
	if list == nil {
		return ""
	}
	slices.SortFunc(list, func(a, b made) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return string(marshal(list))
}

// marshal returns the JSON of what has one.
func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return text
}

// place is where a look-up name stands among others.
type place struct {
	distribution, arch, short string
	versioned                 bool
}

// placeOf returns the place of a look-up name. One that is a digest has none.
func placeOf(name string) place {
	p, err := packageurl.FromString(name)
	if err != nil {
		return place{short: name}
	}
	distribution := p.Type
	if p.Namespace != "" {
		distribution += "/" + p.Namespace
	}
	return place{distribution: distribution, arch: p.Qualifiers.Map()["arch"], short: p.Name, versioned: p.Version != ""}
}
