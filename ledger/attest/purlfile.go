package attest

import (
	"net/url"
	"regexp"
	"strings"

	packageurl "github.com/package-url/packageurl-go"
)

// The names that package files have by the rules of those who make them. Each
// pattern finds name, version and what else the package URL needs.
var (
	debFile   = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)_([0-9][A-Za-z0-9.+~-]*)_([a-z0-9-]+)\.deb$`)
	alpmFile  = regexp.MustCompile(`^([a-z0-9@_+][a-z0-9@._+-]*)-((?:[0-9]+:)?[A-Za-z0-9._+~]+-[0-9]+(?:\.[0-9]+)?)-([a-z0-9_]+)\.pkg\.tar(?:\.[a-z0-9]+)?$`)
	wheelFile = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-([0-9][A-Za-z0-9.!+_]*)(?:-[0-9][^-]*)?-[^-]+-[^-]+-[^-]+\.whl$`)
	// A crate's name has no dot, so that its version begins behind the last dash
	// before the first dot.
	crateFile = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]*)-([0-9]+\.[0-9]+\.[0-9]+(?:[-+][A-Za-z0-9.+-]+)?)\.crate$`)
	// npm's path names the package beside the file.
	npmPath  = regexp.MustCompile(`/((?:@[a-z0-9._~-]+/)?)([a-z0-9._~-]+)/-/([a-z0-9._~-]+)\.tgz$`)
	pypiDash = regexp.MustCompile(`[-_.]+`)
)

// purlOfFile returns the package URL of a package that is distributed under a file
// name, or none if the name does not say enough.
//
// The name does not say which distribution it is of. Only Debian's and Arch's are
// rebuilt by those whose formats name files, so it is taken for theirs, unless the
// version is Ubuntu's. Debian's file names leave the version's epoch out, and so
// does the package URL.
func purlOfFile(file string) string {
	if m := debFile.FindStringSubmatch(file); m != nil && !strings.Contains(m[2], "ubuntu") {
		return purl("deb", "debian", m[1], m[2], "arch", m[3])
	}
	if m := alpmFile.FindStringSubmatch(file); m != nil {
		return purl("alpm", "arch", m[1], m[2], "arch", m[3])
	}
	return ""
}

// purlOfTarget returns the package URL of what was fetched from a URL under a file
// name, for those ecosystems where these say what it is; otherwise none.
func purlOfTarget(target, file string) string {
	if m := wheelFile.FindStringSubmatch(file); m != nil {
		return purl("pypi", "", pypiName(m[1]), strings.ReplaceAll(m[2], "_", "-"))
	}
	if m := crateFile.FindStringSubmatch(file); m != nil {
		return purl("cargo", "", m[1], m[2])
	}
	u, err := url.Parse(target)
	if err != nil || !strings.HasSuffix(u.Path, "/"+file) {
		return ""
	}
	if m := npmPath.FindStringSubmatch(u.Path); m != nil {
		if version, ok := strings.CutPrefix(m[3], m[2]+"-"); ok {
			return purl("npm", strings.TrimSuffix(m[1], "/"), m[2], version)
		}
	}
	return ""
}

// purlOfPackage returns the package URL of a version of a package as oss-rebuild
// names it, or none for ecosystems that have no rule.
func purlOfPackage(ecosystem, name, version, file string) string {
	if name == "" || version == "" {
		return ""
	}
	switch ecosystem {
	case "npm":
		if scope, name, ok := strings.Cut(name, "/"); ok {
			return purl("npm", scope, name, version)
		}
		return purl("npm", "", name, version)
	case "pypi":
		return purl("pypi", "", pypiName(name), version)
	case "cratesio":
		return purl("cargo", "", name, version)
	case "rubygems":
		return purl("gem", "", name, version)
	case "maven":
		// Other files than the jar have package URLs with qualifiers.
		if group, name, ok := strings.Cut(name, ":"); ok && file == name+"-"+version+".jar" {
			return purl("maven", group, name, version)
		}
	case "debian":
		// name is the source package's; the version may have an epoch, which the
		// file's name leaves out.
		if m := debFile.FindStringSubmatch(file); m != nil {
			return purl("deb", "debian", m[1], version, "arch", m[3])
		}
	}
	return ""
}

func pypiName(name string) string {
	return strings.ToLower(pypiDash.ReplaceAllString(name, "-"))
}

func purl(kind, namespace, name, version string, qualifiers ...string) string {
	var qs packageurl.Qualifiers
	for i := 0; i+1 < len(qualifiers); i += 2 {
		qs = append(qs, packageurl.Qualifier{Key: qualifiers[i], Value: qualifiers[i+1]})
	}
	return packageurl.NewPackageURL(kind, namespace, name, version, qs, "").ToString()
}
