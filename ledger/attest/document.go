package attest

import (
	"bytes"
	"strings"
	"unicode/utf8"

	packageurl "github.com/package-url/packageurl-go"

	"github.com/cairnlog/cairn/ledger/reason"
)

// badDocument is the refusal of what was signed with OpenPGP.
func badDocument(format, text string, args ...any) error {
	return reason.Errorf(reason.DocumentInvalid, format+": "+text, args...)
}

// textLines splits a text into its lines, which end in LF or CRLF. It refuses
// what a reader would not see, or see otherwise: control characters other than
// tabs, and what is not UTF-8.
func textLines(format string, payload []byte) ([]string, error) {
	if !utf8.Valid(payload) {
		return nil, badDocument(format, "it is not UTF-8")
	}
	lines := strings.Split(strings.TrimSuffix(string(payload), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if j := strings.IndexFunc(line, isControl); j >= 0 {
			return nil, badDocument(format, "line %d has the control character %q", i+1, line[j:j+1])
		}
		lines[i] = line
	}
	return lines, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// firstLine returns the first line of a document, of which it looks at no more
// than is needed to tell its format.
func firstLine(payload []byte) []byte {
	line, _, _ := bytes.Cut(payload[:min(len(payload), 4096)], []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// purlOf returns the canonical form and the look-up name of a package URL.
// Qualifiers without a value are left out.
func purlOf(kind, namespace, name, version string, qualifiers map[string]string) (uri, lookup string, err error) {
	made := packageurl.NewPackageURL(kind, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "")
	p, err := parsePurl(made.ToString())
	if err != nil {
		return "", "", err
	}
	return p.ToString(), lookupName(p), nil
}
