package attest

import (
	"net/url"
	"regexp"
	"strings"
)

// The names that package files have by the rules of those who make them. Each
// pattern finds name, version and what else the package URL needs.
var (
	debFileName   = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)_([0-9][A-Za-z0-9.+~-]*)_([a-z0-9-]+)\.deb$`)
	alpmFileName  = regexp.MustCompile(`^([a-z0-9@_+][a-z0-9@._+-]*)-((?:[0-9]+:)?[A-Za-z0-9._+~]+-[0-9]+(?:\.[0-9]+)?)-([a-z0-9_]+)\.pkg\.tar(?:\.[a-z0-9]+)?$`)
	wheelFileName = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-([0-9][A-Za-z0-9.!+_]*)(?:-[0-9][^-]*)?-[^-]+-[^-]+-[^-]+\.whl$`)
	// A crate's name has no dot, so that its version begins behind the last dash
	// before the first dot.
	crateFileName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]*)-([0-9]+\.[0-9]+\.[0-9]+(?:[-+][A-Za-z0-9.+-]+)?)\.crate$`)
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
	if m := debFileName.FindStringSubmatch(file); m != nil && !strings.Contains(m[2], "ubuntu") {
		return purl("deb", "debian", m[1], m[2], m[3])
	}
	if m := alpmFileName.FindStringSubmatch(file); m != nil {
		return purl("alpm", "arch", m[1], m[2], m[3])
	}
	return ""
}

// purlOfTarget returns the package URL of what was fetched from a URL under a file
// name, for those ecosystems where these say what it is; otherwise none.
func purlOfTarget(target, file string) string {
	if m := wheelFileName.FindStringSubmatch(file); m != nil {
		return purl("pypi", "", pypiName(m[1]), strings.ReplaceAll(m[2], "_", "-"))
	}
	if m := crateFileName.FindStringSubmatch(file); m != nil {
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
		if m := debFileName.FindStringSubmatch(file); m != nil {
			return purl("deb", "debian", m[1], version, m[3])
		}
	}
	return ""
}

func pypiName(name string) string {
	return strings.ToLower(pypiDash.ReplaceAllString(name, "-"))
}

// purl returns a package URL, or none of what has no canonical form.
func purl(kind, namespace, name, version string, arch ...string) string {
	qualifiers := make(map[string]string)
	for _, a := range arch {
		qualifiers["arch"] = a
	}
	uri, _, err := purlOf(kind, namespace, name, version, qualifiers)
	if err != nil {
		return ""
	}
	return uri
}
