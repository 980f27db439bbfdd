package attest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

const ossRebuild = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",` +
	`"subject":[{"name":"rebuild/absl_py-2.0.0-py3-none-any.whl","digest":{"sha256":"` + hexA + `"}}],` +
	`"predicate":{"buildDefinition":{"buildType":"https://docs.oss-rebuild.dev/builds/Rebuild@v0.1",` +
	`"externalParameters":{"artifact":"absl_py-2.0.0-py3-none-any.whl","ecosystem":"pypi","package":"absl-py","version":"2.0.0"},` +
	`"internalParameters":{"prebuildConfig":{"bucket":"b"},"serviceSource":{"ref":"v0","repository":"https://example/r"}},` +
	`"resolvedDependencies":[{"digest":{"sha1":"37dad4d356ca9e13f1c533ad6309631b397a2b6b"},"name":"git+https://example/abseil-py"},` +
	`{"digest":{"sha256":"` + hexB + `"},"name":"docker.io/library/alpine:3.21"},{"name":"build.fix.json","content":"e30="}]},` +
	`"runDetails":{"builder":{"id":"https://docs.oss-rebuild.dev/hosts/Google"},"metadata":{"invocationId":"i"},` +
	`"byproducts":[{"name":"build.json","content":"e30="},{"name":"Dockerfile","content":""},{"name":"steps.json","content":""}]}}}`

// ossEquivalence is the comparison of a wheel, hexA, with one that was rebuilt.
func ossEquivalence(rebuilt string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",` +
		`"subject":[{"name":"absl_py-2.0.0-py3-none-any.whl","digest":{"sha256":"` + hexA + `"}}],` +
		`"predicate":{"buildDefinition":{"buildType":"https://docs.oss-rebuild.dev/builds/ArtifactEquivalence@v0.1",` +
		`"externalParameters":{"candidate":"rebuild/absl_py-2.0.0-py3-none-any.whl","target":"https://up.example/01/e4/absl_py-2.0.0-py3-none-any.whl"},` +
		`"resolvedDependencies":[{"digest":{"sha256":"` + rebuilt + `"},"name":"rebuild/absl_py-2.0.0-py3-none-any.whl"},` +
		`{"digest":{"sha256":"` + hexA + `"},"name":"https://up.example/01/e4/absl_py-2.0.0-py3-none-any.whl"}]},` +
		`"runDetails":{"builder":{"id":"https://docs.oss-rebuild.dev/hosts/Google"},` +
		`"byproducts":[{"name":"stabilized/absl_py-2.0.0-py3-none-any.whl","digest":{"sha256":"` + hexB + `"}}]}}}`
}

