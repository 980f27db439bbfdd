package attest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
)

const (
	sumA = "4bc44d248125153f485a02595faa2b30e32bf4b91a2a3b02827f3c66c96ed469"
	sumB = "bcf6d6dd7cd953b2a56cb0f9599e3b89db57904cde88fe1ba9d7df070ef12e63"
)

// edited returns text with one part replaced by another. Tests that find nothing
// to replace would test nothing.
func edited(text, old, replacement string) string {
	if !strings.Contains(text, old) {
		panic(fmt.Sprintf("%q is not in %q", old, text))
	}
	return strings.Replace(text, old, replacement, 1)
}

func simpleSigningRefusals() []refusal {
	const atomic = `{"critical":{"identity":{"docker-reference":"stagex/x:1"},"image":{"docker-manifest-digest":"sha256:` + sumA + `"},"type":"atomic container signature"},"optional":{}}`
	const older = `[{"critical":{"identity":{"docker-reference":"stagex/x"},"image":{"docker-manifest-digest":"` + sumA + `"},"type":"pgp container image signature"},"optional":null}]`
	return []refusal{
		{"", reason.DocumentInvalid, "parsing its JSON"},
		{"{", reason.DocumentInvalid, "parsing its JSON"},
		{"[]", reason.DocumentInvalid, "parsing its JSON"},
		{"[" + atomic + "]", reason.DocumentInvalid, `its type is "atomic container signature", want "pgp container image signature"`},
		{strings.Trim(older, "[]"), reason.DocumentInvalid, `its type is "pgp container image signature", want "atomic`},
		{edited(older, "}]", "},"+strings.Trim(older, "[]")+"]"), reason.DocumentInvalid, "parsing its JSON"},
		{`{"optional":{}}`, reason.DocumentInvalid, "no critical.identity.docker-reference"},
		{edited(atomic, `"stagex/x:1"`, `""`), reason.DocumentInvalid, "no critical.identity.docker-reference"},
		{edited(atomic, `"type"`, `"more":1,"type"`), reason.DocumentInvalid, `unknown object member name "more"`},
		{edited(atomic, `"docker-reference"`, `"more":1,"docker-reference"`), reason.DocumentInvalid, `unknown object member name "more"`},
		{edited(atomic, `"docker-manifest-digest"`, `"more":1,"docker-manifest-digest"`), reason.DocumentInvalid, `unknown object member name "more"`},
		{edited(atomic, `"optional"`, `"more":1,"optional"`), reason.DocumentInvalid, `unknown object member name "more"`},
		{edited(atomic, `"critical"`, `"Critical"`), reason.DocumentInvalid, `unknown object member name "Critical"`},
		{edited(atomic, `"optional"`, `"critical":{},"optional"`), reason.DocumentInvalid, "duplicate object member name"},
		{edited(atomic, `"optional":{}`, `"optional":{"a":1,"a":2}`), reason.DocumentInvalid, "duplicate object member name"},
		{edited(atomic, `"optional":{}`, `"optional":null`), reason.DocumentInvalid, "its optional member is no object"},
		{edited(atomic, `,"optional":{}`, ``), reason.DocumentInvalid, "its optional member is no object"},
		{edited(older, `null`, `{}`), reason.DocumentInvalid, "its optional member is not null"},
		{edited(atomic, `sha256:`, ``), reason.DigestInvalid, "is not a sha256"},
		{edited(atomic, `sha256:`+sumA, `sha512:`+sumA+sumB), reason.DigestInvalid, "is not a sha256"},
		{edited(atomic, sumA, strings.ToUpper(sumA)), reason.DigestInvalid, "is not a sha256"},
		{edited(older, sumA, `sha256:`+sumA), reason.DigestInvalid, "is not a sha256"},
		{edited(older, sumA, ``), reason.DigestInvalid, "is not a sha256"},
		{edited(atomic, "stagex/x:1", "stagex/x:1@sha256:"+sumB), reason.DocumentInvalid, "another digest"},
		{edited(atomic, "stagex/x:1", "stagex/X"), reason.DocumentInvalid, "must be lowercase"},
		{edited(atomic, "stagex/x:1", "https://x"), reason.DocumentInvalid, "invalid reference format"},
		{edited(atomic, "stagex/x:1", sumA), reason.DocumentInvalid, "docker-reference"},
	}
}

