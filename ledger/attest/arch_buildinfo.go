package attest

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// archKeys are the keys of a .BUILDINFO: those that must be there once, in both
// versions and in version 2 alone, and those that may be there any number of
// times.
var (
	archOnce   = []string{"format", "pkgname", "pkgbase", "pkgver", "pkgarch", "pkgbuild_sha256sum", "packager", "builddate", "builddir"}
	archOnceV2 = []string{"startdir", "buildtool", "buildtoolver"}
	archMany   = []string{"buildenv", "options", "installed"}
)

var (
	archName    = regexp.MustCompile(`^[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*$`)
	archVersion = regexp.MustCompile(`^([0-9]+:)?[^-:/\s]+-[0-9]+(\.[0-9]+)?$`)
	archArch    = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	// archInstalled is <name>-<version>-<release>-<architecture>; a name may have
	// hyphens.
	archInstalled = regexp.MustCompile(`^(.+)-([^-]+-[^-]+)-([^-]+)$`)
)

func isArchBuildinfo(payload []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(firstLine(payload), " \t"), []byte("format = "))
}

// readArchBuildinfo reads Arch's .BUILDINFO, versions 1 and 2. It is in a package
// and has no digest of it, so its subject is the document itself under the
// package's name.
func (a *Attestation) readArchBuildinfo(payload []byte) error {
	values, err := archValues(payload)
	if err != nil {
		return err
	}
	one := func(key string) string { return values[key][0] }
	if n := len(values["installed"]); n >= MaxMaterials {
		return reason.Errorf(reason.TooManyMaterials, "%s: %d installed packages are over the limit of %d", FormatArchBuildinfo, n, MaxMaterials-1)
	}
	uri, lookup, err := archPurl("", one("pkgname"), one("pkgver"), one("pkgarch"))
	if err != nil {
		return err
	}
	pkgbuild := leaf.Digest("sha256:" + one("pkgbuild_sha256sum"))
	if !pkgbuild.Valid() {
		return reason.Errorf(reason.DigestInvalid, "%s: pkgbuild_sha256sum %.140q is not a sha256 in lower-case hex",
			FormatArchBuildinfo, one("pkgbuild_sha256sum"))
	}
	a.names = []string{lookup}
	a.Claim = Claim{
		Kind:   leaf.KindAttestation,
		Claim:  leaf.ClaimOther,
		Result: leaf.NoResult,
		Subjects: []Resource{{Name: one("pkgname") + ".BUILDINFO", URI: uri,
			Digests: map[string]string{"sha256": strings.TrimPrefix(string(leaf.SHA256(payload)), "sha256:")}}},
		Materials: []Resource{{Name: "PKGBUILD", Role: RoleSource,
			Digests: map[string]string{"sha256": one("pkgbuild_sha256sum")}}},
	}
	if one("pkgarch") != "any" {
		a.Claim.Environment = map[string]string{"arch": one("pkgarch")}
	}
	for _, p := range values["installed"] {
		m := archInstalled.FindStringSubmatch(p)
		if m == nil {
			return badDocument(FormatArchBuildinfo, "installed %.120q is not <name>-<version>-<release>-<architecture>", p)
		}
		uri, _, err := archPurl("installed ", m[1], m[2], m[3])
		if err != nil {
			return err
		}
		a.Claim.Materials = append(a.Claim.Materials, Resource{Name: p, URI: uri})
	}
	return nil
}

// archValues reads the lines <key> = <value>, and checks which there are.
func archValues(payload []byte) (map[string][]string, error) {
	lines, err := textLines(FormatArchBuildinfo, payload)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]string)
	for i, line := range lines {
		key, value, ok := strings.Cut(strings.TrimLeft(line, " \t"), " = ")
		if !ok || value == "" {
			return nil, badDocument(FormatArchBuildinfo, "line %d is not <key> = <value>: %.100q", i+1, line)
		}
		values[key] = append(values[key], value)
	}
	if f := values["format"]; len(f) != 1 || f[0] != "1" && f[0] != "2" {
		return nil, badDocument(FormatArchBuildinfo, "its format is %.40q, want 1 or 2", f[:min(len(f), 2)])
	}
	once := archOnce
	if values["format"][0] == "2" {
		once = append(slices.Clone(archOnce), archOnceV2...)
	}
	for _, key := range once {
		if n := len(values[key]); n != 1 {
			return nil, badDocument(FormatArchBuildinfo, "it has %d lines of %s, want one", n, key)
		}
	}
	for key := range values {
		if !slices.Contains(once, key) && !slices.Contains(archMany, key) {
			return nil, badDocument(FormatArchBuildinfo, "format %s has no key %.40q", values["format"][0], key)
		}
	}
	return values, nil
}

// archPurl returns the package URL of a package of Arch Linux. what is put before
// the keys in refusals.
func archPurl(what, name, version, arch string) (uri, lookup string, err error) {
	for _, c := range []struct {
		key, value string
		form       *regexp.Regexp
	}{{"name", name, archName}, {"version", version, archVersion}, {"architecture", arch, archArch}} {
		if !c.form.MatchString(c.value) {
			return "", "", badDocument(FormatArchBuildinfo, "%spackage has the invalid %s %.120q", what, c.key, c.value)
		}
	}
	return purlOf("alpm", "arch", name, version, map[string]string{"arch": arch})
}
