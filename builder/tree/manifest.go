package tree

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/moby/buildkit/util/suggest"
)

// manifest is one package.toml as it is written: types and required keys are
// checked, nothing is resolved.
type manifest struct {
	file  string
	lines lineIndex

	name, version, versionFrom    string
	description, license, website string
	subpackages, platforms        []string
	sources                       []rawSource // in the file's order

	gate                             int
	meets, reproduce, seeds, network []string
	seedsGiven                       bool

	unknown []unknownKey
}

// rawSource is a [sources.X] table as it is written.
type rawSource struct {
	name, hash, version, gitSHA, format, file, role string
	mirrors                                         []string
}

// template returns what the name of the source's file is made from.
func (s *rawSource) template() string {
	if s.file != "" || len(s.mirrors) == 0 {
		return s.file
	}
	return urlFile(s.mirrors[0])
}

// unknownKey is a key that StageX's tools and we ignore.
type unknownKey struct {
	key  string // with its table
	line int
}

// Our own keys. One that is misspelt by a letter is an error, since a gate that
// nobody reads would be an open one.
var (
	ownPackageKeys = []string{"gate", "meets", "reproduce", "seeds", "network"}
	ownSourceKeys  = []string{"role"}
)

// parseManifest reads a package.toml. Errors are added to p; the manifest is
// nil if nothing could be read.
func parseManifest(file string, text []byte, p *problems) *manifest {
	var doc map[string]any
	meta, err := toml.Decode(string(text), &doc)
	if err != nil {
		addTOMLError(p, file, err)
		return nil
	}
	m := &manifest{file: file, lines: indexLines(string(text))}
	for _, key := range sortedKeys(doc) {
		if key != "package" && key != "sources" {
			m.unknown = append(m.unknown, unknownKey{key, m.lines.find("", key)})
		}
	}
	values, ok := doc["package"].(map[string]any)
	if !ok {
		p.add(file, 0, "package", "the table [package] is missing")
		return nil
	}
	m.readPackage(&table{m: m, p: p, name: "package", values: values})
	m.readSources(doc["sources"], meta.Keys(), p)
	return m
}

func (m *manifest) readPackage(t *table) {
	m.name = t.required("name")
	m.version = t.text("version")
	m.versionFrom = t.text("version_from")
	m.description = t.text("description")
	m.license = t.text("license")
	m.website = t.text("website")
	m.subpackages = t.list("subpackages")
	m.platforms = t.list("platforms")
	m.gate = t.count("gate", maxGate)
	m.meets = t.list("meets")
	m.reproduce = t.list("reproduce")
	m.seeds = t.list("seeds")
	_, m.seedsGiven = t.values["seeds"]
	m.network = t.list("network")
	t.rest(ownPackageKeys)
}

func (m *manifest) readSources(value any, keys []toml.Key, p *problems) {
	if value == nil {
		return
	}
	sources, ok := value.(map[string]any)
	if !ok {
		p.add(m.file, m.lines.find("", "sources"), "sources", "must be tables: [sources.NAME]")
		return
	}
	for _, name := range sourceOrder(sources, keys) {
		values, ok := sources[name].(map[string]any)
		if !ok {
			p.add(m.file, m.lines.find("sources", name), "sources."+name, "must be a table: [sources.%s]", name)
			continue
		}
		t := &table{m: m, p: p, name: "sources." + name, values: values}
		s := rawSource{
			name:    name,
			hash:    t.required("hash"),
			version: t.text("version"),
			gitSHA:  t.text("git_sha"),
			format:  t.text("format"),
			file:    t.text("file"),
			role:    t.text("role"),
			mirrors: t.list("mirrors"),
		}
		if len(s.mirrors) == 0 {
			p.add(m.file, t.line("mirrors"), t.name+".mirrors", "no mirror: list at least one URL")
		}
		t.rest(ownSourceKeys)
		m.sources = append(m.sources, s)
	}
}

