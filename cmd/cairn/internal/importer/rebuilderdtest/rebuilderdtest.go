// Package rebuilderdtest is a rebuilderd for tests: as much of its REST interface,
// version 1, as is read from the outside, with the JSON that rebuilderd 0.27 writes.
package rebuilderdtest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
)

// Daemon is a rebuilderd.
type Daemon struct {
	Key      ed25519.PrivateKey // the daemon's
	Worker   ed25519.PrivateKey
	Packages []Package
	// Requests counts the requests by path.
	Requests map[string]int
}

// Package is a binary package and its latest rebuild.
type Package struct {
	Name, Version, Architecture string
	Status                      string // of the artifact: GOOD, BAD, UNKWN, or nothing for null
	Build                       string // status of the build; nothing if there is none
	Attested                    bool
	Content                     string // of the artifact
	Gone                        bool   // whether its URL serves nothing any more
}

// File returns the artifact's file name.
func (p *Package) File() string {
	return fmt.Sprintf("%s_%s_%s.deb", p.Name, p.Version, p.Architecture)
}

// New returns a daemon whose keys are the same every time.
func New(packages ...Package) *Daemon {
	return &Daemon{
		Key:      ed25519.NewKeyFromSeed([]byte(strings.Repeat("d", ed25519.SeedSize))),
		Worker:   ed25519.NewKeyFromSeed([]byte(strings.Repeat("w", ed25519.SeedSize))),
		Packages: packages,
		Requests: make(map[string]int),
	}
}

