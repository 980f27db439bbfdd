package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/cmd/cairn/internal/oci"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// nameKind is how an argument names something.
type nameKind int

const (
	byIndex nameKind = iota
	byDigest
	byFingerprint // openpgp: only; a sha256: fingerprint is a digest too
	byPurl
	byFile
	byLayout    // oci:PATH
	byReference // of an image, at a registry
)

// name is an argument that names something; `cairn help names` is its grammar.
type name struct {
	kind   nameKind
	origin string // byIndex: the log's, if it was given
	index  int64
	digest leaf.Digest
	key    leaf.Fingerprint
	purl   string // canonical
	path   string
	image  oci.Reference
}

func parseName(s string) (name, error) {
	switch {
	case s == "":
		return name{}, cmdline.Usagef("see `cairn help names`", "an argument is empty")
	case strings.HasPrefix(s, "./"), strings.HasPrefix(s, "../"), strings.HasPrefix(s, "/"):
		return name{kind: byFile, path: s}, nil
	case strings.HasPrefix(s, "sha256:"), strings.HasPrefix(s, "sha512:"):
		d, err := leaf.ParseDigest(s)
		if err != nil {
			return name{}, cmdline.Usagef("", "%w", err)
		}
		return name{kind: byDigest, digest: d}, nil
	case strings.HasPrefix(s, "openpgp:"):
		f := leaf.Fingerprint(s)
		if !f.Valid() {
			return name{}, cmdline.Usagef("", "invalid fingerprint %q: want openpgp:<40 or 64 hex>, in lower case", s)
		}
		return name{kind: byFingerprint, key: f}, nil
	case strings.HasPrefix(s, "pkg:"):
		p, err := attest.CanonicalPurl(s)
		return name{kind: byPurl, purl: p}, err
	case strings.HasPrefix(s, "oci:"):
		return name{kind: byLayout, path: strings.TrimPrefix(s, "oci:")}, nil
	case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"):
		return name{}, cmdline.Usagef("give the ledger's URL with --ledger, and here an index, digest, purl or file", "%q is a URL", s)
	}
	if index, err := parseIndex(s); err == nil {
		return name{kind: byIndex, index: index}, nil
	}
	if i := strings.LastIndexByte(s, '#'); i > 0 {
		if index, err := parseIndex(s[i+1:]); err == nil {
			return name{kind: byIndex, origin: s[:i], index: index}, nil
		}
	}
	ref, ok, err := oci.ParseReference(s)
	switch {
	case !ok:
		return name{kind: byFile, path: s}, nil
	case err != nil:
		return name{}, cmdline.Usagef("write it as HOST/PATH@sha256:<hex> or HOST/PATH:TAG", "%w", err)
	}
	return name{kind: byReference, path: s, image: ref}, nil
}

// parseIndex reads a decimal in its one spelling.
func parseIndex(s string) (int64, error) {
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || i < 0 || strconv.FormatInt(i, 10) != s {
		return 0, cmdline.Usagef("", "invalid index %q: want a decimal number", s)
	}
	return i, nil
}

// fileKind is what a file was found to be.
type fileKind int

const (
	artifactFile fileKind = iota
	attestationFile
	publicKeyFile
)

func (k fileKind) String() string {
	switch k {
	case attestationFile:
		return "an attestation"
	case publicKeyFile:
		return "a public key"
	}
	return "an artifact"
}

// file is a file that was named to be looked up.
type file struct {
	kind    fileKind
	digests map[string]string // of its bytes
	raw     []byte            // of an attestation
	key     *attest.PublicKey
}

// readNamed reads a file that names something. An artifact may be large: only
// its digests are kept.
func readNamed(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, missingFile(path, err)
	}
	defer func() { _ = f.Close() }()
	head, err := io.ReadAll(io.LimitReader(f, attest.MaxEnvelope+1))
	if err != nil {
		return nil, cmdline.Unreadable("reading "+path, cmdline.PathCause(err))
	}
	h256, h512 := sha256.New(), sha512.New()
	both := io.MultiWriter(h256, h512)
	_, _ = both.Write(head) // a hash does not fail
	if _, err := io.Copy(both, f); err != nil {
		return nil, cmdline.Unreadable("reading "+path, cmdline.PathCause(err))
	}
	n := &file{digests: map[string]string{
		"sha256": hex.EncodeToString(h256.Sum(nil)),
		"sha512": hex.EncodeToString(h512.Sum(nil)),
	}}
	if len(head) > attest.MaxEnvelope {
		return n, nil
	}
	if key, err := attest.ParsePublicKey(head); err == nil {
		n.kind, n.key = publicKeyFile, key
	} else if _, err := leaf.ParseHashedRekord(head); err == nil || looksLikeDSSE(head) || isAttestation(head) {
		n.kind, n.raw = attestationFile, head
	}
	return n, nil
}

// sha256Digest returns the digest of the file's bytes.
func (f *file) sha256Digest() leaf.Digest { return leaf.Digest("sha256:" + f.digests["sha256"]) }

// isAttestation reports whether nothing is wrong with b as an attestation, but that
// its keys are not known here. An artifact may begin as one does.
func isAttestation(b []byte) bool {
	_, err := attest.Open(b, attest.NewKeyring())
	refusal, ok := reason.Of(err)
	return !ok || refusal.Reason == reason.KeyNotEnrolled
}

// looksLikeDSSE reports whether b was meant as a DSSE envelope, well-formed or
// not.
func looksLikeDSSE(b []byte) bool {
	var env struct {
		PayloadType *string         `json:"payloadType"`
		Signatures  json.RawMessage `json:"signatures"`
	}
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) &&
		json.Unmarshal(b, &env) == nil && env.PayloadType != nil && env.Signatures != nil
}

// missingFile explains why a file cannot be opened; a bare hash is a likely
// reason.
func missingFile(path string, err error) error {
	p := &cmdline.Problem{Reason: cmdline.FileUnreadable, Err: fmt.Errorf("opening %s: %w", path, cmdline.PathCause(err))}
	if leaf.Digest("sha256:" + path).Valid() {
		p.Hint = "to name a digest, write sha256:" + path
	} else if errors.Is(err, os.ErrNotExist) {
		p.Hint = "check the name; `cairn help names` says what can be named beside files"
	}
	return p
}
