package tlogproof_test

import (
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/tlogproof"
)

const emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func TestParseCheckpoint(t *testing.T) {
	for name, text := range map[string]string{
		"plain":            "log.example\n0\n" + emptyRoot + "\n",
		"the largest size": "log.example\n9223372036854775807\n" + emptyRoot + "\n",
		"extensions":       "log.example\n1\n" + emptyRoot + "\nfoo\nbar baz\n",
	} {
		c, err := tlogproof.ParseCheckpoint(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.String() != text {
			t.Errorf("%s: %q is written as %q", name, text, c.String())
		}
		theirs, err := torchwood.ParseCheckpoint(text)
		if d := cmp.Diff(theirs, torchwood.Checkpoint(c)); d != "" || err != nil {
			t.Errorf("%s: torchwood reads something else: %v\n%s", name, err, d)
		}
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "three lines"},
		{"two lines", "log.example\n0\n", "three lines"},
		{"no final newline", "log.example\n0\n" + emptyRoot, "three lines"},
		{"an open extension line", "log.example\n0\n" + emptyRoot + "\next", "three lines"},
		{"no origin", "\n0\n" + emptyRoot + "\n", "no origin"},
		{"leading zero", "log.example\n00\n" + emptyRoot + "\n", "invalid size"},
		{"sign", "log.example\n+1\n" + emptyRoot + "\n", "invalid size"},
		{"negative", "log.example\n-1\n" + emptyRoot + "\n", "invalid size"},
		{"too large a size", "log.example\n9223372036854775808\n" + emptyRoot + "\n", "invalid size"},
		{"short root", "log.example\n1\nAAAA\n", "invalid root"},
		{"root with a carriage return", "log.example\n1\n" + emptyRoot + "\r\n", "invalid root"},
		{"other padding bits", "log.example\n1\n" + strings.Replace(emptyRoot, "U=", "V=", 1) + "\n", "invalid root"},
		{"empty extension line", "log.example\n1\n" + emptyRoot + "\n\n", "extension line is empty"},
		{"empty extension line between others", "log.example\n1\n" + emptyRoot + "\na\n\nb\n", "extension line is empty"},
		{"too long", "log.example\n1\n" + emptyRoot + "\n" + strings.Repeat("x", 1_000_000) + "\n", "over the limit"},
	} {
		if c, err := tlogproof.ParseCheckpoint(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want %q", tt.name, c, err, tt.want)
		}
	}
}

// What is accepted has one text, and torchwood accepts it too and reads the same.
func FuzzParseCheckpoint(f *testing.F) {
	f.Add("log.example\n0\n" + emptyRoot + "\n")
	f.Add("a\n1\n" + emptyRoot + "\next\n")
	f.Add("a\n01\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := tlogproof.ParseCheckpoint(text)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Errorf("%q is written as %q", text, c.String())
		}
		theirs, err := torchwood.ParseCheckpoint(text)
		if d := cmp.Diff(theirs, torchwood.Checkpoint(c)); d != "" || err != nil {
			t.Errorf("torchwood reads something else: %v\n%s", err, d)
		}
	})
}
