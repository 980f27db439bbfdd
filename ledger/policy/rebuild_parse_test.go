package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/policy"
)

// base is a policy without rebuilders, of two lines.
const base = "log L(a)\nquorum none\n"

// abc has three operators on lines 3 to 5.
const abc = base + `rebuilder a K(a) operator=https://a.example
rebuilder b K(b) operator=https://b.example
rebuilder c K(c) operator=https://c.example
`

// two asks for two of them, on lines 6 and 7.
const two = abc + "rebuild-group g 2 a b c\nrebuild-quorum g\n"

// rebuilds has every line about rebuilders.
const rebuilds = `log L(log.example/a)
witness w W(w.example)
quorum w
rebuilder alice1 K(alice1) country=DE operator=https://alice.example
rebuilder alice2 openpgp:0123456789abcdef0123456789abcdef01234567 operator=https://alice.example cpu-vendor=AMD
rebuilder bob K(bob) cpu-vendor=Intel operator=https://bob.example
rebuilder carol K(carol) operator=urn:carol
rebuilder dora K(dora) operator=urn:dora
# maintainers, and one from outside
rebuild-group maintainers 2 alice1 alice2 bob
rebuild-group outside 1 carol dora
rebuild-group both 2 maintainers outside
rebuild-group core 2 alice1 bob carol dora
rebuild-quorum core for pkg:oci/core-*
rebuild-quorum bob for pkg:oci/tool?*repository_url=docker.io%2Fstagex%2Ftool*
rebuild-quorum both
distinct country 1
dissent tolerate 1
seed sha256:f74dcf9cf24a8e1e0d4e0c9a8b4a8ec3e9ee5a7ddb0a3c2e04be3d7c84a6d0b1
except pkg:oci/broken until 2026-12-31 reason fails   on arm,  see #12
except pkg:deb/*?arch=s390x until 2026-06-01T02:00:00+02:00 reason no machine
max-age 36h
`

func TestParseRefusesRebuilders(t *testing.T) {
	testRefusals(t, []refusal{
		{"without a key", base + "rebuilder a\n", "line 3: want rebuilder <name> <key> operator="},
		{"without an operator", base + "rebuilder a K(a) country=DE\n", "line 3: rebuilder a has no operator"},
		{"without attributes", base + "rebuilder a K(a)\n", "line 3: want rebuilder"},
		{"an empty operator", base + "rebuilder a K(a) operator=\n", "line 3: attribute operator= has no value"},
		{"an unknown attribute", base + "rebuilder a K(a) operator=o cpu=x\n", `line 3: unknown attribute "cpu=x"`},
		{"an attribute in capitals", base + "rebuilder a K(a) operator=o Country=x\n", `line 3: unknown attribute "Country=x"`},
		{"a word without =", base + "rebuilder a K(a) operator=o country\n", `line 3: unknown attribute "country"`},
		{"a comment behind it", base + "rebuilder a K(a) operator=o # me\n", `line 3: unknown attribute "#"`},
		{"an attribute twice", base + "rebuilder a K(a) operator=o operator=o\n", "line 3: second attribute operator="},
		{"an operator that a terminal obeys", base + "rebuilder a K(a) operator=o\u202e\n", "line 3: attribute operator= has characters that are not printable"},
		{"a long operator", base + "rebuilder a K(a) operator=" + strings.Repeat("o", 2049) + "\n", "line 3: attribute operator= of 2049 bytes is over the limit of 2048"},
		{"a vkey for a key", base + "rebuilder a L(a) operator=o\n", "line 3: key \"a+"},
		{"a short fingerprint", base + "rebuilder a sha256:00 operator=o\n", `line 3: key "sha256:00" is no fingerprint`},
		{"a fingerprint in capitals", base + "rebuilder a openpgp:" + strings.Repeat("AB", 20) + " operator=o\n", "in lower case"},
		{"a name twice", base + "rebuilder a K(a) operator=o\nrebuilder a K(b) operator=o\n", `line 4: "a" is defined twice`},
		{"a witness's name", oneLog + "witness a W(a)\nquorum a\nrebuilder a K(a) operator=o\n", `line 4: "a" is defined twice`},
		{"the name none", base + "rebuilder none K(a) operator=o\n", `line 3: the name "none" is reserved`},
		{"a key twice", base + "rebuilder a K(a) operator=o\nrebuilder b K(a) operator=p\n", "line 4: rebuilder b has the same public key as rebuilder a"},
		{"the log's key", base + "rebuilder a " + fingerprintOf(pubOf("log a")) + " operator=o\n", "line 3: rebuilder a has the same public key as log a"},
		{"a witness's key", oneLog + "witness w W(w)\nquorum w\nrebuilder a " + fingerprintOf(pubOf("witness w")) + " operator=o\n", "line 4: rebuilder a has the same public key as witness w"},
		{"whose key a later witness has", base + "rebuilder a " + fingerprintOf(pubOf("witness w")) + " operator=o\nwitness w W(w)\n", "line 4: witness w has the same public key as rebuilder a"},
		{"one operator in two spellings", base + "rebuilder a K(a) operator=https://a.example\nrebuilder b K(b) operator=https://A.example/\n", "line 4: operator https://A.example/ is spelled https://a.example on an earlier line"},
		{"no rebuild-quorum", abc, "line 3: no rebuild-quorum line asks for a rebuilder"},
		{"only a rebuild-group", abc + "rebuild-group g 2 a b\n", "line 3: no rebuild-quorum line asks for a rebuilder"},
	})
}

