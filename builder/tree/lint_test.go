package tree_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/tree"
)

const (
	hello     = "packages/user/hello/Containerfile"
	helloTOML = "packages/user/hello/package.toml"
	tccA      = "packages/bootstrap/tcc-a/Containerfile"
	tccATOML  = "packages/bootstrap/tcc-a/package.toml"
	all       = "packages/pallet/all/Containerfile"
	digest    = "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// installStages is the part of hello that names its stage install.
const installStages = "FROM build AS install\nUSER 0:0\nRUN --network=none make DESTDIR=/rootfs install\n\n" +
	"FROM scratch AS package\nENV GREETING=hello\nCOPY --from=install"

// lintCases break one rule each in the small tree, which breaks none. A case
// without findings shows what the rule allows.
var lintCases = []struct {
	rule           string
	file, old, new string // a change of a file; or a new file, if old is empty
	want           []string
}{
	{"not-a-package", "packages/user/half/Containerfile", "", "FROM scratch\n", []string{"packages/user/half: error: packages/user/half is passed over, since it has no package.toml"}},
	{"metadata", helloTOML, "license", "website", []string{helloTOML + ":1: warning: no license"}},
	{"metadata", helloTOML, "description = \"A greeting, in the five stages\"\n", "", []string{helloTOML + ":1: warning: no description"}},
	{"unknown-key", helloTOML, "license", "maintainer = \"x\"\nlicense", []string{helloTOML + ":5: warning: package.maintainer is read by nobody"}},
	{"unknown-key", helloTOML, "file =", "size = 1\nfile =", []string{helloTOML + ":9: warning: sources.hello.size is read by nobody"}},
	{"unknown-key", helloTOML, "[package]", "x = 1\n[package]", []string{helloTOML + ":1: warning: x is read by nobody"}},
	{"source-hash", helloTOML, "4444444444444444444444444444444444444444444444444444444444444445", strings.Repeat("0", 64),
		[]string{helloTOML + ":8: error: the hash of source hello locks nothing"}},
	{"source-hash", helloTOML, "4444444444444444444444444444444444444444444444444444444444444445", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		[]string{helloTOML + ":8: error: the hash of source hello locks nothing"}},
	{"mirror-https", helloTOML, "https", "http", []string{helloTOML + ":10: warning: source hello: http://example.org/hello/{file}"}},
	{"mirror-https", helloTOML, "https", "ftp", []string{helloTOML + ":10: warning: source hello: ftp://example.org/hello/{file}"}},
	{"mirror-name", tccATOML, "cc-{version}.tar\"", "cc-{version}.tar\", \"https://example.org/other\"", []string{tccATOML + ":17: warning: the mirrors of source seed_a end in different names"}},
	{"mirror-name", tccATOML, "cc-{version}.tar\"", "cc-{version}.tar\", \"https://example.net/cc-{version}.tar?x=/y\"", nil},
	{"source-arg", tccATOML, "mirrors = [\"https://example.org/cc-{version}.tar\"]", "mirrors = [\"https://example.org/{file}\"]\nfile = \"cc-{version_dash}.tar\"",
		[]string{tccA + ":4: error: fetch/cc-0-9-27.tar is neither a source nor a file of the package",
			tccATOML + ":13: warning: source seed_a (cc-12.tar) is not used",
			tccATOML + ":18: error: SEED_A_SOURCE is cc-0-9-27.tar, but the file is called cc-12.tar"}},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "", []string{tccATOML + ":7: warning: source tcc (tcc-0.9.27.tar.bz2) is not used"}},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "COPY --from=fetch . .\n", nil},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "COPY --from=fetch tcc-0.9.27.tar.bz2 .\n", nil},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "COPY --from=fetch gcc-0.9.27.tar.bz2 .\n", []string{
		tccA + ":5: error: gcc-0.9.27.tar.bz2 is neither a source nor a file of the package", tccATOML + ":7: warning: source tcc (tcc-0.9.27.tar.bz2) is not used"}},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "ADD ./fetch/ /src\n", nil},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "ADD fetch/tcc-*.bz2 /src\n", nil},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\nRUN", "RUN --mount=target=/src,source=fetch", nil},
	{"unused-source", tccA, "ADD fetch/tcc-${VERSION}.tar.bz2 /src\n", "ARG TARGETARCH\nADD fetch/tcc-${TARGETARCH}.tar.bz2 /src\n", nil},
	{"undeclared-binary", "packages/user/hello/logo", "", "\x00\x01", []string{"packages/user/hello/logo: warning: logo is not text"}},
	{"undeclared-binary", "packages/user/hello/notes", "", "Grüße\n", nil},
	{"pinned-base", all, "FROM scratch", "FROM debian:12", []string{all + ":1: error: debian:12 is neither a package of the tree nor named by digest"}},
	{"pinned-base", all, "--from=stagex/user-hello", "--from=alpine@sha256:00", []string{all + ":2: error: alpine@sha256:00 is neither a package of the tree nor named by digest"}},
	{"foreign-base", all, "FROM scratch", "FROM debian" + digest, []string{all + ":1: note: debian" + digest + " is not built by this tree"}},
	{"syntax-directive", all, "FROM scratch", "# syntax=docker/dockerfile:1\nFROM scratch", []string{all + ":1: error: # syntax=docker/dockerfile:1"}},
	{"remote-add", all, "COPY --from=stagex/user-hello .", "ADD https://example.org/x", []string{all + ":2: error: ADD https://example.org/x"}},
	{"remote-add", all, "COPY --from=stagex/user-hello .", "ADD git@example.org:x.git", []string{all + ":2: error: ADD git@example.org:x.git"}},
	{"network-undeclared", tccA, "--network=none", "--network=default", []string{tccA + ":6: error: RUN --network=default, which package.toml does not declare"}},
	{"network-undeclared", tccA, "--network=none", "--network=host", []string{tccA + ":6: error: RUN --network=host, which package.toml does not declare"}},
	{"network-unsaid", tccA, "RUN --network=none", "RUN", []string{tccA + ":6: warning: RUN without --network=none"}},
	{"insecure-run", tccA, "RUN", "RUN --security=insecure", []string{tccA + ":6: error: RUN asks for more than a sandbox"}},
	{"insecure-run", tccA, "RUN", "RUN --device=vendor.com/gpu", []string{tccA + ":6: error: RUN asks for more than a sandbox"}},
	{"run-mount", tccA, "RUN", "RUN --mount=type=cache,target=/x", []string{tccA + ":6: warning: RUN --mount=type=cache"}},
	{"run-mount", tccA, "RUN", "RUN --mount=type=tmpfs,target=/x", nil},
	{"bad-variable", tccA, "RUN", "WORKDIR ${VERSION:!}\nRUN", []string{tccA + `:6: error: failed to process "${VERSION:!}": unsupported modifier (:!) in substitution`}},
	{"missing-file", tccA, "tcc-${VERSION}", "gcc-${VERSION}", []string{
		tccA + ":5: error: fetch/gcc-0.9.27.tar.bz2 is neither a source nor a file of the package", tccATOML + ":7: warning: source tcc (tcc-0.9.27.tar.bz2) is not used"}},
	{"missing-file", hello, "COPY *.patch .", "COPY fix.patch . ", nil},
	{"missing-file", hello, "COPY *.patch .", "COPY . . ", nil},
	{"missing-file", hello, "COPY *.patch .", "COPY no.patch .", []string{hello + ":9: error: no.patch is neither a source nor a file of the package"}},
	{"undefined-arg", tccA, "ARG VERSION\n", "ARG VERSION\nARG VERSOIN\n", []string{tccA + ":3: warning: ARG: nothing gives VERSOIN"}},
	{"undefined-arg", tccA, "ARG VERSION\n", "ARG VERSION\nARG http_proxy\n", nil},
	{"undefined-arg", tccA, "ARG VERSION\n", "ARG VERSION\nENV A=${B}\n", []string{tccA + ":3: warning: ENV: nothing gives B"}},
	{"undefined-arg", hello, "ADD fetch", "ENV A=${OF_THE_IMAGE}\nADD fetch", nil},
	{"final-run", all, "COPY --from=stagex/core-libs . /", "COPY --from=stagex/core-libs . /\nRUN --network=none x", []string{all + ":4: warning: RUN in a stage that is published"}},
	{"final-run", tccA, "FROM scratch AS package", "FROM build AS package", []string{tccA + ":6: warning: RUN in a stage that is published"}},
	{"five-stages", hello, "install\n\nFROM scratch AS package\nENV GREETING=hello\nCOPY --from=install", "install\n\nFROM scratch AS package\nCOPY --from=stagex/core-libs . .\nCOPY --from=install", nil},
	{"five-stages", hello, installStages, strings.NewReplacer("=install", "=inst", "AS install", "AS inst").Replace(installStages), []string{hello + ": warning: no stage install"}},
	{"five-stages", hello, "FROM fetch AS build", "FROM scratch AS package-x\nFROM fetch AS build", nil},
	{"five-stages", hello, "FROM scratch AS package", "FROM scratch AS pack", []string{hello + ": warning: no stage package"}},
	{"build-user", hello, "USER 1000:1000", "USER 0", []string{hello + ":11: warning: stage build runs as root"}},
	{"build-user", hello, "USER 1000:1000", "USER root:x", []string{hello + ":11: warning: stage build runs as root"}},
	{"build-user", hello, "USER 1000:1000\n", "", []string{hello + ":10: warning: stage build runs as root"}},
	{"parallelism", hello, "\tmake\n", "\tmake -j$(nproc)\n", []string{hello + ":11: note: asks for the number of processors"}},
	{"unneeded-dependency", all, "FROM scratch AS package", "FROM stagex/core-tcc AS unused\nFROM scratch AS package", []string{all + ":1: note: core-tcc is needed by no image"}},
	{"dependency-scan", all, "COPY --from=stagex/core-libs", "COPY --chmod=755 --from=stagex/core-libs", []string{all + ":3: warning: targets.py does not find core-libs"}},
	{"dependency-scan", all, "COPY --from=stagex/core-libs . /", "COPY <<END /x\nFROM stagex/core-libs\nEND\n", []string{all + ": warning: targets.py takes core-libs for a dependency"}},
}

