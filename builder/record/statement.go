package record

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Identity is who attests.
type Identity struct {
	Signer    *attest.Signer
	BuilderID string // URI of what built it
	Operator  string // URI of who runs it
	// Repository is the prefix of the images' names in purls: "stagex", or with a
	// host before it.
	Repository string
}

// Purl returns the package URL of a package's image. Without a manifest digest
// it is the name under which all of its images are found.
func (id *Identity) Purl(pkg, manifest, platform string) string {
	_, arch, _ := strings.Cut(platform, "/")
	version := ""
	if manifest != "" {
		version = "@" + manifest
	}
	s := fmt.Sprintf("pkg:oci/%s%s?arch=%s&repository_url=%s",
		pkg, version, url.QueryEscape(arch), url.QueryEscape(id.Repository+"/"+pkg))
	if canonical, err := attest.CanonicalPurl(s); err == nil {
		return canonical
	}
	return s // and signing refuses it, by name
}

// Build returns the signed attestation that r was built: SLSA provenance v1. It
// refuses what was not built.
func (id *Identity) Build(r *Result) ([]byte, error) {
	if r.Obtained != attest.Built {
		return nil, fmt.Errorf("%s was not built here but %s: it cannot be attested as built; build it with `cairn-builder build --no-cache %s`",
			r.Package, obtained(r), r.Package)
	}
	p := &attest.Provenance{
		BuildDefinition: definition(r),
		RunDetails: attest.RunDetails{
			Builder:    attest.Builder{ID: id.BuilderID, Operator: id.Operator, Version: version(r)},
			Metadata:   metadata(r.Started, r.Ended),
			Byproducts: byproducts(r),
		},
	}
	st, err := attest.NewStatement(attest.PredicateProvenance, p, id.subject(r.Package, r.Manifest, r.Platform))
	if err != nil {
		return nil, fmt.Errorf("attesting the build of %s: %w", r.Package, err)
	}
	return id.sign(st)
}

func obtained(r *Result) string {
	if r.Obtained == attest.Substituted {
		return "taken from elsewhere (SUBSTITUTED)"
	}
	return "obtained in an unknown way"
}

func (id *Identity) subject(pkg, manifest, platform string) attest.ResourceDescriptor {
	return attest.ResourceDescriptor{
		Name:      pkg,
		URI:       id.Purl(pkg, manifest, platform),
		Digest:    map[string]string{"sha256": strings.TrimPrefix(manifest, "sha256:")},
		MediaType: "application/vnd.oci.image.manifest.v1+json",
	}
}

// definition is the inputs of a build. What the tree and its package say is
// external; how this builder ran it is internal.
func definition(r *Result) attest.BuildDefinition {
	d := attest.BuildDefinition{
		BuildType:          attest.BuildTypeStageX,
		ExternalParameters: r.Parameters,
		InternalParameters: map[string]any{"profile": r.Profile, "rebuilt": r.Rebuilt},
	}
	if steps := stepList(r.Steps); steps != nil {
		d.InternalParameters["steps"] = steps
		if omitted := len(r.Steps) - len(steps); omitted > 0 {
			d.InternalParameters["stepsOmitted"] = omitted
		}
	}
	if len(r.Environment) > 0 {
		d.InternalParameters["environment"] = environment(r)
	}
	for _, m := range r.Materials {
		d.ResolvedDependencies = append(d.ResolvedDependencies, attest.ResourceDescriptor{
			Name:        m.Name,
			URI:         m.URI,
			Digest:      map[string]string{"sha256": m.SHA256},
			MediaType:   m.MediaType,
			Annotations: map[string]any{"role": m.Role},
		})
	}
	return d
}

// What an attestation lists of steps at most: its size is bounded, and what
// matters of a step is in the digest of the package directory.
const (
	maxSteps     = 1000
	maxStepBytes = 256 << 10 // of all names, as JSON has them
	maxText      = 2048      // bytes of one name or message
)

// stepList returns the steps as an attestation has them, or nil.
func stepList(steps []engine.Step) []any {
	var list []any
	size := 0
	for _, s := range steps {
		name := clean(s.Name)
		quoted, err := json.Marshal(name)
		if size += len(quoted); err != nil || size > maxStepBytes || len(list) == maxSteps {
			break
		}
		step := map[string]any{"name": name, "cached": s.Cached}
		if s.Network != "" {
			step["network"] = s.Network
		}
		list = append(list, step)
	}
	return list
}

// clean returns a text that JSON can hold and that is not too long. Nothing that
// a build step prints or is called may keep its result from being signed.
func clean(s string) string {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
		for range utf8.UTFMax - 1 { // what is left of a character that was cut
			if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
				s = s[:len(s)-1]
			}
		}
	}
	if s = strings.ToValidUTF8(s, "\uFFFD"); cut {
		s += "…"
	}
	return s
}

// environment is the machine as an attestation has it.
func environment(r *Result) map[string]string {
	env := make(map[string]string, len(r.Environment))
	for k, v := range r.Environment {
		env[clean(k)] = clean(v)
	}
	return env
}

func version(r *Result) map[string]string { return map[string]string{r.Engine.Name: r.Engine.Version} }

func metadata(started, ended time.Time) *attest.Metadata {
	return &attest.Metadata{StartedOn: started.UTC().Format(time.RFC3339), FinishedOn: ended.UTC().Format(time.RFC3339)}
}