func TestSimpleSigningRefusals(t *testing.T) {
	checkRefusals(t, FormatSimpleSigning, simpleSigningRefusals())
}

func buildinfoRefusals() []refusal {
	const good = "Format: 1.0\nSource: hello\nArchitecture: all\nVersion: 2.10-3\n" +
		"Checksums-Sha1:\n 8a75faabe0a6d9325500c6e7c7a9bb917c69e795 792 hello_2.10-3_all.deb\n" +
		"Checksums-Sha256:\n " + sumA + " 792 hello_2.10-3_all.deb\n" +
		"Build-Origin: Debian\nBuild-Architecture: amd64\nInstalled-Build-Depends:\n dpkg (= 1.21.22),\n tar (= 1.34)\n"
	var many, files strings.Builder
	for i := range MaxMaterials + 1 {
		fmt.Fprintf(&many, " lib%d (= 1),\n", i)
	}
	for i := range MaxSubjects {
		fmt.Fprintf(&files, " %s 792 hello%d_2.10-3_all.deb\n", sumA, i)
	}
	list := []refusal{
		{edited(good, "1.0", "2.0"), reason.DocumentInvalid, `its Format is "2.0", want 1.0`},
		{good + "\nFormat: 1.0\n", reason.DocumentInvalid, "want one paragraph"},
		{good + "version: 3\n", reason.DocumentInvalid, "has version a second time"},
		{good + "#comment\n", reason.DocumentInvalid, "is no field"},
		{good + "-dash: 1\n", reason.DocumentInvalid, "is no field"},
		{good + "nothing\n", reason.DocumentInvalid, "is no field"},
		{" " + good, reason.DocumentInvalid, "line 1 continues no field"},
		{edited(good, "hello", "hello\x1b[2J"), reason.DocumentInvalid, `control character "\x1b"`},
		{edited(good, "hello", "hello\xff"), reason.DocumentInvalid, "not UTF-8"},
		{edited(good, "hello", "Hello"), reason.DocumentInvalid, "are no package"},
		{edited(good, "hello", "hello (1"), reason.DocumentInvalid, "want <name> or <name> (<version>)"},
		{edited(good, "2.10-3", "2.10_3"), reason.DocumentInvalid, "are no package"},
		{edited(good, "amd64", "amd64, i386"), reason.DocumentInvalid, "Build-Architecture"},
		{edited(good, sumA, strings.ToUpper(sumA)), reason.DigestInvalid, "want 64 lower-case hex digits"},
		{edited(good, sumA, sumA[1:]), reason.DigestInvalid, "want 64 lower-case hex digits"},
		{edited(good, sumA+" 792", sumA), reason.DocumentInvalid, "want <digest> <size> <file>"},
		{edited(good, sumA+" 792", sumA+" -1"), reason.DocumentInvalid, `the size "-1"`},
		{edited(good, sumA+" 792 hello", sumA+" 792 ../hello"), reason.DocumentInvalid, "want <digest> <size> <file>"},
		{edited(good, sumA+" 792", sumA+" 791"), reason.DocumentInvalid, "of different files"},
		{edited(good, sumA+" 792 hello_2.10-3_all.deb", sumA+" 792 hello_2.10-3_all.deb\n "+sumB+" 792 hello_2.10-3_all.deb"), reason.DocumentInvalid, "a second time"},
		{edited(good, sumA+" 792 hello_2.10-3_all.deb", sumA+" 792 other_2.10-3_all.deb"), reason.DocumentInvalid, "of different files"},
		{edited(good, "hello_2.10-3_all.deb\nChecksums-Sha256", "hello_2.10-3_all.deb\n 8a75faabe0a6d9325500c6e7c7a9bb917c69e795 1 x.deb\nChecksums-Sha256"), reason.DocumentInvalid, "of different files"},
		{strings.ReplaceAll(good, "hello_2.10-3_all.deb", "hello_2.10-3_source.changes"), reason.SubjectMissing, "no .deb"},
		{strings.ReplaceAll(good, "hello_2.10-3_all.deb", "hello_2.10-3.deb"), reason.DocumentInvalid, "is not called <name>_<version>_<architecture>"},
		{strings.ReplaceAll(good, "hello_2.10-3_all.deb", "Hello_2.10-3_all.deb"), reason.DocumentInvalid, "is none"},
		{edited(good, "tar (= 1.34)", "tar (>= 1.34)"), reason.DocumentInvalid, "want <name> (= <version>)"},
		{edited(good, "tar (= 1.34)", "tar (= 1 34)"), reason.DocumentInvalid, "want <name> (= <version>)"},
		{edited(good, "tar (= 1.34)", "tar/../x (= 1.34)"), reason.DocumentInvalid, "is none"},
		{edited(good, " tar (= 1.34)\n", many.String()), reason.TooManyMaterials, "4098 materials are over the limit of 4096"},
		{edited(good, " "+sumA+" 792 hello_2.10-3_all.deb\n", " "+sumA+" 792 hello_2.10-3_all.deb\n"+files.String()), reason.DocumentInvalid, "of different files"},
		{edited(edited(good, "Checksums-Sha1:\n 8a75faabe0a6d9325500c6e7c7a9bb917c69e795 792 hello_2.10-3_all.deb\n", ""),
			"Checksums-Sha256:\n", "Checksums-Sha256:\n"+files.String()), reason.TooManySubjects, "more packages than the limit of 64"},
	}
	for _, field := range []string{"Source", "Architecture", "Version", "Checksums-Sha256", "Build-Architecture", "Installed-Build-Depends"} {
		list = append(list, refusal{edited(good, "\n"+field+":", "\nX-"+field+":"), reason.DocumentInvalid, "it has no " + field})
	}
	return list
}