func TestLint(t *testing.T) {
	if findings := tree.Lint(small(t, nil).load(t)); len(findings) > 0 {
		t.Fatalf("the small tree breaks rules: %v", findings)
	}
	for _, test := range lintCases {
		name := strings.Join(append([]string{test.rule}, test.want...), " ")
		t.Run(name, func(t *testing.T) {
			f := small(t, nil)
			if test.old == "" {
				f[test.file] = test.new
			} else {
				f.edit(t, test.file, test.old, test.new)
			}
			var got []string
			rules := make(map[string]bool)
			for _, finding := range tree.Lint(f.load(t)) {
				got = append(got, strings.TrimSuffix(finding.String(), " ("+finding.Rule+")"))
				rules[finding.Rule] = true
				if finding.Fix == "" || finding.Package == "" {
					t.Errorf("a finding without a fix or package: %+v", finding)
				}
			}
			equal(t, "findings", got, test.want)
			if len(test.want) > 0 && !rules[test.rule] {
				t.Errorf("not found by %s but %v", test.rule, rules)
			}
		})
	}
}

func TestEachRuleIsTested(t *testing.T) {
	seen := make(map[string]bool)
	for _, rule := range tree.Rules() {
		if rule.What == "" || rule.Why == "" || rule.Fix == "" || seen[rule.Name] {
			t.Errorf("%s is not documented, or there twice", rule.Name)
		}
		seen[rule.Name] = true
		found := false
		for _, test := range lintCases {
			found = found || test.rule == rule.Name && len(test.want) > 0
		}
		if !found {
			t.Errorf("no test breaks %s", rule.Name)
		}
	}
}

