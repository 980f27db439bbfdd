// Package rebuilderd answers what rebuilderd's clients ask, from a ledger's own
// verdicts: GET /api/v0/pkgs/list, under a policy that the ledger's operator names.
//
// It is a view of the table of a survey, which follows the log and judges.
//
// Invariants:
//   - A package is GOOD only if the verdict about each artifact that goes by its
//     name and version is reproduced, BAD if one of them differs or failed, and
//     else UNKWN: as long as it is not judged, and after an error, too.
//   - Who is no rebuilder of the policy changes nothing: neither what is listed
//     nor how.
//   - Nothing is answered that was judged on a checkpoint that the policy does not
//     accept now, nor while the log is not followed.
//   - A request costs one pass over the table, and few are served at once.
package rebuilderd

import (
	"errors"

	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// Service is the handler of requests.
type Service struct {
	survey   *survey.Survey
	warn     func(error)
	requests chan struct{}
}

// maxRequests is how many requests are served at once: each may be of the whole
// table.
const maxRequests = 3

// New returns a Service over a survey whose policy names rebuilders. warn is told
// which lists could not be read.
func New(s *survey.Survey, warn func(error)) (*Service, error) {
	if !s.Hears() {
		return nil, errors.New("the policy for rebuilderd's clients names no rebuilder: by it, nothing is ever reproduced")
	}
	return &Service{survey: s, warn: warn, requests: make(chan struct{}, maxRequests)}, nil
}

// status is what is told of an artifact. Of several, the least is that of the package.
type status int

const (
	bad status = iota
	unknown
	good
)

var statuses = [...]string{bad: "BAD", unknown: "UNKWN", good: "GOOD"}

// statusOf returns what rebuilderd calls a verdict. What is accepted only by an
// exception is not reproduced.
func statusOf(v verify.Verdict) status {
	switch v {
	case verify.VerdictReproduced:
		return good
	case verify.VerdictDiffers, verify.VerdictFailed:
		return bad
	}
	return unknown
}
