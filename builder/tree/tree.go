// Package tree reads StageX-style package trees: packages/<stage>/<name> with a
// package.toml, which pins the sources, and a Containerfile, which says how the
// package is built from them and from the images of other packages.
//
// Invariants:
//   - A tree is read as it is: nothing in it is executed, nothing is fetched,
//     nothing is written, and no symbolic link leads out of it.
//   - What is not understood is an error that names file and line, never
//     something left out of the graph. What StageX's own tools leave out is in
//     [Tree.Skipped], with the reason.
//   - Order never depends on the file system: packages, dependencies and build
//     arguments are in an order of their own.
//
// The formats are those of StageX's package.toml(5) and of its tools, release
// 2026.03: targets.py for the graph and the build arguments, fetch.py for the
// sources. docs/builder.md says where this package is stricter.
package tree

import (
	"slices"
	"strings"
)

// Stages are the tiers of a tree, in the order in which they are built.
var Stages = []string{"bootstrap", "core", "user", "pallet"}

// DefaultPrefix is what a tree's images are called before their package's ID.
const DefaultPrefix = "stagex/"

// FetchContext is the build context that holds a package's sources: COPY
// --from=fetch, in a Containerfile that has no stage of that name.
const FetchContext = "fetch"

// Tree is a tree of packages.
type Tree struct {
	Root     string     // the directory that holds packages/
	Prefix   string     // of the names of images: "stagex/"
	Packages []*Package // by stage, then name
	// Skipped are the directories that StageX's tools pass over, by path.
	Skipped []Skipped

	byID map[string]*Package
	// origins are the packages that give subpackages but no image of their own.
	origins map[string][]*Package
}

// Skipped is a directory below packages/<stage> that is not a package.
type Skipped struct {
	Dir string // relative to the tree's root, with slashes
	Why string
	// Containerfile is that of the directory, if it has one.
	Containerfile *Containerfile
}

// Package is one image that a tree builds. Subpackages are packages of their
// own that share the directory of their origin.
type Package struct {
	Stage string // one of Stages
	Name  string
	// Origin is the package whose directory holds the Containerfile; it is Name
	// except for subpackages.
	Origin string
	// Target is the Containerfile's stage that is the image: "package-<name>" for
	// subpackages, empty for the last one.
	Target string
	// Dir is the directory, relative to the tree's root, with slashes.
	Dir         string
	Version     string // resolved from version_from; may be empty
	Description string
	License     string // an SPDX expression
	Website     string
	// Platforms are those the image is built for; if empty, whoever builds
	// chooses.
	Platforms []string
	Sources   []Source // by name
	// Args are the build arguments that package.toml gives, in StageX's order.
	// [FixedArgs] come before them.
	Args []Arg
	// Deps are the packages whose images the Containerfile names, in FROM, COPY
	// --from or RUN --mount=from=, by ID, sorted, each once. Subpackages have
	// those of the whole file; [Package.Needs] has fewer.
	Deps []string
	// Containerfile is shared by the subpackages of one origin.
	Containerfile *Containerfile

	// What follows is Cairn's own, and ignored by StageX's tools.

	// Gate is how many independent results must agree on the image before
	// anything is built on it: gate = 2. Zero asks for none.
	Gate int
	// Meets are the packages whose images must hold the same content as each
	// other before this one is built, by ID: meets = ["bootstrap-a", …].
	Meets []string
	// Reproduce are the engines with which the tree asks for a reproduction of
	// each build: reproduce = ["buildah"].
	Reproduce []string
	// Seeds are the files of Dir that are binaries which this tree did not make,
	// sorted: seeds = ["hex0-seed"], or found by lint's rule.
	Seeds []string
	// Network are the Containerfile's stages whose steps are declared to need
	// the network: network = ["build"].
	Network []string

	dir *directory
}

// ID returns the package's name in the tree: "<stage>-<name>", which is also
// the last part of its image's name.
func (p *Package) ID() string { return p.Stage + "-" + p.Name }

// Tag returns the tag that StageX gives the image: its version, or "latest".
func (p *Package) Tag() string {
	if p.Version == "" {
		return "latest"
	}
	return p.Version
}

// Seeded reports whether the package brings a binary that its tree did not
// make: one of its files, or a source whose role is seed.
func (p *Package) Seeded() bool {
	return len(p.Seeds) > 0 || slices.ContainsFunc(p.Sources, func(s Source) bool { return s.Role == RoleSeed })
}

// Needs returns the packages whose images this package's own target needs, by
// ID, sorted: those of Deps without what only other targets need.
func (p *Package) Needs() []string {
	needs, err := p.Containerfile.Needs(p.Target)
	if err != nil {
		return p.Deps // unreachable: Load has found the target
	}
	return needs
}

// Arg is a build argument.
type Arg struct{ Name, Value string }

// The roles of sources.
const (
	RoleSource = "source"
	RoleSeed   = "seed"
)

// Source is a file that a package is built from.
type Source struct {
	Name    string
	SHA256  string // of the file, in lower-case hex
	Version string // its own or else the package's; may be empty
	GitSHA  string // the commit that the file was made from; may be empty
	File    string // its name in the directory "fetch" of the build context
	// Mirrors are where it can be had, in the order to try, with all placeholders
	// resolved.
	Mirrors []string
	// Role is what the file is to the build: "source", or "seed" for binaries
	// that come from outside the tree (role = "seed").
	Role string
}

// Image returns the name under which Containerfiles know the package's image:
// "stagex/core-go".
func (t *Tree) Image(p *Package) string { return t.Prefix + p.ID() }

// Annotations returns those that StageX gives the manifest of the package's
// image. The digests it publishes depend on them.
func (t *Tree) Annotations(p *Package) map[string]string {
	return map[string]string{
		"containerd.io/distribution.source.docker.io": t.Image(p),
		"org.opencontainers.image.version":            p.Tag(),
		"org.opencontainers.image.created":            "1970-01-01T00:00:01Z",
	}
}

// compare orders packages by stage, then name.
func compare(a, b *Package) int {
	if c := slices.Index(Stages, a.Stage) - slices.Index(Stages, b.Stage); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
