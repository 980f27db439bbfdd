package attest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// interpreted is the names of the members that are read, in lower case. Others,
// such as a build's parameters, are the signer's own business.
var interpreted = func() map[string]bool {
	names := make(map[string]bool)
	for _, n := range strings.Fields(`payloadtype payload signatures keyid sig
		_type subject predicatetype predicate name uri digest sha256 sha512 annotations role
		builddefinition buildtype resolveddependencies rundetails builder id operator
		result obtained outputs equivalence method rebuilder publickey url key reason
		internalparameters environment cpuvendor engine country version`) {
		names[n] = true
	}
	return names
}()

// refuseTwins refuses objects with two members whose names differ only in case,
// if they are interpreted. b is valid JSON.
func refuseTwins(b []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	var objects []map[string]string // of the open objects and arrays; nil for an array
	for {
		inObject, members := d.StackIndex(d.StackDepth())
		isName := inObject == '{' && members%2 == 0
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t.Kind() {
		case '{':
			objects = append(objects, make(map[string]string))
		case '[':
			objects = append(objects, nil)
		case '}', ']':
			objects = objects[:len(objects)-1]
		case '"':
			if !isName {
				continue
			}
			seen, name := objects[len(objects)-1], t.String()
			folded := strings.ToLower(name)
			if !interpreted[folded] {
				continue
			}
			if twin, ok := seen[folded]; ok {
				return fmt.Errorf("members %.40q and %.40q differ only in case", twin, name)
			}
			seen[folded] = name
		}
	}
}
