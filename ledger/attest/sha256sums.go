package attest

import (
	"io/fs"
	"regexp"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// sumLine is a line of sha256sum: text and binary mode are the same.
var sumLine = regexp.MustCompile(`^([0-9a-f]{64}) [ *](.+)$`)

var beginsAsSum = regexp.MustCompile(`^\\?[0-9a-fA-F]{64}[ \t]`)

func isSHA256Sums(payload []byte) bool { return beginsAsSum.Match(firstLine(payload)) }

// readSHA256Sums reads a list of checksums as sha256sum writes it. It names files
// and not how they were made: people sign such lists of what they built, and of
// what they publish. So it is a review and no build. A name may be there more than
// once, as in some lists of Bitcoin's: what is signed is the digests.
func (a *Attestation) readSHA256Sums(payload []byte) error {
	lines, err := textLines(FormatSHA256Sums, payload)
	if err != nil {
		return err
	}
	if n := len(lines); n > MaxSubjects {
		return reason.Errorf(reason.TooManySubjects, "%s: list of %d files is over the limit of %d", FormatSHA256Sums, n, MaxSubjects)
	}
	a.names = nil
	a.Claim = Claim{Kind: leaf.KindAttestation, Claim: leaf.ClaimReview, Result: leaf.NoResult}
	for i, line := range lines {
		if strings.HasPrefix(line, `\`) {
			return badDocument(FormatSHA256Sums, "line %d has an escaped file name, with a backslash or a line break in it", i+1)
		}
		m := sumLine.FindStringSubmatch(line)
		if m == nil {
			return badDocument(FormatSHA256Sums, "line %d is not <sha256 in lower-case hex>, two spaces, <file>: %.100q", i+1, line)
		}
		file := strings.TrimPrefix(m[2], "./")
		r := Resource{Name: file, Digests: map[string]string{"sha256": m[1]}}
		if uri, lookup, ok := filePurl(file); ok {
			r.URI = uri
			a.names = append(a.names, lookup)
		}
		a.Claim.Subjects = append(a.Claim.Subjects, r)
	}
	return nil
}

// filePurl returns the package URL of a file that is known by its name alone; not
// ok if that is no path below a directory.
func filePurl(file string) (uri, lookup string, ok bool) {
	if !fs.ValidPath(file) || file == "." {
		return "", "", false
	}
	dir, base := "", file
	if i := strings.LastIndexByte(file, '/'); i >= 0 {
		dir, base = file[:i], file[i+1:]
	}
	uri, lookup, err := purlOf("generic", dir, base, "", nil)
	return uri, lookup, err == nil
}
