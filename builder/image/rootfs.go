package image

import (
	"fmt"
	"slices"
	"strings"
)

// rootfs is a root file system to which layers are applied.
type rootfs struct {
	root  *node
	count int // of nodes
	limit int // of count
}

// node is one name.
type node struct {
	entry    Entry
	layer    int              // that the name came in with; its bytes may be older
	children map[string]*node // of a directory, made when needed
}

// newRootfs returns the root directory alone. A directory that no layer names
// belongs to root and has mode 0755, as engines make it.
func newRootfs(limit int) *rootfs {
	return &rootfs{root: implicit("/", 0), count: 1, limit: limit}
}

func implicit(path string, layer int) *node {
	return &node{layer: layer, entry: Entry{Path: path, Type: Dir, Mode: 0o755, header: -1}}
}

// apply applies a layer. Its whiteouts concern the layers below it alone, so
// they come first, wherever the tar has them; hard links come last.
func (f *rootfs) apply(l *layer) error {
	for _, p := range l.removed {
		f.remove(p)
	}
	for _, p := range l.emptied {
		if n := f.find(p); n != nil {
			f.count -= n.size() - 1
			n.children = nil
		}
	}
	// Parents before children; of two entries with one name, the tar's later one
	// counts.
	slices.SortStableFunc(l.entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	for i := range l.entries {
		if err := f.add(&l.entries[i], l.number); err != nil {
			return err
		}
	}
	return f.addLinks(l)
}

// add adds one entry. A directory keeps what an older one of its name holds.
func (f *rootfs) add(e *Entry, layer int) error {
	if e.Path == "/" {
		if e.Type != Dir {
			return fmt.Errorf("the root is of type %c", e.Type)
		}
		f.root.entry = *e
		return nil
	}
	parent, base, err := f.parent(e.Path, layer)
	if err != nil {
		return err
	}
	old := parent.children[base]
	switch {
	case old == nil:
		if f.count++; f.count > f.limit {
			return fmt.Errorf("more than %d files", f.limit)
		}
	case old.entry.Type == Dir && e.Type == Dir:
		old.entry, old.layer = *e, layer
		return nil
	default:
		f.count -= old.size() - 1
	}
	if parent.children == nil {
		parent.children = make(map[string]*node)
	}
	parent.children[base] = &node{entry: *e, layer: layer}
	return nil
}

// parent returns the directory of a path, which it makes if need be, and the
// path's last part.
func (f *rootfs) parent(path string, layer int) (*node, string, error) {
	n, at := f.root, 1
	for {
		end := strings.IndexByte(path[at:], '/')
		if end < 0 {
			return n, path[at:], nil
		}
		end += at
		child := n.children[path[at:end]]
		switch {
		case child == nil:
			if f.count++; f.count > f.limit {
				return nil, "", fmt.Errorf("more than %d files", f.limit)
			}
			child = implicit(path[:end], layer)
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			n.children[path[at:end]] = child
		case child.entry.Type != Dir:
			return nil, "", fmt.Errorf("%q is below %q, which is not a directory", path, path[:end])
		}
		n, at = child, end+1
	}
}

// addLinks adds the hard links of a layer. What a link leads to may itself be a
// link of the layer, in any order.
func (f *rootfs) addLinks(l *layer) error {
	targets := make(map[string]string, len(l.links))
	for i := range l.links {
		targets[l.links[i].path] = l.links[i].target
	}
	for i := range l.links {
		link := &l.links[i]
		to := link.target
		for range len(l.links) {
			next, ok := targets[to]
			if !ok {
				break
			}
			to = next
		}
		n := f.find(to)
		if _, loop := targets[to]; loop || n == nil || n.entry.Type == Dir {
			return fmt.Errorf("%q is a hard link to %q, which is no file", link.path, link.target)
		}
		e := n.entry
		if e.Type != Symlink && (e.Mode != link.like.Mode || e.UID != link.like.UID || e.GID != link.like.GID) {
			return fmt.Errorf("%q is a hard link to %q, and its header has another mode or owner", link.path, link.target)
		}
		if old := f.find(link.path); old != nil && old.newest() == l.number {
			return fmt.Errorf("%q is a hard link and something else in one layer", link.path)
		}
		e.Path = link.path
		if err := f.add(&e, l.number); err != nil {
			return err
		}
	}
	return nil
}

// find returns the node of a path, or nil.
func (f *rootfs) find(path string) *node {
	n := f.root
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// remove removes a path and what is below it. It need not exist.
func (f *rootfs) remove(path string) {
	i := strings.LastIndexByte(path, '/')
	parent := f.find(path[:i])
	if parent == nil {
		return
	}
	if n := parent.children[path[i+1:]]; n != nil {
		f.count -= n.size()
		delete(parent.children, path[i+1:])
	}
}

// size returns how many nodes there are at and below n.
func (n *node) size() int {
	size := 1
	for _, c := range n.children {
		size += c.size()
	}
	return size
}

// newest returns the highest layer at or below n.
func (n *node) newest() int {
	layer := n.layer
	for _, c := range n.children {
		layer = max(layer, c.newest())
	}
	return layer
}

// entries returns every entry, sorted bytewise by path. That is not the order
// of a walk: "/a-b" comes before "/a/b".
func (f *rootfs) entries() []Entry {
	entries := make([]Entry, 0, f.count)
	var walk func(*node)
	walk = func(n *node) {
		entries = append(entries, n.entry)
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(f.root)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries
}
