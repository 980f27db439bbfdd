package compare

import "testing"

// As floats these would be the same.
func TestNumbers(t *testing.T) {
	fields, err := diffJSON([]byte(`[9007199254740992]`), []byte(`[9007199254740993]`))
	if err != nil || len(fields) != 1 {
		t.Errorf("got %v, %v; want one field", fields, err)
	}
}

func FuzzDiffJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.0,{"b":null}],"c/~\u202e":"\ud83d\ude00"}`), []byte(`{"a":[1,2],"d":true}`))
	f.Fuzz(func(t *testing.T, want, got []byte) {
		fields, err := diffJSON(want, got)
		if err != nil {
			return
		}
		for _, field := range fields {
			for _, s := range []string{field.Path, field.Want, field.Got} {
				for i := range len(s) {
					if s[i] < ' ' || s[i] > '~' {
						t.Errorf("%q is not graphic", s)
					}
				}
			}
		}
		if same, err := diffJSON(want, want); err != nil || len(same) > 0 {
			t.Errorf("a document differs from itself: %v, %v", same, err)
		}
	})
}

func FuzzEscapeLine(f *testing.F) {
	f.Add([]byte("a\\\x1b\u202e\xff é"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s := escapeLine(line)
		for i := range len(s) {
			if s[i] < ' ' || s[i] > '~' {
				t.Errorf("%q is not graphic", s)
			}
		}
		isText(line)
	})
}
