package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/policy"
)

func fuzzSeeds() []string {
	return []string{
		nested,
		rebuilds,
		oneLog + "quorum none",
		oneLog + "witness \xff W(w)\nwitness v W(v)\ngroup g 1 \xff v\nquorum g\n",
		oneLog + "witness w W(w)\ngroup g any w\ngroup h all g\nquorum h\nmax-age 1h\n",
		oneLog + "quorum none\nrebuilder \xff K(r) country=DE operator=o\nrebuild-quorum \xff for pkg:*?*\n",
		oneLog + "quorum none\nexcept * until 2030-01-01T01:00:00+01:00 reason \u2713  x\nseed " + seedOf("s") + "\n",
		"log L(a) #\nquorum none\r\n",
	}
}

// FuzzParse checks that Parse never panics, that what it accepts has one
// canonical text, and that it accepts nothing that is looser than torchwood's
// parser says where the two can be compared.
func FuzzParse(f *testing.F) {
	for _, s := range fuzzSeeds() {
		f.Add([]byte(expand(s)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse(text)
		if err != nil {
			return
		}
		canonical := p.String()
		again, err := policy.Parse([]byte(canonical))
		if err != nil {
			t.Fatalf("parsing the canonical text %q: %v", canonical, err)
		}
		if d := cmp.Diff(canonical, again.String()); d != "" {
			t.Fatalf("the canonical text is not canonical: %s", d)
		}
		if d := cmp.Diff(facts(p), facts(again)); d != "" {
			t.Fatalf("the canonical text says something else: %s", d)
		}
		checkWitnesses(t, p)
		checkRebuilders(t, p)
	})
}

// facts is all that a policy says about rebuilders.
func facts(p *policy.Policy) []any {
	return []any{
		p.Rebuilders(), p.RebuildQuorums(), p.Distinct(), p.Tolerates(), p.Seeds(), p.Exceptions(), p.MaxAge(),
	}
}

func checkWitnesses(t *testing.T, p *policy.Policy) {
	var sigs []note.Signature
	for _, w := range p.Witnesses() {
		sigs = append(sigs, note.Signature{Name: w.Verifier.Name(), Hash: w.Verifier.KeyHash()})
	}
	l := p.Logs()[0]
	if p.Check(l.Name, sigs) == nil {
		t.Fatal("satisfied without a log's signature")
	}
	sigs = append(sigs, note.Signature{Name: l.Name, Hash: l.Verifier.KeyHash()})
	if err := p.Check(l.Name, sigs); err != nil {
		t.Fatalf("everybody signed: %v", err)
	}
	if p.MaxAge() > 0 && p.CheckAt(l.Name, sigs, time.Unix(1, 0)) == nil {
		t.Fatal("max-age is satisfied without times")
	}
	_ = p.Explain(l.Name, sigs[1:]).String()
	compareWithTorchwood(t, p, p.String(), l.Name, sigs)
}

// checkRebuilders checks that all rebuilders together satisfy whatever is asked,
// if they differ enough, and that nobody satisfies nothing.
func checkRebuilders(t *testing.T, p *policy.Policy) {
	if e := p.Rebuilt(nil, nil); e.Satisfied || len(e.Missing) == 0 {
		t.Fatalf("satisfied by nobody: %v", e)
	}
	var votes []policy.Vote
	for _, r := range p.Rebuilders() {
		for i := range 3 {
			n := string(rune('a'+i)) + r.Name
			votes = append(votes, policy.Vote{Key: r.Key, CPUVendor: n, Engine: n, Country: n})
		}
	}
	demands := func(d policy.Distinct) bool { return d.K > 3 }
	if len(votes) == 0 || slices.ContainsFunc(p.Distinct(), demands) {
		return
	}
	for _, q := range p.RebuildQuorums() {
		name := strings.ReplaceAll(q.For, "*", "")
		var names []string
		if q.For != "" {
			names = []string{name}
		}
		e := p.Rebuilt(names, votes)
		_ = e.String()
		if len(e.Quorums) > 0 && !e.Satisfied {
			t.Fatalf("everybody voted for %q: %v", names, e)
		}
	}
}

// compareWithTorchwood checks agreement on every prefix and suffix of the
// signatures. torchwood cuts comments within lines, wants all logs, takes every
// Unicode space for a separator, and does not know our own lines.
func compareWithTorchwood(t *testing.T, p *policy.Policy, text, origin string, sigs []note.Signature) {
	if len(p.Logs()) != 1 || strings.Contains(text, "#") || strings.ContainsFunc(text, func(r rune) bool { return r > 0x7f }) {
		return
	}
	head, _, _ := strings.Cut(text, "\nquorum ")
	quorum, _, _ := strings.Cut(text[len(head)+1:], "\n")
	text = head + "\n" + quorum + "\n"
	theirs, err := torchwood.ParsePolicy([]byte(text))
	if err != nil {
		t.Fatalf("torchwood refuses %q: %v", text, err)
	}
	for i := range sigs {
		for _, part := range [][]note.Signature{sigs[:i], sigs[i:]} {
			if got, want := p.Check(origin, part) == nil, theirs.Check(origin, part) == nil; got != want {
				t.Fatalf("Check: %t, torchwood: %t, for %v", got, want, part)
			}
		}
	}
}