func TestParseRefusesRebuildGroups(t *testing.T) {
	q := "rebuild-quorum g\n"
	testRefusals(t, []refusal{
		{"without a threshold", abc + "rebuild-group g\n", "line 6: want rebuild-group"},
		{"without members", abc + "rebuild-group g all\n", "line 6: want rebuild-group"},
		{"of an unknown member", abc + "rebuild-group g all a x\n", `line 6: member "x" is not defined on an earlier line`},
		{"of itself", abc + "rebuild-group g any a g\n", `line 6: member "g" is not defined on an earlier line`},
		{"of a witness", abc + "witness w W(w)\nrebuild-group g all w\n", `line 7: member "w" is a witness, want a rebuilder or rebuild-group`},
		{"of a witness group", abc + "witness w W(w)\ngroup x all w\nrebuild-group g all x\n", `line 8: member "x" is a group, want`},
		{"called as a rebuilder", abc + "rebuild-group a all b\n" + q, `line 6: "a" is defined twice`},
		{"called none", abc + "rebuild-group none all b\n" + q, `line 6: the name "none" is reserved`},
		{"a member twice", abc + "rebuild-group g 2 a b a\n" + q, `line 6: "a" is a member of rebuild-group "g" and again of "g"`},
		{"a member of a group below", abc + "rebuild-group h any a b\nrebuild-group g 2 a c h\n" + q, `line 7: "a" is a member of rebuild-group "g" and again of "h"`},
		{"a member of two groups below", abc + "rebuild-group h any a b\nrebuild-group i any b c\nrebuild-group g 2 h i\n" + q, `line 8: "b" is a member of rebuild-group "h" and again of "i"`},
		{"a group in two groups below", abc + "rebuild-group x any a\nrebuild-group h any x b\nrebuild-group i any x c\nrebuild-group g 2 h i\n" + q, `line 9: "x" is a member of rebuild-group "h" and again of "i"`},
		{"an operator with a key in two groups", abc + "rebuilder a2 K(a2) operator=https://a.example\nrebuild-group h any a b\nrebuild-group g 2 a2 h\n" + q, `line 8: operator https://a.example is in rebuild-group "g" and again in "h"`},
		{"threshold 0", abc + "rebuild-group g 0 a b\n" + q, "line 6: threshold 0 is not between 1 and the 2 operators and groups"},
		{"threshold above the operators", abc + "rebuilder a2 K(a2) operator=https://a.example\nrebuild-group g 3 a a2 b\n" + q, "line 7: threshold 3 is not between 1 and the 2 operators and groups"},
		{"threshold above operators and groups", abc + "rebuild-group h any a b\nrebuild-group g 3 h c\n" + q, "line 7: threshold 3 is not between 1 and the 2 operators and groups"},
		{"threshold with a leading zero", abc + "rebuild-group g 02 a b\n" + q, `line 6: threshold "02" is not all, any or a decimal number`},
		{"that nobody asks for", abc + "rebuild-group g 2 a b\nrebuild-group h 2 b c\n" + q, `line 7: no rebuild-quorum asks for rebuild-group "h"`},
	})
}

