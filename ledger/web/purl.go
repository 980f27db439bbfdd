package web

import "strings"

// nameParts is a look-up name divided for people: the parts behind each other are the
// name.
type nameParts struct {
	Before string // scheme, type and namespace of a package URL
	Name   string // what people call it
	After  string // version
	Rest   string // qualifiers and subpath
}

// The most characters that are shown of the parts of a name in a list. A link leads to
// all of it.
const (
	maxNameShown = 100
	maxRestShown = 120
)

// divide divides a look-up name, as it is shown in a list. What is no package URL is all
// name.
func divide(name string) nameParts {
	rest, ok := strings.CutPrefix(name, "pkg:")
	if !ok {
		return nameParts{Name: short(maxNameShown, name)}
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		end = i
	}
	path, qualifiers := rest[:end], rest[end:]
	start := strings.LastIndexByte(path, '/') + 1
	base, version := path[start:], ""
	if i := strings.IndexByte(base, '@'); i > 0 {
		base, version = base[:i], base[i:]
	}
	return nameParts{
		Before: short(maxRestShown, "pkg:"+path[:start]), Name: short(maxNameShown, base),
		After: short(maxNameShown, version), Rest: short(maxRestShown, qualifiers),
	}
}

// called is what people call a package, for titles.
func called(name string) string {
	p := divide(name)
	return p.Name + p.After
}
