package queue

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// The kinds of jobs. They are the words of the claims that complete them.
const (
	KindBuild        = string(leaf.ClaimBuild)
	KindReproduction = string(leaf.ClaimReproduction)
)

const (
	maxName     = 128 // bytes
	maxURI      = 1024
	maxMessage  = 4 << 10
	maxList     = 32
	maxTrees    = 64
	maxPriority = 1000
	maxWait     = 20 // seconds
)

// A form is what a field must look like.
type form struct {
	what string
	ok   func(string) bool
}

func invalid(field, value, want string) error {
	return reason.Errorf(reason.ArgumentInvalid, "%s %.80q is not %s", field, value, want)
}

func (f form) check(field, value string) error {
	if f.ok(value) {
		return nil
	}
	return invalid(field, value, f.what)
}

// optional is f, or nothing.
func (f form) optional(field, value string) error {
	if value == "" {
		return nil
	}
	return f.check(field, value)
}

// each checks a list of at least and at most so many.
func (f form) each(field string, values []string, least, most int) error {
	if n := len(values); n < least || n > most {
		return reason.Errorf(reason.ArgumentInvalid, "%s has %d members, not between %d and %d", field, n, least, most)
	}
	for _, v := range values {
		if err := f.check(field, v); err != nil {
			return err
		}
	}
	return nil
}

func matching(what, pattern string) form {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return form{what, func(s string) bool { return len(s) <= maxName && re.MatchString(s) }}
}

func printable(what string, most int) form {
	return form{what, func(s string) bool {
		return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
	}}
}

// forms are those of all fields.
type forms struct{ pkg, platform, engine, digest, uri, name, key, kind, state, failure form }

func newForms() *forms {
	return &forms{
		pkg:      matching("a package's name", `[A-Za-z0-9][A-Za-z0-9._+/-]*`),
		platform: matching("a platform, such as linux/amd64", `[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?`),
		engine:   matching("an engine's name, such as buildkit", `[a-z][a-z0-9-]*`),
		digest: form{"sha256:<64 hex>", func(s string) bool {
			return strings.HasPrefix(s, "sha256:") && leaf.Digest(s).Valid()
		}},
		uri:     printable("a printable text of at most 1024 bytes", maxURI),
		name:    printable("a printable text of at most 128 bytes", maxName),
		key:     form{"a key's fingerprint", func(s string) bool { return leaf.Fingerprint(s).Valid() }},
		kind:    form{"build or reproduction", func(s string) bool { return s == KindBuild || s == KindReproduction }},
		state:   form{"one of " + strings.Join(states(), ", "), knownState},
		failure: matching("a word of capitals, at most 64 bytes", `[A-Z][A-Z0-9_]{0,63}`),
	}
}

func first(errs ...error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

func between(field string, n, least, most int64) error {
	if n < least || n > most {
		return reason.Errorf(reason.ArgumentInvalid, "%s %d is not between %d and %d", field, n, least, most)
	}
	return nil
}

func (f *forms) checkQueue(req *cairnv1.QueueBuildRequest) error {
	s := req.GetSpec()
	if s == nil {
		return reason.Errorf(reason.ArgumentInvalid, "the request has no spec")
	}
	err := first(
		f.kind.check("kind", s.GetKind()),
		f.uri.optional("tree_uri", s.GetTreeUri()),
		f.digest.check("tree_digest", s.GetTreeDigest()),
		f.pkg.check("package", s.GetPackage()),
		f.platform.optional("platform", s.GetPlatform()),
		f.engine.optional("engine", s.GetEngine()),
		between("priority", int64(s.GetPriority()), -maxPriority, maxPriority),
		f.digest.optional("expected_digest", s.GetExpectedDigest()),
		f.digest.optional("claim_envelope", s.GetClaimEnvelope()),
		between("claim_index", s.GetClaimIndex(), 0, 1<<62),
		f.uri.each("excluded_operators", s.GetExcludedOperators(), 0, maxList),
		f.key.each("excluded_keys", s.GetExcludedKeys(), 0, maxList),
		f.name.optional("request_id", req.GetRequestId()),
		between("max_attempts", int64(req.GetMaxAttempts()), 0, maxAttempts),
	)
	if err == nil && s.GetKind() == KindReproduction && s.GetExpectedDigest() == "" {
		return reason.Errorf(reason.ArgumentInvalid, "a reproduction needs an expected_digest")
	}
	return err
}

// checkLease asks for operator and key: a worker that keeps them to itself
// could be given its own build to reproduce.
func (f *forms) checkLease(req *cairnv1.LeaseBuildRequest) error {
	return first(
		f.name.check("worker", req.GetWorker()),
		f.uri.check("operator", req.GetOperator()),
		f.key.check("key", req.GetKey()),
		f.platform.each("platforms", req.GetPlatforms(), 1, maxList),
		f.engine.each("engines", req.GetEngines(), 1, maxList),
		f.digest.each("trees", req.GetTrees(), 0, maxTrees),
		between("wait_seconds", int64(req.GetWaitSeconds()), 0, maxWait),
	)
}

func checkPiece(offset int64, data []byte) error {
	if len(data) > MaxPiece {
		return reason.Errorf(reason.ArgumentInvalid, "a piece of %d bytes is over the limit of %d", len(data), MaxPiece)
	}
	return between("offset", offset, 0, 1<<62)
}

func (f *forms) checkComplete(req *cairnv1.CompleteBuildRequest) error {
	switch {
	case req.GetResult() != nil:
		return f.digest.check("envelope", req.GetResult().GetEnvelope())
	case req.GetFailure() != nil:
		return f.failure.check("failure kind", req.GetFailure().GetKind())
	case req.GetReturned():
		return nil
	}
	return reason.Errorf(reason.ArgumentInvalid, "the request has no outcome: give result, failure or returned")
}
