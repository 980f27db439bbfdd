package policy_test

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/policy"
)

// TestMargin compares Margin with what Check says when witnesses are taken away or
// added, one by one in every way.
func TestMargin(t *testing.T) {
	log, w := expand("log L(log.example)"), strings.Split(strings.TrimSpace(expand(someWitnesses(5))), "\n")
	names := make([]string, len(w))
	for i, line := range w {
		names[i] = strings.Fields(line)[1]
	}
	for _, quorum := range []string{
		"quorum " + names[0],
		"group g 3 " + strings.Join(names, " ") + "\nquorum g",
		"group g any " + strings.Join(names, " ") + "\nquorum g",
		"group g all " + strings.Join(names, " ") + "\nquorum g",
		"group a 2 " + strings.Join(names[:3], " ") + "\ngroup g 2 a " + strings.Join(names[3:], " ") + "\nquorum g",
		"group a all " + strings.Join(names[:3], " ") + "\ngroup b any " + strings.Join(names[3:], " ") + "\ngroup g any a b\nquorum g",
	} {
		p, err := policy.Parse([]byte(log + "\n" + strings.Join(w, "\n") + "\n" + quorum + "\n"))
		if err != nil {
			t.Fatalf("%s: %v", quorum, err)
		}
		for signed := range 1 << len(names) {
			got, ok := p.Margin(signatures(p, signed))
			if want := margin(p, signed, len(names)); !ok || got != want {
				t.Errorf("%s\nwith %05b: margin %d, want %d", quorum, signed, got, want)
			}
		}
	}
	p, err := policy.Parse([]byte(log + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Margin(nil); ok {
		t.Error("a policy without witnesses has a margin")
	}
}

// signatures are those of the log and of the witnesses whose bits are set.
func signatures(p *policy.Policy, signed int) []note.Signature {
	l := p.Logs()[0]
	sigs := []note.Signature{{Name: l.Verifier.Name(), Hash: l.Verifier.KeyHash()}}
	for i, w := range p.Witnesses() {
		if signed&(1<<i) != 0 {
			sigs = append(sigs, note.Signature{Name: w.Verifier.Name(), Hash: w.Verifier.KeyHash()})
		}
	}
	return sigs
}

// margin finds by trying what Margin computes.
func margin(p *policy.Policy, signed, n int) int {
	satisfied := func(set int) bool { return p.Check(p.Logs()[0].Name, signatures(p, set)) == nil }
	ones := func(set int) (count int) {
		for ; set != 0; set &= set - 1 {
			count++
		}
		return count
	}
	best := n + 1
	for other := range 1 << n {
		switch {
		case satisfied(signed) && other&^signed == 0 && !satisfied(other):
			best = min(best, ones(signed&^other))
		case !satisfied(signed) && signed&^other == 0 && satisfied(other):
			best = min(best, ones(other&^signed))
		}
	}
	if satisfied(signed) {
		return best - 1
	}
	return -best
}
