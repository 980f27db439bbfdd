package dashboard

import (
	"fmt"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// artifact is something that people build.
type artifact struct {
	name   string
	purl   string // with %s for the digest, if its version is one
	digest leaf.Digest
	from   []attest.ResourceDescriptor
}

func digestSet(d leaf.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

func (a *artifact) resource() attest.ResourceDescriptor {
	return attest.ResourceDescriptor{Name: a.name, URI: a.purl, Digest: digestSet(a.digest)}
}

// lookup is the name that /p/ finds it by.
func (a *artifact) lookup(t testing.TB) string {
	t.Helper()
	name, err := attest.LookupName(a.purl)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// image is a package of an OCI tree, whose digest follows from its name.
func image(name string, from ...attest.ResourceDescriptor) *artifact {
	d := leaf.SHA256([]byte("image " + name))
	return &artifact{name: name, digest: d, from: from, purl: fmt.Sprintf(
		"pkg:oci/%s@%s?arch=amd64&repository_url=docker.io%%2Fstagex%%2F%s", name, d, name)}
}

// material is what something else was built from.
func (a *artifact) material(role string) attest.ResourceDescriptor {
	r := a.resource()
	r.Annotations = map[string]any{"role": role}
	return r
}

func source(name string) attest.ResourceDescriptor {
	return attest.ResourceDescriptor{
		Name: name, URI: "https://mirror.example/" + name, Digest: digestSet(leaf.SHA256([]byte(name))),
		Annotations: map[string]any{"role": attest.RoleSource},
	}
}

func (p *person) definition(a *artifact) attest.BuildDefinition {
	return attest.BuildDefinition{
		BuildType: attest.BuildTypeStageX, ResolvedDependencies: a.from,
		InternalParameters: map[string]any{"environment": p.environment},
	}
}

func (p *person) builder() attest.Builder {
	return attest.Builder{ID: "https://" + p.name + ".example/worker", Operator: p.operator}
}

// built is a person's claim to have built an artifact.
func (p *person) built(t testing.TB, a *artifact) []byte {
	t.Helper()
	return p.sign(t, a, attest.PredicateProvenance, &attest.Provenance{
		BuildDefinition: p.definition(a), RunDetails: attest.RunDetails{Builder: p.builder()},
	})
}

// got is a person's claim about a reproduction of an artifact.
func (p *person) got(t testing.TB, a *artifact, result leaf.Result, outputs ...leaf.Digest) []byte {
	t.Helper()
	definition := p.definition(a)
	r := &attest.Reproduction{
		Result: result, Obtained: attest.Built, BuildDefinition: &definition,
		Rebuilder: p.builder(), Environment: p.environment,
	}
	if result == leaf.Identical {
		outputs = []leaf.Digest{a.digest}
	}
	for _, d := range outputs {
		r.Outputs = append(r.Outputs, attest.ResourceDescriptor{Name: a.name, Digest: digestSet(d)})
	}
	return p.sign(t, a, attest.PredicateReproduction, r)
}

// fetched is a person's claim to have the artifact from elsewhere.
func (p *person) fetched(t testing.TB, a *artifact) []byte {
	t.Helper()
	return p.sign(t, a, attest.PredicateReproduction, &attest.Reproduction{
		Result: leaf.Identical, Obtained: attest.Substituted, Rebuilder: p.builder(),
		Outputs: []attest.ResourceDescriptor{{Name: a.name, Digest: digestSet(a.digest)}},
	})
}

func (p *person) sign(t testing.TB, a *artifact, predicateType string, predicate any) []byte {
	t.Helper()
	st, err := attest.NewStatement(predicateType, predicate, a.resource())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.signer.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
