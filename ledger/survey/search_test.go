package survey

import (
	"context"
	"database/sql/driver"
	"errors"
	"testing"
)

// TestSearchesAreBounded: few pass over names at once; who does not is not kept waiting.
func TestSearchesAreBounded(t *testing.T) {
	f := newFilled(t, 1)
	f.says(word("r0", hello, digestOf("a"), Obtained))
	for range maxSearches {
		_, done, err := f.searching(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		defer done()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Find(ctx, "hello", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("one more search: %v", err)
	}
	if _, err := f.Survey.Packages(ctx, Filter{Text: "hello"}); !errors.Is(err, context.Canceled) {
		t.Errorf("one more filter by text: %v", err)
	}
	if p, err := f.Survey.Packages(t.Context(), Filter{}); err != nil || p.Total != 1 {
		t.Errorf("a page: %+v, %v", p, err)
	}
}

// TestHolds: texts are compared in any case, and no character of them means another.
func TestHolds(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"pkg:deb/debian/Hello@1", "HELLO", true}, {"hello", "h_llo", false}, {"hello", "h%o", false}, {"h%o", "%", true}, {"hello", "hello ", false}, {"", "", true},
	} {
		if got, err := holds(nil, []driver.Value{c.name, sought(c.text)}); err != nil || got != c.want {
			t.Errorf("%q holds %q: %v, %v", c.name, c.text, got, err)
		}
	}
	if _, err := holds(nil, []driver.Value{int64(1), nil}); err == nil {
		t.Error("numbers are taken for texts")
	}
}