// The names of byproducts: by these, results of other engines are compared.
const (
	byproductIndex   = "index"
	byproductConfig  = "config"
	byproductContent = "content"
	byproductLayer   = "layer"
	byproductRunning = "running"
)

// ContentMediaType is that of the text which the content digest is of.
const ContentMediaType = "application/vnd.cairn.rootfs.v1+text"

func byproducts(r *Result) []attest.ResourceDescriptor {
	one := func(name, digest, mediaType string) attest.ResourceDescriptor {
		return attest.ResourceDescriptor{
			Name: name, MediaType: mediaType,
			Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")},
		}
	}
	list := []attest.ResourceDescriptor{
		one(byproductIndex, r.Index, "application/vnd.oci.image.index.v1+json"),
		one(byproductConfig, r.Config, "application/vnd.oci.image.config.v1+json"),
		one(byproductContent, r.Content, ContentMediaType),
		one(byproductRunning, r.Running, "application/json"),
	}
	for _, d := range r.DiffIDs {
		list = append(list, one(byproductLayer, d, "application/vnd.oci.image.layer.v1.tar"))
	}
	return list
}

// Claimed is a distributed artifact that a reproduction is of.
type Claimed struct {
	Manifest string // sha256:<hex>
	// What its build's attestation says, if there is one; empty otherwise.
	Entry   *Entry
	Content string
	Running string
	DiffIDs []string
	Images  map[string]string // package to hex digest of the images it was built from
}

// ClaimedOf reads what a build's attestation says of the image it built.
func ClaimedOf(manifest string, p *attest.Provenance) *Claimed {
	c := &Claimed{Manifest: manifest, Images: make(map[string]string)}
	for _, d := range p.BuildDefinition.ResolvedDependencies {
		if d.Annotations["role"] == attest.RoleToolchain {
			c.Images[d.Name] = d.Digest["sha256"]
		}
	}
	for _, b := range p.RunDetails.Byproducts {
		digest := "sha256:" + b.Digest["sha256"]
		switch b.Name {
		case byproductContent:
			c.Content = digest
		case byproductRunning:
			c.Running = digest
		case byproductLayer:
			c.DiffIDs = append(c.DiffIDs, digest)
		}
	}
	return c
}

// Outcome is what came of a rebuild.
type Outcome struct {
	Result leaf.Result
	// Method says how an EQUIVALENT image is equivalent.
	Method string
	// Failure is why there is no image, for BUILD_FAILED and INCONCLUSIVE.
	Failure string
	// Byproducts are reports, by name, of which the digests are attested.
	Byproducts map[string][]byte
}

// The methods by which images are EQUIVALENT.
const (
	MethodLayers  = "https://github.com/cairnlog/cairn/equivalence/diff-ids/v1"
	MethodContent = "https://github.com/cairnlog/cairn/equivalence/rootfs/v1"
)

// Reproduction returns the signed attestation of a rebuild of c. r is what the
// rebuild gave; for a rebuild that failed it has no image, and says what was
// tried.
func (id *Identity) Reproduction(c *Claimed, r *Result, o *Outcome) ([]byte, error) {
	def := definition(r)
	p := &attest.Reproduction{
		Result:          o.Result,
		ClaimRef:        claimRef(c),
		BuildDefinition: &def,
		Rebuilder:       attest.Builder{ID: id.BuilderID, Operator: id.Operator, Version: version(r)},
		Environment:     environment(r),
		Metadata:        metadata(r.Started, r.Ended),
	}
	if r.Manifest != "" {
		p.Obtained = r.Obtained
		p.Outputs = []attest.ResourceDescriptor{id.subject(r.Package, r.Manifest, r.Platform)}
		p.Byproducts = byproducts(r)
	}
	if o.Result == leaf.Equivalent {
		p.Equivalence = &attest.Equivalence{Method: o.Method}
	}
	for name, b := range o.Byproducts {
		p.Byproducts = append(p.Byproducts, attest.ResourceDescriptor{
			Name: name, Digest: map[string]string{"sha256": leaf.SHA256(b).Hex()},
		})
	}
	if o.Failure != "" {
		message := clean(o.Failure)
		p.Byproducts = append(p.Byproducts, attest.ResourceDescriptor{
			Name:        "failure",
			Digest:      map[string]string{"sha256": leaf.SHA256([]byte(message)).Hex()},
			Annotations: map[string]any{"message": message},
		})
	}
	st, err := attest.NewStatement(attest.PredicateReproduction, p, id.subject(r.Package, c.Manifest, r.Platform))
	if err != nil {
		return nil, fmt.Errorf("attesting the rebuild of %s: %w", r.Package, err)
	}
	return id.sign(st)
}

func claimRef(c *Claimed) *attest.ClaimRef {
	if c.Entry == nil {
		return nil
	}
	return &attest.ClaimRef{
		Digest:   map[string]string{"sha256": strings.TrimPrefix(c.Entry.Envelope, "sha256:")},
		LogEntry: c.Entry.String(),
	}
}

// sign returns the envelope as files and ledgers have it.
func (id *Identity) sign(st *attest.Statement) ([]byte, error) {
	raw, err := id.Signer.Sign(st)
	if err != nil {
		return nil, err
	}
	return append(raw, '\n'), nil
}
