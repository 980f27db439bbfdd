package attest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads JSON that no two parsers can read differently: the decoder
// refuses duplicate members and invalid UTF-8 and takes names to the letter,
// and a second spelling of an interpreted member is refused too, since others
// would take the one for the other.
func decode(b []byte, v any, opts ...json.Options) error {
	if err := json.Unmarshal(b, v, opts...); err != nil {
		return err
	}
	return refuseTwins(b)
}

// interpreted is the names of the members that are read, in lower case, each with
// a number from 1. Others,
// such as a build's parameters, are the signer's own business.
var interpreted = func() map[string]int {
	names := make(map[string]int)
	for i, n := range strings.Fields(`payloadtype payload signatures keyid sig
		_type subject predicatetype predicate name uri digest sha256 sha512 annotations role
		builddefinition buildtype resolveddependencies rundetails builder id operator
		result obtained outputs equivalence method rebuilder publickey url key reason
		externalparameters ecosystem package artifact candidate target
		internalparameters environment cpuvendor engine country version`) {
		names[n] = i + 1
	}
	return names
}()

// refuseTwins refuses objects with two members whose names differ only in case,
// if they are interpreted. b is valid JSON without duplicate members, as a
// decoder found it: that it is so is not checked again, which would cost as much
// as a signature's verification. Nothing of b leads out of its bounds all the
// same.
func refuseTwins(b []byte) error {
	var names []member // of the open objects, the outermost first
	var open []scope
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			open = append(open, scope{object: true, atName: true, first: len(names)})
		case '[':
			open = append(open, scope{first: len(names)})
		case '}', ']':
			if n := len(open); n > 0 {
				names, open = names[:open[n-1].first], open[:n-1]
			}
		case ',':
			if n := len(open); n > 0 {
				open[n-1].atName = open[n-1].object
			}
		case ':':
			if n := len(open); n > 0 {
				open[n-1].atName = false
			}
		case '"':
			end := stringEnd(b, i)
			if n := len(open); n > 0 && open[n-1].atName {
				m, err := readName(b[i:end])
				if err != nil {
					return err
				}
				if twin := m.among(names[open[n-1].first:]); twin != nil {
					return fmt.Errorf("members %.40q and %.40q differ only in case", twin.name, m.name)
				}
				if m.place > 0 {
					names = append(names, m)
				}
			}
			i = end - 1
		}
	}
	return nil
}

// scope is an open object or array: whether a name comes next, and where its
// names begin.
type scope struct {
	object, atName bool
	first          int
}

// member is the name of a member, unquoted, and its place among those that are
// interpreted; 0 if it is none of them.
type member struct {
	name  []byte
	place int
}

func (m *member) among(others []member) *member {
	for i := range others {
		if m.place > 0 && others[i].place == m.place {
			return &others[i]
		}
	}
	return nil
}

// readName reads a name with its quotes.
func readName(quoted []byte) (member, error) {
	name := bytes.Trim(quoted, `"`)
	plain := !slices.ContainsFunc(name, func(c byte) bool { return c == '\\' || c >= 0x80 || 'A' <= c && c <= 'Z' })
	if plain {
		return member{name, interpreted[string(name)]}, nil
	}
	name, err := jsontext.AppendUnquote(nil, quoted)
	return member{name, interpreted[fold(string(name))]}, err
}

// fold returns what is the same for names that differ only in case. Parsers that
// ignore case take the long s for an s, as both have one upper case.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "\u017f", "s") }

// stringEnd returns the index behind the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(b)
}
