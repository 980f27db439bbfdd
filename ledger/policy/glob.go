package policy

import (
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// glob is a pattern of package URLs. Its one wildcard is *, which stands for any
// run of characters, also of none, and with slashes in it.
type glob struct {
	text  string
	parts []string // between the stars
	// qualified says that the pattern has a ?, and so is matched against
	// look-up names, and else against names without version and qualifiers.
	qualified bool
}

// parseGlob refuses what could never match a canonical package URL, as far as
// that is easily seen.
func parseGlob(s string) (glob, error) {
	g := glob{text: s, parts: strings.Split(s, "*"), qualified: strings.Contains(s, "?")}
	switch {
	case len(s) > maxGlob:
		return g, fmt.Errorf("glob of %d bytes is over the limit of %d", len(s), maxGlob)
	case printable(s) != s:
		return g, fmt.Errorf("glob %.80q has characters that are not printable", s)
	case strings.Contains(s, "**"):
		return g, fmt.Errorf("glob %.80q has two stars in a row: one stands for any characters, slashes too", s)
	case !strings.HasPrefix(s, "pkg:") && s[0] != '*':
		return g, fmt.Errorf("glob %.80q matches no package URL: begin it with pkg: or *", s)
	case !g.qualified && strings.ContainsAny(s, "@#"):
		return g, fmt.Errorf("glob %.80q matches nothing: without a ? in it, it is compared with names without version, qualifiers and subpath", s)
	case strings.Contains(s, "@sha256:") || strings.Contains(s, "@sha512:"):
		return g, fmt.Errorf("glob %.80q matches nothing: names are compared without a version that is a digest", s)
	}
	return g, nil
}

// matches reports whether the pattern matches a canonical package URL.
func (g *glob) matches(purl string) bool {
	if g.qualified {
		return g.match(lookupName(purl))
	}
	return g.match(bareName(purl))
}

func (g *glob) match(s string) bool {
	first, rest := g.parts[0], g.parts[1:]
	if len(rest) == 0 {
		return s == first
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	// The leftmost place for each part leaves the most for the others.
	last := len(rest) - 1
	for _, part := range rest[:last] {
		_, after, ok := strings.Cut(s, part)
		if !ok {
			return false
		}
		s = after
	}
	return strings.HasSuffix(s, rest[last])
}

// covers reports whether g matches all that other matches. A star of other is
// matched as a character that is in no part of g.
func (g *glob) covers(other *glob) bool {
	return g.qualified == other.qualified && g.match(other.text)
}

// bareName returns a canonical package URL without version, qualifiers and
// subpath.
func bareName(purl string) string {
	name, _ := cutQualifiers(purl)
	name, _ = cutVersion(name)
	return name
}

// lookupName returns what attest.LookupName does, for a canonical package URL:
// it without a version that is a digest.
func lookupName(purl string) string {
	name, qualifiers := cutQualifiers(purl)
	bare, version := cutVersion(name)
	if leaf.Digest(version).Valid() {
		name = bare
	}
	return name + qualifiers
}

// cutQualifiers cuts at the first ? or #. A canonical package URL has these, and
// @, only as delimiters.
func cutQualifiers(purl string) (name, rest string) {
	if i := strings.IndexAny(purl, "?#"); i >= 0 {
		return purl[:i], purl[i:]
	}
	return purl, ""
}

func cutVersion(name string) (bare, version string) {
	if i := strings.LastIndexByte(name, '@'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:]
	}
	return name, ""
}
