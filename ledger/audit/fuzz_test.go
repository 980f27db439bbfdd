package audit

import (
	"bytes"
	"testing"
)

// A state has one encoding, and nothing panics.
func FuzzParseState(f *testing.F) {
	s := &state{Schema: stateSchema, Origin: "log.example", Note: "note", Size: 300, Aligned: [][]byte{make([]byte, 32)}, Keys: []stateKey{}, Endorsed: []stateEndorsed{}}
	text, err := s.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(bytes.Replace(text, []byte("300"), []byte("18446744073709551615"), 1))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			return
		}
		if again, err := s.marshal(); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is written as %q, %v", text, again, err)
		}
	})
}
