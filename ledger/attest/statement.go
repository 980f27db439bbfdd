package attest

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// URIs of the statements and predicates that are understood. A Statement with
// another predicate is logged with leaf.ClaimOther.
const (
	StatementV1           = "https://in-toto.io/Statement/v1"
	PredicateProvenance   = "https://slsa.dev/provenance/v1"
	PredicateReproduction = "https://github.com/cairnlog/cairn/attestation/reproduction/v0.1"
)

// BuildTypeStageX is the buildType of builds of StageX-style package trees.
const BuildTypeStageX = "https://github.com/cairnlog/cairn/buildtypes/stagex-oci/v1"

// Statement is an in-toto Statement v1.
type Statement struct {
	Type          string               `json:"_type"`
	Subject       []ResourceDescriptor `json:"subject"`
	PredicateType string               `json:"predicateType"`
	Predicate     jsontext.Value       `json:"predicate,omitempty"`
}

// ResourceDescriptor is in-toto's, of which Cairn reads what identifies a
// resource.
type ResourceDescriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// Provenance is the predicate of SLSA provenance v1.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is the inputs of a build, as in SLSA provenance v1.
type BuildDefinition struct {
	BuildType            string               `json:"buildType"`
	ExternalParameters   map[string]any       `json:"externalParameters,omitempty"`
	InternalParameters   map[string]any       `json:"internalParameters,omitempty"`
	ResolvedDependencies []ResourceDescriptor `json:"resolvedDependencies,omitempty"`
}

// RunDetails is one run of a build, as in SLSA provenance v1.
type RunDetails struct {
	Builder    Builder              `json:"builder"`
	Metadata   *Metadata            `json:"metadata,omitempty"`
	Byproducts []ResourceDescriptor `json:"byproducts,omitempty"`
}

// Builder names who ran a build or a rebuild.
type Builder struct {
	ID       string            `json:"id"`
	Operator string            `json:"operator,omitempty"`
	Version  map[string]string `json:"version,omitempty"`
}

// Metadata is when a build ran; times are RFC 3339.
type Metadata struct {
	InvocationID string `json:"invocationId,omitempty"`
	StartedOn    string `json:"startedOn,omitempty"`
	FinishedOn   string `json:"finishedOn,omitempty"`
	Attempt      int    `json:"attempt,omitempty"`
}

// Reproduction is the predicate of PredicateReproduction. The subject of its
// Statement is always the distributed artifact.
type Reproduction struct {
	Result          leaf.Result          `json:"result"`
	Obtained        Obtained             `json:"obtained,omitempty"`
	Outputs         []ResourceDescriptor `json:"outputs,omitempty"`
	Equivalence     *Equivalence         `json:"equivalence,omitempty"`
	ClaimRef        *ClaimRef            `json:"claimRef,omitempty"`
	BuildDefinition *BuildDefinition     `json:"buildDefinition,omitempty"`
	Rebuilder       Builder              `json:"rebuilder"`
	Environment     map[string]string    `json:"environment,omitempty"`
	Metadata        *Metadata            `json:"metadata,omitempty"`
	Byproducts      []ResourceDescriptor `json:"byproducts,omitempty"`
}

// Equivalence says in what sense an EQUIVALENT output equals its subject.
type Equivalence struct {
	Method     string              `json:"method"`
	Passes     []string            `json:"passes,omitempty"`
	Stabilized *ResourceDescriptor `json:"stabilized,omitempty"`
}

// ClaimRef names the claim that was reproduced.
type ClaimRef struct {
	Digest   map[string]string `json:"digest,omitempty"`
	LogEntry string            `json:"logEntry,omitempty"`
}

// Provenance returns the predicate, if it is SLSA provenance v1.
func (s *Statement) Provenance() (*Provenance, error) {
	return predicate[Provenance](s, PredicateProvenance)
}

// Reproduction returns the predicate, if it is a reproduction.
func (s *Statement) Reproduction() (*Reproduction, error) {
	return predicate[Reproduction](s, PredicateReproduction)
}

func predicate[T any](s *Statement, predicateType string) (*T, error) {
	if s.PredicateType != predicateType {
		return nil, reason.Errorf(reason.PredicateInvalid, "the predicate is %.80q, want %q", s.PredicateType, predicateType)
	}
	p := new(T)
	if err := decode(s.Predicate, p); err != nil {
		return nil, reason.Errorf(reason.PredicateInvalid, "parsing the predicate: %w", err)
	}
	return p, nil
}

