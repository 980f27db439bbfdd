// Package attest turns signed attestations into claims and leaves.
//
// Open is the only way in: it detects the format, parses strictly, verifies
// every signature, and derives the Claim and the Leaf. One file holds one
// format. Statements are built and signed by the functions of statement.go and
// sign.go.
//
// Invariants:
//   - An Attestation exists only if every one of its signatures verified; a
//     signature that cannot be attributed to a key is a refusal, never dropped.
//   - What is parsed is what was signed: the payload is decoded once, verified,
//     and only then interpreted.
//   - The claim and the leaf are functions of the bytes (and, for the keys, of
//     which enrolled key verifies each signature): the same on every run and
//     machine.
//   - A key id is a hint that decides nothing.
//   - JSON with duplicate or differently-cased members, or invalid UTF-8, is
//     refused, so that no two parsers can read two things in it.
//
// The package does no I/O and reads no clock. Every refusal is a
// *reason.Error.
package attest

import (
	"slices"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Limits of one attestation.
const (
	MaxEnvelope  = 1 << 20 // bytes
	MaxSubjects  = 64
	MaxOutputs   = 64
	MaxKeys      = leaf.MaxKeys
	MaxMaterials = 4096
)

// Attestation is an attestation whose signatures all verified.
type Attestation struct {
	Raw   []byte // the bytes as received
	Claim Claim
	Keys  []*PublicKey // that signed, by fingerprint, each once
	Leaf  *leaf.Leaf
	// Text is the leaf's text, as it is logged.
	Text []byte

	Statement   *Statement  // if the payload is one
	Enrolment   *Enrolment  // for leaf.KindEnrol
	Endorsement *Enrolment  // for leaf.KindEndorse: of a key by another
	Revocation  *Revocation // for leaf.KindRevoke

	// Signatures are those by OpenPGP, in their order: the format in which a
	// signature says when it was made.
	Signatures []SignatureInfo
	// Identity is set if the key is that of a certificate in the attestation. The
	// signature verified with it, but nobody asked who issued the certificate:
	// ledger/sigstore does.
	Identity *CertificateIdentity

	names []string // look-up names of the subjects
}

// Claim is what an attestation says, in the words of whoever signed it.
type Claim struct {
	Kind          leaf.Kind
	Format        string
	Claim         leaf.Claim
	Result        leaf.Result
	Obtained      Obtained
	PredicateType string // of a Statement; the payload type otherwise
	Subjects      []Resource
	Outputs       []Resource
	Materials     []Resource
	BuilderID     string // URI of the builder or rebuilder
	Operator      string // URI of who operates it
	// Environment is where it was built, in the signer's words: os, arch,
	// cpuVendor, engine, country and others; nil if the claim does not say.
	Environment map[string]string
}

// Obtains reports whether c says that an artifact that it is about, or an equal
// one, was obtained by building it. What was fetched counts for nothing.
func (c *Claim) Obtains(d leaf.Digest) bool {
	switch c.Claim {
	case leaf.ClaimBuild:
		return true
	case leaf.ClaimReproduction:
		if c.Obtained != Built {
			return false
		}
		// One of several subjects may be none of the outputs.
		return c.Result == leaf.Equivalent || c.Result == leaf.Identical && (len(c.Outputs) == 0 || holds(c.Outputs, d))
	}
	return false
}

func holds(rs []Resource, d leaf.Digest) bool {
	return slices.ContainsFunc(rs, func(r Resource) bool { return slices.Contains(r.Strong(), d) })
}

// Obtained says how a reproduction got its output.
type Obtained string

// The ways. SUBSTITUTED counts for nothing: the output was fetched.
const (
	ObtainedUnstated Obtained = ""
	Built            Obtained = "BUILT"
	Substituted      Obtained = "SUBSTITUTED"
)

// Resource is an artifact or a material.
type Resource struct {
	Name    string
	URI     string            // canonical, if it is a purl
	Digests map[string]string // all algorithms as given, in lower-case hex
	Role    string            // one of the roles below, or empty
}

// The roles of materials.
const (
	RoleSource    = "source"
	RoleToolchain = "toolchain"
	RoleLibrary   = "library"
	RoleSeed      = "seed"
)

// IsBuilt reports whether a material is something that was built, and so has an
// ancestry: whatever is neither source nor seed.
func (r *Resource) IsBuilt() bool { return r.Role != RoleSource && r.Role != RoleSeed }

// Strong returns the sha256 and sha512 digests of r, sorted.
func (r *Resource) Strong() []leaf.Digest {
	var ds []leaf.Digest
	for _, alg := range []string{"sha256", "sha512"} {
		if h, ok := r.Digests[alg]; ok {
			ds = append(ds, leaf.Digest(alg+":"+h))
		}
	}
	return ds
}

// Keyring finds the enrolled keys that may have made a signature.
type Keyring interface {
	// Lookup returns the key with the fingerprint that a key id hints at.
	Lookup(leaf.Fingerprint) (*PublicKey, bool)
	// Hinted returns the keys that have a key id in some format: one of their
	// KeyIDs.
	Hinted(keyID string) []*PublicKey
	// Candidates returns keys to try where the hint does not help. It may
	// bound their number.
	Candidates() []*PublicKey
}

// Open reads raw, verifies its signatures with keys from ring, and derives its
// claim and leaf. It neither keeps nor changes raw's bytes beyond referring to
// them.
func Open(raw []byte, ring Keyring) (*Attestation, error) {
	if len(raw) > MaxEnvelope {
		return nil, reason.Errorf(reason.EnvelopeTooLarge,
			"attestation of %d bytes is over the limit of %d", len(raw), MaxEnvelope)
	}
	f, err := formatOf(raw)
	if err != nil {
		return nil, err
	}
	return f.open(raw, ring)
}

// finish derives the leaf of an attestation whose signatures were verified.
func (a *Attestation) finish(payload []byte) error {
	l := &leaf.Leaf{
		Kind:     a.Claim.Kind,
		Format:   a.Claim.Format,
		Envelope: leaf.SHA256(a.Raw),
		Payload:  leaf.SHA256(payload),
		Claim:    a.Claim.Claim,
		Result:   a.Claim.Result,
	}
	for _, k := range a.Keys {
		l.Keys = append(l.Keys, k.Fingerprint)
	}
	for _, s := range a.Claim.Subjects {
		l.Subjects = append(l.Subjects, s.Strong()...)
	}
	for _, n := range a.names {
		l.Names = append(l.Names, leaf.NameHash(n))
	}
	for _, o := range a.Claim.Outputs {
		l.Outputs = append(l.Outputs, o.Strong()...)
	}
	l.Keys = sortUnique(l.Keys)
	l.Names = sortUnique(l.Names)
	l.Subjects = sortUnique(l.Subjects)
	l.Outputs = sortUnique(l.Outputs)
	text, err := l.Marshal()
	if err != nil {
		return reason.Errorf(reason.InternalError, "deriving the leaf: %w", err)
	}
	a.Leaf, a.Text = l, text
	return nil
}

func sortUnique[T ~string](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
