package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// nasty is what nobody should be named.
const nasty = "<script>alert(1)</script>\u202e\"'&\x1b[31m"

var longWord = strings.Repeat("w", 10_000)

func digestOf(text string) leaf.Digest { return leaf.SHA256([]byte(text)) }
func keyOf(i int) leaf.Fingerprint     { return leaf.Fingerprint(digestOf(fmt.Sprint("key", i))) }
func stagexName(i int) string {
	kinds := []string{"core", "user", "bootstrap", "pallet"}
	return fmt.Sprintf("pkg:oci/%s-%s?arch=amd64&repository_url=docker.io%%2Fstagex%%2F%[1]s-%[2]s", kinds[i%4], digestOf(fmt.Sprint(i)).Hex()[:3+i%7])
}

func debianName(i int) string {
	h := digestOf(fmt.Sprint("deb", i)).Hex()
	return fmt.Sprintf("pkg:deb/debian/lib%s-perl-%s@%d.%d.%d+dfsg1-%d+deb13u1?arch=amd64", h[:8], h[8:12], i%9, i%31, i%17, i%5)
}

var operatorNames = []string{"alice", "bob", "carol", "debian-rebuilds", "inria", "nixos-hydra", "stagex-ci", "zurich"}

func someRebuilders(n int) []survey.Rebuilder {
	list := make([]survey.Rebuilder, n)
	for i := range list {
		name := operatorNames[i%len(operatorNames)]
		if i >= len(operatorNames) {
			name = fmt.Sprintf("%s-%d", name, i/len(operatorNames))
		}
		list[i] = survey.Rebuilder{Key: keyOf(i), Name: name, Operator: "https://" + name + ".example", Heard: true}
	}
	return list
}

// somePage is a page of a matrix as ledgers have it: of most packages that most
// rebuilders obtained, and some with something else. Its total is on further pages.
func somePage(rows, columns int, name func(int) string) survey.Page {
	p := survey.Page{Rebuilders: someRebuilders(columns), Distributions: []string{"deb/debian", "oci/stagex"}, Archs: []string{"amd64", "arm64"}}
	p.Columns = make([]survey.WordCounts, columns)
	for i := range rows {
		row := survey.Row{Package: name(i), Artifact: digestOf(name(i)), Verdict: verify.VerdictReproduced, Heard: true, Artifacts: 1 + i%3, Last: uint64(i)}
		for j := range columns {
			word := survey.Obtained
			switch {
			case i%97 == 3 && j == 5:
				word, row.Verdict = survey.Different, verify.VerdictDiffers
			case i%61 == 7 && j < 4:
				word, row.Verdict = survey.Failed, verify.VerdictFailed
			case i%23 == 5 && j > 1:
				row.Verdict, word = verify.VerdictUnproven, survey.Silent
			case (i*7+j*13)%19 == 0:
				word = survey.Silent
			case (i+j)%41 == 0:
				word = survey.Signed
			}
			if word == survey.Silent {
				continue
			}
			p.Columns[j][word]++
			row.Cells = append(row.Cells, survey.Cell{Key: keyOf(j), Word: word, Entry: uint64(100_000 + (i*columns+j)*7919%900_000)})
		}
		p.Counts[row.Verdict]++
		p.Rows = append(p.Rows, row)
	}
	order := map[verify.Verdict]int{verify.VerdictDiffers: 1, verify.VerdictFailed: 2, verify.VerdictUnproven: 3, verify.VerdictReproduced: 4}
	slices.SortStableFunc(p.Rows, func(a, b survey.Row) int { return order[a.Verdict] - order[b.Verdict] })
	p.Total = rows
	return p
}

// somePackage is a package of StageX that seven rebuilders said something about, by a
// policy of 3 of 5: one obtained something else.
func somePackage(verdict verify.Verdict) *survey.Package {
	name := "pkg:oci/core-go?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"
	digest, who := digestOf("core-go"), someRebuilders(8)
	other := leaf.Digest(string(digest)[:31] + strings.Repeat("5e", 20))
	env := map[string]string{"os": "linux", "kernel": "6.12.57", "arch": "amd64", "cpuVendor": "AMD", "engine": "buildkit", "country": "CH"}
	var statements []survey.Statement
	for i, r := range who[:6] {
		s := survey.Statement{
			Entry: uint64(4200 + 31*i), At: now.Add(-time.Duration(90-i) * time.Hour), Rebuilder: r, Artifact: digest, Word: survey.Obtained,
			Claim: leaf.ClaimReproduction, Result: leaf.Identical, Output: digest, Environment: env,
		}
		switch i {
		case 3:
			s.Word, s.Result, s.Output = survey.Different, leaf.Different, other
		case 4:
			s.Word, s.Result, s.Output = survey.Failed, leaf.BuildFailed, ""
		case 5:
			s.Rebuilder.Heard, s.Rebuilder.Name = false, ""
		}
		statements = append(statements, s)
	}
	older := survey.Artifact{Digest: digestOf("core-go 1"), Names: []string{name}, Verdict: verify.VerdictUnproven}
	return &survey.Package{Package: name, Verdict: verdict, Heard: true, Artifacts: []survey.Artifact{{
		Digest: digest, Names: []string{name, "pkg:oci/core-go?arch=amd64"}, Current: true, Verdict: verdict,
		Report: someReport(digest, verdict), Statements: statements,
		Materials: []survey.Material{
			{Digest: digestOf("go.tar"), Name: "https://go.dev/dl/go1.26.0.src.tar.gz", Role: "source"},
			{Digest: digestOf("gcc"), Name: "pkg:oci/core-gcc", Role: "toolchain", Built: true, Verdict: verify.VerdictReproduced},
		},
	}, older}}
}

