package survey

import (
	"testing"

	"github.com/cairnlog/cairn/ledger/verify"
)

// TestFromSeeds: an ancestry is from seeds only if nothing in it is a gap.
func TestFromSeeds(t *testing.T) {
	pinned := &verify.Node{Pinned: true}
	built := func(materials ...*verify.Node) *verify.Node { return &verify.Node{Materials: materials} }
	good := verify.Counts{Seeds: 1}
	for name, test := range map[string]struct {
		counts verify.Counts
		root   *verify.Node
		want   bool
	}{
		"sources and a seed":      {good, built(built(pinned), pinned), true},
		"what stands elsewhere":   {good, built(built(pinned), &verify.Node{Seen: true}), true},
		"nothing is stated":       {good, built(), false},
		"nothing of one material": {good, built(pinned, built(pinned), built(built())), false},
		"no seed":                 {verify.Counts{}, built(pinned), false},
		"a seed of nobody":        {verify.Counts{Seeds: 1, Refused: 1}, built(pinned), false},
	} {
		if got := fromSeeds(&verify.Report{Counts: test.counts, Ancestry: test.root}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
