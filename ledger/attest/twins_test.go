package attest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// hasTwins is refuseTwins with a whole decoder, token by token.
func hasTwins(b []byte) (bool, error) {
	d := jsontext.NewDecoder(bytes.NewReader(b))
	var objects []map[string]bool
	for {
		in, members := d.StackIndex(d.StackDepth())
		isName := in == '{' && members%2 == 0
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		switch t.Kind() {
		case '{', '[':
			objects = append(objects, make(map[string]bool))
		case '}', ']':
			objects = objects[:len(objects)-1]
		case '"':
			folded := ""
			for name := range interpreted {
				if isName && strings.EqualFold(name, t.String()) {
					folded = name
				}
			}
			if folded == "" {
				continue
			}
			if objects[len(objects)-1][folded] {
				return true, nil
			}
			objects[len(objects)-1][folded] = true
		}
	}
}

// The scan agrees with a decoder on all JSON, and panics on nothing.
func FuzzRefuseTwins(f *testing.F) {
	for _, seed := range []string{
		`{"result":1,"Result":2}`, `{"a":{"name":1},"name":2}`, `[{"NAME":"name"},{"name":",\"name\":"}]`,
		`{"\u006eame":1,"NAME":2}`, `{"name":[1,2,{"uri":3}],"URI":4,"uri":5}`, `{"\u212aey":1,"key":2}`,
		`{"re\u017fult":1,"result":2}`, `{"ſUBJECT":1,"subject":2}`,
		`{"name":"\\","Name":1}`, `{"x":"}","name":1,"y":["]"],"nAme":1}`, `{`, `"`, `]}`, `{"name`, `{"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := refuseTwins(b) // of what is no JSON too
		want, err := hasTwins(b)
		if err == nil && bytes.Count(b, nil) > 0 && (got != nil) != want {
			t.Errorf("%q: %v, want twins %v", b, got, want)
		}
	})
}