func TestBuildinfoRefusals(t *testing.T) { checkRefusals(t, FormatBuildinfo, buildinfoRefusals()) }

func sha256SumsRefusals() []refusal {
	var many strings.Builder
	for i := range MaxSubjects + 1 {
		fmt.Fprintf(&many, "%s  file%d\n", sumA, i)
	}
	return []refusal{
		{many.String(), reason.TooManySubjects, "list of 65 files is over the limit of 64"},
		{"", reason.DocumentInvalid, "line 1 is not"},
		{sumA + "  a\n\n", reason.DocumentInvalid, "line 2 is not"},
		{sumA + "  a\nbad\n", reason.DocumentInvalid, "line 2 is not"},
		{sumA + "  \n", reason.DocumentInvalid, "line 1 is not"},
		{sumA + " a\n", reason.DocumentInvalid, "line 1 is not"},
		{sumA + "\ta\n", reason.DocumentInvalid, "line 1 is not"},
		{strings.ToUpper(sumA) + "  a\n", reason.DocumentInvalid, "lower-case hex"},
		{sumA[1:] + "  a\n", reason.DocumentInvalid, "line 1 is not"},
		{sumA + sumB + "  a\n", reason.DocumentInvalid, "line 1 is not"},
		{"SHA256 (a) = " + sumA + "\n", reason.DocumentInvalid, "line 1 is not"},
		{`\` + sumA + "  a\\nb\n", reason.DocumentInvalid, "line 1 has an escaped file name"},
		{sumA + "  a\rb\n", reason.DocumentInvalid, `control character "\r"`},
		{sumA + "  a\xff\n", reason.DocumentInvalid, "not UTF-8"},
	}
}

func TestSHA256SumsRefusals(t *testing.T) { checkRefusals(t, FormatSHA256Sums, sha256SumsRefusals()) }

func archBuildinfoRefusals() []refusal {
	const v1 = "format = 1\npkgname = x\npkgbase = x\npkgver = 1-1\npkgarch = any\npkgbuild_sha256sum = " + sumA +
		"\npackager = x\nbuilddate = 1\nbuilddir = /build\ninstalled = y-1-1-any\n"
	const v2 = v1 + "startdir = /\nbuildtool = makepkg\nbuildtoolver = 6\n"
	list := []refusal{
		{edited(v1, "format = 1", "format = 3"), reason.DocumentInvalid, `its format is ["3"], want 1 or 2`},
		{v1 + "format = 1\n", reason.DocumentInvalid, "its format is"},
		{v1 + "pkgver = 2-1\n", reason.DocumentInvalid, "it has 2 lines of pkgver"},
		{v1 + "startdir = /\n", reason.DocumentInvalid, `format 1 has no key "startdir"`},
		{edited(v2, "format = 1", "format = 2") + "other = /\n", reason.DocumentInvalid, `format 2 has no key "other"`},
		{edited(edited(v2, "format = 1", "format = 2"), "buildtool = makepkg\n", ""), reason.DocumentInvalid, "it has 0 lines of buildtool"},
		{v1 + "options\n", reason.DocumentInvalid, "is not <key> = <value>"},
		{v1 + "options = \n", reason.DocumentInvalid, "is not <key> = <value>"},
		{v1 + "\n\n", reason.DocumentInvalid, "is not <key> = <value>"},
		{edited(v1, "pkgname = x", "pkgname = -x"), reason.DocumentInvalid, `invalid name "-x"`},
		{edited(v1, "1-1", "1"), reason.DocumentInvalid, `invalid version "1"`},
		{edited(v1, "= any", "= a/b"), reason.DocumentInvalid, `invalid architecture "a/b"`},
		{edited(v1, sumA, "SKIP"), reason.DigestInvalid, `pkgbuild_sha256sum "SKIP"`},
		{edited(v1, "y-1-1-any", "y-1-any"), reason.DocumentInvalid, "is not <name>-<version>-<release>-<architecture>"},
		{edited(v1, "y-1-1-any", "y/-1-1-any"), reason.DocumentInvalid, `installed package has the invalid name "y/"`},
		{edited(v1, "= any", "= any\x00"), reason.DocumentInvalid, "control character"},
		{v1 + strings.Repeat("installed = y-1-1-any\n", MaxMaterials-1), reason.TooManyMaterials, "4096 installed packages are over the limit of 4095"},
	}
	for _, key := range archOnce[1:] {
		list = append(list, refusal{edited(v1, "\n"+key+" = ", "\noptions = "), reason.DocumentInvalid, "it has 0 lines of " + key + ","})
	}
	return list
}

func TestArchBuildinfoRefusals(t *testing.T) {
	checkRefusals(t, FormatArchBuildinfo, archBuildinfoRefusals())
}

func buildcompareRefusals() []refusal {
	const good = "version=1\nok=2\nko=0\nokFiles=\"a-1.pom a-1.jar\"\nkoFiles=\"\"\n"
	return []refusal{
		{edited(good, "ok=2", "ok=3"), reason.DocumentInvalid, "ok is 3, but okFiles names 2"},
		{edited(good, "ko=0", "ko=1"), reason.DocumentInvalid, "ko is 1, but koFiles names 0"},
		{edited(good, "ko=0\n", ""), reason.DocumentInvalid, `ko is "", want a number`},
		{edited(good, "ok=2", "ok=two"), reason.DocumentInvalid, `ok is "two", want a number`},
		{edited(good, "ok=2", "ok=-2"), reason.DocumentInvalid, `ok is "-2", want a number`},
		{good + "ignoredFiles=\"x\"\n", reason.DocumentInvalid, `ignored is "", want a number`},
		{good + "ignored=1\n", reason.DocumentInvalid, "ignored is 1, but ignoredFiles names 0"},
		{good + "ok=2\n", reason.DocumentInvalid, "has ok a second time"},
		{good + "x=$(id)\n", reason.DocumentInvalid, "is neither a comment nor"},
		{good + "x=\"`id`\"\n", reason.DocumentInvalid, "is neither a comment nor"},
		{good + "x=\"\\\"\"\n", reason.DocumentInvalid, "is neither a comment nor"},
		{good + "x=a b\n", reason.DocumentInvalid, "is neither a comment nor"},
		{good + "x=\"a\n", reason.DocumentInvalid, "is neither a comment nor"},
		{good + "1x=a\n", reason.DocumentInvalid, "is neither a comment nor"},
		{good + "x=\x07\n", reason.DocumentInvalid, "control character"},
	}
}

func TestBuildcompareRefusals(t *testing.T) {
	checkRefusals(t, FormatBuildcompare, buildcompareRefusals())
}
