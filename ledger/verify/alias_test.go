package verify_test

import (
	"crypto/sha512"
	"encoding/hex"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

func sha512Of(word string) string {
	sum := sha512.Sum512([]byte(word))
	return hex.EncodeToString(sum[:])
}

// doubly describes what a word stands for by both digests, or by its sha512 alone.
func doubly(word string, only bool) attest.ResourceDescriptor {
	r := attest.ResourceDescriptor{Name: word, Digest: map[string]string{"sha512": sha512Of(word)}}
	if !only {
		r.Digest["sha256"] = digestOf(word).Hex()
	}
	return r
}

func (l *ledger) state(who, predicateType string, predicate any, subject attest.ResourceDescriptor) {
	l.t.Helper()
	st, err := attest.NewStatement(predicateType, predicate, subject)
	if err != nil {
		l.t.Fatal(err)
	}
	env, err := l.signer(who).Sign(st)
	if err != nil {
		l.t.Fatal(err)
	}
	l.log(env, l.signer(who))
}

func (l *ledger) buildsDoubly(who, word string, from ...attest.ResourceDescriptor) {
	l.t.Helper()
	p := &attest.Provenance{BuildDefinition: *materials([]string{"source:" + word + ".tar"})}
	p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, from...)
	p.RunDetails.Builder.ID = "https://builder.example/" + who
	l.state(who, attest.PredicateProvenance, p, doubly(word, false))
}

// TestDissentByAnotherDigest: an artifact has several digests, and a dissent must
// not be overlooked because it names another than was asked about.
func TestDissentByAnotherDigest(t *testing.T) {
	differs := func(l *ledger, who, word string) {
		l.state(who, attest.PredicateReproduction, &attest.Reproduction{
			Result: leaf.Different, Obtained: attest.Built, Outputs: []attest.ResourceDescriptor{thing("something")},
			Rebuilder: attest.Builder{ID: "https://builder.example/" + who},
		}, doubly(word, true))
	}
	for _, tt := range []struct {
		name  string
		story func(l *ledger)
		want  verify.Verdict
	}{
		{"of the artifact", func(l *ledger) { differs(l, "c", "app") }, verify.VerdictDiffers},
		{"of something else", func(l *ledger) { differs(l, "c", "other") }, verify.VerdictReproduced},
		{"of a stranger", func(l *ledger) { differs(l, "stranger", "app") }, verify.VerdictReproduced},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "b", "c", "stranger")
			l.buildsDoubly("a", "app")
			l.buildsDoubly("b", "app")
			tt.story(l)
			checkReport(t, l.ask(l.quorum(2)), tt.want, false, "")
		})
	}
	t.Run("of a material", func(t *testing.T) {
		l := newLedger(t, "a", "b", "c")
		for _, who := range []string{"a", "b"} {
			l.builds(who, "tool", "source:tool.tar")
			l.buildsDoubly(who, "app", doubly("tool", false))
		}
		checkReport(t, l.ask(l.quorum(2)), verify.VerdictReproduced, false, "")
		differs(l, "c", "tool")
		checkReport(t, l.ask(l.quorum(2)), verify.VerdictUnproven, false, "")
	})
}
