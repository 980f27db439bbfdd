package attest

import (
	"slices"
	"strings"

	packageurl "github.com/package-url/packageurl-go"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// CanonicalPurl returns the canonical form of a package URL.
func CanonicalPurl(s string) (string, error) {
	p, err := parsePurl(s)
	if err != nil {
		return "", err
	}
	return p.ToString(), nil
}

// LookupName returns the name under which a package URL is found: its
// canonical form without a version that is a digest, so that one name finds
// every build of an image.
func LookupName(s string) (string, error) {
	p, err := parsePurl(s)
	if err != nil {
		return "", err
	}
	return lookupName(p), nil
}

func lookupName(p *packageurl.PackageURL) string {
	name := *p
	if leaf.Digest(name.Version).Valid() {
		name.Version = ""
	}
	return name.ToString()
}

// Names returns the look-up names of an attestation's subjects, sorted, each once:
// those whose hashes its leaf has.
func (a *Attestation) Names() []string { return sortUnique(slices.Clone(a.names)) }

func isPurl(s string) bool { return len(s) >= 4 && strings.EqualFold(s[:4], "pkg:") }

const maxPurl = 4096

func parsePurl(s string) (*packageurl.PackageURL, error) {
	if len(s) > maxPurl {
		return nil, reason.Errorf(reason.PurlInvalid, "package URL of %d bytes is over the limit of %d", len(s), maxPurl)
	}
	p, err := packageurl.FromString(s)
	if err != nil {
		return nil, reason.Errorf(reason.PurlInvalid, "parsing package URL %.80q: %w", s, err)
	}
	if p.Type == "oci" {
		// The type's definition wants it, and the library does not do it.
		p.Name = strings.ToLower(p.Name)
	}
	// The library accepts some inputs whose canonical form it reads otherwise;
	// a name must have one spelling, or it could be hidden from a look-up.
	canonical := p.ToString()
	if canonical == s {
		return &p, nil
	}
	again, err := packageurl.FromString(canonical)
	if err != nil || again.ToString() != canonical {
		return nil, reason.Errorf(reason.PurlInvalid, "package URL %.80q has no canonical form", s)
	}
	return &p, nil
}