func TestParseRefusesRebuildQuorums(t *testing.T) {
	testRefusals(t, []refusal{
		{"without a name", abc + "rebuild-quorum\n", "line 6: want rebuild-quorum"},
		{"without for", abc + "rebuild-quorum a pkg:oci/x\n", "line 6: want rebuild-quorum"},
		{"without a glob", abc + "rebuild-quorum a for\n", "line 6: want rebuild-quorum"},
		{"with another word", abc + "rebuild-quorum a unless pkg:oci/x\n", "line 6: want rebuild-quorum"},
		{"with two globs", abc + "rebuild-quorum a for pkg:oci/x pkg:oci/y\n", "line 6: want rebuild-quorum"},
		{"of an unknown name", abc + "rebuild-quorum x\n", `line 6: rebuild-quorum "x" is not defined on an earlier line`},
		{"of none", abc + "rebuild-quorum none\n", `line 6: rebuild-quorum "none" is not defined`},
		{"of a group on a later line", abc + "rebuild-quorum g\nrebuild-group g any a\n", `line 6: rebuild-quorum "g" is not defined`},
		{"of a witness", abc + "witness w W(w)\nrebuild-quorum w\n", `line 7: rebuild-quorum "w" is a witness, want a rebuilder or rebuild-group`},
		{"for all, twice", abc + "rebuild-quorum a\nrebuild-quorum b\n", "line 7: second rebuild-quorum line without `for`"},
		{"for the same, twice", abc + "rebuild-quorum a for pkg:oci/x\nrebuild-quorum b for pkg:oci/x\n", "line 7: this line never counts: all that pkg:oci/x matches is matched by pkg:oci/x on line 6"},
		{"behind one that matches more", abc + "rebuild-quorum a for pkg:oci/*o*\nrebuild-quorum b for pkg:oci/core-*\n", "line 7: this line never counts: all that pkg:oci/core-* matches is matched by pkg:oci/*o* on line 6"},
		{"with a glob that is no package", abc + "rebuild-quorum a for oci/x\n", "line 6: glob \"oci/x\" matches no package URL"},
		{"with a version in the glob", abc + "rebuild-quorum a for pkg:deb/x@1\n", "line 6: glob \"pkg:deb/x@1\" matches nothing: without a ?"},
		{"with a subpath in the glob", abc + "rebuild-quorum a for pkg:deb/x#y\n", "matches nothing: without a ?"},
		{"with a digest in the glob", abc + "rebuild-quorum a for pkg:oci/x@sha256:*?*\n", "names are compared without a version that is a digest"},
		{"with two stars", abc + "rebuild-quorum a for pkg:oci/**\n", "has two stars in a row"},
		{"with an odd glob", abc + "rebuild-quorum a for pkg:oci/\u202e\n", "not printable"},
		{"with a long glob", abc + "rebuild-quorum a for pkg:" + strings.Repeat("x", 4093) + "\n", "glob of 4097 bytes is over the limit of 4096"},
	})
}

