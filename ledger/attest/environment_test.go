package attest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

func TestEnvironment(t *testing.T) {
	s := ed25519Signer(t, "alice")
	build := func(internal, builder string) string {
		return statement(attest.PredicateProvenance, `{"buildDefinition":{"buildType":"x","internalParameters":`+internal+`},"runDetails":{"builder":{"id":"x"`+builder+`}}}`)
	}
	rebuild := func(more, rebuilder string) string {
		return statement(attest.PredicateReproduction, `{"result":"BUILD_FAILED","rebuilder":{"id":"x"`+rebuilder+`}`+more+`}`)
	}
	const version = `,"version":{"buildkit":"v0.33.0"}`
	for _, tt := range []struct {
		name, payload string
		want          map[string]string
	}{
		{"a build that says nothing", build(`{}`, ""), nil},
		{"a build", build(`{"environment":{"os":"linux","cpuVendor":"GenuineIntel"}}`, ""), map[string]string{"os": "linux", "cpuVendor": "GenuineIntel"}},
		{"a build by an engine", build(`{"environment":{"os":"linux"}}`, version), map[string]string{"os": "linux", "engine": "buildkit"}},
		{"an engine alone", build(`{}`, version), map[string]string{"engine": "buildkit"}},
		{"an engine that the environment names", build(`{"environment":{"engine":"buildah"}}`, version), map[string]string{"engine": "buildah"}},
		{"two components are no engine", build(`{}`, `,"version":{"buildkit":"1","runc":"1"}`), nil},
		{"somebody else's environment", build(`{"environment":{"os":"linux","cpus":2,"more":{}}}`, ""), map[string]string{"os": "linux"}},
		{"an environment that is none", build(`{"environment":"linux"}`, ""), nil},
		{"a reproduction that says nothing", rebuild("", ""), nil},
		{"a reproduction", rebuild(`,"environment":{"country":"DE"}`, version), map[string]string{"country": "DE", "engine": "buildkit"}},
	} {
		a := mustOpen(t, seal(t, attest.TypeStatement, tt.payload, s).text(t), ringOf(s))
		if d := cmp.Diff(tt.want, a.Claim.Environment); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	for _, twins := range []string{`{"environment":{},"Environment":{}}`, `{"environment":{"cpuVendor":"a","CPUVendor":"b"}}`} {
		_, err := attest.Open(seal(t, attest.TypeStatement, build(twins, ""), s).text(t), ringOf(s))
		if e, ok := reason.Of(err); !ok || e.Reason != reason.PayloadNotStatement {
			t.Errorf("%s: %v", twins, err)
		}
	}
}