// ServeHTTP implements http.Handler. Requests must come one after the other.
func (d *Daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.Requests[r.URL.Path]++
	if file, ok := strings.CutPrefix(r.URL.Path, "/pool/"); ok {
		d.serveArtifact(w, file)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
	switch {
	case r.URL.Path == "/api/v1/meta/public-keys":
		answer(w, map[string]any{"current": []string{PEM(d.Key.Public().(ed25519.PublicKey))}})
	case r.URL.Path == "/api/v1/packages/binary":
		d.servePackages(w, r)
	case len(parts) == 2 && parts[0] == "builds":
		d.serveBuild(w, parts[1])
	case len(parts) == 5 && parts[0] == "builds" && parts[2] == "artifacts" && parts[4] == "attestation":
		d.serveAttestation(w, parts[1], parts[3])
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (d *Daemon) servePackages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil {
		limit = 1000
	}
	after, err := strconv.Atoi(q.Get("after"))
	if err != nil {
		after = -1
	}
	base := "http://" + r.Host
	records := []any{}
	for i := range d.Packages {
		p := &d.Packages[i]
		if arch := q.Get("architecture"); i+1 <= after || arch != "" && arch != p.Architecture {
			continue
		}
		if len(records) < limit {
			records = append(records, record(p, i+1, base))
		}
	}
	answer(w, map[string]any{"total": len(d.Packages), "records": records})
}

// record is rebuilderd's BinaryPackage. The ids of a package, its build and its
// artifact are the same here.
func record(p *Package, id int, base string) any {
	var build, artifact, attestation any
	if p.Build != "" {
		build = id
		if p.Build != "FAIL" {
			artifact = id
		}
	}
	if p.Attested {
		attestation = id
	}
	return struct {
		ID             int    `json:"id"`
		Name           string `json:"name"`
		Version        string `json:"version"`
		Distribution   string `json:"distribution"`
		Release        any    `json:"release"`
		Component      any    `json:"component"`
		Architecture   string `json:"architecture"`
		URL            string `json:"url"`
		Status         any    `json:"status"`
		BuildID        any    `json:"build_id"`
		ArtifactID     any    `json:"artifact_id"`
		Diffoscope     any    `json:"diffoscope_log_id"`
		Attestation    any    `json:"attestation_log_id"`
		LastSeen       string `json:"last_seen"`
		SeenInLastSync bool   `json:"seen_in_last_sync"`
	}{
		id, p.Name, p.Version, "debian", "sid", "main", p.Architecture, base + "/pool/" + p.File(), orNull(p.Status),
		build, artifact, nil, attestation, "2026-05-30T10:00:00.123456", true,
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// named returns the package with an id.
func (d *Daemon) named(w http.ResponseWriter, id string) *Package {
	i, err := strconv.Atoi(id)
	if err != nil || i < 1 || i > len(d.Packages) || d.Packages[i-1].Build == "" {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	return &d.Packages[i-1]
}

// serveBuild serves rebuilderd's Rebuild.
func (d *Daemon) serveBuild(w http.ResponseWriter, id string) {
	p := d.named(w, id)
	if p == nil {
		return
	}
	n, _ := strconv.Atoi(id)
	answer(w, map[string]any{
		"id": n, "name": p.Name, "version": p.Version, "distribution": "debian", "release": "sid",
		"architecture": p.Architecture, "backend": "debian", "retries": 0,
		"started_at": "2026-05-29T08:00:00.5", "built_at": "2026-05-29T08:10:00", "status": p.Build,
	})
}

func (d *Daemon) serveArtifact(w http.ResponseWriter, file string) {
	for _, p := range d.Packages {
		if p.File() == file && !p.Gone {
			_, _ = w.Write([]byte(p.Content))
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

// serveAttestation serves the in-toto link that the worker signed, and to which
// the daemon added its signature.
func (d *Daemon) serveAttestation(w http.ResponseWriter, id, artifact string) {
	p := d.named(w, id)
	if p == nil || id != artifact || !p.Attested {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	signed := map[string]any{
		"_type": "link", "name": "rebuild " + p.File(),
		"materials":   map[string]any{p.Name + ".buildinfo": digests("buildinfo of " + p.Name)},
		"products":    map[string]any{p.File(): digests(p.Content)},
		"environment": nil, "byproducts": map[string]any{}, "command": []any{},
	}
	text, err := cjson.EncodeCanonical(signed)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var signatures []any
	for _, key := range []ed25519.PrivateKey{d.Worker, d.Key} {
		signatures = append(signatures, map[string]string{"keyid": keyID(key), "sig": hex.EncodeToString(ed25519.Sign(key, text))})
	}
	answer(w, map[string]any{"signatures": signatures, "signed": signed})
}

func digests(content string) map[string]string {
	sum := sha256.Sum256([]byte(content))
	return map[string]string{"sha256": hex.EncodeToString(sum[:])}
}

func keyID(key ed25519.PrivateKey) string {
	public := hex.EncodeToString(key.Public().(ed25519.PublicKey))
	sum := sha256.Sum256([]byte(`{"keyid_hash_algorithms":["sha256","sha512"],"keytype":"ed25519","keyval":{"public":"` + public + `"},"scheme":"ed25519"}`))
	return hex.EncodeToString(sum[:])
}

// PEM returns a key as rebuilderd writes it: the algorithm has NULL for parameters,
// which RFC 8410 forbids, and lines end as in DOS.
func PEM(key ed25519.PublicKey) string {
	der, err := asn1.Marshal(struct {
		Algorithm struct {
			Algorithm  asn1.ObjectIdentifier
			Parameters asn1.RawValue
		}
		Key asn1.BitString
	}{
		Algorithm: struct {
			Algorithm  asn1.ObjectIdentifier
			Parameters asn1.RawValue
		}{asn1.ObjectIdentifier{1, 3, 101, 112}, asn1.NullRawValue},
		Key: asn1.BitString{Bytes: key, BitLength: 8 * len(key)},
	})
	if err != nil {
		panic(err) // it is a constant but for the key's bytes
	}
	return "-----BEGIN PUBLIC KEY-----\r\n" + base64.StdEncoding.EncodeToString(der) + "\r\n-----END PUBLIC KEY-----\r\n"
}
