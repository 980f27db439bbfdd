package verify

import "testing"

// TestDecide removes and spoils each check of a good report in turn.
func TestDecide(t *testing.T) {
	report := func(skip int, status Status) *EntryReport {
		r := newEntryReport()
		for i, name := range entryChecks {
			switch {
			case i != skip:
				r.ok(name, "ok")
			case status == Failed:
				r.failed(name, "bad")
			case status == OK: // stands for a check that was forgotten
			default:
				r.lacking(name, "lacking")
			}
		}
		r.decide()
		return r
	}
	if r := report(-1, OK); r.Outcome != Proven || r.Exit() != 0 {
		t.Errorf("all checks ok: %s", r.Outcome)
	}
	for i, name := range entryChecks {
		if r := report(i, OK); r.Outcome != Unproven {
			t.Errorf("without %s: %s", name, r.Outcome)
		}
		if r := report(i, NotDone); r.Outcome != Unproven || len(r.Reasons) != 1 {
			t.Errorf("%s not done: %s, %q", name, r.Outcome, r.Reasons)
		}
		if r := report(i, Failed); r.Outcome != Refuted || len(r.Reasons) != 1 {
			t.Errorf("%s failed: %s, %q", name, r.Outcome, r.Reasons)
		}
	}
	// A failure outweighs what is lacking, and is the only reason.
	r := newEntryReport()
	r.lacking(CheckQuorum, "lacking")
	r.failed(CheckInclusion, "bad")
	r.decide()
	if r.Outcome != Refuted || len(r.Reasons) != 1 || r.Reasons[0] != "bad" {
		t.Errorf("failed and lacking: %s, %q", r.Outcome, r.Reasons)
	}
	// The same check again does not stand for another.
	r = newEntryReport()
	for range entryChecks {
		r.ok(CheckProof, "ok")
	}
	r.decide()
	if r.Outcome != Unproven {
		t.Errorf("one check seven times: %s", r.Outcome)
	}
}
