package cli_test

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// opened opens an envelope under Alice's key.
func (w *world) opened(raw string) *attest.Attestation {
	w.t.Helper()
	pem, err := os.ReadFile(w.path("alice.key.pub"))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := attest.ParsePublicKey(pem)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := attest.Open([]byte(raw), attest.NewKeyring(key))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

const (
	helloDigest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03" // of "hello\n"
	otherDigest = "0000000000000000000000000000000000000000000000000000000000000000"
)

func TestAttestBuild(t *testing.T) {
	w := newWorld(t)
	raw := w.build("@/hello.deb", "--operator", "https://op.example", "--build-type", "https://type.example",
		"--purl", "pkg:deb/Debian/hello@1?arch=amd64",
		"--material", "uri=https://src.example/a.tgz,digest=sha256:"+otherDigest+",role=source",
		"--material", "name=seed,digest=sha256:"+helloDigest+",role=seed")
	want := attest.Claim{
		Kind: leaf.KindAttestation, Format: attest.FormatDSSE, Claim: leaf.ClaimBuild, Result: leaf.NoResult,
		PredicateType: attest.PredicateProvenance,
		Subjects:      []attest.Resource{{Name: "hello.deb", URI: "pkg:deb/debian/hello@1?arch=amd64", Digests: map[string]string{"sha256": helloDigest}}},
		Materials: []attest.Resource{
			{URI: "https://src.example/a.tgz", Digests: map[string]string{"sha256": otherDigest}, Role: "source"},
			{Name: "seed", Digests: map[string]string{"sha256": helloDigest}, Role: "seed"},
		},
		BuilderID: "https://ci.example", Operator: "https://op.example",
	}
	if diff := cmp.Diff(want, w.opened(raw).Claim); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
}

func TestAttestBuildUsage(t *testing.T) {
	w := newWorld(t)
	for args, want := range map[string]string{
		"":                             "no artifact is named",
		"@/nowhere":                    "no such file",
		"7":                            "names no artifact",
		"--subject a":                  "--subject a:",
		"--subject name=a":             "neither a sha256 nor a sha512 digest",
		"--subject name=a,role=source": "only a material has a role",
		"@/hello.deb --material uri=x": "has no digest",
		"@/hello.deb --material x":     "--material x:",
		"--purl pkg:deb/debian/hello":  "nothing gives the digest",
		"@/hello.deb --purl pkg:":      "parsing package URL",
		"@/hello.deb --purl pkg:oci/a@sha256:" + otherDigest:              "the package URL is of sha256:000",
		"@/hello.deb @/policy --purl pkg:oci/a":                           "--purl is of one artifact",
		"@/hello.deb --subject sha256:" + otherDigest + " --purl pkg:o/a": "--purl is of one artifact",
	} {
		t.Run(args, func(t *testing.T) {
			w.t = t
			f := w.mustFail(append([]string{"attest", "build", "--key", "@/alice.key", "--builder-id", "https://ci.example"}, strings.Fields(args)...)...)
			if f.Exit != 2 || !strings.Contains(f.Error, want) {
				t.Errorf("failure %+v, want exit 2 and %q", f, want)
			}
		})
	}
	w.t = t
	if f := w.mustFail("attest", "build", "@/hello.deb", "--key", "@/alice.key"); !strings.Contains(f.Error, "no builder is named") {
		t.Errorf("failure %+v", f)
	}
}

func TestAttestReproduction(t *testing.T) {
	w := newWorld(t)
	w.write("same.deb", "hello\n")
	w.write("other.deb", "other\n")
	tests := []struct {
		name, args   string
		wantResult   leaf.Result
		wantObtained attest.Obtained
		wantOutputs  int
	}{
		{"same file", "--of @/hello.deb --output @/same.deb", leaf.Identical, attest.Built, 1},
		{"same digest", "--of sha256:" + helloDigest + " --output @/same.deb", leaf.Identical, attest.Built, 1},
		{"of a package", "--of pkg:oci/a@sha256:" + helloDigest + " --output @/same.deb", leaf.Identical, attest.Built, 1},
		{"other file", "--of @/hello.deb --output @/other.deb", leaf.Different, attest.Built, 1},
		{"fetched", "--of @/hello.deb --output @/same.deb --obtained SUBSTITUTED", leaf.Identical, attest.Substituted, 1},
		{"result stated too", "--of @/hello.deb --output @/other.deb --result DIFFERENT", leaf.Different, attest.Built, 1},
		{"equivalent", "--of @/hello.deb --output @/other.deb --result EQUIVALENT --equivalence strip-nondeterminism", leaf.Equivalent, attest.Built, 1},
		{"nobody knows", "--of @/hello.deb --output @/other.deb --result INCONCLUSIVE", leaf.Inconclusive, attest.Built, 1},
		{"failed", "--of @/hello.deb --result BUILD_FAILED", leaf.BuildFailed, attest.ObtainedUnstated, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			args := append([]string{"attest", "reproduction", "--key", "@/alice.key", "--rebuilder-id", "https://r.example", "-q"}, strings.Fields(tt.args)...)
			c := w.opened(w.must(args...)).Claim
			if c.Result != tt.wantResult || c.Obtained != tt.wantObtained || len(c.Outputs) != tt.wantOutputs || c.Subjects[0].Digests["sha256"] != helloDigest {
				t.Errorf("claim %+v", c)
			}
		})
	}
}