func TestParseRefusesRules(t *testing.T) {
	someSeed := "seed " + seedOf("s") + "\n"
	testRefusals(t, []refusal{
		{"distinct without a number", two + "distinct operator\n", "line 8: want distinct"},
		{"distinct of something else", two + "distinct kernel 2\n", "line 8: want distinct"},
		{"distinct 0", two + "distinct operator 0\n", `line 8: distinct operator "0": want a number between 1 and 1024`},
		{"distinct 1025", two + "distinct engine 1025\n", `line 8: distinct engine "1025": want a number between 1 and 1024`},
		{"distinct in words", two + "distinct operator two\n", `line 8: distinct operator "two": want`},
		{"distinct twice", two + "distinct country 1\ndistinct engine 1\ndistinct country 2\n", "line 10: second line distinct country"},
		{"more operators than there are", two + "distinct operator 4\n", "line 8: distinct operator 4 can never be met: the rebuilders of the rebuild-quorum on line 7 have 3"},
		{"more operators than one quorum has", two + "rebuild-quorum a for pkg:oci/x\ndistinct operator 2\n", "line 9: distinct operator 2 can never be met: the rebuilders of the rebuild-quorum on line 8 have 1"},
		{"more vendors than all state", base + "rebuilder a K(a) operator=a cpu-vendor=AMD\nrebuilder b K(b) operator=b cpu-vendor=AuthenticAMD\nrebuild-group g all a b\nrebuild-quorum g\ndistinct cpu-vendor 2\n", "line 7: distinct cpu-vendor 2 can never be met: the rebuilders of the rebuild-quorum on line 6 have 1"},
		{"more countries than all state", base + "rebuilder a K(a) operator=a country=DE\nrebuilder b K(b) operator=b country=de\nrebuild-group g all a b\nrebuild-quorum g\ndistinct country 2\n", "line 7: distinct country 2 can never be met"},
		{"distinct without rebuilders", base + "distinct engine 1\n", "line 3: there is no rebuild-quorum that distinct engine could be asked of"},
		{"dissent without a word", two + "dissent\n", "line 8: want dissent"},
		{"dissent of another kind", two + "dissent ignore\n", "line 8: want dissent"},
		{"dissent block with a number", two + "dissent block 1\n", "line 8: want dissent"},
		{"dissent tolerate without a number", two + "dissent tolerate\n", "line 8: want dissent"},
		{"dissent tolerate 0", two + "dissent tolerate 0\n", "line 8: dissent tolerate \"0\": want a number of operators of at least 1; `dissent block` tolerates none"},
		{"dissent tolerate 1.5", two + "dissent tolerate 1.5\n", "line 8: dissent tolerate \"1.5\": want"},
		{"dissent of everybody", two + "dissent tolerate 3\n", "line 8: dissent tolerate 3 would let every one of the 3 operators dissent"},
		{"dissent twice", two + "dissent block\ndissent tolerate 1\n", "line 9: second dissent line"},
		{"dissent of nobody", base + "dissent block\n", "line 3: there is no rebuilder who could dissent"},
		{"seed without a digest", base + "seed\n", "line 3: want seed"},
		{"seed with too much", base + "seed " + seedOf("s") + " x\n", "line 3: want seed"},
		{"seed by sha512", base + "seed sha512:" + strings.Repeat("0", 128) + "\n", "is not sha256:<64 hex digits"},
		{"seed in capitals", base + "seed sha256:" + strings.Repeat("A", 64) + "\n", "is not sha256:<64 hex digits"},
		{"seed twice", base + someSeed + someSeed, "line 4: seed " + seedOf("s") + " is on line 3 already"},
	})
}

