package queue

import (
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func TestRefusedSpecs(t *testing.T) {
	b := newBench(t)
	for name, spoil := range map[string]func(*cairnv1.BuildSpec){
		"kind":               func(s *cairnv1.BuildSpec) { s.Kind = "review" },
		"tree_uri":           func(s *cairnv1.BuildSpec) { s.TreeUri = "https://tree.example/\x1b[2J" },
		"tree_digest":        func(s *cairnv1.BuildSpec) { s.TreeDigest = "sha256:AAAA" },
		"no tree_digest":     func(s *cairnv1.BuildSpec) { s.TreeDigest = "" },
		"package":            func(s *cairnv1.BuildSpec) { s.Package = "core go" },
		"no package":         func(s *cairnv1.BuildSpec) { s.Package = "" },
		"a long package":     func(s *cairnv1.BuildSpec) { s.Package = strings.Repeat("a", maxName+1) },
		"platform":           func(s *cairnv1.BuildSpec) { s.Platform = "amd64" },
		"engine":             func(s *cairnv1.BuildSpec) { s.Engine = "Build Kit" },
		"priority":           func(s *cairnv1.BuildSpec) { s.Priority = maxPriority + 1 },
		"expected_digest":    func(s *cairnv1.BuildSpec) { s.ExpectedDigest = "sha512:00" },
		"claim_index":        func(s *cairnv1.BuildSpec) { i := int64(-1); s.ClaimIndex = &i },
		"claim_envelope":     func(s *cairnv1.BuildSpec) { s.ClaimEnvelope = "00" },
		"excluded_operators": func(s *cairnv1.BuildSpec) { s.ExcludedOperators = make([]string, maxList+1) },
		"excluded_keys":      func(s *cairnv1.BuildSpec) { s.ExcludedKeys = []string{"alice"} },
		"a reproduction of nothing": func(s *cairnv1.BuildSpec) {
			s.Kind = KindReproduction
		},
	} {
		_, _, err := b.Add(t.Context(), request(spoil), "tester")
		wantReason(t, name, err, reason.ArgumentInvalid)
	}
	for name, req := range map[string]*cairnv1.QueueBuildRequest{
		"no spec":       {},
		"request_id":    {Spec: request().Spec, RequestId: "a\nb"},
		"max_attempts":  {Spec: request().Spec, MaxAttempts: maxAttempts + 1},
		"less than one": {Spec: request().Spec, MaxAttempts: -1},
	} {
		_, _, err := b.Add(t.Context(), req, "tester")
		wantReason(t, name, err, reason.ArgumentInvalid)
	}
}

func TestRefusedWorkers(t *testing.T) {
	b := newBench(t)
	for name, spoil := range map[string]func(*cairnv1.LeaseBuildRequest){
		"worker":       func(w *cairnv1.LeaseBuildRequest) { w.Worker = "" },
		"operator":     func(w *cairnv1.LeaseBuildRequest) { w.Operator = "" },
		"key":          func(w *cairnv1.LeaseBuildRequest) { w.Key = "" },
		"platforms":    func(w *cairnv1.LeaseBuildRequest) { w.Platforms = nil },
		"engines":      func(w *cairnv1.LeaseBuildRequest) { w.Engines = nil },
		"an engine":    func(w *cairnv1.LeaseBuildRequest) { w.Engines = []string{""} },
		"trees":        func(w *cairnv1.LeaseBuildRequest) { w.Trees = []string{"mine"} },
		"wait_seconds": func(w *cairnv1.LeaseBuildRequest) { w.WaitSeconds = maxWait + 1 },
	} {
		_, _, err := b.Lease(t.Context(), worker(spoil))
		wantReason(t, name, err, reason.ArgumentInvalid)
	}
}

func TestRefusedOutcomes(t *testing.T) {
	b, id, token := leased(t)
	bad := failure(id, token, true)
	bad.GetFailure().Kind = "it broke"
	for name, req := range map[string]*cairnv1.CompleteBuildRequest{
		"no outcome":     {Id: id, LeaseToken: token},
		"returned false": {Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Returned{}},
		"no envelope":    result(id, token, ""),
		"a failure":      bad,
	} {
		_, err := b.Complete(t.Context(), req)
		wantReason(t, name, err, reason.ArgumentInvalid)
	}
	b.wantState(id, StateLeased, 1)
}