// openStatement derives the claim of a Statement whose signatures verified. types are
// those that it may have.
func (a *Attestation) openStatement(payload []byte, types ...string) error {
	var s Statement
	if err := decode(payload, &s); err != nil {
		return reason.Errorf(reason.PayloadNotStatement, "parsing the payload as a Statement: %w", err)
	}
	if !slices.Contains(types, s.Type) {
		return reason.Errorf(reason.PayloadNotStatement, "the payload's _type is %.80q, want %q", s.Type, StatementV1)
	}
	if s.PredicateType == "" {
		return reason.Errorf(reason.PayloadNotStatement, "the statement has no predicateType")
	}
	if len(s.Subject) == 0 {
		return reason.Errorf(reason.SubjectMissing, "the statement has no subject")
	}
	if n := len(s.Subject); n > MaxSubjects {
		return reason.Errorf(reason.TooManySubjects, "statement with %d subjects is over the limit of %d", n, MaxSubjects)
	}
	subjects, names, err := resources("subject", s.Subject, true)
	if err != nil {
		return err
	}
	a.names, a.Statement = names, &s
	a.Claim = Claim{
		Kind:          leaf.KindAttestation,
		Claim:         leaf.ClaimOther,
		Result:        leaf.NoResult,
		PredicateType: s.PredicateType,
		Subjects:      subjects,
	}
	switch s.PredicateType {
	case PredicateProvenance:
		return a.openProvenance(s.Predicate)
	case PredicateReproduction:
		return a.openReproduction(s.Predicate)
	}
	return nil
}

func (a *Attestation) openProvenance(predicate jsontext.Value) error {
	var p Provenance
	// As a part of the payload, it has been searched for twins.
	if err := json.Unmarshal(predicate, &p); err != nil {
		return reason.Errorf(reason.PredicateInvalid, "parsing SLSA provenance: %w", err)
	}
	if p.BuildDefinition.BuildType == "" || p.RunDetails.Builder.ID == "" {
		return reason.Errorf(reason.PredicateInvalid,
			"provenance needs buildDefinition.buildType and runDetails.builder.id")
	}
	a.Claim.Claim = leaf.ClaimBuild
	a.Claim.BuilderID = p.RunDetails.Builder.ID
	a.Claim.Operator = p.RunDetails.Builder.Operator
	a.Claim.Environment = withEngine(buildEnvironment(&p.BuildDefinition), p.RunDetails.Builder)
	switch p.BuildDefinition.BuildType {
	case BuildTypeOSSRebuild:
		return a.openOSSRebuild(&p.BuildDefinition)
	case BuildTypeOSSEquivalence:
		return a.openOSSEquivalence(&p.BuildDefinition)
	}
	return a.setMaterials(&p.BuildDefinition)
}

func (a *Attestation) openReproduction(predicate jsontext.Value) error {
	var r Reproduction
	// As a part of the payload, it has been searched for twins.
	if err := json.Unmarshal(predicate, &r); err != nil {
		return reason.Errorf(reason.PredicateInvalid, "parsing reproduction: %w", err)
	}
	if n := len(r.Outputs); n > MaxOutputs {
		return reason.Errorf(reason.TooManyOutputs, "reproduction with %d outputs is over the limit of %d", n, MaxOutputs)
	}
	outputs, _, err := resources("output", r.Outputs, true)
	if err != nil {
		return err
	}
	a.Claim.Claim = leaf.ClaimReproduction
	a.Claim.Result = r.Result
	a.Claim.Obtained = r.Obtained
	a.Claim.Outputs = outputs
	a.Claim.BuilderID = r.Rebuilder.ID
	a.Claim.Operator = r.Rebuilder.Operator
	a.Claim.Environment = withEngine(r.Environment, r.Rebuilder)
	if err := checkReproduction(&r, a.Claim.Subjects, outputs); err != nil {
		return err
	}
	if r.BuildDefinition == nil {
		return nil
	}
	return a.setMaterials(r.BuildDefinition)
}

// buildEnvironment returns where a build ran. SLSA provenance has no member for
// it; Cairn's builder puts it among the internal parameters.
func buildEnvironment(d *BuildDefinition) map[string]string {
	members, _ := d.InternalParameters["environment"].(map[string]any)
	var env map[string]string
	for name, v := range members {
		text, ok := v.(string)
		if !ok {
			continue // somebody else's environment
		}
		if env == nil {
			env = make(map[string]string)
		}
		env[name] = text
	}
	return env
}

