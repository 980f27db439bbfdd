package web

import "github.com/cairnlog/cairn/ledger/leaf"

// outcomeMark is how a single claim looks: what one key says, which is no verdict.
func outcomeMark(claim, result string) mark {
	switch leaf.Result(result) {
	case leaf.Identical:
		return mark{"✓", "identical", "reproduced"}
	case leaf.Equivalent:
		return mark{"✓", "equivalent", "reproduced"}
	case leaf.Different:
		return mark{"✗", "different", "differs"}
	case leaf.BuildFailed:
		return mark{"!", "build failed", "failed"}
	case leaf.Inconclusive:
		return mark{"?", "inconclusive", "unproven"}
	}
	if leaf.Claim(claim) == leaf.ClaimBuild {
		return mark{"○", "built", "unproven"}
	}
	return mark{"–", "no result", "untried"}
}
