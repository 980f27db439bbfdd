package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

// forger writes the blobs of a layout by hand.
type forger struct {
	t   *testing.T
	dir string
}

// blob writes a blob and returns its descriptor.
func (f forger) blob(mediaType string, data []byte) map[string]any {
	f.t.Helper()
	d := digest.FromBytes(data)
	put(f.t, blobName(f.dir, d), data, 0o644)
	return map[string]any{"mediaType": mediaType, "digest": d, "size": len(data)}
}

func (f forger) json(mediaType string, v any) map[string]any {
	f.t.Helper()
	data, err := json.Marshal(v)
	must(f.t, err)
	return f.blob(mediaType, data)
}

func (f forger) index(manifest map[string]any) map[string]any {
	return map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
		"manifests": []any{manifest},
	}
}

func (f forger) put(name string, v any) {
	f.t.Helper()
	data, err := json.Marshal(v)
	must(f.t, err)
	put(f.t, filepath.Join(f.dir, name), data, 0o644)
}

// forgeLayer returns a layer of one file, and its diff ID.
func forgeLayer(t *testing.T, content string) ([]byte, digest.Digest) {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	must(t, w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
	_, err := w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
	z := gzip.NewWriter(&packed)
	_, err = z.Write(plain.Bytes())
	must(t, err)
	must(t, z.Close())
	return packed.Bytes(), digest.FromBytes(plain.Bytes())
}
