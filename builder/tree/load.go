package tree

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Bounds of what is read. The largest files of StageX's tree have 75 kB.
const (
	maxFile  = 1 << 20 // bytes of a package.toml or a Containerfile
	maxFiles = 10000   // files in a package's directory
	maxGate  = 64
)

const (
	packagesDir   = "packages"
	manifestName  = "package.toml"
	containerfile = "Containerfile"
)

// Load reads the tree whose packages are in root/packages/<stage>/<name>, with
// images called stagex/<stage>-<name>. All that is wrong with it is told in one
// error, whose parts are of type *Error. A tree without packages is an error.
func Load(root string) (*Tree, error) { return LoadPrefix(root, DefaultPrefix) }

// LoadPrefix is Load for a tree whose images have another prefix.
func LoadPrefix(root, prefix string) (*Tree, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("opening the tree: %w", err)
	}
	defer r.Close()
	tree, err := LoadFS(r.FS(), prefix)
	var in *Error
	if err != nil && !errors.As(err, &in) {
		err = fmt.Errorf("%s: %w", root, err)
	}
	if err != nil {
		return nil, err
	}
	tree.Root = root
	return tree, nil
}

// LoadFS is LoadPrefix for a tree in a file system, whose Root is empty.
func LoadFS(fsys fs.FS, prefix string) (*Tree, error) {
	l := &loader{fsys: fsys, tree: &Tree{Prefix: prefix}}
	stages, err := fs.ReadDir(l.fsys, packagesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no directory %s in the tree: give the directory that holds it", packagesDir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	for _, entry := range stages {
		l.stage(entry)
	}
	l.tree.index(&l.problems)
	l.tree.resolve(l.dirs, &l.problems)
	l.containerfiles()
	if err := l.problems.join(); err != nil {
		return nil, err
	}
	if len(l.tree.Packages) == 0 {
		return nil, fmt.Errorf("the tree's directory %s holds no package", packagesDir)
	}
	return l.tree, nil
}

type loader struct {
	fsys     fs.FS
	tree     *Tree
	dirs     []*directory
	problems problems
}

// stage reads packages/<stage>. Files beside the stages, such as a README, are
// nobody's.
func (l *loader) stage(entry fs.DirEntry) {
	dir := path.Join(packagesDir, entry.Name())
	if !entry.IsDir() {
		if entry.Name() == containerfile || entry.Type()&fs.ModeSymlink != 0 {
			l.problems.add(dir, 0, "", "must not be here: packages are in %s/<stage>/<name>", packagesDir)
		}
		return
	}
	names, err := fs.ReadDir(l.fsys, dir)
	if err != nil {
		l.problems.add(dir, 0, "", "reading it: %w", err)
		return
	}
	known := slices.Contains(Stages, entry.Name())
	for _, name := range names {
		at := path.Join(dir, name.Name())
		switch {
		case name.Type()&fs.ModeSymlink != 0:
			l.tree.Skipped = append(l.tree.Skipped, Skipped{Dir: at, Why: "it is a symbolic link"})
		case !name.IsDir() && name.Name() == containerfile:
			l.problems.add(at, 0, "", "must not be here: packages are in %s/<stage>/<name>", packagesDir)
		case name.IsDir() && !known:
			l.problems.add(at, 0, "", "unknown stage %s: stages are %s", entry.Name(), strings.Join(Stages, ", "))
		case name.IsDir():
			l.read(entry.Name(), at)
		}
	}
}

// read reads one directory of a package, or says why it is none.
func (l *loader) read(stage, dir string) {
	d := &directory{path: dir, stage: stage}
	d.readFiles(l.fsys, &l.problems)
	hasManifest, hasContainerfile := d.has(manifestName), d.has(containerfile)
	skip := func(why string) { l.tree.Skipped = append(l.tree.Skipped, Skipped{Dir: dir, Why: why}) }
	if !hasContainerfile {
		if hasManifest {
			skip("it has no " + containerfile)
		} else if len(d.files) > 0 {
			skip("it has neither " + manifestName + " nor " + containerfile)
		}
		return
	}
	if !hasManifest {
		skip("it has no " + manifestName)
		c, err := l.containerfile(dir, nil)
		if err != nil {
			l.problems = append(l.problems, err...)
			return
		}
		l.tree.Skipped[len(l.tree.Skipped)-1].Containerfile = c
		return
	}
	file := path.Join(dir, manifestName)
	text, err := readFile(l.fsys, file)
	if err != nil {
		l.problems.add(file, 0, "", "%w", err)
		return
	}
	if d.manifest = parseManifest(file, text, &l.problems); d.manifest == nil {
		return
	}
	d.check(&l.problems)
	l.dirs = append(l.dirs, d)
	l.tree.Packages = append(l.tree.Packages, d.packages()...)
}

func (l *loader) containerfile(dir string, b *Build) (*Containerfile, problems) {
	file := path.Join(dir, containerfile)
	text, err := readFile(l.fsys, file)
	if err != nil {
		return nil, problems{{File: file, Err: err}}
	}
	return parseContainerfile(file, text, l.tree.Prefix, b)
}

// readFile reads a regular file of at most maxFile bytes. It asks what the file
// is before it opens it, since opening a pipe would wait for a writer.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("has %d bytes, more than %d", info.Size(), maxFile)
	}
	return fs.ReadFile(fsys, name)
}

// index sorts the packages and finds them by ID.
func (t *Tree) index(p *problems) {
	slices.SortFunc(t.Packages, compare)
	slices.SortFunc(t.Skipped, func(a, b Skipped) int { return cmp.Compare(a.Dir, b.Dir) })
	t.byID = make(map[string]*Package, len(t.Packages))
	t.origins = make(map[string][]*Package)
	for _, pkg := range t.Packages {
		if other, ok := t.byID[pkg.ID()]; ok {
			p.add(path.Join(pkg.Dir, manifestName), 0, "", "gives the image %s, as %s does", pkg.ID(), other.Dir)
		}
		t.byID[pkg.ID()] = pkg
		if pkg.Target != "" {
			origin := pkg.Stage + "-" + pkg.Origin
			t.origins[origin] = append(t.origins[origin], pkg)
		}
	}
}

// containerfiles reads those of all packages. It needs their build arguments,
// since FROM may name them.
func (l *loader) containerfiles() {
	for _, d := range l.dirs {
		first := d.pkgs[0]
		b := &Build{Platforms: first.Platforms, Args: append(FixedArgs(), first.Args...)}
		c, errs := l.containerfile(d.path, b)
		if errs != nil {
			l.problems = append(l.problems, errs...)
			continue
		}
		for _, pkg := range d.pkgs {
			pkg.Containerfile, pkg.Deps = c, c.Deps()
			if _, err := c.Stage(pkg.Target); err != nil {
				m := d.manifest
				l.problems.add(m.file, m.lines.find("package", "subpackages"), "package.subpackages", "%s: %w", pkg.Name, err)
			}
		}
		for _, name := range d.manifest.network {
			if _, err := c.Stage(name); err != nil || name == "" {
				m := d.manifest
				l.problems.add(m.file, m.lines.find("package", "network"), "package.network", "%q is not a stage of %s", name, c.File)
			}
		}
	}
}
