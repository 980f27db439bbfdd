package tree

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// resolve fills in what depends on more than one file: versions, and with them
// sources, build arguments and the Containerfiles.
func (t *Tree) resolve(dirs []*directory, p *problems) {
	done := make(map[*directory]bool)
	for _, d := range dirs {
		t.resolveVersion(d, nil, done, p)
	}
	for _, d := range dirs {
		sources := d.resolveSources(p)
		args := buildArgs(d.pkgs[0].Version, d.manifest.sources)
		for _, pkg := range d.pkgs {
			pkg.Sources, pkg.Args = sources, args
		}
		t.checkMeets(d, p)
	}
}

// resolveVersion gives a directory's packages the version that version_from
// names. The path of those being resolved is given, to find cycles.
func (t *Tree) resolveVersion(d *directory, above []*directory, done map[*directory]bool, p *problems) {
	from := d.manifest.versionFrom
	if done[d] || from == "" {
		return
	}
	bad := func(format string, args ...any) {
		p.add(d.manifest.file, d.manifest.lines.find("package", "version_from"), "package.version_from", format, args...)
	}
	done[d] = true
	target, ok := t.byID[from]
	switch {
	case !ok:
		bad("%w", t.unknown(from))
		return
	case target.dir == d || slices.Contains(above, target.dir):
		bad("leads back to %s: one of them needs a version", d.path)
		return
	}
	t.resolveVersion(target.dir, append(above, d), done, p)
	if target.Version == "" {
		bad("%s has no version", from)
	}
	for _, pkg := range d.pkgs {
		pkg.Version = target.Version
	}
}

// resolveSources replaces the placeholders of all sources.
func (d *directory) resolveSources(p *problems) []Source {
	var sources []Source
	files := make(map[string]string)
	args := make(map[string]string)
	for i := range d.manifest.sources {
		raw := &d.manifest.sources[i]
		s, ok := d.resolveSource(raw, p)
		if !ok {
			continue
		}
		table := "sources." + raw.name
		line := d.manifest.lines.find(table, "")
		if other, ok := files[s.File]; ok {
			p.add(d.manifest.file, line, table, "its file is %s, as that of sources.%s is", s.File, other)
		}
		files[s.File] = s.Name
		upper := strings.ToUpper(s.Name)
		if other, ok := args[upper]; ok {
			p.add(d.manifest.file, line, table, "its build arguments are called as those of sources.%s", other)
		}
		args[upper] = s.Name
		sources = append(sources, s)
	}
	slices.SortFunc(sources, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return sources
}

func (d *directory) resolveSource(raw *rawSource, p *problems) (Source, bool) {
	s := Source{Name: raw.name, SHA256: raw.hash, GitSHA: raw.gitSHA, Version: raw.version, Role: raw.role}
	if s.Version == "" {
		s.Version = d.pkgs[0].Version
	}
	if s.Role == "" {
		s.Role = RoleSource
	}
	if len(raw.mirrors) == 0 {
		return s, false
	}
	table := "sources." + raw.name
	bad := func(key string, err error) (Source, bool) {
		p.add(d.manifest.file, d.manifest.lines.find(table, key), table+"."+key, "%w", err)
		return s, false
	}
	values := versionPlaceholders(s.Version, raw.format)
	var err error
	if s.File, err = values.expand(raw.template()); err != nil {
		return bad("file", err)
	}
	if err := checkFileName(s.File); err != nil {
		return bad("file", err)
	}
	values["file"] = s.File
	for _, mirror := range raw.mirrors {
		url, err := values.expand(mirror)
		if err != nil {
			return bad("mirrors", fmt.Errorf("%q: %w", mirror, err))
		}
		s.Mirrors = append(s.Mirrors, url)
	}
	return s, true
}

// checkFileName refuses what is not the name of one file in the directory of
// sources.
func checkFileName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("no name: the mirror's URL ends in none, so give file")
	case name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00"):
		return fmt.Errorf("%q is not the name of a file in the directory of sources", name)
	case len(name) > 255:
		return fmt.Errorf("a name of %d bytes: at most 255 are possible", len(name))
	}
	return nil
}

func (t *Tree) checkMeets(d *directory, p *problems) {
	line := d.manifest.lines.find("package", "meets")
	for _, id := range d.manifest.meets {
		pkg, ok := t.byID[id]
		if !ok && strings.Contains(id, "-") {
			p.add(d.manifest.file, line, "package.meets", "%w", t.unknown(id))
		}
		if ok && pkg.dir == d {
			p.add(d.manifest.file, line, "package.meets", "%s is built after it", path.Base(d.path))
		}
	}
}
