package attest

import (
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// The build types of OSS Rebuild. Its attestations are SLSA provenance; what they
// say depends on which of these it is of.
const (
	BuildTypeOSSRebuild     = "https://docs.oss-rebuild.dev/builds/Rebuild@v0.1"
	BuildTypeOSSEquivalence = "https://docs.oss-rebuild.dev/builds/ArtifactEquivalence@v0.1"
)

// rebuiltPrefix distinguishes what was rebuilt from what is distributed.
const rebuiltPrefix = "rebuild/"

// openOSSRebuild derives the claim of Rebuild@v0.1: a build of the one subject.
func (a *Attestation) openOSSRebuild(d *BuildDefinition) error {
	file := d.parameter("artifact")
	s, err := a.soleSubject(rebuiltPrefix + file)
	if err != nil {
		return err
	}
	if err := a.name(s, purlOfPackage(d.parameter("ecosystem"), d.parameter("package"), d.parameter("version"), file)); err != nil {
		return err
	}
	for i := range d.ResolvedDependencies {
		r := &d.ResolvedDependencies[i]
		role := RoleToolchain // an image that the build ran in
		if strings.HasPrefix(r.Name, "git+") || r.Name == "build.fix.json" {
			role = RoleSource
		}
		r.Annotations = map[string]any{"role": role}
	}
	return a.setMaterials(d)
}

// openOSSEquivalence derives the claim of ArtifactEquivalence@v0.1: the subject,
// which is distributed, was reproduced. Its dependencies are the two that were
// compared, and no materials.
func (a *Attestation) openOSSEquivalence(d *BuildDefinition) error {
	candidate, target := d.parameter("candidate"), d.parameter("target")
	file, ok := strings.CutPrefix(candidate, rebuiltPrefix)
	if !ok || target == "" {
		return reason.Errorf(reason.PredicateInvalid,
			"equivalence needs externalParameters.candidate, which begins with %q, and target", rebuiltPrefix)
	}
	s, err := a.soleSubject(file)
	if err != nil {
		return err
	}
	compared, _, err := resources("resolved dependency", d.ResolvedDependencies, true)
	if err != nil {
		return err
	}
	called := func(name string) int {
		return slices.IndexFunc(compared, func(r Resource) bool { return r.Name == name })
	}
	rebuilt, upstream := called(candidate), called(target)
	if len(compared) != 2 || rebuilt < 0 || upstream < 0 {
		return reason.Errorf(reason.PredicateInvalid, "equivalence needs the candidate and the target as its two resolved dependencies")
	}
	if !sameDigest(compared[upstream], *s) {
		return reason.Errorf(reason.PredicateInvalid, "the subject of the equivalence is not its target")
	}
	if err := a.name(s, purlOfTarget(target, file)); err != nil {
		return err
	}
	a.Claim.Claim, a.Claim.Result, a.Claim.Obtained = leaf.ClaimReproduction, leaf.Equivalent, Built
	if sameDigest(compared[rebuilt], *s) {
		a.Claim.Result = leaf.Identical
	}
	a.Claim.Outputs = compared[rebuilt : rebuilt+1]
	return nil
}

// parameter returns an external parameter that is a string, or an empty one.
func (d *BuildDefinition) parameter(name string) string {
	s, _ := d.ExternalParameters[name].(string)
	return s
}

// soleSubject returns the subject, of which there must be one with a name.
func (a *Attestation) soleSubject(name string) (*Resource, error) {
	if ss := a.Claim.Subjects; len(ss) != 1 || ss[0].Name != name {
		return nil, reason.Errorf(reason.PredicateInvalid, "by its parameters, the only subject must be %.200q", name)
	}
	return &a.Claim.Subjects[0], nil
}

// name gives a subject its package URL, if there is one.
func (a *Attestation) name(s *Resource, uri string) error {
	if uri == "" {
		return nil
	}
	p, err := parsePurl(uri)
	if err != nil {
		return err
	}
	s.URI = p.ToString()
	a.names = append(a.names, lookupName(p))
	return nil
}
