package debian

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// installed is a line of apt-get -s: Inst name (version origin [arch])
var installed = regexp.MustCompile(`^Inst (\S+) \((\S+) .*\[([a-z0-9-]+)\]\)`)

// Lock resolves the names of packages to all that they need: dependencies, not
// recommendations, in the newest version that the suite has.
func (a *Apt) Lock(ctx context.Context, packages []string) (*Lock, error) {
	if a.suite == "" {
		return nil, errors.New("a lock needs a suite")
	}
	l := &Lock{Suite: a.suite, Arch: a.arch, Packages: packages}
	for _, p := range packages {
		if !debName.MatchString(p) {
			return nil, fmt.Errorf("package name %q is none", p)
		}
	}
	if len(packages) == 0 {
		return nil, errors.New("no packages to resolve")
	}
	out, err := a.run(ctx, "apt-get", append([]string{"-q", "-s", "-y", "--no-install-recommends", "install"}, packages...)...)
	if err != nil {
		return nil, a.explain(fmt.Errorf("resolving %s: %w%s", strings.Join(packages, " "), err, unmet(string(out))))
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "Inst ") {
			continue
		}
		m := installed.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("resolving %s: apt's line is not understood: %q", strings.Join(packages, " "), line)
		}
		l.Debs = append(l.Debs, Deb{Name: m[1], Version: m[2], Arch: m[3]})
	}
	if len(l.Debs) == 0 {
		return nil, fmt.Errorf("resolving %s: apt would install nothing", strings.Join(packages, " "))
	}
	downloads, err := a.Debs(ctx, l.Debs)
	if err != nil {
		return nil, err
	}
	for i, d := range downloads {
		l.Debs[i].SHA256 = d.SHA256
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("resolving %s: %w", strings.Join(packages, " "), err)
	}
	return l, nil
}

// unmet is what apt says about dependencies, which it prints where its results go.
func unmet(out string) string {
	_, list, ok := strings.Cut(out, "unmet dependencies:\n")
	if !ok {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(list), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return ": unmet dependencies: " + strings.Join(lines[:min(len(lines), 10)], "; ")
}

// Debs finds binary packages, each of exactly its version, in their order.
func (a *Apt) Debs(ctx context.Context, debs []Deb) ([]Download, error) {
	if len(debs) == 0 {
		return nil, errors.New("no packages to find")
	}
	args := []string{"download"}
	for _, d := range debs {
		args = append(args, d.Name+"="+d.Version)
	}
	list, err := a.uris(ctx, args...)
	found := make(map[string]Download, len(list))
	for _, d := range list {
		found[d.File] = d
	}
	downloads := make([]Download, len(debs))
	var missing []string
	for i, d := range debs {
		file, ok := found[d.File()]
		if !ok {
			missing = append(missing, d.Name+" "+d.Version)
			continue
		}
		downloads[i] = file
	}
	if len(missing) > 0 {
		return nil, a.explain(errors.Join(fmt.Errorf("%s no longer has: %s", orDefault(a.suite, "the archive"), strings.Join(missing, ", ")), err))
	}
	return downloads, nil
}

// File is the name that apt gives to the .deb.
func (d Deb) File() string {
	return fmt.Sprintf("%s_%s_%s.deb", d.Name, strings.ReplaceAll(d.Version, ":", "%3a"), d.Arch)
}