// sourceOrder returns the names of the sources in the order of the file, in
// which targets.py passes their build arguments.
func sourceOrder(sources map[string]any, keys []toml.Key) []string {
	var names []string
	for _, key := range keys {
		if len(key) < 2 || key[0] != "sources" || slices.Contains(names, key[1]) {
			continue
		}
		if _, ok := sources[key[1]]; ok {
			names = append(names, key[1])
		}
	}
	for _, name := range sortedKeys(sources) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func addTOMLError(p *problems, file string, err error) {
	at := toml.ParseError{Message: err.Error()}
	errors.As(err, &at)
	p.add(file, at.Position.Line, at.LastKey, "not TOML: %s", strings.TrimSuffix(at.Message, "."))
}

// table reads one table of a manifest, and notes which keys it read.
type table struct {
	m      *manifest
	p      *problems
	name   string
	values map[string]any
	seen   []string
}

func (t *table) line(key string) int { return t.m.lines.find(t.name, key) }

func (t *table) wrong(key, want string, got any) {
	t.p.add(t.m.file, t.line(key), t.name+"."+key, "must be %s, not %s", want, kind(got))
}

func (t *table) text(key string) string {
	t.seen = append(t.seen, key)
	value, ok := t.values[key]
	if !ok {
		return ""
	}
	s, ok := value.(string)
	if !ok {
		t.wrong(key, "a string", value)
	}
	return s
}

func (t *table) required(key string) string {
	s := t.text(key)
	if _, ok := t.values[key]; !ok {
		t.p.add(t.m.file, t.line(key), t.name+"."+key, "is missing, and required")
	}
	return s
}

func (t *table) list(key string) []string {
	t.seen = append(t.seen, key)
	value, ok := t.values[key]
	if !ok {
		return nil
	}
	items, ok := value.([]any)
	if !ok {
		t.wrong(key, "an array of strings", value)
		return nil
	}
	var list []string
	for _, item := range items {
		s, ok := item.(string)
		if !ok {
			t.wrong(key, "an array of strings", item)
			return nil
		}
		list = append(list, s)
	}
	return list
}

func (t *table) count(key string, most int64) int {
	t.seen = append(t.seen, key)
	value, ok := t.values[key]
	if !ok {
		return 0
	}
	n, ok := value.(int64)
	if !ok {
		t.wrong(key, "a number", value)
		return 0
	}
	if n < 0 || n > most || n > math.MaxInt32 {
		t.p.add(t.m.file, t.line(key), t.name+"."+key, "must be 0 to %d, not %d", most, n)
		return 0
	}
	return int(n)
}

// rest notes the keys that were not read. One that is almost one of ours is an
// error.
func (t *table) rest(own []string) {
	for _, key := range sortedKeys(t.values) {
		if slices.Contains(t.seen, key) {
			continue
		}
		if meant, ok := misspelt(key, own); ok {
			t.p.add(t.m.file, t.line(key), t.name+"."+key, "unknown key: did you mean %s?", meant)
			continue
		}
		t.m.unknown = append(t.m.unknown, unknownKey{t.name + "." + key, t.line(key)})
	}
}

// misspelt returns the key of ours that another differs from by a letter or in
// case.
func misspelt(key string, own []string) (string, bool) {
	for _, k := range own {
		if strings.EqualFold(key, k) {
			return k, true
		}
	}
	meant, ok := suggest.Search(key, own, false)
	near := len(meant) - len(key)
	return meant, ok && len(key) >= 4 && near >= -1 && near <= 1
}

func kind(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case []any, []map[string]any:
		return "an array"
	case map[string]any:
		return "a table"
	default:
		return fmt.Sprintf("%T", value)
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// lineIndex says on which line a key of a TOML file stands. It is for messages
// only: it takes the file as StageX writes it, one key a line, and knows
// nothing of keys in inline tables.
type lineIndex map[[2]string]int

func indexLines(text string) lineIndex {
	index := make(lineIndex)
	table, n := "", 0
	note := func(key string) {
		if at := [2]string{table, key}; index[at] == 0 {
			index[at] = n
		}
	}
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			if name, _, ok := strings.Cut(line[1:], "]"); ok && !strings.HasPrefix(name, `"`) {
				table = strings.TrimSpace(name)
				note("")
			}
			continue
		}
		if key, _, ok := strings.Cut(line, "="); ok {
			note(strings.Trim(strings.TrimSpace(key), `"'`))
		}
	}
	return index
}

// find returns the line of a key, or else that of its table, or 0.
func (l lineIndex) find(table, key string) int {
	if n, ok := l[[2]string{table, key}]; ok {
		return n
	}
	return l[[2]string{table, ""}]
}
