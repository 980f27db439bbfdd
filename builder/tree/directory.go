package tree

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// directory is one packages/<stage>/<name>, which is one package or the origin
// of several.
type directory struct {
	path, stage string
	manifest    *manifest
	files       []dirFile // by path
	pkgs        []*Package
}

// dirFile is a file of a package's directory. Those below fetch/ are not among
// them: StageX's tools put the sources there.
type dirFile struct {
	path string // relative to the directory
	seed bool   // an ELF binary, or executable and not text
	text bool
}

func (d *directory) has(name string) bool {
	return slices.ContainsFunc(d.files, func(f dirFile) bool { return f.path == name })
}

func (d *directory) readFiles(fsys fs.FS, p *problems) {
	err := fs.WalkDir(fsys, d.path, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(at, d.path), "/")
		if entry.IsDir() {
			if rel == FetchContext {
				return fs.SkipDir
			}
			return nil
		}
		if len(d.files) == maxFiles {
			p.add(d.path, 0, "", "holds more than %d files", maxFiles)
			return fs.SkipAll
		}
		if path.Base(rel) == containerfile && rel != containerfile {
			p.add(at, 0, "", "must not be here: a package has one %s, in its own directory", containerfile)
		}
		f, err := inspect(fsys, at, entry)
		f.path = rel
		d.files = append(d.files, f)
		return err
	})
	if err != nil {
		p.add(d.path, 0, "", "reading it: %w", err)
	}
	slices.SortFunc(d.files, func(a, b dirFile) int { return strings.Compare(a.path, b.path) })
}

// inspect looks at the beginning of a file to say whether it is a binary. The
// two files that are parsed are none, or not accepted.
func inspect(fsys fs.FS, name string, entry fs.DirEntry) (dirFile, error) {
	parsed := entry.Name() == manifestName || entry.Name() == containerfile
	if parsed || !entry.Type().IsRegular() {
		return dirFile{text: true}, nil
	}
	info, err := entry.Info()
	if err != nil {
		return dirFile{}, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return dirFile{}, err
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return dirFile{}, err
	}
	text := isText(head[:n])
	elf := bytes.HasPrefix(head[:n], []byte("\x7fELF"))
	return dirFile{seed: elf || !text && info.Mode().Perm()&0o111 != 0, text: text}, nil
}

// isText reports whether the beginning of a file is UTF-8 without zero bytes.
// The last rune may be cut.
func isText(head []byte) bool {
	if bytes.IndexByte(head, 0) >= 0 {
		return false
	}
	for len(head) > 0 {
		r, size := utf8.DecodeRune(head)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(head)
		}
		head = head[size:]
	}
	return true
}

var (
	// validName is one component of a repository's name, as the OCI distribution
	// specification has it, since packages are images.
	validName     = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)
	validHash     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	validGitSHA   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	validPlatform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/v[0-9]+)?$`)
	validEngine   = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	validScheme   = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// check finds what is wrong with a manifest by itself.
func (d *directory) check(p *problems) {
	m := d.manifest
	bad := func(key, format string, args ...any) {
		p.add(m.file, m.lines.find("package", key), "package."+key, format, args...)
	}
	if want := path.Base(d.path); m.name != want && m.name != "" {
		bad("name", "is %q, but the directory is called %s", m.name, want)
	}
	if m.version != "" && m.versionFrom != "" {
		bad("version_from", "excludes version: give one of them")
	}
	each := func(key string, values []string, valid func(string) bool, want string) {
		for i, value := range values {
			if !valid(value) {
				bad(key, "%q is not %s", value, want)
			}
			if slices.Contains(values[:i], value) {
				bad(key, "lists %q twice", value)
			}
		}
	}
	if m.name != "" {
		each("name", []string{m.name}, validName.MatchString, "a name for an image: lower-case letters, digits, and . _ - between them")
	}
	each("subpackages", m.subpackages, validName.MatchString, "a name for an image")
	each("platforms", m.platforms, validPlatform.MatchString, "a platform such as linux/amd64")
	each("reproduce", m.reproduce, validEngine.MatchString, "the name of an engine")
	each("meets", m.meets, func(id string) bool { return strings.Contains(id, "-") }, "<stage>-<name>")
	each("seeds", m.seeds, d.has, "a file of "+d.path)
	if len(m.meets) == 1 {
		bad("meets", "needs two packages at least: they are compared with each other")
	}
	for i := range m.sources {
		d.checkSource(&m.sources[i], p)
	}
}

func (d *directory) checkSource(s *rawSource, p *problems) {
	table := "sources." + s.name
	bad := func(key, format string, args ...any) {
		p.add(d.manifest.file, d.manifest.lines.find(table, key), table+"."+key, format, args...)
	}
	if s.hash != "" && !validHash.MatchString(s.hash) {
		bad("hash", "%q is not a SHA-256: 64 lower-case hex digits", s.hash)
	}
	if s.gitSHA != "" && !validGitSHA.MatchString(s.gitSHA) {
		bad("git_sha", "%q is not a commit: 40 or 64 lower-case hex digits", s.gitSHA)
	}
	if s.role != "" && s.role != RoleSource && s.role != RoleSeed {
		bad("role", "%q is neither %s nor %s", s.role, RoleSource, RoleSeed)
	}
	for _, mirror := range s.mirrors {
		if !validScheme.MatchString(mirror) {
			bad("mirrors", "%q is not a URL", mirror)
		}
	}
}

// packages makes the directory's packages, as far as the directory alone says.
func (d *directory) packages() []*Package {
	m := d.manifest
	names := m.subpackages
	if len(names) == 0 {
		names = []string{path.Base(d.path)}
	}
	for _, name := range names {
		pkg := &Package{
			Stage: d.stage, Name: name, Origin: path.Base(d.path), Dir: d.path,
			Version: m.version, Description: m.description, License: m.license, Website: m.website,
			Platforms: m.platforms, Gate: m.gate, Meets: m.meets, Reproduce: m.reproduce,
			Seeds: d.seeds(), Network: m.network, dir: d,
		}
		if len(m.subpackages) > 0 {
			pkg.Target = "package-" + name
		}
		d.pkgs = append(d.pkgs, pkg)
	}
	return d.pkgs
}

// seeds returns the seeds that are declared, or else those that are found.
func (d *directory) seeds() []string {
	if d.manifest.seedsGiven {
		return slices.Sorted(slices.Values(d.manifest.seeds))
	}
	var seeds []string
	for _, f := range d.files {
		if f.seed {
			seeds = append(seeds, f.path)
		}
	}
	return seeds
}