func someReport(digest leaf.Digest, verdict verify.Verdict) *verify.Report {
	node := policy.Node{Kind: policy.KindRebuildGroup, Name: "independents", Satisfied: true, Have: 3, Need: 3, Of: 5}
	for i, r := range someRebuilders(5) {
		node.Members = append(node.Members, policy.Node{Kind: policy.KindRebuilder, Name: r.Name, Operator: r.Operator, Satisfied: i < 3})
	}
	return &verify.Report{
		Verdict: verdict, Artifact: digest, Names: []string{}, Operators: []verify.Operator{}, Equivocations: []verify.Equivocation{}, Reasons: []string{"https://debian-rebuilds.example (debian-rebuilds) obtained something else in log.example/test#4293"},
		Quorum: &policy.RebuildExplanation{
			Satisfied: true, Missing: []string{}, Quorums: []policy.RebuildQuorum{{Line: "rebuild-quorum independents", Names: []string{}, Operators: []string{}, Node: node}},
			Distinct: []policy.DistinctStatus{{What: "cpu-vendor", Have: []string{"AMD", "Intel"}, Need: 2, Satisfied: true}},
		},
		Dissent: []verify.Dissent{
			{Operator: "https://debian-rebuilds.example", Rebuilder: "debian-rebuilds", Result: leaf.Different, Entry: "log.example/test#4293"},
			{Operator: "https://inria.example", Rebuilder: "inria", Result: leaf.BuildFailed, Entry: "log.example/test#4324"},
		},
	}
}

func someProfile(i int) survey.Profile {
	p := survey.Profile{
		Rebuilder: someRebuilders(8)[i], URL: "https://alice.example/ci", Enrolled: 12, Agrees: 428, Disagrees: 2,
		Words:        survey.WordCounts{survey.Obtained: 428, survey.Different: 2, survey.Failed: 5, survey.Signed: 9},
		Environments: []survey.Environment{{Values: map[string]string{"os": "linux", "cpuVendor": "AMD"}, Statements: 400}},
		Latest:       somePackage(verify.VerdictDiffers).Artifacts[0].Statements[:4],
	}
	for day := 360; day >= 0; day-- {
		if n := (day*day + 3*day) % 11; n > 2 {
			d := survey.Day{Date: now.AddDate(0, 0, -day).Format(time.DateOnly), Words: survey.WordCounts{survey.Obtained: n * n}}
			if day%67 == 5 {
				d.Words[survey.Different] = 1
			}
			p.Days = append(p.Days, d)
		}
	}
	return p
}

// someSurvey has all of it.
func someSurvey() *fakeSurvey {
	p := somePackage(verify.VerdictDiffers)
	f := &fakeSurvey{
		state:    survey.State{Scanned: 1234567, Current: now, Policy: "rebuilder alice sha256:… operator=https://alice.example\nrebuild-quorum independents\n"},
		summary:  survey.Summary{Packages: 444, Unheard: 12, Counts: survey.Counts{0, 440, 4}, Rebuilders: 9, Operators: 8},
		page:     somePage(444, 8, stagexName),
		packages: map[string]*survey.Package{p.Package: p, string(p.Artifacts[0].Digest): p},
		distributions: []survey.Distribution{
			{Name: "deb/debian", Packages: 34_512, Counts: survey.Counts{400, 32_000, 12, 100, 2000}, Single: 20_000, Multi: 14_512, Operators: 6, Engines: 2, CPUVendors: 2, Countries: 5, Stage0: 0},
			{Name: "oci/stagex", Packages: 444, Counts: survey.Counts{10, 430, 4, 0, 0}, Single: 0, Multi: 444, Operators: 8, Engines: 3, CPUVendors: 2, Countries: 4, Stage0: 440},
		},
	}
	for i := range 8 {
		f.profiles = append(f.profiles, someProfile(i))
	}
	f.profiles[7].Heard, f.profiles[7].Name = false, ""
	for i := range f.page.Rows {
		f.strip = append(f.strip, f.page.Rows[i].Verdict)
	}
	return f
}
