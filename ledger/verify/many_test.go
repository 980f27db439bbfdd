package verify_test

import (
	"fmt"
	"testing"

	"github.com/cairnlog/cairn/ledger/verify"
)

// TestManyEnvironments has a rebuilder claim so many machines that to count the
// quorum after each would take long. It still counts, and so do others.
func TestManyEnvironments(t *testing.T) {
	l := newLedger(t, "a", "b", "c")
	for i := range 3000 {
		l.add(claim{who: "a", subject: "app", from: []string{"source:x"}, env: map[string]string{"engine": fmt.Sprint("e", i)}})
	}
	pol := l.quorum(2, "distinct engine 3")
	r := l.ask(pol)
	checkReport(t, r, verify.VerdictUnproven, false, "")
	if d := r.Quorum.Distinct[0]; len(d.Have) > 64 {
		t.Errorf("%d environments count", len(d.Have))
	}
	checkReport(t, l.trace(verify.Rules{Quorum: 2}), verify.VerdictUnproven, false, "")
	l.builds("b", "app", "source:x")
	checkReport(t, l.ask(pol), verify.VerdictReproduced, false, "")
	checkReport(t, l.trace(verify.Rules{Quorum: 2}), verify.VerdictReproduced, false, "")
}
