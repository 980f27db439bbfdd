package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Reference is HOST/PATH:TAG, HOST/PATH@sha256:DIGEST, or with both, of which the
// digest counts. No host is implied: the same words must not name one image here
// and another there.
type Reference struct {
	Repository string      // HOST/PATH, as it was written
	Tag        string      // may be empty
	Digest     leaf.Digest // may be empty, if there is a tag
}

// ParseReference reads a reference. It reports false for what is not meant as
// one, having no host or neither tag nor digest.
func ParseReference(s string) (Reference, bool, error) {
	host, rest, ok := strings.Cut(s, "/")
	if !ok || !isHost(host) || !strings.ContainsAny(rest, ":@") {
		return Reference{}, false, nil
	}
	var r Reference
	at, digest, pinned := strings.Cut(s, "@")
	if pinned {
		d, err := leaf.ParseDigest(digest)
		if err != nil || !strings.HasPrefix(digest, "sha256:") {
			return r, true, fmt.Errorf("the image reference %.300q does not end in @sha256: and 64 hex digits", s)
		}
		r.Digest = d
	}
	r.Repository = at
	if i := strings.LastIndexByte(at, ':'); i > strings.LastIndexByte(at, '/') {
		r.Repository, r.Tag = at[:i], at[i+1:]
		if _, err := name.NewTag(at, name.WeakValidation); err != nil {
			return r, true, fmt.Errorf("reading the image reference %.300q: %w", s, err)
		}
	}
	if _, err := name.NewRepository(r.Repository, name.WeakValidation); err != nil {
		return r, true, fmt.Errorf("reading the image reference %.300q: %w", s, err)
	}
	if _, err := r.Purl(r.Digest); err != nil {
		return r, true, err
	}
	return r, true, nil
}

// isHost reports whether the first element of a path is one that only a
// registry's host has, by the rule of the distribution project.
func isHost(s string) bool {
	return strings.ContainsAny(s, ".:") && !strings.HasPrefix(s, ".") || s == "localhost"
}

// Purl returns the canonical package URL of the repository's image with a
// digest, or of all its images if that is empty.
func (r Reference) Purl(d leaf.Digest) (string, error) {
	version := ""
	if d != "" {
		version = "@" + string(d)
	}
	return attest.CanonicalPurl("pkg:oci/" + strings.ToLower(path.Base(r.Repository)) + version + "?repository_url=" + url.QueryEscape(r.Repository))
}

// ErrNotThere is the error of Resolve where the registry has no such image.
var ErrNotThere = errors.New("the registry has no such image")

// Resolve asks the registry for the image with the digest or, if there is none,
// which image the tag names now. Registries on the loopback interface are asked
// over http, all others over https.
func Resolve(ctx context.Context, r Reference, userAgent string) (*Choice, error) {
	var opts []name.Option
	if isLoopback(r.Repository) {
		opts = append(opts, name.Insecure)
	}
	var ref name.Reference
	var err error
	if r.Digest != "" {
		ref, err = name.NewDigest(r.Repository+"@"+string(r.Digest), opts...)
	} else {
		ref, err = name.NewTag(r.Repository+":"+r.Tag, opts...)
	}
	if err != nil {
		return nil, err
	}
	desc, err := remote.Get(ref, remote.WithContext(ctx), remote.WithUserAgent(userAgent), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	var refused *transport.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return nil, ErrNotThere
	}
	if err != nil {
		return nil, err
	}
	c, err := choiceOf(desc)
	if err == nil && r.Digest != "" && c.Digest != r.Digest {
		return nil, fmt.Errorf("asked for %s, the registry answers with %s", r.Digest, c.Digest)
	}
	return c, err
}

// choiceOf reads the manifest or index that a registry answered with.
func choiceOf(desc *remote.Descriptor) (*Choice, error) {
	digest := leaf.SHA256(desc.Manifest)
	if desc.Digest.String() != string(digest) {
		return nil, fmt.Errorf("the registry says %s, and the answer has the digest %s", desc.Digest, digest)
	}
	c := &Choice{Digest: digest}
	switch {
	case desc.MediaType.IsImage():
		c.Images = []Image{{Digest: digest}}
		return c, nil
	case !desc.MediaType.IsIndex():
		return nil, fmt.Errorf("the answer has the media type %.100q: it is neither an index nor a manifest", desc.MediaType)
	}
	index, err := parseIndex(desc.Manifest)
	if err != nil {
		return nil, fmt.Errorf("parsing the index: %w", err)
	}
	if len(index.Manifests) > MaxManifests {
		return nil, fmt.Errorf("the index has more than %d manifests", MaxManifests)
	}
	c.Index = true
	for i := range index.Manifests {
		d := &index.Manifests[i]
		if isAttestation(d) {
			continue
		}
		digest, err := digestOf(d.Digest)
		if err != nil {
			return nil, err
		}
		c.Images = append(c.Images, Image{digest, platformOf(d)})
	}
	return c, nil
}

// isLoopback reports whether a repository's host is this machine.
func isLoopback(repository string) bool {
	host, _, _ := strings.Cut(repository, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
