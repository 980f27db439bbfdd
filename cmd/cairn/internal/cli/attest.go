package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	packageurl "github.com/package-url/packageurl-go"
	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

func (a *app) newAttest() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "attest",
		Short: "Make a signed attestation",
		Long: `Attest makes a signed attestation, a DSSE envelope over an in-toto Statement, and
writes it to stdout or to the file of -O. It asks no ledger: cairn submit logs
what it made.`,
		Example: `  cairn attest build hello.deb --key ci.key --builder-id https://ci.example
  cairn attest reproduction --of hello.deb --output rebuilt/hello.deb \
      --key alice.key --rebuilder-id https://alice.example/ci`,
	}, a.newAttestBuild(), a.newAttestReproduction())
}

// isMember reports whether a word may stand before = in --subject and
// --material.
func isMember(word string) bool {
	return slices.Contains([]string{"name", "uri", "digest", "role"}, word)
}

// parseDescriptor reads "name=…,uri=…,digest=ALG:HEX,role=…", or a digest
// alone. digest may be repeated with other algorithms.
func parseDescriptor(s string) (attest.ResourceDescriptor, error) {
	d := attest.ResourceDescriptor{Digest: make(map[string]string)}
	if leaf.Digest(s).Valid() {
		return d, addDigest(d.Digest, s)
	}
	seen := make(map[string]bool)
	for _, part := range splitMembers(s) {
		word, value, ok := strings.Cut(part, "=")
		if !ok || value == "" || !isMember(word) {
			return d, fmt.Errorf("%q is not of the form name=…, uri=…, digest=… or role=…", part)
		}
		if seen[word] && word != "digest" {
			return d, fmt.Errorf("%s is given twice", word)
		}
		seen[word] = true
		var err error
		switch word {
		case "name":
			d.Name = value
		case "uri":
			d.URI, err = canonicalURI(value)
		case "digest":
			err = addDigest(d.Digest, value)
		case "role":
			err = setRole(&d, value)
		}
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// splitMembers splits at the commas before which a member begins; a URI may
// hold others.
func splitMembers(s string) []string {
	var parts []string
	for _, part := range strings.Split(s, ",") {
		word, _, ok := strings.Cut(part, "=")
		if len(parts) > 0 && !(ok && isMember(word)) {
			parts[len(parts)-1] += "," + part
			continue
		}
		parts = append(parts, part)
	}
	return parts
}

func canonicalURI(s string) (string, error) {
	if strings.HasPrefix(s, "pkg:") {
		return attest.CanonicalPurl(s)
	}
	return s, nil
}

func setRole(d *attest.ResourceDescriptor, role string) error {
	roles := []string{attest.RoleSource, attest.RoleToolchain, attest.RoleLibrary, attest.RoleSeed}
	if !slices.Contains(roles, role) {
		return fmt.Errorf("unknown role %q: want %s", role, cmdline.OrList(roles))
	}
	d.Annotations = map[string]any{"role": role}
	return nil
}

// addDigest adds "ALG:HEX". Algorithms that identify an artifact are held to
// their form; others, such as gitCommit, are what a source may come with.
func addDigest(m map[string]string, s string) error {
	alg, hex, ok := strings.Cut(s, ":")
	if !ok || alg == "" || hex == "" {
		return fmt.Errorf("digest %q is not of the form sha256:<hex>", s)
	}
	if alg == "sha256" || alg == "sha512" {
		if _, err := leaf.ParseDigest(s); err != nil {
			return err
		}
	}
	if _, taken := m[alg]; taken {
		return fmt.Errorf("two %s digests are given", alg)
	}
	m[alg] = hex
	return nil
}

// purlDigest returns the digest that a purl has as its version, if any.
func purlDigest(purl string) (leaf.Digest, error) {
	p, err := packageurl.FromString(purl)
	if err != nil {
		return "", fmt.Errorf("parsing package URL %q: %w", purl, err)
	}
	if d := leaf.Digest(p.Version); d.Valid() {
		return d, nil
	}
	return "", nil
}

// setPurl makes a purl the URI of d. The digest that it may have as its version
// is d's, or completes it.
func setPurl(d *attest.ResourceDescriptor, purl string) error {
	canonical, err := attest.CanonicalPurl(purl)
	if err != nil {
		return err
	}
	digest, err := purlDigest(canonical)
	if err != nil {
		return err
	}
	d.URI = canonical
	if digest == "" {
		return nil
	}
	alg, hex, _ := strings.Cut(string(digest), ":")
	if have, ok := d.Digest[alg]; ok && have != hex {
		return cmdline.Usagef("", "the package URL is of %s, but the subject is %s:%s", digest, alg, have)
	}
	if d.Digest == nil {
		d.Digest = make(map[string]string)
	}
	d.Digest[alg] = hex
	return nil
}

// describe returns the descriptor of an artifact that an argument names: a
// file, a digest, or a purl whose version is a digest.
func describe(arg string, algorithms ...string) (attest.ResourceDescriptor, error) {
	n, _, err := settled(arg)
	if err != nil {
		return attest.ResourceDescriptor{}, err
	}
	switch n.kind {
	case byReference:
		return attest.ResourceDescriptor{}, cmdline.Usagef("write it as HOST/PATH@sha256:<hex>", "the tag in %q may name another image tomorrow", arg)
	case byFile:
		f, err := readNamed(n.path)
		if err != nil {
			return attest.ResourceDescriptor{}, err
		}
		d := attest.ResourceDescriptor{Name: filepath.Base(n.path), Digest: maps.Clone(f.digests)}
		maps.DeleteFunc(d.Digest, func(alg, _ string) bool { return !slices.Contains(algorithms, alg) })
		return d, nil
	case byDigest:
		alg, hex, _ := strings.Cut(string(n.digest), ":")
		return attest.ResourceDescriptor{Digest: map[string]string{alg: hex}}, nil
	case byPurl:
		var d attest.ResourceDescriptor
		if err := setPurl(&d, n.purl); err != nil {
			return d, err
		}
		if len(d.Digest) == 0 {
			return d, cmdline.Usagef("write it as pkg:…@sha256:<hex>, or name the file", "the package URL %s has no digest", n.purl)
		}
		return d, nil
	}
	return attest.ResourceDescriptor{}, cmdline.Usagef("give a file, or sha256:<hex>", "%q names no artifact", arg)
}
