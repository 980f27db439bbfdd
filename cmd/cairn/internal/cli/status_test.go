package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/verify"
)

func TestParseList(t *testing.T) {
	long := hash + hash
	in := "# comment\n\n" + hash + " core-go\n" + hash + "  a file\n" + hash + " *binary\n" + "\\" + hash + "  new\\nline\n" +
		long + "  big\n  pkg:oci/core-go  \nsha256:" + hash + "\n" + hash + " core-go\r\n" + hash + "\nlast"
	got, err := parseList(strings.NewReader(in), "x")
	if err != nil {
		t.Fatal(err)
	}
	d := "sha256:" + hash
	want := []listedArtifact{
		{3, d, "core-go"}, {4, d, "a file"}, {5, d, "binary"}, {6, d, "new\\nline"}, {7, "sha512:" + long, "big"},
		{8, "pkg:oci/core-go", ""}, {9, d, ""}, {11, hash, ""}, {12, "last", ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(listedArtifact{})); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	for name, tt := range map[string]struct{ in, want string }{
		"nothing":        {"\n# nothing\n", "names nothing"},
		"no text":        {"a\n\xff\n", "line 2 is no text"},
		"a NUL":          {"a\x00b", "line 1 is no text"},
		"a long line":    {"a\n" + strings.Repeat("x", maxListLine+1), "line 2 is over the limit of 8192 bytes"},
		"too many lines": {strings.Repeat("a\n", maxListLines) + "b", "line 100001 is over the limit of 100000"},
	} {
		_, err := parseList(strings.NewReader(tt.in), "x")
		var p *cmdline.Problem
		if !errors.As(err, &p) || p.Reason != cmdline.UsageWrong || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add(hash + "  name\nsha256:" + hash + "\n# x\n")
	f.Fuzz(func(t *testing.T, in string) {
		list, err := parseList(strings.NewReader(in), "x")
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d lines, error %v", len(list), err)
		}
		last := 0
		for _, l := range list {
			if l.arg == "" || l.line <= last || strings.ContainsAny(l.arg+l.label, "\n\x00") {
				t.Errorf("%+v after line %d", l, last)
			}
			last = l.line
		}
	})
}

func TestStatusExitsAndCounts(t *testing.T) {
	good := packageStatus{Name: "b", Verdict: verify.VerdictReproduced, Accepted: true}
	tests := []struct {
		name     string
		packages []packageStatus
		exit     int
		line     string
	}{
		{"all reproduced", []packageStatus{good, good}, 0, "reproduced 2 of 2 (100.0 %)"},
		{"one excepted although it differs", []packageStatus{good, {Verdict: verify.VerdictDiffers, Accepted: true, Excepted: true}}, 0, "reproduced 1 of 2 (50.0 %), differs 1, excepted 1"},
		{"one differs", []packageStatus{good, {Verdict: verify.VerdictDiffers}, {}}, 1, "reproduced 1 of 3 (33.3 %), differs 1, unproven 1"},
		{"one failed", []packageStatus{good, {Verdict: verify.VerdictFailed}}, 1, "reproduced 1 of 2 (50.0 %), failed 1"},
		{"one untried, one excepted although it failed", []packageStatus{{Verdict: verify.VerdictUntried}, {Verdict: verify.VerdictFailed, Accepted: true, Excepted: true}}, 3,
			"reproduced 0 of 2 (0.0 %), failed 1, untried 1, excepted 1"},
		{"nothing", nil, 3, "reproduced 0 of 0 (0.0 %)"},
	}
	for _, tt := range tests {
		v := &statusAnswer{Packages: tt.packages}
		v.sortAndCount()
		exit := 0
		if s := new(cmdline.Silent); errors.As(v.exit(), &s) {
			exit = s.Exit
		}
		if exit != tt.exit || v.Counts.line() != tt.line || v.Accepted != (tt.exit == 0) {
			t.Errorf("%s: exit %d, %q, accepted %v; want %d, %q", tt.name, exit, v.Counts.line(), v.Accepted, tt.exit, tt.line)
		}
	}
	// Almost all is not all.
	v := &statusAnswer{Packages: make([]packageStatus, 10_000)}
	for i := range v.Packages[1:] {
		v.Packages[i+1] = good
	}
	if v.sortAndCount(); v.Counts.Percentage != 99.9 {
		t.Errorf("%v %%", v.Counts.Percentage)
	}
}
