// Package tree reads StageX-style package trees: packages/<stage>/<name> with a
// package.toml, which pins the sources, and a Containerfile, which says how the
// package is built from them and from the images of other packages.
//
// Invariants:
//   - A tree is read as it is: nothing in it is executed, nothing is fetched,
//     nothing is written.
//   - What is not understood is an error that names file and line, never
//     something left out of the graph.
//   - Order never depends on the file system: packages, dependencies and build
//     arguments are in an order of their own.
package tree

// Stages are the tiers of a tree, in the order in which they are built.
var Stages = []string{"bootstrap", "core", "user", "pallet"}

// Tree is a tree of packages.
type Tree struct {
	Root     string     // the directory that holds packages/
	Packages []*Package // by stage, then name
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
	Args []Arg
	// Deps are the packages whose images the Containerfile names, in FROM or
	// COPY --from, by ID, sorted, each once.
	Deps []string

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
}

// ID returns the package's name in the tree: "<stage>-<name>", which is also
// the last part of its image's name.
func (p *Package) ID() string { return p.Stage + "-" + p.Name }

// Arg is a build argument.
type Arg struct{ Name, Value string }

// Source is a file that a package is built from.
type Source struct {
	Name    string
	SHA256  string // of the file, in lower-case hex
	Version string
	GitSHA  string // the commit that the file was made from; may be empty
	File    string // its name in the directory "fetch" of the build context
	// Mirrors are where it can be had, in the order to try, with all placeholders
	// resolved.
	Mirrors []string
	// Role is what the file is to the build: "source", or "seed" for binaries
	// that come from outside the tree (role = "seed").
	Role string
}
