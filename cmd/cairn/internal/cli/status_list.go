package cli

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

// Limits of a list of artifacts.
const (
	maxListLines = 100_000
	maxListLine  = 8192 // bytes
)

// listedArtifact is one line of a list of artifacts.
type listedArtifact struct {
	line  int
	arg   string // a digest, or whatever an argument may be
	label string // what the list calls it; empty if it does not
}

// sumLine is a line of sha256sum and sha512sum, or of StageX's digests/*.txt:
// hex digits, and a space or the two characters of sha256sum before the name. A
// backslash before it says that the name has escapes.
var sumLine = regexp.MustCompile(`^\\?([0-9a-f]{64}|[0-9a-f]{128}) [ *]?([^ *].*)$`)

// parseList reads a list of artifacts: on each line an argument, or a digest and
// a name. Blank lines and those that begin with # say nothing. Names that come
// twice with the same digest are one.
func parseList(r io.Reader, from string) ([]listedArtifact, error) {
	var list []listedArtifact
	seen := make(map[listedArtifact]bool)
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxListLine)
	n := 0
	bad := func(format string, args ...any) error {
		return cmdline.Usagef("a list has a name on each line, such as sha256:<hex> or what sha256sum writes; to ask about a file itself, give its sha256:<hex>",
			"reading the list %s: line %d %w", from, n, fmt.Errorf(format, args...))
	}
	for s.Scan() {
		n++
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case !utf8.ValidString(line) || strings.ContainsRune(line, 0):
			return nil, bad("is no text")
		case n > maxListLines:
			return nil, bad("is over the limit of %d", maxListLines)
		}
		a := listedArtifact{arg: line}
		if m := sumLine.FindStringSubmatch(line); m != nil {
			a.arg, a.label = "sha256:"+m[1], m[2]
			if len(m[1]) == 128 {
				a.arg = "sha512:" + m[1]
			}
		}
		if !seen[a] {
			seen[a] = true
			a.line = n
			list = append(list, a)
		}
	}
	if err := s.Err(); err != nil {
		n++
		if err == bufio.ErrTooLong {
			return nil, bad("is over the limit of %d bytes", maxListLine)
		}
		return nil, cmdline.Unreadable("reading the list "+from, cmdline.PathCause(err))
	}
	if len(list) == 0 {
		return nil, cmdline.Usagef("a list has a name on each line", "the list %s names nothing", from)
	}
	return list, nil
}
