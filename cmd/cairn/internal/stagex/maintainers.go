package stagex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Maintainers says which person each key is of.
type Maintainers map[leaf.Fingerprint]string

// ReadMaintainers reads MAINTAINERS of a tree. Without that file, it returns nil:
// then each key is a person of its own.
func ReadMaintainers(ctx context.Context, tree importer.Tree) (Maintainers, error) {
	text, err := tree.Read(ctx, "MAINTAINERS", maxText)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading MAINTAINERS: %w", err)
	}
	return ParseMaintainers(text)
}

// ParseMaintainers parses the text of MAINTAINERS, which is TOML: the keys of a
// person are the tables [keys.PERSON.NAME], whose id is the fingerprint in hex. A
// person who has none can sign nothing, and is left out.
func ParseMaintainers(text []byte) (Maintainers, error) {
	var file struct {
		Keys map[string]map[string]struct {
			ID string `toml:"id"`
		} `toml:"keys"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("parsing MAINTAINERS: %w", err)
	}
	m := make(Maintainers)
	for _, person := range slices.Sorted(maps.Keys(file.Keys)) {
		for name, key := range file.Keys[person] {
			fp := leaf.Fingerprint("openpgp:" + strings.ToLower(strings.ReplaceAll(key.ID, " ", "")))
			if !fp.Valid() {
				return nil, fmt.Errorf("parsing MAINTAINERS: the id of keys.%s.%s is %.80q, want a fingerprint of 40 or 64 hex digits", person, name, key.ID)
			}
			if other, taken := m[fp]; taken && other != person {
				return nil, fmt.Errorf("parsing MAINTAINERS: key %s is both %s's and %s's", fp, other, person)
			}
			m[fp] = person
		}
	}
	if len(m) == 0 {
		return nil, errors.New("parsing MAINTAINERS: it has no keys")
	}
	return m, nil
}

// Person returns whose key it is, and false if it is nobody's who counts.
func (m Maintainers) Person(fp leaf.Fingerprint) (string, bool) {
	if m == nil {
		return string(fp), true
	}
	person, ok := m[fp]
	return person, ok
}

// Known returns the persons whose keys are among these, sorted, each once.
func (m Maintainers) Known(keys []leaf.Fingerprint) []string {
	persons := []string{}
	for _, fp := range keys {
		if p, ok := m.Person(fp); ok && !slices.Contains(persons, p) {
			persons = append(persons, p)
		}
	}
	slices.Sort(persons)
	return persons
}
