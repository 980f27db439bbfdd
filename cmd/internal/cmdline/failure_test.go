package cmdline

import (
	"errors"
	"testing"
)

func TestHintsAreNoSentences(t *testing.T) {
	for in, want := range map[string]string{
		"Sign it.":                      "sign it",
		"`cairn` does it.":              "`cairn` does it",
		"URLs differ.":                  "URLs differ",
		"Check the URL, then try again": "check the URL, then try again",
	} {
		if got := asHint(in); got != want {
			t.Errorf("asHint(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEveryLocalReasonIsClassified(t *testing.T) {
	for _, row := range LocalReasons() {
		if got := Lookup(row.Reason); got != row {
			t.Errorf("Lookup(%s) = %+v", row.Reason, got)
		}
	}
	if p := Classify(errors.New("boom")); Lookup(p.Reason).Exit != 4 {
		t.Errorf("an unexpected error is %+v", p)
	}
}