func TestAttestReproductionUsage(t *testing.T) {
	w := newWorld(t)
	w.write("same.deb", "hello\n")
	w.write("other.deb", "other\n")
	for args, want := range map[string]string{
		"":                                    "the distributed artifact is not named",
		"--of @/nowhere":                      "no such file",
		"--of @/hello.deb":                    "what the rebuild gave is not named",
		"--of @/hello.deb --result IDENTICAL": "what the rebuild gave is not named",
		"--of pkg:deb/debian/hello --output @/same.deb":                                "has no digest",
		"--of @/hello.deb --output @/same.deb --result DIFFERENT":                      "the result is not DIFFERENT",
		"--of @/hello.deb --output @/other.deb --result IDENTICAL":                     "the result is not IDENTICAL",
		"--of @/hello.deb --output @/other.deb --result BUILD_FAILED":                  "the result is not BUILD_FAILED",
		"--of @/hello.deb --output @/same.deb --result EQUIVALENT --equivalence x":     "the result is not EQUIVALENT",
		"--of @/hello.deb --output @/other.deb --result EQUIVALENT":                    "belong together",
		"--of @/hello.deb --output @/other.deb --equivalence x":                        "belong together",
		"--of sha256:" + helloDigest + " --output sha512:" + helloDigest + helloDigest: "digests of different kinds",
		"--of @/hello.deb --output @/same.deb --env x":                                 "--env",
		"--of @/hello.deb --output @/same.deb --result FINE":                           "want IDENTICAL, EQUIVALENT",
		"--of @/hello.deb --output @/same.deb --obtained FOUND":                        "want BUILT or SUBSTITUTED",
		"--of @/hello.deb --output @/same.deb --purl pkg:oci/a@sha256:" + otherDigest:  "the package URL is of",
	} {
		t.Run(args, func(t *testing.T) {
			w.t = t
			f := w.mustFail(append([]string{"attest", "reproduction", "--key", "@/alice.key", "--rebuilder-id", "https://r.example"}, strings.Fields(args)...)...)
			if f.Exit != 2 || !strings.Contains(f.Error, want) {
				t.Errorf("failure %+v, want exit 2 and %q", f, want)
			}
		})
	}
}

// TestReproductionBySHA512 describes a file by the algorithm that the other is
// named by.
func TestReproductionBySHA512(t *testing.T) {
	w := newWorld(t)
	const sha512 = "e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931f94aae41edda2c2b207a36e10f8bcb8d45223e54878f5b316e7ce3b6bc019629"
	c := w.opened(w.must("attest", "reproduction", "-q", "--of", "sha512:"+sha512, "--output", "@/hello.deb",
		"--key", "@/alice.key", "--rebuilder-id", "https://r.example")).Claim
	if c.Result != leaf.Identical || c.Outputs[0].Digests["sha512"] != sha512 || c.Outputs[0].Digests["sha256"] != helloDigest {
		t.Errorf("claim %+v", c)
	}
}

func TestReproductionStatesTheMachine(t *testing.T) {
	w := newWorld(t)
	raw := w.must("attest", "reproduction", "-q", "--of", "@/hello.deb", "--output", "@/hello.deb", "--env", "engine=buildkit",
		"--key", "@/alice.key", "--rebuilder-id", "https://r.example")
	var env struct{ Payload []byte }
	if err := json.Unmarshal([]byte(raw), &env); err != nil {
		t.Fatal(err)
	}
	var st struct{ Predicate attest.Reproduction }
	if err := json.Unmarshal(env.Payload, &st); err != nil {
		t.Fatal(err)
	}
	got := st.Predicate.Environment
	if got["os"] != runtime.GOOS || got["arch"] != runtime.GOARCH || got["engine"] != "buildkit" {
		t.Errorf("environment %v", got)
	}
}

func TestReproductionSaysTheResult(t *testing.T) {
	w := newWorld(t)
	r := w.run("attest", "reproduction", "--of", "@/hello.deb", "--output", "@/policy", "-O", "@/out",
		"--key", "@/alice.key", "--rebuilder-id", "https://r.example", "-o", "json")
	var v struct{ Schema, File, Envelope, Result string }
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.exit != 0 {
		t.Fatalf("exit %d, %v: %s%s", r.exit, err, r.stdout, r.stderr)
	}
	raw, err := os.ReadFile(w.path("out"))
	if err != nil {
		t.Fatal(err)
	}
	if v.Schema != "cairn/attest/v1" || v.Result != "DIFFERENT" || v.File != w.path("out") || v.Envelope != string(leaf.SHA256(raw)) {
		t.Errorf("answer %+v", v)
	}
	if r.stderr != "cairn: note: the result is DIFFERENT\n" {
		t.Errorf("stderr %q", r.stderr)
	}
}