func TestParseRefusesExceptions(t *testing.T) {
	until := "except pkg:oci/x until "
	testRefusals(t, []refusal{
		{"except without a reason", base + until + "2026-12-31\n", "line 3: want except"},
		{"except with an empty reason", base + until + "2026-12-31 reason\n", "line 3: want except"},
		{"except for ever", base + "except pkg:oci/x reason x y z\n", "line 3: want except"},
		{"except with another word", base + until + "2026-12-31 because x\n", "line 3: want except"},
		{"except with a wrong glob", base + "except x until 2026-12-31 reason x\n", "line 3: glob \"x\" matches no package URL"},
		{"except of the same twice", base + until + "2026-12-31 reason x\n" + until + "2027-12-31 reason y\n", "line 4: an exception for pkg:oci/x is on line 3 already"},
		{"a day that there is not", base + until + "2026-02-29 reason x\n", `line 3: date "2026-02-29" is neither`},
		{"a date in another order", base + until + "31.12.2026 reason x\n", "is neither YYYY-MM-DD nor"},
		{"a time without a zone", base + until + "2026-12-31T00:00:00 reason x\n", "is neither YYYY-MM-DD nor"},
		{"a time with fractions", base + until + "2026-12-31T00:00:00.5Z reason x\n", "is neither YYYY-MM-DD nor"},
		{"a time with a short hour", base + until + "2026-12-31T1:00:00Z reason x\n", "is neither YYYY-MM-DD nor"},
		{"a date that takes five digits tomorrow", base + until + "9999-12-31 reason x\n", "is not between 1970 and 9998"},
		{"a date before computers", base + until + "0001-01-01 reason x\n", "is not between 1970 and 9998"},
		{"a reason that a terminal obeys", base + until + "2026-12-31 reason a\u202eb\n", "line 3: reason \"a\\u202eb\" has characters that are not printable"},
		{"a reason that is not UTF-8", base + until + "2026-12-31 reason a\xff\n", "not printable"},
		{"a long reason", base + until + "2026-12-31 reason " + strings.Repeat("x", 2049) + "\n", "line 3: reason of 2049 bytes is over the limit of 2048"},
	})
}

func TestParseRefusesMaxAges(t *testing.T) {
	withWitness := oneLog + "witness w W(w)\nquorum w\n"
	testRefusals(t, []refusal{
		{"max-age without a duration", withWitness + "max-age\n", "line 4: want max-age"},
		{"max-age with a space", withWitness + "max-age 1d 2h\n", "line 4: want max-age"},
		{"max-age twice", withWitness + "max-age 1h\nmax-age 1h\n", "line 5: second max-age line"},
		{"max-age 0", withWitness + "max-age 0s\n", `line 4: duration "0s" is not above 0`},
		{"max-age 0d", withWitness + "max-age 0d\n", `line 4: duration "0d" is not above 0`},
		{"max-age -1h", withWitness + "max-age -1h\n", "is not one such as 30d"},
		{"max-age 1d-1h", withWitness + "max-age 1d-1h\n", "is not one such as 30d"},
		{"max-age without a unit", withWitness + "max-age 30\n", "is not one such as 30d"},
		{"max-age d", withWitness + "max-age d\n", "whole number of days"},
		{"max-age 1.5d", withWitness + "max-age 1.5d\n", "whole number of days"},
		{"max-age -1d", withWitness + "max-age -1d\n", "whole number of days"},
		{"max-age 1d1d", withWitness + "max-age 1d1d\n", "is not one such as 30d"},
		{"max-age 36501d", withWitness + "max-age 36501d\n", "is over the limit of 36500d"},
		{"max-age that overflows", withWitness + "max-age 213504d\n", "is over the limit of 36500d"},
		{"max-age 36500d1s", withWitness + "max-age 36500d1s\n", "is over the limit of 36500d"},
		{"max-age 2000000h", withWitness + "max-age 2000000h\n", "is over the limit of 36500d"},
		{"max-age 36500d2000000h", withWitness + "max-age 36500d2000000h\n", "is over the limit of 36500d"},
		{"max-age 1500ms", withWitness + "max-age 1500ms\n", "is not of whole seconds"},
		{"max-age without witnesses", base + "max-age 1h\n", "line 3: max-age needs a witness quorum"},
	})
}

