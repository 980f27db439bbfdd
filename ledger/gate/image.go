package gate

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Image names a manifest or an index in a repository.
type Image struct {
	// Repository is HOST[:PORT]/PATH in its full form: docker.io/library/busybox.
	Repository string `json:"repository"`
	// Digest is a SHA-256: containers/image finds signatures by no other.
	Digest leaf.Digest `json:"digest"`
}

// String returns the reference that runtimes take.
func (i Image) String() string { return i.Repository + "@" + string(i.Digest) }

// maxReference bounds a reference; repositories have at most 255 bytes, and tags
// at most 128.
const maxReference = 512

// ParseImage reads an image reference as container runtimes do: busybox is
// docker.io/library/busybox, and of a tag and a digest the digest counts. The
// tag is returned, and needed, only if there is no digest.
func ParseImage(s string) (img Image, tag string, err error) {
	if len(s) > maxReference {
		return Image{}, "", fmt.Errorf("image reference of %d bytes is over the limit of %d", len(s), maxReference)
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Image{}, "", fmt.Errorf("parsing image reference %q: %w", s, err)
	}
	if img.Repository = named.Name(); img.Repository != strings.ToLower(img.Repository) {
		return Image{}, "", fmt.Errorf("image reference %q: the registry's name is not in lower case, and so matches no policy", s)
	}
	if digested, ok := named.(reference.Digested); ok {
		d := leaf.Digest(digested.Digest())
		if !d.Valid() || !strings.HasPrefix(string(d), "sha256:") {
			return Image{}, "", fmt.Errorf("image reference %q: the digest is not sha256: and 64 hex digits in lower case", s)
		}
		img.Digest = d
		return img, "", nil
	}
	return img, reference.TagNameOnly(named).(reference.Tagged).Tag(), nil
}

// Scope is a registry's host, a namespace there or a repository: an image is in
// it if its repository is it or below it.
type Scope string

// ParseScope checks that s is a Scope in its full form. Wildcards are none: a
// lookaside store is found by the registry's name.
func ParseScope(s string) (Scope, error) {
	host, _, _ := strings.Cut(s, "/")
	below := s + "/a/b" // what is a host and what is not shows only in a repository
	named, err := reference.ParseNamed(below)
	if err != nil || named.Name() != below || reference.Domain(named) != host || s != strings.ToLower(s) || len(s) > maxReference {
		return "", fmt.Errorf("scope %.300q is not HOST[:PORT][/NAMESPACE…], such as docker.io/library", s)
	}
	return Scope(s), nil
}

// Has reports whether an image is in the scope.
func (s Scope) Has(i Image) bool {
	return i.Repository == string(s) || strings.HasPrefix(i.Repository, string(s)+"/")
}

// host returns that of the scope's registry.
func (s Scope) host() string { h, _, _ := strings.Cut(string(s), "/"); return h }
