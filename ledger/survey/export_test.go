package survey

import (
	"testing"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Distribution35000 is a table of 35,000 packages × 8 rebuilders, with the checkpoint
// and the policy that it has.
func Distribution35000(b testing.TB) (*Survey, *checkpoint.Published, *policy.Policy) {
	f := fillDistribution(b)
	published, err := f.cfg.Latest()
	if err != nil {
		b.Fatal(err)
	}
	return f.Survey, published, f.cfg.Policy
}
