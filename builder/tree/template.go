package tree

import (
	"errors"
	"fmt"
	"strings"
)

// placeholders are the values of the names in braces of file and mirrors, as
// package.toml(5) lists them. A name that is missing is unknown; one that is
// empty has no value here, which is an error where it is used, but for format.
type placeholders map[string]string

// versionPlaceholders are those that fetch.py derives from a version.
func versionPlaceholders(version, format string) placeholders {
	majorMinor, _ := versionMajorMinor(version)
	return placeholders{
		"version":              version,
		"version_under":        versionUnder(version),
		"version_dash":         versionDash(version),
		"version_major":        versionMajor(version),
		"version_major_minor":  majorMinor,
		"version_strip_suffix": versionStripSuffix(version),
		"format":               format,
	}
}

func versionUnder(v string) string { return strings.ReplaceAll(v, ".", "_") }
func versionDash(v string) string  { return strings.ReplaceAll(v, ".", "-") }

func versionMajor(v string) string {
	major, _, _ := strings.Cut(v, ".")
	return major
}

// versionMajorMinor reports false for a version of one part.
func versionMajorMinor(v string) (string, bool) {
	major, rest, ok := strings.Cut(v, ".")
	if !ok {
		return "", false
	}
	minor, _, _ := strings.Cut(rest, ".")
	return major + "." + minor, true
}

func versionStripSuffix(v string) string {
	stripped, _, _ := strings.Cut(v, "-")
	return stripped
}

// expand replaces the placeholders of a template. As in Python's str.format,
// whose simplest form StageX uses, {{ and }} stand for braces.
func (p placeholders) expand(template string) (string, error) {
	var b strings.Builder
	for rest := template; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		brace := rest[i]
		rest = rest[i+1:]
		if rest != "" && rest[0] == brace {
			b.WriteByte(brace)
			rest = rest[1:]
			continue
		}
		if brace == '}' {
			return "", errors.New("a single } in it: write }} for a brace")
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", errors.New("a single { in it: write {{ for a brace")
		}
		value, known := p[name]
		if !known {
			return "", fmt.Errorf("unknown placeholder {%s}: package.toml(5) lists those there are", name)
		}
		if value == "" && name != "format" {
			return "", fmt.Errorf("no value for {%s}: neither the source nor the package has a version that gives one", name)
		}
		b.WriteString(value)
		rest = after
	}
	return b.String(), nil
}

// urlFile returns the last part of a URL's path, as StageX's tools cut it from
// a mirror whose placeholders are not yet replaced.
func urlFile(url string) string {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i]
	}
	if scheme := validScheme.FindString(url); scheme != "" {
		url = url[len(scheme):]
	}
	if host, ok := strings.CutPrefix(url, "//"); ok {
		_, url, _ = strings.Cut(host, "/")
	}
	return url[strings.LastIndexByte(url, '/')+1:]
}