// openOSS opens a statement as the KMS key signs it, whose key id is an address.
func openOSS(t *testing.T, payload string) *attest.Attestation {
	t.Helper()
	kms := p256Signer(t, "kms")
	e := seal(t, attest.TypeStatement, payload, kms)
	e.Signatures[0].KeyID = "gcpkms://projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
	a, err := attest.Open(e.text(t), ringOf(ed25519Signer(t, "other"), kms))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOpenOSSRebuild(t *testing.T) {
	a := openOSS(t, ossRebuild)
	want := attest.Claim{
		Kind: leaf.KindAttestation, Format: attest.FormatDSSE, Claim: leaf.ClaimBuild, Result: leaf.NoResult,
		PredicateType: attest.PredicateProvenance, BuilderID: "https://docs.oss-rebuild.dev/hosts/Google",
		Subjects: []attest.Resource{{
			Name: "rebuild/absl_py-2.0.0-py3-none-any.whl", URI: "pkg:pypi/absl-py@2.0.0", Digests: map[string]string{"sha256": hexA},
		}},
		Materials: []attest.Resource{
			{Name: "git+https://example/abseil-py", Digests: map[string]string{"sha1": "37dad4d356ca9e13f1c533ad6309631b397a2b6b"}, Role: attest.RoleSource},
			{Name: "docker.io/library/alpine:3.21", Digests: map[string]string{"sha256": hexB}, Role: attest.RoleToolchain},
			{Name: "build.fix.json", Role: attest.RoleSource},
		},
	}
	if d := cmp.Diff(want, a.Claim); d != "" {
		t.Errorf("claim (-want +got):\n%s", d)
	}
	if len(a.Leaf.Names) != 1 || a.Leaf.Names[0] != leaf.NameHash("pkg:pypi/absl-py@2.0.0") {
		t.Errorf("names %s", a.Leaf.Names)
	}
}

func TestOpenOSSEquivalence(t *testing.T) {
	for rebuilt, result := range map[string]leaf.Result{hexA: leaf.Identical, hexB: leaf.Equivalent} {
		a := openOSS(t, ossEquivalence(rebuilt))
		const file = "absl_py-2.0.0-py3-none-any.whl"
		want := attest.Claim{
			Kind: leaf.KindAttestation, Format: attest.FormatDSSE, Claim: leaf.ClaimReproduction, Result: result, Obtained: attest.Built,
			PredicateType: attest.PredicateProvenance, BuilderID: "https://docs.oss-rebuild.dev/hosts/Google",
			Subjects: []attest.Resource{{Name: file, URI: "pkg:pypi/absl-py@2.0.0", Digests: map[string]string{"sha256": hexA}}},
			Outputs:  []attest.Resource{{Name: "rebuild/" + file, Digests: map[string]string{"sha256": rebuilt}}},
		}
		if d := cmp.Diff(want, a.Claim); d != "" {
			t.Errorf("claim (-want +got):\n%s", d)
		}
	}
}

func TestOpenRefusesOSSRebuild(t *testing.T) {
	s := ed25519Signer(t, "google")
	equivalent := ossEquivalence(hexB)
	for _, tt := range []struct{ name, of, old, new, message string }{
		{"another artifact", ossRebuild, `"artifact":"absl`, `"artifact":"abls`, "only subject"},
		{"no artifact", ossRebuild, `"artifact"`, `"artefact"`, "only subject"},
		{"two subjects", ossRebuild, `"subject":[`, `"subject":[{"name":"x","digest":{"sha256":"` + hexB + `"}},`, "only subject"},
		{"two subjects, the right one first", ossRebuild, hexA + `"}}],"predicate"`, hexA + `"}},{"name":"x","digest":{"sha256":"` + hexB + `"}}],"predicate"`, "only subject"},
		{"no candidate", equivalent, `"candidate"`, `"kandidat"`, "candidate"},
		{"a candidate that was not rebuilt", equivalent, `"candidate":"rebuild/`, `"candidate":"upstream/`, "candidate"},
		{"no target", equivalent, `"target"`, `"ziel"`, "target"},
		{"another subject", equivalent, `"name":"absl`, `"name":"abls`, "only subject"},
		{"a target that is not compared", equivalent, `"name":"https://up`, `"name":"https://down`, "two resolved dependencies"},
		{"a third", equivalent, `"resolvedDependencies":[`, `"resolvedDependencies":[{"name":"x","digest":{"sha256":"` + hexB + `"}},`, "two resolved dependencies"},
		{"another target than the subject", equivalent, `any.whl","digest":{"sha256":"` + hexA, `any.whl","digest":{"sha256":"` + hexB, "not its target"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(tt.of, tt.old) {
				t.Fatalf("%q is not in %s", tt.old, tt.of)
			}
			raw := seal(t, attest.TypeStatement, strings.Replace(tt.of, tt.old, tt.new, 1), s).text(t)
			refused(t, raw, ringOf(s), reason.PredicateInvalid, tt.message)
		})
	}
	twin := strings.Replace(ossRebuild, `"package":`, `"Package":"x","package":`, 1)
	refused(t, seal(t, attest.TypeStatement, twin, s).text(t), ringOf(s), reason.PayloadNotStatement, "differ only in case")
}

// FuzzOSSRebuild signs statements with arbitrary parameters.
func FuzzOSSRebuild(f *testing.F) {
	s := ed25519Signer(f, "google")
	for _, text := range []string{ossRebuild, ossEquivalence(hexA), ossEquivalence(hexB)} {
		f.Add([]byte(text))
	}
	f.Add([]byte(strings.NewReplacer("pypi", "npm", "absl-py", "@a/b").Replace(ossRebuild)))
	f.Add([]byte(strings.NewReplacer("pypi", "maven", "absl-py", "org.a:b").Replace(ossRebuild)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw, err := s.SignPayload(attest.TypeStatement, payload)
		if err != nil {
			t.Fatal(err)
		}
		a, err := attest.Open(raw, ringOf(s))
		if err != nil {
			checkRefused(t, a, err)
			return
		}
		checkOpened(t, raw, a)
	})
}
