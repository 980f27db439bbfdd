package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/verify"
)

// unstatedTests are about claims that name no material. A policy with a seed
// wants to know where everything comes from, one without does not.
var unstatedTests = []struct {
	name             string
	story            func(l *ledger)
	withSeed, noSeed verify.Verdict
	unstated         bool // by the policy without a seed
}{
	{"nobody names any", func(l *ledger) { l.builds("a", "app"); l.rebuilds("b", "app", "app") },
		verify.VerdictUnproven, verify.VerdictReproduced, true},
	{"too few, of whom nobody names any", func(l *ledger) { l.builds("a", "app") },
		verify.VerdictUnproven, verify.VerdictUnproven, false},
	{"one names them, the other leaves it to that", func(l *ledger) {
		l.builds("a", "app", "source:app.tar")
		l.rebuilds("b", "app", "app")
	}, verify.VerdictUnproven, verify.VerdictReproduced, false},
	{"who names none came first", func(l *ledger) {
		l.rebuilds("b", "app", "app")
		l.builds("a", "app", "source:app.tar")
	}, verify.VerdictUnproven, verify.VerdictReproduced, false},
	{"one names a material that is not good, two name none", func(l *ledger) {
		l.builds("a", "app", "toolchain:tool")
		l.rebuilds("b", "app", "app")
		l.rebuilds("c", "app", "app")
	}, verify.VerdictUnproven, verify.VerdictUnproven, false},
	{"one names no seed of the policy, two name none", func(l *ledger) {
		l.builds("a", "app", "seed:other")
		l.rebuilds("b", "app", "app")
		l.rebuilds("c", "app", "app")
	}, verify.VerdictUnproven, verify.VerdictUnproven, false},
	{"only one who is not heard names them", func(l *ledger) {
		l.builds("stranger", "app", "source:app.tar")
		l.rebuilds("b", "app", "app")
		l.rebuilds("c", "app", "app")
	}, verify.VerdictUnproven, verify.VerdictReproduced, true},
	{"only one who dissents names them", func(l *ledger) {
		l.rebuilds("a", "app", "app.other", "source:app.tar")
		l.rebuilds("b", "app", "app")
		l.rebuilds("c", "app", "app")
	}, verify.VerdictDiffers, verify.VerdictDiffers, false},
	{"one who names them equivocates", func(l *ledger) {
		l.builds("a", "app", "source:app.tar")
		l.builds("a", "app.other", "source:app.tar")
		l.rebuilds("b", "app", "app")
		l.rebuilds("c", "app", "app")
	}, verify.VerdictUnproven, verify.VerdictUnproven, false},
	{"all name what was installed, and pin nothing but the source", func(l *ledger) {
		l.builds("a", "app", "source:app.tar", "named:gcc", "named:make")
		l.builds("b", "app", "named:gcc", "named:make", "unpinned:app.tar")
	}, verify.VerdictUnproven, verify.VerdictReproduced, true},
	{"one names what was installed, the other names no material", func(l *ledger) {
		l.builds("a", "app", "source:app.tar", "named:gcc")
		l.rebuilds("b", "app", "app")
	}, verify.VerdictUnproven, verify.VerdictReproduced, true},
	{"one names what was installed, the other pins it", func(l *ledger) {
		l.builds("a", "app", "source:app.tar", "named:gcc")
		l.builds("b", "app", "source:app.tar")
	}, verify.VerdictUnproven, verify.VerdictReproduced, false},
	{"all pin one of what was installed, and not the other", func(l *ledger) {
		for _, who := range []string{"a", "b"} {
			l.builds(who, "tool", "source:tool.tar")
			l.builds(who, "app", "toolchain:tool", "named:make")
		}
	}, verify.VerdictUnproven, verify.VerdictUnproven, false},
	{"a material of which nobody names any", func(l *ledger) {
		for _, who := range []string{"a", "b"} {
			l.builds(who, "tool")
			l.builds(who, "app", "toolchain:tool")
		}
	}, verify.VerdictUnproven, verify.VerdictReproduced, false},
}

func TestUnstatedMaterials(t *testing.T) {
	for _, tt := range unstatedTests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "b", "c", "stranger")
			tt.story(l)
			checkReport(t, l.ask(l.quorum(2)), tt.withSeed, false, "")
			lines := append(l.rebuilders(), "rebuild-group two 2 a b c", "rebuild-quorum two")
			r := l.ask(l.policy(lines...))
			checkReport(t, r, tt.noSeed, false, "")
			if r.Ancestry.Unstated != tt.unstated {
				t.Errorf("unstated: %t, want %t", r.Ancestry.Unstated, tt.unstated)
			}
			var text strings.Builder
			if err := r.Text(&text, false); err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(text.String(), fmt.Sprintf("%d from what nobody states", r.Counts.Unstated)); said != (r.Counts.Unstated > 0) {
				t.Errorf("the text of %d unstated:\n%s", r.Counts.Unstated, &text)
			}
			if tt.unstated && r.Counts.Unstated != 1 {
				t.Errorf("%d are counted as unstated", r.Counts.Unstated)
			}
		})
	}
}
