package tree

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/suggest"
)

// Lookup finds a package by one of its names: "bootstrap/stage0",
// "bootstrap-stage0", "stagex/bootstrap-stage0", or the path of its directory or
// of a file in it. The error of another name wraps ErrUnknown and names those
// that are near.
func (t *Tree) Lookup(name string) (*Package, error) {
	id := t.id(name)
	if pkg, ok := t.byID[id]; ok {
		return pkg, nil
	}
	return nil, t.unknown(id)
}

// Select finds the packages of several names, in the tree's order. Beside those
// of Lookup there are the names of stages, which stand for all their packages,
// and those of origins without an image, which stand for their subpackages.
func (t *Tree) Select(names ...string) ([]*Package, error) {
	var found []*Package
	for _, name := range names {
		if slices.Contains(Stages, name) {
			for _, pkg := range t.Packages {
				if pkg.Stage == name {
					found = append(found, pkg)
				}
			}
			continue
		}
		id := t.id(name)
		if subs, ok := t.origins[id]; ok && t.byID[id] == nil {
			found = append(found, subs...)
			continue
		}
		pkg, err := t.Lookup(name)
		if err != nil {
			return nil, err
		}
		found = append(found, pkg)
	}
	slices.SortFunc(found, compare)
	return slices.Compact(found), nil
}

// id returns the ID that a name stands for, whether or not a package has it.
func (t *Tree) id(name string) string {
	if id, ok := strings.CutPrefix(strings.TrimPrefix(name, "docker.io/"), t.Prefix); ok && t.Prefix != "" {
		return strings.TrimSuffix(id, ":latest")
	}
	parts := strings.Split(filepath.ToSlash(filepath.Clean(name)), "/")
	if len(parts) == 2 && slices.Contains(Stages, parts[0]) {
		return parts[0] + "-" + parts[1]
	}
	if i := slices.Index(parts, packagesDir); i == 0 && len(parts) >= 3 {
		return parts[1] + "-" + parts[2]
	}
	if len(parts) > 1 {
		if id, ok := t.pathID(name); ok {
			return id
		}
	}
	return name
}

// pathID returns the ID of the package that a path leads to, absolute or from
// the working directory.
func (t *Tree) pathID(name string) (string, bool) {
	root, err := filepath.Abs(filepath.Join(t.Root, packagesDir))
	if err != nil {
		return "", false
	}
	at, err := filepath.Abs(name)
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(root, at)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) < 2 {
		return "", false
	}
	return parts[0] + "-" + parts[1], true
}

// maxNear bounds how many names a message proposes.
const maxNear = 5

// near returns names that may be meant: those whose last part is the same, then
// those that contain it or differ by a letter or two.
func (t *Tree) near(id string) []string {
	last := id
	if stage, name, ok := strings.Cut(id, "-"); ok && slices.Contains(Stages, stage) {
		last = name
	}
	if i := strings.LastIndexByte(last, '/'); i >= 0 {
		last = last[i+1:]
	}
	var same, contain, all []string
	for _, pkg := range t.Packages {
		all = append(all, pkg.ID())
		switch {
		case pkg.Name == last:
			same = append(same, pkg.ID())
		case len(last) >= 3 && strings.Contains(pkg.Name, last):
			contain = append(contain, pkg.ID())
		}
	}
	if match, ok := suggest.Search(id, all, true); ok {
		same = append(same, match)
	}
	near := append(same, contain...)
	slices.Sort(near[len(same):])
	var once []string
	for _, name := range near {
		if !slices.Contains(once, name) && len(once) < maxNear {
			once = append(once, name)
		}
	}
	return once
}
