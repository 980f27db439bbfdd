package cli

import (
	"maps"
	"slices"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// claimView is a claim in JSON.
type claimView struct {
	PredicateType string          `json:"predicateType"` // empty for a Rekor entry
	Result        string          `json:"result,omitempty"`
	Obtained      attest.Obtained `json:"obtained,omitempty"`
	Subjects      []resourceView  `json:"subjects"`
	Outputs       []resourceView  `json:"outputs,omitempty"`
	Materials     []resourceView  `json:"materials,omitempty"`
	BuilderID     string          `json:"builderId,omitempty"`
	Operator      string          `json:"operator,omitempty"` // as the attestation claims it
	// Certificate is what the certificate of the key says; nobody verified it here.
	Certificate *certificateView `json:"certificate,omitempty"`
	Rekor       *rekorView       `json:"rekor,omitempty"` // of an entry of a Rekor log that was imported
}

type certificateView struct {
	Names  []string `json:"names"`
	Issuer string   `json:"issuer,omitempty"` // of the identity, such as an OIDC provider
}

type resourceView struct {
	Name    string   `json:"name,omitempty"`
	URI     string   `json:"uri,omitempty"`
	Digests []string `json:"digests"`
	Role    string   `json:"role,omitempty"`
}

type keyView struct {
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"publicKey"`
	Operator    string `json:"operator"` // as the enrolment claims it
	URL         string `json:"url,omitempty"`
	Enrolled    string `json:"enrolled"`            // id of the entry
	Endorser    string `json:"endorser,omitempty"`  // key that signed that entry, if it did not itself
	Revoked     string `json:"revoked,omitempty"`   // id of the entry
	Withdrawn   bool   `json:"withdrawn,omitempty"` // whether that ended the last endorsement
}

type groupView struct {
	Output    string      `json:"output,omitempty"` // absent for claims that obtained nothing
	Operators []string    `json:"operators"`
	Claims    []claimLine `json:"claims"`
}

type claimLine struct {
	ID        string   `json:"id"`
	Index     int64    `json:"index"`
	Claim     string   `json:"claim"`
	Result    string   `json:"result,omitempty"`
	Obtained  string   `json:"obtained,omitempty"`
	BuilderID string   `json:"builderId,omitempty"`
	Keys      []string `json:"keys"`
}

type checkpointView struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
	Root   string `json:"rootHash"`
	Signed string `json:"checkpoint"`
	// SignatureChecked says whether it satisfied a policy.
	SignatureChecked bool `json:"signatureChecked"`
}

func (o *online) viewCheckpoint(signed string, c torchwood.Checkpoint) checkpointView {
	return checkpointView{Origin: c.Origin, Size: c.N, Root: c.Hash.String(), Signed: signed, SignatureChecked: o.policy != nil}
}

func viewClaim(att *attest.Attestation) *claimView {
	c := &att.Claim
	v := &claimView{
		PredicateType: c.PredicateType, Result: stated(c.Result), Obtained: c.Obtained,
		Subjects: viewResources(c.Subjects), Outputs: viewResources(c.Outputs), Materials: viewResources(c.Materials),
		BuilderID: c.BuilderID, Operator: c.Operator, Rekor: viewRekor(att.Statement),
	}
	if id := att.Identity; id != nil {
		v.Certificate = &certificateView{append([]string{}, id.Names...), id.Issuer}
	}
	return v
}

func viewResources(rs []attest.Resource) []resourceView {
	var list []resourceView
	for i := range rs {
		r := &rs[i]
		v := resourceView{Name: r.Name, URI: r.URI, Role: r.Role, Digests: []string{}}
		for _, alg := range slices.Sorted(maps.Keys(r.Digests)) {
			v.Digests = append(v.Digests, alg+":"+r.Digests[alg])
		}
		list = append(list, v)
	}
	return list
}

func viewProtoResource(r *cairnv1.Resource) resourceView {
	return resourceView{Name: r.GetName(), URI: r.GetUri(), Role: r.GetRole(), Digests: append([]string{}, r.GetDigests()...)}
}

func viewKey(origin string, k *cairnv1.Key) keyView {
	v := keyView{
		Fingerprint: k.GetFingerprint(), PublicKey: k.GetPublicKey(), Operator: k.GetOperator(), URL: k.GetUrl(),
		Enrolled: entryID(origin, k.GetEnrolledIndex()), Endorser: k.GetEndorser(), Withdrawn: k.GetWithdrawn(),
	}
	if k.RevokedIndex != nil {
		v.Revoked = entryID(origin, k.GetRevokedIndex())
	}
	return v
}

func viewGroup(origin string, g *cairnv1.OutputGroup) groupView {
	v := groupView{Output: g.GetOutput(), Operators: append([]string{}, g.GetOperators()...)}
	for _, lc := range g.GetClaims() {
		c := lc.GetClaim()
		v.Claims = append(v.Claims, claimLine{
			ID: entryID(origin, lc.GetIndex()), Index: lc.GetIndex(), Claim: c.GetClaim(), Result: c.GetResult(),
			Obtained: c.GetObtained(), BuilderID: c.GetBuilderId(), Keys: append([]string{}, c.GetKeys()...),
		})
	}
	return v
}

// text prints the answer for people.
func (v *showAnswer) text(p term.Printer) {
	switch v.What {
	case "attestation":
		v.entryText(p)
	case "artifact":
		v.artifactText(p)
	}
	for _, k := range v.Keys {
		k.text(p)
	}
	v.broughtText(p)
	if !v.Proven {
		field(p, "", "%s", p.Paint(term.Dim, "as the ledger tells it: cairn show ID proves an entry"))
	}
	checked := "signature not checked"
	if v.Checkpoint.SignatureChecked {
		checked = "satisfies the policy"
	}
	field(p, "checkpoint", "%s %d, %s", v.Checkpoint.Origin, v.Checkpoint.Size, checked)
}

func (v *showAnswer) entryText(p term.Printer) {
	e := v.Entry
	field(p, "entry", "%s", e.ID)
	field(p, "kind", "%s", e.what())
	if e.Result != "" {
		field(p, "result", "%s", paintResult(p, e.Result))
	}
	if c := v.Claim; c != nil {
		if c.Obtained != "" {
			field(p, "obtained", "%s", c.Obtained)
		}
		resourceText(p, "subject", c.Subjects)
		resourceText(p, "output", c.Outputs)
		resourceText(p, "material", c.Materials)
		if c.BuilderID != "" {
			field(p, "builder", "%s", c.BuilderID)
		}
		if c.Operator != "" {
			field(p, "operator", "%s (claimed)", c.Operator)
		}
		if c.Certificate != nil {
			field(p, "signer", "%s by a certificate (not verified)", join(c.Certificate.Names))
		}
		if c.PredicateType != "" {
			field(p, "predicate", "%s", c.PredicateType)
		}
		if c.Rekor != nil {
			c.Rekor.text(p)
		}
	} else {
		digestText(p, "subject", e.Subjects)
		digestText(p, "output", e.Outputs)
		digestText(p, "key", e.Keys)
	}
	field(p, "envelope", "%s", e.Envelope)
	if v.Claim == nil {
		field(p, "", "the ledger does not hold these bytes any more")
	}
}

func resourceText(p term.Printer, label string, rs []resourceView) {
	for _, r := range rs {
		name := r.URI
		if name == "" {
			name = r.Name
		}
		if slices.Contains(r.Digests, name) {
			name = "" // as a key's, which is named by its fingerprint
		}
		if name != "" {
			name += "  "
		}
		role := ""
		if r.Role != "" {
			role = "  " + r.Role
		}
		field(p, label, "%s%s%s", name, join(r.Digests), role)
	}
}

func digestText[T ~string](p term.Printer, label string, list []T) {
	for _, d := range list {
		field(p, label, "%s", d)
	}
}

func (k *keyView) text(p term.Printer) {
	field(p, "key", "%s", k.Fingerprint)
	if k.Endorser != "" {
		field(p, "", "endorsed at %s by key %s, as that of %s (claimed)", k.Enrolled, k.Endorser, k.Operator)
	} else {
		field(p, "", "enrolled at %s by %s (claimed)", k.Enrolled, k.Operator)
	}
	if k.URL != "" {
		field(p, "", "see %s (claimed)", k.URL)
	}
	switch {
	case k.Revoked != "" && k.Withdrawn:
		field(p, "", "%s at %s", p.Paint(term.Bad, "endorsement withdrawn"), k.Revoked)
	case k.Revoked != "":
		field(p, "", "%s at %s", p.Paint(term.Bad, "revoked"), k.Revoked)
	}
}

// broughtText prints the keys that came with an attestation and are not enrolled.
func (v *showAnswer) broughtText(p term.Printer) {
	if v.Claim == nil {
		return
	}
	for _, fp := range v.Entry.Keys {
		if !slices.ContainsFunc(v.Keys, func(k keyView) bool { return k.Fingerprint == string(fp) }) {
			field(p, "key", "%s", fp)
			field(p, "", "it came with the attestation, and is not enrolled")
		}
	}
}

func (v *showAnswer) artifactText(p term.Printer) {
	field(p, "artifact", "%s", v.Artifact)
	for _, g := range v.Groups {
		switch g.Output {
		case "":
			field(p, "obtained", "nothing")
		case string(v.Artifact):
			field(p, "obtained", "%s  %s", g.Output, p.Paint(term.Good, "the artifact itself"))
		default:
			field(p, "obtained", "%s  %s", g.Output, p.Paint(term.Bad, "another"))
		}
		for _, o := range g.Operators {
			field(p, "", "by %s (claimed)", o)
		}
		for _, c := range g.Claims {
			field(p, "", "%s  %-12s %s  %s", c.ID, c.Claim, paintResult(p, c.Result), c.BuilderID)
		}
	}
	resourceText(p, "material", v.Materials)
	if v.Truncated {
		field(p, "", "there are more claims: see cairn list --digest %s", leaf.Digest(v.Artifact))
	}
}
