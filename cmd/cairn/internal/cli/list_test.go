package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestListFollowsPages lists more than fits on a page.
func TestListFollowsPages(t *testing.T) {
	w := enrolled(t)
	digest := "sha256:" + strings.Repeat("0", 64)
	for i := range 201 {
		raw := w.build("--subject", fmt.Sprintf("name=%d,digest=%s", i, digest))
		if _, _, err := w.log.Add([]byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		args      string
		wantCount int
		wantCut   bool
	}{
		{"--digest " + digest, 201, false},
		{"", 202, false},
		{"--limit 150", 150, true},
		{"--limit 100", 100, true},
		{"--limit 202", 202, false},
		{"--limit 300", 202, false},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			w.t = t
			args := append([]string{"list"}, strings.Fields(tt.args)...)
			var v struct {
				Entries      []struct{ Index int }
				Cut          bool
				CompleteUpTo int
			}
			if err := json.Unmarshal([]byte(w.must(append(args, "-o", "json")...)), &v); err != nil {
				t.Fatal(err)
			}
			if len(v.Entries) != tt.wantCount || v.Cut != tt.wantCut || v.CompleteUpTo != 202 {
				t.Errorf("%d entries, cut %t, complete up to %d; want %d, %t", len(v.Entries), v.Cut, v.CompleteUpTo, tt.wantCount, tt.wantCut)
			}
			lines := strings.Split(w.must(args...), "\n")
			want := fmt.Sprintf("%d entries, complete up to checkpoint 202", tt.wantCount)
			if tt.wantCut {
				want = fmt.Sprintf("the first %d entries, of more, up to checkpoint 202", tt.wantCount)
			}
			if got := lines[len(lines)-1]; got != want {
				t.Errorf("the last line is %q, want %q", got, want)
			}
		})
	}
}
