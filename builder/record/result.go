// Package record keeps what was built, and attests it: the result of a build on
// disk, the SLSA provenance and the reproduction made of it, and the ledger that
// they are logged in.
//
// Invariants:
//   - An attestation says BUILT only of what an engine of this operator ran to
//     its end; what was taken from elsewhere is SUBSTITUTED, and stays so.
//   - Materials are complete: every source, every image, every seed and the
//     package directory itself, each by digest.
//   - An attestation is kept before it is submitted, and submitted again as it
//     is after a crash; so one build is one entry.
//   - What a ledger answers is held to the policy before it counts.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/ledger/attest"
)

// Schema names the form of a Result on disk.
const Schema = "cairn.builder.result/v1"

// Result is one image that was obtained, and how. It is all that an attestation
// of it is made from.
type Result struct {
	Schema  string `json:"schema"`
	Package string `json:"package"` // ID in the tree
	Version string `json:"version,omitempty"`
	// Inputs is a digest over everything the image is a function of; the same
	// inputs are not built again.
	Inputs   string `json:"inputs"`
	Platform string `json:"platform"`

	Manifest string   `json:"manifest"` // digests, "sha256:<hex>"
	Index    string   `json:"index"`
	Config   string   `json:"config"`
	DiffIDs  []string `json:"diffIds"`
	Content  string   `json:"content"` // canonical content digest
	// Running is the digest of what of the configuration decides what runs, as
	// image.Running has it.
	Running string `json:"running"`

	Obtained attest.Obtained `json:"obtained"`
	// Rebuilt says that no step came from a cache.
	Rebuilt   bool          `json:"rebuilt"`
	Engine    engine.Info   `json:"engine"`
	Profile   string        `json:"profile"`
	Steps     []engine.Step `json:"steps"`
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended"`
	Materials []Material    `json:"materials"`
	// Parameters are the package's as the attestation has them.
	Parameters map[string]any `json:"parameters"`
	// Environment is the machine and the variation vector.
	Environment map[string]string `json:"environment"`

	// Logged is the entry of the attestation, once there is one.
	Logged *Entry `json:"logged,omitempty"`
}

// Entry is a place in a log.
type Entry struct {
	Origin   string `json:"origin"`
	Index    int64  `json:"index"`
	Envelope string `json:"envelope"` // sha256:<hex>
}

// String returns the id that users see.
func (e *Entry) String() string { return fmt.Sprintf("%s#%d", e.Origin, e.Index) }

// Material is an input of a build.
type Material struct {
	Name      string `json:"name"`
	URI       string `json:"uri,omitempty"`
	SHA256    string `json:"sha256"` // hex
	Role      string `json:"role"`   // source, toolchain, library or seed
	MediaType string `json:"mediaType,omitempty"`
}

// Results is a directory of results, one for each package.
type Results struct{ Dir string }

func (r Results) path(id string) string { return filepath.Join(r.Dir, id+".json") }

// Get returns the result of a package, or nil if there is none.
func (r Results) Get(id string) (*Result, error) {
	b, err := os.ReadFile(r.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the result of %s: %w", id, err)
	}
	res := new(Result)
	if err := json.Unmarshal(b, res); err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.path(id), err)
	}
	if res.Schema != Schema || res.Package != id {
		return nil, fmt.Errorf("%s is not a result of %s: schema %.40q, package %.80q", r.path(id), id, res.Schema, res.Package)
	}
	return res, nil
}

// Put keeps the result of a package, durably and at once.
func (r Results) Put(res *Result) error {
	res.Schema = Schema
	b, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the result of %s: %w", res.Package, err)
	}
	return WriteFile(r.path(res.Package), append(b, '\n'))
}

// Remove forgets the result of a package.
func (r Results) Remove(id string) error {
	if err := os.Remove(r.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the result of %s: %w", id, err)
	}
	return nil
}

// WriteFile writes a file that appears complete or not at all, and survives a
// loss of power once WriteFile has returned.
func WriteFile(path string, b []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
