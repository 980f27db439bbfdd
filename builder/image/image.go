// Package image reads and writes the OCI layouts that builds leave, and says in
// which senses two of them are equal: by manifest, by layers, by content.
//
// Invariants:
//   - What is read is what its digest says: every blob is hashed as it is read,
//     and a layer also as it is decompressed. Who reads to the end without an
//     error has read the right bytes.
//   - Nothing outside the layout's directory is read.
//   - The content digest depends on names, types, modes, owners and bytes alone:
//     not on order, times, compression, layering or the engine.
//   - Bytes are written by a named, versioned profile, and only by it.
package image

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is one image of an OCI layout: a manifest and what it names.
type Image struct {
	Dir string // of the layout
	// Index is the digest of the index that names the manifest: the nested one,
	// where there is one, else that of index.json.
	Index    digest.Digest
	Manifest ocispec.Descriptor
	Config   ocispec.Descriptor
	Platform string // such as linux/amd64
	Layers   []Layer
	// Annotations are those of the manifest.
	Annotations map[string]string
	Image       ocispec.Image // the configuration
	// RawManifest and RawConfig are the two as they were read.
	RawManifest, RawConfig []byte
}

// Layer is one layer of an image.
type Layer struct {
	ocispec.Descriptor
	DiffID digest.Digest // of the uncompressed tar
}

// DiffIDs returns the digests of the uncompressed layers, in order.
func (i *Image) DiffIDs() []digest.Digest {
	ids := make([]digest.Digest, len(i.Layers))
	for n := range i.Layers {
		ids[n] = i.Layers[n].DiffID
	}
	return ids
}
