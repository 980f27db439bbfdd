package attest

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// compareLine is an assignment as a shell reads it, without expansions.
var compareLine = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"$\\\x60]*)"|([A-Za-z0-9_.+:@%/-]*))$`)

var beginsAsCompare = regexp.MustCompile(`^(version|ok)=`)

// compareCounts are the members that count files, which <member>Files names.
var compareCounts = []string{"ok", "ko", "ignored", "missing"}

func isBuildcompare(payload []byte) bool { return beginsAsCompare.Match(firstLine(payload)) }

// readBuildcompare reads a .buildcompare of Reproducible Central: which files of a
// release a rebuild gave. It has no digest of any of them, so it is no
// reproduction: its subject is the document itself, under the name of the first
// module.
func (a *Attestation) readBuildcompare(payload []byte) error {
	values, err := compareValues(payload)
	if err != nil {
		return err
	}
	files := make(map[string][]string)
	for _, key := range compareCounts {
		files[key] = strings.Fields(values[key+"Files"])
	}
	for _, key := range compareCounts {
		if err := checkCount(key, values, files); err != nil {
			return err
		}
	}
	subject := Resource{Name: ".buildcompare", Digests: map[string]string{"sha256": strings.TrimPrefix(string(leaf.SHA256(payload)), "sha256:")}}
	a.names = nil
	if module := firstModule(append(files["ok"], files["ko"]...), values["version"]); module != "" {
		uri, lookup, err := purlOf("generic", "", module, values["version"], nil)
		if err != nil {
			return err
		}
		subject.Name, subject.URI, a.names = module+"-"+values["version"]+".buildcompare", uri, []string{lookup}
	}
	a.Claim = Claim{
		Kind:     leaf.KindAttestation,
		Claim:    leaf.ClaimOther,
		Result:   leaf.NoResult,
		Subjects: []Resource{subject},
	}
	return nil
}

// checkCount checks that a member counts the files that another names. ok and ko
// must be there.
func checkCount(key string, values map[string]string, files map[string][]string) error {
	text, ok := values[key]
	if !ok && key != "ok" && key != "ko" && len(files[key]) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return badDocument(FormatBuildcompare, "%s is %.40q, want a number", key, text)
	}
	named := len(files[key])
	if int(n) == named || key == "ko" && int(n) == named+len(files["missing"]) {
		return nil // what is missing counts as ko too
	}
	return badDocument(FormatBuildcompare, "%s is %d, but %sFiles names %d", key, n, key, named)
}

// compareValues reads the assignments. Comments have the commands by which to
// look at differences.
func compareValues(payload []byte) (map[string]string, error) {
	lines, err := textLines(FormatBuildcompare, payload)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	for i, line := range lines {
		if line == "" || line[0] == '#' {
			continue
		}
		m := compareLine.FindStringSubmatch(line)
		if m == nil {
			return nil, badDocument(FormatBuildcompare, "line %d is neither a comment nor <name>=<value>: %.100q", i+1, line)
		}
		if _, ok := values[m[1]]; ok {
			return nil, badDocument(FormatBuildcompare, "line %d has %s a second time", i+1, m[1])
		}
		values[m[1]] = m[2] + m[3]
	}
	return values, nil
}

// firstModule returns the name of the first module whose description is among the
// files, or nothing. Its group is not in them.
func firstModule(files []string, version string) string {
	for _, f := range files {
		if module, ok := strings.CutSuffix(f, "-"+version+".pom"); ok && version != "" && module != "" {
			return module
		}
	}
	return ""
}
