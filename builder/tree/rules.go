package tree

import (
	"fmt"
	"strings"
)

const ruleNotAPackage = "not-a-package"

// Rules returns what Lint checks, by what is checked: the tree, package.toml,
// the Containerfile, the files.
func Rules() []Rule {
	return append(append(manifestRules(), hermeticRules()...), containerfileRules()...)
}

func manifestRules() []Rule {
	return []Rule{
		{ruleNotAPackage, SeverityError, "a directory of packages/<stage> without package.toml or Containerfile",
			"StageX's tools pass over it without a word", "add the missing file, or remove the directory", func(*linter) {}},
		{"metadata", SeverityWarning, "a package without description or license",
			"package.toml(5) requires both", "add the key to [package]", (*linter).metadata},
		{"unknown-key", SeverityWarning, "a key that neither StageX's tools nor Cairn read",
			"a misspelt key is a setting that nobody follows", "correct or remove it", (*linter).unknownKeys},
		{"source-hash", SeverityError, "a hash that locks nothing: that of no bytes, or one digit repeated",
			"it stands for a source that nobody has looked at", "take the SHA-256 of the file", (*linter).sourceHash},
		{"mirror-https", SeverityWarning, "a mirror that is asked over http or ftp",
			"the hash keeps the bytes right, but not who learns what is built, or whether it can be had",
			"use https", (*linter).mirrorHTTPS},
		{"mirror-name", SeverityWarning, "mirrors that end in different names, and no file",
			"fetch.py then names the file after the mirror that served it", "give file", (*linter).mirrorName},
		{"source-arg", SeverityError, "a source whose build argument names another file than is fetched",
			"targets.py puts the package's version into {version_dash} and {version_under} of file, fetch.py the source's",
			"use {version}", (*linter).sourceArg},
		{"unused-source", SeverityWarning, "a source that no instruction uses",
			"it is fetched and attested as a material of what it did not make", "remove it", (*linter).unusedSource},
		{"undeclared-binary", SeverityWarning, "a file in the package's directory that is not text, and not in seeds",
			"nobody can review it, and everything built with it trusts it", "build it from source, or list it in seeds",
			(*linter).undeclaredBinary},
	}
}

func hermeticRules() []Rule {
	return []Rule{
		{"pinned-base", SeverityError, "an image from outside the tree without @sha256:",
			"what a tag names changes", "use a package of the tree, or add the digest", (*linter).pinnedBase},
		{"foreign-base", SeverityNote, "an image from outside the tree, by digest",
			"its ancestry ends there: it is a seed", "use a package of the tree", (*linter).foreignBase},
		{"syntax-directive", SeverityError, "a # syntax= directive",
			"BuildKit pulls the image it names, and lets it read the Containerfile", "remove the line", (*linter).syntaxDirective},
		{"remote-add", SeverityError, "ADD of a URL or of a Git repository",
			"it is fetched while building, past package.toml and its hashes", "make it a source", (*linter).remoteAdd},
		{"network-undeclared", SeverityError, "RUN --network=default or host in a stage that package.toml does not declare",
			"what a step fetches is neither hashed nor kept", "make what it fetches a source, or list the stage in network",
			(*linter).networkUndeclared},
		{"network-unsaid", SeverityWarning, "RUN without --network=none",
			"docker build gives it the network; Cairn's engines do not", "add --network=none", (*linter).networkUnsaid},
		{"insecure-run", SeverityError, "RUN --security=insecure, or RUN --device=",
			"the step can reach the machine it runs on", "remove the flag", (*linter).insecureRun},
		{"run-mount", SeverityWarning, "RUN with a mount of type cache, secret or ssh",
			"its result depends on what only one machine has", "copy what is needed from a stage or package", (*linter).runMount},
	}
}

func containerfileRules() []Rule {
	return []Rule{
		{"bad-variable", SeverityError, "a variable that BuildKit cannot replace",
			"the build fails there, and the other rules cannot see what the Containerfile does", "correct the expression",
			(*linter).badVariable},
		{"missing-file", SeverityError, "COPY or ADD of a file that neither a source nor the directory has",
			"the build fails there", "correct the name, or add the source", (*linter).missingFile},
		{"undefined-arg", SeverityWarning, "ARG without a value that anything gives, or a variable that nothing defines",
			"it is empty in the build", "give a default, or correct the name", (*linter).undefinedArg},
		{"final-run", SeverityWarning, "RUN in the stages that are published",
			"whatever the step touches is in the image: caches, logs, mount points", "copy the results to a stage FROM scratch",
			(*linter).finalRun},
		{"five-stages", SeverityWarning, "a Containerfile of the older layout, which has a stage fetch, without base, fetch, build, install and package in this order",
			"each stage has one duty, so that a reader finds it", "name and order the stages so", (*linter).fiveStages},
		{"build-user", SeverityWarning, "a Containerfile of the older layout whose stage build runs as root",
			"a build that can write everywhere depends on more than it says", "USER 1000:1000", (*linter).buildUser},
		{"parallelism", SeverityNote, "a step that asks for the number of processors",
			"some builds depend on it: look here first when two differ", "-j1 where it matters", (*linter).parallelism},
		{"unneeded-dependency", SeverityNote, "a package of the tree that only unused stages name",
			"it is built before this one for nothing", "remove the stage", (*linter).unneededDependency},
		{"dependency-scan", SeverityWarning, "a dependency that StageX's targets.py sees and BuildKit does not, or the other way round",
			"targets.py looks at the beginnings of lines only", "write FROM stagex/NAME, or COPY --from=stagex/NAME first among the flags",
			(*linter).dependencyScan},
	}
}

// RulesMarkdown returns the table of the rules for the documentation.
func RulesMarkdown() string {
	var b strings.Builder
	b.WriteString("| rule | severity | what is found | why | what to do |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range Rules() {
		cell := strings.NewReplacer("<", "&lt;", ">", "&gt;", "|", "\\|")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Name, r.Severity, cell.Replace(r.What), cell.Replace(r.Why), cell.Replace(r.Fix))
	}
	return b.String()
}