func TestDeclaredNetwork(t *testing.T) {
	f := small(t, nil).edit(t, tccA, "--network=none", "--network=default").
		edit(t, tccATOML, "license", "network = [\"build\"]\nlicense")
	loaded := f.load(t)
	equal(t, "network", lookup(t, loaded, "bootstrap-tcc-a").Network, []string{"build"})
	if findings := tree.Lint(loaded); len(findings) > 0 {
		t.Errorf("declared network is found: %v", findings)
	}
}

func TestFiveStagesInOrder(t *testing.T) {
	f := small(t, nil).edit(t, hello, "FROM scratch AS package\nENV", "FROM scratch\nENV").
		edit(t, hello, "FROM stagex/core-tcc AS base", "FROM scratch AS package\nCOPY --from=stagex/core-tcc . .\nFROM stagex/core-tcc AS base")
	var got []string
	for _, finding := range tree.Lint(f.load(t)) {
		got = append(got, finding.String())
	}
	equal(t, "findings", got, []string{hello + ":1: warning: stage package stands before one that comes before it (five-stages)"})
}

// Seeds are found by their first bytes, or by their mode, unless they are
// declared.
func TestSeeds(t *testing.T) {
	const dir = "packages/user/hello/"
	f := small(t, files{
		dir + "elf":     "\x7fELF",
		dir + "binary*": "\xff\xfe\x01",
		dir + "script*": "#!/bin/sh\n",
		dir + "data":    "\x00",
		dir + "cut":     strings.Repeat("x", 4095) + "ü",
		dir + "fetch/x": "\x7fELF",
	})
	equal(t, "found", lookup(t, f.load(t), "user-hello").Seeds, []string{"binary", "elf"})
	f.edit(t, helloTOML, "license", "seeds = [\"elf\", \"data\"]\nlicense")
	loaded := f.load(t)
	equal(t, "declared", lookup(t, loaded, "user-hello").Seeds, []string{"data", "elf"})
	var got []string
	for _, finding := range tree.Lint(loaded) {
		got = append(got, finding.File)
	}
	equal(t, "not declared", got, []string{dir + "binary"})
}

func TestLintIsSorted(t *testing.T) {
	f := small(t, nil).edit(t, tccA, "RUN --network=none make", "RUN a\nRUN b").edit(t, hello, "--network=none make", "make")
	findings := tree.Lint(f.load(t))
	sorted := slices.IsSortedFunc(findings, func(a, b tree.Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	if !sorted || len(findings) != 3 {
		t.Errorf("not sorted: %v", findings)
	}
}

// The documentation has the table of the rules.
func TestRulesAreDocumented(t *testing.T) {
	docs, err := filepath.Glob("../../docs/builder*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range docs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), tree.RulesMarkdown()) {
			return
		}
	}
	t.Errorf("none of %v has the table of RulesMarkdown:\n%s", docs, tree.RulesMarkdown())
}
