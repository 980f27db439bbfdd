package attest

import (
	"bytes"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// The types of simple signatures: that of containers-signature(5), and that which
// StageX wrote until May 2025.
const (
	typeAtomicSignature = "atomic container signature"
	typeStageXSignature = "pgp container image signature"
)

// simpleSigning is the payload of a simple signature.
type simpleSigning struct {
	Critical *struct {
		Identity struct {
			DockerReference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			DockerManifestDigest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional jsontext.Value `json:"optional"`
}

// isSimpleSigning tells JSON, which no other document is.
func isSimpleSigning(payload []byte) bool {
	trimmed := bytes.TrimLeft(payload, " \t\r\n")
	return len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
}

// readSimpleSigning reads the payload of a simple signature: that somebody
// approves of an image under a name. It does not say how they came to that, so
// it is a review and no build.
func (a *Attestation) readSimpleSigning(payload []byte) error {
	s, digest, err := parseSimpleSigning(payload)
	if err != nil {
		return err
	}
	name := s.Critical.Identity.DockerReference
	image, err := imageOf(name, digest)
	if err != nil {
		return err
	}
	a.names = image.names
	a.Claim = Claim{
		Kind:          leaf.KindAttestation,
		Claim:         leaf.ClaimReview,
		Result:        leaf.NoResult,
		PredicateType: s.Critical.Type,
		Subjects:      []Resource{{Name: name, URI: image.uri, Digests: map[string]string{"sha256": strings.TrimPrefix(string(digest), "sha256:")}}},
	}
	return nil
}

// parseSimpleSigning reads either generation. The older one is an array of one
// signature, whose digest does not name its algorithm and whose optional part is
// null.
func parseSimpleSigning(payload []byte) (*simpleSigning, leaf.Digest, error) {
	older := bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("["))
	var list [1]simpleSigning
	var into any = &list[0]
	want, prefix := typeAtomicSignature, ""
	if older {
		into, want, prefix = &list, typeStageXSignature, "sha256:"
	}
	if err := decode(payload, into, json.RejectUnknownMembers(true)); err != nil {
		return nil, "", badDocument(FormatSimpleSigning, "parsing its JSON: %w", err)
	}
	s := &list[0]
	switch {
	case s.Critical == nil || s.Critical.Identity.DockerReference == "":
		return nil, "", badDocument(FormatSimpleSigning, "it has no critical.identity.docker-reference")
	case s.Critical.Type != want:
		return nil, "", badDocument(FormatSimpleSigning, "its type is %.80q, want %q", s.Critical.Type, want)
	case older && s.Optional.Kind() != 'n':
		return nil, "", badDocument(FormatSimpleSigning, "its optional member is not null, as in all that have the type %q", want)
	case !older && s.Optional.Kind() != '{':
		return nil, "", badDocument(FormatSimpleSigning, "its optional member is no object")
	}
	digest := leaf.Digest(prefix + s.Critical.Image.DockerManifestDigest)
	if !digest.Valid() || !strings.HasPrefix(string(digest), "sha256:") {
		return nil, "", reason.Errorf(reason.DigestInvalid, "%s: docker-manifest-digest %.140q is not a sha256 in lower-case hex",
			FormatSimpleSigning, s.Critical.Image.DockerManifestDigest)
	}
	return s, digest, nil
}

// image is how an image is called: its package URL, and under which names it is
// found.
type image struct {
	uri   string
	names []string
}

// imageOf returns the package URL of an image. It is found under its name with
// and without the tag: nobody knows the tag of an image whose digest they have.
func imageOf(name string, digest leaf.Digest) (*image, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, badDocument(FormatSimpleSigning, "docker-reference %.300q: %w", name, err)
	}
	if d, ok := ref.(reference.Digested); ok && d.Digest().String() != string(digest) {
		return nil, badDocument(FormatSimpleSigning, "docker-reference %.300q has another digest than docker-manifest-digest", name)
	}
	qualifiers := map[string]string{"repository_url": ref.Name()}
	_, plain, err := purlOf("oci", "", path.Base(ref.Name()), string(digest), qualifiers)
	if err != nil {
		return nil, err
	}
	if t, ok := ref.(reference.Tagged); ok {
		qualifiers["tag"] = t.Tag()
	}
	uri, lookup, err := purlOf("oci", "", path.Base(ref.Name()), string(digest), qualifiers)
	if err != nil {
		return nil, err
	}
	return &image{uri: uri, names: []string{plain, lookup}}, nil
}
