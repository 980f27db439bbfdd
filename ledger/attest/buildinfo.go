package attest

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

var (
	debName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	debVersion = regexp.MustCompile(`^([0-9]+:)?[0-9A-Za-z][0-9A-Za-z.+~-]*$`)
	debArch    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	debOrigin  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.+-]*$`)
	debField   = regexp.MustCompile(`^([!"$-,.-9;-~][!-9;-~]*):[ \t]*(.*)$`)
	// debSource is the source package, with its version where the packages have
	// another.
	debSource = regexp.MustCompile(`^(\S+)(?: \((\S+)\))?$`)
	debListed = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.~_-]*$`)
	// debDepends is an installed package: its architecture is given where it is
	// not the build's own.
	debDepends = regexp.MustCompile(`^([^:\s]+)(:(\S+))? \(= (\S+)\)$`)
)

func isBuildinfo(payload []byte) bool {
	return strings.HasPrefix(strings.ToLower(string(firstLine(payload))), "format: ")
}

// buildinfo is a .buildinfo file, as deb-buildinfo(5) has it.
type buildinfo struct {
	fields  map[string]string // by name in lower case; lines of a folded one by LF
	vendor  string            // namespace of package URLs; empty if nobody says
	version string            // of the packages, with its epoch
	source  string            // name of the source package
	srcver  string            // its version
}

// readBuildinfo reads a Debian .buildinfo: that somebody built these packages
// with these others installed. The latter are named and not pinned by a digest.
func (a *Attestation) readBuildinfo(payload []byte) error {
	b, err := parseBuildinfo(payload)
	if err != nil {
		return err
	}
	a.names = nil
	a.Claim = Claim{
		Kind:        leaf.KindAttestation,
		Claim:       leaf.ClaimBuild,
		Result:      leaf.NoResult,
		Environment: b.environment(),
	}
	if err := a.readBuildinfoFiles(b); err != nil {
		return err
	}
	if len(a.Claim.Subjects) == 0 {
		return reason.Errorf(reason.SubjectMissing, "%s: Checksums-Sha256 has no .deb, .udeb or .ddeb", FormatBuildinfo)
	}
	return a.readBuildinfoDepends(b)
}

// parseBuildinfo reads the fields and checks those that say what it is about.
func parseBuildinfo(payload []byte) (*buildinfo, error) {
	fields, err := debFields(payload)
	if err != nil {
		return nil, err
	}
	b := &buildinfo{fields: fields}
	for _, name := range []string{"Format", "Source", "Version", "Architecture", "Checksums-Sha256", "Build-Architecture", "Installed-Build-Depends"} {
		if b.field(name) == "" {
			return nil, badDocument(FormatBuildinfo, "it has no %s", name)
		}
	}
	if f := b.field("Format"); f != "1.0" {
		return nil, badDocument(FormatBuildinfo, "its Format is %.40q, want 1.0", f)
	}
	m := debSource.FindStringSubmatch(b.field("Source"))
	if m == nil {
		return nil, badDocument(FormatBuildinfo, "its Source is %.120q, want <name> or <name> (<version>)", b.field("Source"))
	}
	b.source, b.srcver, b.version = m[1], m[2], b.field("Version")
	if b.srcver == "" {
		b.srcver = b.version
	}
	if !debName.MatchString(b.source) || !debVersion.MatchString(b.srcver) || !debVersion.MatchString(b.version) {
		return nil, badDocument(FormatBuildinfo, "Source %.120q and Version %.120q are no package", b.field("Source"), b.version)
	}
	if !debArch.MatchString(b.field("Build-Architecture")) {
		return nil, badDocument(FormatBuildinfo, "its Build-Architecture is %.40q", b.field("Build-Architecture"))
	}
	if origin := b.field("Build-Origin"); debOrigin.MatchString(origin) {
		b.vendor = strings.ToLower(origin)
	}
	return b, nil
}

func (b *buildinfo) field(name string) string { return b.fields[strings.ToLower(name)] }

// environment is where it was built, without what tells of people: paths, names
// of machines and variables.
func (b *buildinfo) environment() map[string]string {
	env := map[string]string{"arch": b.field("Build-Architecture")}
	if kernel := b.field("Build-Kernel-Version"); kernel != "" {
		env["kernel"] = kernel
	}
	if origin := b.field("Build-Origin"); origin != "" {
		env["distribution"] = origin
	}
	return env
}

// debFields reads the one paragraph of a control file: fields by their names in
// lower case, which are the same in any case.
func debFields(payload []byte) (map[string]string, error) {
	lines, err := textLines(FormatBuildinfo, payload)
	if err != nil {
		return nil, err
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	folded := make(map[string][]string)
	last := ""
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			return nil, badDocument(FormatBuildinfo, "line %d is empty, and more follow: want one paragraph", i+1)
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last == "" {
				return nil, badDocument(FormatBuildinfo, "line %d continues no field", i+1)
			}
			folded[last] = append(folded[last], strings.TrimSpace(line))
			continue
		}
		m := debField.FindStringSubmatch(line)
		if m == nil {
			return nil, badDocument(FormatBuildinfo, "line %d is no field: %.100q", i+1, line)
		}
		last = strings.ToLower(m[1])
		if _, ok := folded[last]; ok {
			return nil, badDocument(FormatBuildinfo, "line %d has %.40s a second time", i+1, m[1])
		}
		folded[last] = []string{strings.TrimSpace(m[2])}
	}
	fields := make(map[string]string)
	for name, lines := range folded {
		// A list begins on the line behind its name.
		fields[name] = strings.TrimPrefix(strings.Join(lines, "\n"), "\n")
	}
	return fields, nil
}

// sized is a file as a list of checksums has it.
type sized struct {
	digest string
	size   uint64
}

// checksums reads a list of checksums of n hex digits.
func (b *buildinfo) checksums(field string, n int) (files map[string]sized, order []string, err error) {
	files = make(map[string]sized)
	for line := range strings.SplitSeq(b.field(field), "\n") {
		part := strings.Fields(line)
		if len(part) != 3 || !debListed.MatchString(part[2]) {
			return nil, nil, badDocument(FormatBuildinfo, "%s has %.200q, want <digest> <size> <file>", field, line)
		}
		size, err := strconv.ParseUint(part[1], 10, 63)
		if err != nil {
			return nil, nil, badDocument(FormatBuildinfo, "%s gives %.120s the size %.40q", field, part[2], part[1])
		}
		if len(part[0]) != n || strings.Trim(part[0], "0123456789abcdef") != "" {
			return nil, nil, reason.Errorf(reason.DigestInvalid, "%s: %s gives %.120s the digest %.140q, want %d lower-case hex digits",
				FormatBuildinfo, field, part[2], part[0], n)
		}
		if _, ok := files[part[2]]; ok {
			return nil, nil, badDocument(FormatBuildinfo, "%s has %.120s a second time", field, part[2])
		}
		files[part[2]] = sized{part[0], size}
		order = append(order, part[2])
	}
	return files, order, nil
}

// readBuildinfoFiles takes the packages as subjects, and the source package as a
// material. Weaker checksums identify nothing, but must be of the same files.
func (a *Attestation) readBuildinfoFiles(b *buildinfo) error {
	files, order, err := b.checksums("Checksums-Sha256", 64)
	if err != nil {
		return err
	}
	for _, weak := range []struct {
		field  string
		digits int
	}{{"Checksums-Md5", 32}, {"Checksums-Sha1", 40}} {
		if b.field(weak.field) == "" {
			continue
		}
		others, _, err := b.checksums(weak.field, weak.digits)
		if err != nil {
			return err
		}
		for _, file := range order {
			if f, ok := others[file]; !ok || f.size != files[file].size || len(others) != len(files) {
				return badDocument(FormatBuildinfo, "%s and Checksums-Sha256 are of different files: see %.120s", weak.field, file)
			}
		}
	}
	for _, file := range order {
		r := Resource{Name: file, Digests: map[string]string{"sha256": files[file].digest}}
		switch path.Ext(file) {
		case ".dsc":
			r.Role = RoleSource
			if r.URI, _, err = b.purl(b.source, b.srcver, "source"); err != nil {
				return err
			}
			a.Claim.Materials = append(a.Claim.Materials, r)
		case ".deb", ".udeb", ".ddeb":
			if err := a.addPackage(b, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// addPackage adds a package, whose name is <name>_<version>_<architecture>.<type>.
func (a *Attestation) addPackage(b *buildinfo, r Resource) error {
	if len(a.Claim.Subjects) == MaxSubjects {
		return reason.Errorf(reason.TooManySubjects, "%s: more packages than the limit of %d", FormatBuildinfo, MaxSubjects)
	}
	part := strings.Split(strings.TrimSuffix(r.Name, path.Ext(r.Name)), "_")
	if len(part) != 3 {
		return badDocument(FormatBuildinfo, "%.120q is not called <name>_<version>_<architecture>", r.Name)
	}
	uri, lookup, err := b.purl(part[0], b.versionOf(part[1]), part[2])
	if err != nil {
		return err
	}
	if r.URI = uri; uri != "" {
		a.names = append(a.names, lookup)
	}
	a.Claim.Subjects = append(a.Claim.Subjects, r)
	return nil
}

// versionOf returns the version of a package from that in its file's name, which
// has no epoch. Of a package that has a version of its own, it is unknown.
func (b *buildinfo) versionOf(inName string) string {
	if i := strings.IndexByte(b.version, ':'); b.version[i+1:] == inName {
		return b.version
	}
	return inName
}

// purl returns the package URL of a Debian package, or nothing if nobody says
// whose it is. Without an
// architecture, it is left out.
func (b *buildinfo) purl(name, version, arch string) (uri, lookup string, err error) {
	if !debName.MatchString(name) || !debVersion.MatchString(version) || arch != "" && !debArch.MatchString(arch) {
		return "", "", badDocument(FormatBuildinfo, "package %.120q of version %.120q and architecture %.40q is none", name, version, arch)
	}
	if b.vendor == "" {
		return "", "", nil
	}
	return purlOf("deb", b.vendor, name, version, map[string]string{"arch": arch})
}

// readBuildinfoDepends takes what was installed as materials. None has a digest,
// and which of them went into the packages nobody says: they have no role.
func (a *Attestation) readBuildinfoDepends(b *buildinfo) error {
	list := strings.Split(strings.TrimSuffix(b.field("Installed-Build-Depends"), ","), ",")
	if n := len(list) + len(a.Claim.Materials); n > MaxMaterials {
		return reason.Errorf(reason.TooManyMaterials, "%s: %d materials are over the limit of %d", FormatBuildinfo, n, MaxMaterials)
	}
	for _, text := range list {
		m := debDepends.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			return badDocument(FormatBuildinfo, "Installed-Build-Depends has %.120q, want <name> (= <version>)", text)
		}
		uri, _, err := b.purl(m[1], m[4], m[3])
		if err != nil {
			return err
		}
		a.Claim.Materials = append(a.Claim.Materials, Resource{Name: m[1] + m[2] + "=" + m[4], URI: uri})
	}
	return nil
}
