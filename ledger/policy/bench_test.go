package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/policy"
)

// benchPolicy has 100 rebuilders in 10 groups, and 100 quorums.
func benchPolicy() string {
	var b strings.Builder
	b.WriteString(base)
	for i := range 100 {
		fmt.Fprintf(&b, "rebuilder r%d K(r%d) operator=https://r%d.example\n", i, i, i)
	}
	top := "rebuild-group top 5"
	for i := range 10 {
		fmt.Fprintf(&b, "rebuild-group g%d 2", i)
		for j := range 10 {
			fmt.Fprintf(&b, " r%d", 10*i+j)
		}
		b.WriteByte('\n')
		top += fmt.Sprintf(" g%d", i)
	}
	b.WriteString(top + "\n")
	for i := range 99 {
		fmt.Fprintf(&b, "rebuild-quorum g%d for pkg:oci/team%d-*\n", i%10, i)
	}
	b.WriteString("rebuild-quorum top\ndistinct operator 2\n")
	return expand(b.String())
}

func BenchmarkParse(b *testing.B) {
	text := []byte(benchPolicy())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRebuilt(b *testing.B) {
	p := mustParse(b, benchPolicy())
	var votes []policy.Vote
	for _, r := range p.Rebuilders() {
		votes = append(votes, policy.Vote{Key: r.Key})
	}
	for name, names := range map[string][]string{
		"a glob":  {"pkg:oci/team98-x?arch=amd64"},
		"for all": {"pkg:deb/debian/x@1?arch=amd64"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if e := p.Rebuilt(names, votes); !e.Satisfied {
					b.Fatal(e)
				}
			}
		})
	}
}