func TestParseAcceptsRebuilders(t *testing.T) {
	for name, text := range map[string]string{
		"no rebuilders":                 base,
		"seeds and exceptions alone":    base + "seed " + seedOf("s") + "\nexcept * until 2026-12-31 reason x\n",
		"a rebuilder alone as quorum":   base + "rebuilder a K(a) operator=o\nrebuild-quorum a\n",
		"a rebuilder outside quorums":   abc + "rebuild-quorum a\n",
		"a quorum for some alone":       abc + "rebuild-quorum a for pkg:oci/x\n",
		"a group of two quorums":        abc + "rebuild-group g any a b\nrebuild-group h all g c\nrebuild-quorum g for pkg:oci/x\nrebuild-quorum h\n",
		"the broader glob last":         abc + "rebuild-quorum a for pkg:oci/x?arch=amd64\nrebuild-quorum b for pkg:oci/x\nrebuild-quorum c for pkg:oci/*\nrebuild-quorum a for *\n",
		"a glob that looks covered":     abc + "rebuild-quorum a for pkg:oci/*2\nrebuild-quorum b for pkg:oci/x?tag=2\n",
		"for all before some":           abc + "rebuild-quorum a\nrebuild-quorum b for pkg:oci/x\n",
		"two keys of one operator":      base + "rebuilder a K(a) operator=o\nrebuilder b K(b) operator=o\nrebuild-group g all a b\nrebuild-quorum g\n",
		"vendors left to attestations":  base + "rebuilder a K(a) operator=o cpu-vendor=AMD\nrebuilder b K(b) operator=p\nrebuild-group g all a b\nrebuild-quorum g\ndistinct cpu-vendor 3\n",
		"rules before what they are of": "max-age 1h\ndistinct operator 2\ndissent tolerate 1\nwitness w W(w)\nquorum w\nrebuilder a K(a) operator=o\nrebuilder b K(b) operator=p\nrebuild-group g all a b\nrebuild-quorum g\nlog L(a)\n",
	} {
		if _, err := policy.Parse([]byte(expand(text))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStringOfRebuilders(t *testing.T) {
	want := expand(`log L(log.example/a)
witness w W(w.example)
quorum w
rebuilder alice1 K(alice1) operator=https://alice.example country=DE
rebuilder alice2 openpgp:0123456789abcdef0123456789abcdef01234567 operator=https://alice.example cpu-vendor=AMD
rebuilder bob K(bob) operator=https://bob.example cpu-vendor=Intel
rebuilder carol K(carol) operator=urn:carol
rebuilder dora K(dora) operator=urn:dora
rebuild-group maintainers all alice1 alice2 bob
rebuild-group outside any carol dora
rebuild-group both all maintainers outside
rebuild-group core 2 alice1 bob carol dora
rebuild-quorum core for pkg:oci/core-*
rebuild-quorum bob for pkg:oci/tool?*repository_url=docker.io%2Fstagex%2Ftool*
rebuild-quorum both
distinct country 1
dissent tolerate 1
seed sha256:f74dcf9cf24a8e1e0d4e0c9a8b4a8ec3e9ee5a7ddb0a3c2e04be3d7c84a6d0b1
except pkg:oci/broken until 2026-12-31 reason fails on arm, see #12
except pkg:deb/*?arch=s390x until 2026-05-31 reason no machine
max-age 1d12h
`)
	p := mustParse(t, rebuilds)
	if d := cmp.Diff(want, p.String()); d != "" {
		t.Error(d)
	}
	again, err := policy.Parse([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(facts(p), facts(again)); d != "" {
		t.Error(d)
	}
	if got := mustParse(t, two+"distinct engine 2\ndistinct operator 3\ndissent block\n").String(); !strings.HasSuffix(got, "rebuild-quorum g\ndistinct operator 3\ndistinct engine 2\n") {
		t.Errorf("distinct lines and dissent block are written as %q", got)
	}
}

func TestDurationsAndDates(t *testing.T) {
	for in, want := range map[string]string{
		"30d": "30d", "36h": "1d12h", "90m": "1h30m", "1.5h": "1h30m", "86400s": "1d", "1d24h": "2d", "1s": "1s",
		"1d1s": "1d1s", "3661s": "1h1m1s", "0d1h": "1h", "036d": "36d", "36500d": "36500d",
	} {
		p := mustParse(t, oneLog+"witness w W(w)\nquorum w\nmax-age "+in+"\n")
		if got := p.String(); !strings.HasSuffix(got, "\nmax-age "+want+"\n") {
			t.Errorf("max-age %s is written as %q, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"2026-12-31":                "2026-12-31",
		"2027-01-01T00:00:00Z":      "2026-12-31",
		"2027-01-01T00:00:00+00:00": "2026-12-31",
		"2026-12-31T23:00:00-01:00": "2026-12-31",
		"2026-12-31T12:30:00+02:00": "2026-12-31T10:30:00Z",
		"2024-02-29":                "2024-02-29",
		"1969-12-31":                "1969-12-31",
	} {
		p := mustParse(t, base+"except * until "+in+" reason x\n")
		if got := p.String(); !strings.HasSuffix(got, "\nexcept * until "+want+" reason x\n") {
			t.Errorf("until %s is written as %q, want %s", in, got, want)
		}
		if loc := p.Exceptions()[0].Until.Location(); loc != time.UTC {
			t.Errorf("until %s is in %s", in, loc)
		}
	}
}

func TestRebuildLimits(t *testing.T) {
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, strings.ReplaceAll(format, "%", "%[1]d")+"\n", i)
		}
		return b.String()
	}
	rebuilders := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "rebuilder r%d %s operator=o%d\n", i, seedOf(fmt.Sprint(i)), i)
		}
		return b.String()
	}
	seeds := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "seed %s\n", seedOf(fmt.Sprint(i)))
		}
		return b.String()
	}
	groups := func(n int) string {
		s := "rebuild-group g0 all r0\n"
		for i := range n - 1 {
			s += fmt.Sprintf("rebuild-group g%d all g%d r%d\n", i+1, i, i+1)
		}
		return s
	}
	exceptions := func(n int) string { return lines(n, "except pkg:oci/x% until 2026-12-31 reason x") }
	quorums := func(n int) string { return lines(n, "rebuild-quorum r0 for pkg:oci/x%") }
	last := fmt.Sprintf("rebuild-quorum g%d for *\n", policy.MaxRebuildGroups-1)
	full := base + rebuilders(policy.MaxRebuilders) + groups(policy.MaxRebuildGroups) + quorums(policy.MaxRebuildQuorums-1) +
		last + seeds(policy.MaxSeeds) + exceptions(policy.MaxExceptions)
	p := mustParse(t, full)
	var votes []policy.Vote
	for _, r := range p.Rebuilders()[:policy.MaxRebuildGroups] {
		votes = append(votes, policy.Vote{Key: r.Key})
	}
	if e := p.Rebuilt([]string{"pkg:deb/y"}, votes); !e.Satisfied {
		t.Errorf("groups nested to the limit: %q", e.Missing)
	}
	if e := p.Rebuilt([]string{"pkg:deb/y"}, votes[1:]); e.Satisfied {
		t.Error("groups nested to the limit are satisfied without the innermost")
	}
	testRefusals(t, []refusal{
		{"rebuilders", base + rebuilders(policy.MaxRebuilders+1), "line 1027: more than 1024 rebuilders"},
		{"rebuild-groups", base + rebuilders(policy.MaxRebuilders) + groups(policy.MaxRebuildGroups+1), "more than 256 rebuild-groups"},
		{"rebuild-quorums", full + "rebuild-quorum r0\n", "more than 1024 rebuild-quorums"},
		{"seeds", base + seeds(policy.MaxSeeds+1), "more than 1024 seeds"},
		{"exceptions", base + exceptions(policy.MaxExceptions+1), "more than 1024 exceptions"},
	})
}
