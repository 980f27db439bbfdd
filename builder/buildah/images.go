package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/buildah/define"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	istorage "go.podman.io/image/v5/storage"
)

// maxIndex bounds the JSON of indexes and manifests.
const maxIndex = 4 << 20

// load brings the images that the plan needs into the storage, each once, under
// a name that is its manifest's digest.
func (s *state) load(ctx context.Context, r *Request, names []string) (map[string]*define.AdditionalBuildContext, error) {
	contexts := make(map[string]*define.AdditionalBuildContext)
	for _, name := range names {
		id, err := s.loadOne(ctx, r.Images[name], r.Platform)
		if err != nil {
			return nil, fmt.Errorf("image %s, from %s: %w", name, r.Images[name], err)
		}
		contexts[name] = &define.AdditionalBuildContext{IsImage: true, Value: id}
	}
	return contexts, nil
}

func (s *state) loadOne(ctx context.Context, dir, platform string) (id string, err error) {
	desc, err := findManifest(dir, platform)
	if err != nil {
		return "", err
	}
	name := "localhost/cairn:" + desc.Digest.Encoded()
	unlock, err := lockFile(filepath.Join(s.root, "images.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if img, err := s.store.Image(name); err == nil {
		return img.ID, nil
	}
	flat, err := s.flatLayout(dir, desc)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(flat)
	src, err := layout.NewReference(flat, "")
	if err != nil {
		return "", err
	}
	dest, err := istorage.Transport.ParseStoreReference(s.store, name)
	if err != nil {
		return "", err
	}
	policy, err := s.policy()
	if err != nil {
		return "", err
	}
	defer policy.Destroy()
	// The platform is chosen already, and may be another than that of the build.
	system := s.systemContext()
	if _, err := copy.Image(ctx, policy, dest, src, &copy.Options{SourceCtx: system, DestinationCtx: system}); err != nil {
		// Bytes that are not what they should be may fail to decompress first.
		return "", errors.Join(verifyLayers(dir, desc), err)
	}
	img, err := s.store.Image(name)
	if err != nil {
		return "", err
	}
	return img.ID, nil
}

func (s *state) policy() (*signature.PolicyContext, error) {
	p, err := signature.NewPolicyFromFile(s.path("policy.json"))
	if err != nil {
		return nil, err
	}
	return signature.NewPolicyContext(p)
}

// flatLayout is the layout of dir with an index of one manifest: the way to tell
// containers/image which of several is meant.
func (s *state) flatLayout(dir string, desc *ocispec.Descriptor) (string, error) {
	flat, err := os.MkdirTemp(s.path("tmp"), "layout-")
	if err != nil {
		return "", err
	}
	plain := *desc
	plain.Annotations = nil
	index, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{plain}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(flat, ocispec.ImageIndexFile), index, 0o600); err != nil {
		return "", err
	}
	marker := []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)
	if err := os.WriteFile(filepath.Join(flat, ocispec.ImageLayoutFile), marker, 0o600); err != nil {
		return "", err
	}
	blobs, err := filepath.Abs(filepath.Join(dir, ocispec.ImageBlobsDir))
	if err != nil {
		return "", err
	}
	return flat, os.Symlink(blobs, filepath.Join(flat, ocispec.ImageBlobsDir))
}

// findManifest returns the manifest for a platform, or the only one there is: an
// image for linux/386 can be copied from in a build for linux/amd64.
func findManifest(dir, platform string) (*ocispec.Descriptor, error) {
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return nil, fmt.Errorf("reading the OCI layout: %w", err)
	}
	manifests, err := manifestsOf(dir, data, 0)
	if err != nil {
		return nil, err
	}
	for i := range manifests {
		if p := manifests[i].Platform; p != nil && p.OS+"/"+p.Architecture == platform {
			return &manifests[i], nil
		}
	}
	if len(manifests) != 1 {
		return nil, fmt.Errorf("the OCI layout has %d manifests, none for %s", len(manifests), platform)
	}
	return &manifests[0], nil
}

// imageShell returns the argument of SHELL in an image's configuration, empty if
// there is none. OCI knows no such field, so buildah does not read it; BuildKit
// writes it there nevertheless.
func imageShell(dir, platform string) (string, error) {
	desc, err := findManifest(dir, platform)
	if err != nil {
		return "", err
	}
	data, err := readBlob(dir, desc)
	if err != nil {
		return "", err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return "", fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	if data, err = readBlob(dir, &manifest.Config); err != nil {
		return "", err
	}
	var config struct {
		Config struct{ Shell []string } `json:"config"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("reading configuration %s: %w", manifest.Config.Digest, err)
	}
	if len(config.Config.Shell) == 0 {
		return "", nil
	}
	shell, err := json.Marshal(config.Config.Shell)
	return string(shell), err
}

// verifyLayers says which layer of a manifest is not what its digest says.
func verifyLayers(dir string, desc *ocispec.Descriptor) error {
	data, err := readBlob(dir, desc)
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
	}
	for _, layer := range manifest.Layers {
		if err := verifyBlob(dir, &layer); err != nil {
			return err
		}
	}
	return nil
}

func verifyBlob(dir string, desc *ocispec.Descriptor) error {
	path, err := blobPath(dir, desc)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := desc.Digest.Algorithm().FromReader(f)
	if err == nil && got != desc.Digest {
		err = fmt.Errorf("the blob of %s has the digest %s", desc.Digest, got)
	}
	return err
}

// manifestsOf returns the manifests of an index and of those in it.
func manifestsOf(dir string, data []byte, depth int) ([]ocispec.Descriptor, error) {
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("reading an index of the OCI layout: %w", err)
	}
	var manifests []ocispec.Descriptor
	for _, desc := range index.Manifests {
		blob, err := readBlob(dir, &desc)
		if err != nil {
			return nil, err
		}
		if desc.MediaType != ocispec.MediaTypeImageIndex {
			manifests = append(manifests, desc)
			continue
		}
		if depth == 2 {
			return nil, fmt.Errorf("the OCI layout nests indexes more than %d deep", depth)
		}
		nested, err := manifestsOf(dir, blob, depth+1)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, nested...)
	}
	return manifests, nil
}

func blobPath(dir string, desc *ocispec.Descriptor) (string, error) {
	if err := desc.Digest.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	return filepath.Join(dir, ocispec.ImageBlobsDir, desc.Digest.Algorithm().String(), desc.Digest.Encoded()), nil
}

// readBlob reads JSON, and checks its digest.
func readBlob(dir string, desc *ocispec.Descriptor) ([]byte, error) {
	path, err := blobPath(dir, desc)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIndex {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", desc.Digest, info.Size(), maxIndex)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return nil, fmt.Errorf("the blob of %s has the digest %s", desc.Digest, got)
	}
	return data, nil
}

// export writes an image of the storage to an OCI layout, layers uncompressed.
func (s *state) export(ctx context.Context, id, dir string) error {
	src, err := istorage.Transport.ParseStoreReference(s.store, "@"+id)
	if err != nil {
		return err
	}
	dest, err := layout.NewReference(dir, "")
	if err != nil {
		return err
	}
	policy, err := s.policy()
	if err != nil {
		return err
	}
	defer policy.Destroy()
	system := s.systemContext()
	system.OCIAcceptUncompressedLayers = true
	_, err = copy.Image(ctx, policy, dest, src, &copy.Options{SourceCtx: system, DestinationCtx: system})
	return err
}
