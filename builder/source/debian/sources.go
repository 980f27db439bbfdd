package debian

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// repository is one source of apt's configuration, sources.list(5).
type repository struct {
	uri        string
	suite      string
	components []string
	// options are Signed-By, Trusted and Check-Valid-Until as they are given, the
	// values in deb822 form: whether apt trusts a repository is the machine's word.
	options [][2]string
}

// keptOptions are those that bear on trust, by their name in one-line style.
// Whatever else an administrator sets is about what to fetch, which is ours.
var keptOptions = map[string]string{
	"signed-by":         "Signed-By",
	"trusted":           "Trusted",
	"check-valid-until": "Check-Valid-Until",
}

// machineRepositories reads apt's sources below etc, which is /etc/apt.
func machineRepositories(etc string) ([]repository, error) {
	files := []string{filepath.Join(etc, "sources.list")}
	parts, err := os.ReadDir(filepath.Join(etc, "sources.list.d"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading apt's sources: %w", err)
	}
	for _, d := range parts {
		files = append(files, filepath.Join(etc, "sources.list.d", d.Name()))
	}
	var all []repository
	for _, file := range files {
		parse := parseList
		switch filepath.Ext(file) {
		case ".list":
		case ".sources":
			parse = parseDeb822
		default:
			continue
		}
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading apt's sources: %w", err)
		}
		list, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("reading apt's sources: %s: %w", file, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// parseList reads one-line style: deb [option=value …] uri suite component …
func parseList(text []byte) ([]repository, error) {
	var list []repository
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "deb" && f[0] != "deb-src" {
			continue
		}
		r := repository{}
		rest := strings.TrimSpace(line[strings.Index(line, f[0])+len(f[0]):])
		if strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				return nil, fmt.Errorf("line %d: options do not end", i+1)
			}
			rest = after
			for _, o := range strings.Fields(options) {
				key, value, _ := strings.Cut(o, "=")
				if name, ok := keptOptions[strings.ToLower(key)]; ok {
					r.options = append(r.options, [2]string{name, value})
				}
			}
		}
		f = strings.Fields(rest)
		if len(f) < 3 {
			continue // a flat repository or a disc: no suite, no components
		}
		r.uri, r.suite, r.components = f[0], f[1], f[2:]
		list = append(list, r)
	}
	return list, nil
}

// parseDeb822 reads stanzas of fields.
func parseDeb822(text []byte) ([]repository, error) {
	var list []repository
	for _, stanza := range stanzas(text) {
		if strings.EqualFold(stanza["enabled"], "no") || stanza["types"] == "" {
			continue
		}
		var options [][2]string
		for _, key := range []string{"signed-by", "trusted", "check-valid-until"} {
			if value := stanza[key]; value != "" {
				options = append(options, [2]string{keptOptions[key], value})
			}
		}
		for _, uri := range strings.Fields(stanza["uris"]) {
			for _, suite := range strings.Fields(stanza["suites"]) {
				list = append(list, repository{uri: uri, suite: suite,
					components: strings.Fields(stanza["components"]), options: options})
			}
		}
	}
	return list, nil
}

// stanzas splits text as deb822(5) has it, which is also the form of indexes:
// fields by lower-case name. The lines of a value keep their indentation.
func stanzas(text []byte) []map[string]string {
	var list []map[string]string
	var current map[string]string
	var key string
	for sc := newLines(text); sc.Scan(); {
		line := sc.Text()
		switch {
		case strings.TrimSpace(line) == "":
			current = nil
			continue
		case line[0] == '#':
			continue
		case line[0] == ' ' || line[0] == '\t':
			if current != nil && key != "" {
				current[key] += "\n" + line
			}
			continue
		}
		if current == nil {
			current, key = make(map[string]string), ""
			list = append(list, current)
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		key = strings.ToLower(name)
		current[key] = strings.TrimSpace(value)
	}
	return list
}

// newLines scans lines of any length.
func newLines(text []byte) *bufio.Scanner {
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, len(text)+1)
	return sc
}

// follows reports what a suite is to a release: the release itself, its updates
// or its security fixes. Third parties call their suites otherwise.
func follows(suite, release string) (suffix string, ok bool) {
	if suffix, ok = strings.CutPrefix(suite, release); !ok {
		return "", false
	}
	return suffix, suffix == "" || suffix == "-updates" || suffix == "-security"
}

// aliases are names that an administrator may use for whatever release is meant.
var aliases = []string{"stable", "oldstable", "testing", "unstable"}

// forSuite picks Debian's own among the machine's repositories, and turns them
// to another release. If suite is empty they stay at the machine's.
func forSuite(machine []repository, release, suite string) []repository {
	var picked []repository
	for _, r := range machine {
		if !slices.Contains(r.components, "main") {
			continue
		}
		for _, base := range append([]string{release}, aliases...) {
			suffix, ok := follows(r.suite, base)
			if base == "" || !ok {
				continue
			}
			r.suite, r.components = cmp.Or(suite, base)+suffix, []string{"main"}
			if !slices.ContainsFunc(picked, func(p repository) bool { return p.uri == r.uri && p.suite == r.suite }) {
				picked = append(picked, r)
			}
			break
		}
	}
	return picked
}

// format writes a repository in deb822 form.
func (r *repository) format(b *bytes.Buffer, types string) {
	fmt.Fprintf(b, "Types: %s\nURIs: %s\nSuites: %s\nComponents: %s\n", types, r.uri, r.suite, strings.Join(r.components, " "))
	for _, o := range r.options {
		fmt.Fprintf(b, "%s: %s\n", o[0], o[1])
	}
	b.WriteByte('\n')
}

// machineRelease is the code name of the release that the machine runs.
func machineRelease(osRelease string) (string, error) {
	text, err := os.ReadFile(osRelease)
	if err != nil {
		return "", fmt.Errorf("finding the machine's release of Debian: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"'`), nil
		}
	}
	return "", nil // sid and testing have none
}