// withEngine adds the engine to an environment that does not name it, if the
// builder has one component: that is what Cairn's builder names there.
func withEngine(env map[string]string, b Builder) map[string]string {
	if _, ok := env["engine"]; ok || len(b.Version) != 1 {
		return env
	}
	with := make(map[string]string, len(env)+1)
	maps.Copy(with, env)
	for name := range b.Version {
		with["engine"] = name
	}
	return with
}

// checkReproduction refuses results that are unknown or that their own digests
// contradict. It does not judge whether a claim is worth anything: one without
// outputs or without BUILT is logged, and policy does not count it.
func checkReproduction(r *Reproduction, subjects, outputs []Resource) error {
	invalid := func(format string, args ...any) error {
		return reason.Errorf(reason.PredicateInvalid, "reproduction "+format, args...)
	}
	switch r.Obtained {
	case ObtainedUnstated, Built, Substituted:
	default:
		return invalid("has unknown obtained %.40q: want BUILT or SUBSTITUTED", r.Obtained)
	}
	if r.Rebuilder.ID == "" {
		return invalid("needs rebuilder.id")
	}
	same := func(o Resource) bool {
		return slices.ContainsFunc(subjects, func(s Resource) bool { return sameDigest(s, o) })
	}
	switch r.Result {
	case leaf.Identical:
		if i := slices.IndexFunc(outputs, func(o Resource) bool { return !same(o) }); i >= 0 {
			return invalid("says IDENTICAL, but output %v is no subject", outputs[i].Strong())
		}
	case leaf.Different:
		if len(outputs) > 0 && !slices.ContainsFunc(outputs, func(o Resource) bool { return !same(o) }) {
			return invalid("says DIFFERENT, but every output is a subject")
		}
	case leaf.Equivalent:
		if r.Equivalence == nil || r.Equivalence.Method == "" {
			return invalid("says EQUIVALENT, but names no equivalence.method")
		}
	case leaf.BuildFailed:
		if len(outputs) > 0 {
			return invalid("says BUILD_FAILED, but has outputs")
		}
	case leaf.Inconclusive:
	default:
		return invalid("has unknown result %.40q", r.Result)
	}
	return nil
}

// sameDigest reports whether all strong digests that both give are equal, and
// there is one. in-toto matches on any algorithm; equality of builds must not.
func sameDigest(a, b Resource) bool {
	common := false
	for _, alg := range []string{"sha256", "sha512"} {
		x, inA := a.Digests[alg]
		y, inB := b.Digests[alg]
		if inA && inB {
			if x != y {
				return false
			}
			common = true
		}
	}
	return common
}

func (a *Attestation) setMaterials(d *BuildDefinition) error {
	if n := len(d.ResolvedDependencies); n > MaxMaterials {
		return reason.Errorf(reason.TooManyMaterials, "statement with %d resolved dependencies is over the limit of %d", n, MaxMaterials)
	}
	materials, _, err := resources("resolved dependency", d.ResolvedDependencies, false)
	a.Claim.Materials = materials
	return err
}

// resources checks and converts descriptors. A strong one must have a sha256
// or sha512 digest. names are the look-up names of those that are packages.
func resources(what string, ds []ResourceDescriptor, strong bool) (rs []Resource, names []string, err error) {
	rs = make([]Resource, 0, len(ds))
	for i, d := range ds {
		r := Resource{Name: d.Name, URI: d.URI, Digests: maps.Clone(d.Digest)}
		for alg, h := range r.Digests {
			if alg != "sha256" && alg != "sha512" {
				continue
			}
			if !leaf.Digest(alg + ":" + h).Valid() {
				return nil, nil, reason.Errorf(reason.DigestInvalid,
					"%s %d (%.80q) has an invalid %s digest %.140q", what, i, d.Name, alg, h)
			}
		}
		if strong && len(r.Strong()) == 0 {
			return nil, nil, reason.Errorf(reason.SubjectWithoutDigest,
				"%s %d (%.80q) has neither a sha256 nor a sha512 digest", what, i, d.Name)
		}
		if r.URI == "" && isPurl(r.Name) {
			r.URI = r.Name
		}
		if isPurl(r.URI) {
			p, err := parsePurl(r.URI)
			if err != nil {
				return nil, nil, err
			}
			r.URI = p.ToString()
			names = append(names, lookupName(p))
		}
		r.Role, _ = d.Annotations["role"].(string)
		r.Role = strings.ToLower(r.Role)
		rs = append(rs, r)
	}
	return rs, names, nil
}
