package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// maxKeyring bounds a keyring. Those of projects have a few keys with many
// certifications each.
const maxKeyring = 16 << 20

// groupKeys is the group of keys that an import brings along.
const groupKeys = "keys"

// Keys are items that bring keys into the log, before anything that they signed.
type Keys []Item

// AddKeyring adds the keys of an OpenPGP keyring, each as an item of its own.
func (k *Keys) AddKeyring(name string, keyring []byte) error {
	blocks, err := attest.SplitOpenPGPKeys(keyring)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(blocks) == 0 {
		return fmt.Errorf("%s: it holds no key", name)
	}
	for i, block := range blocks {
		item := Item{Name: name, Group: groupKeys, Raw: block, First: true}
		if len(blocks) > 1 {
			item.Name = fmt.Sprintf("%s#%d", name, i+1)
		}
		*k = append(*k, item)
	}
	return nil
}

// AddEndorsement adds the attestation by which an enrolled key endorses another.
func (k *Keys) AddEndorsement(name string, raw []byte) {
	*k = append(*k, Item{Name: name, Group: groupKeys, Raw: raw, First: true})
}

// yield yields the items, and reports whether more are wanted.
func (k Keys) yield(yield func(Item, error) bool) bool {
	for _, item := range k {
		if !yield(item, nil) {
			return false
		}
	}
	return true
}

// DetachedSuffixes returns those of detached signatures beside a document.
func DetachedSuffixes() []string { return []string{".asc", ".sig", ".gpg"} }

// Files is a source of files and directories that were named, and of URLs.
type Files struct {
	Kind string // what they hold, for people
	Args []string
	// Suffixes are those of the files of a directory that are taken. One that is
	// named is taken whatever its name.
	Suffixes []string
	// Lines says that each line is an attestation.
	Lines bool
	Keys  Keys
	Web   *Web
}

// String implements Source.
func (f *Files) String() string { return f.Kind + " " + strings.Join(f.Args, " ") }

// Items implements Source.
func (f *Files) Items(ctx context.Context, done func(string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if !f.Keys.yield(yield) {
			return
		}
		for _, arg := range f.Args {
			for item, err := range f.named(ctx, arg, done) {
				if !yield(item, err) {
					return
				}
			}
		}
	}
}

func (f *Files) named(ctx context.Context, arg string, done func(string) bool) iter.Seq2[Item, error] {
	if IsURL(arg) {
		return func(yield func(Item, error) bool) {
			if !f.Lines && done(arg) {
				yield(Item{Name: arg}, nil)
				return
			}
			b, err := f.Web.Get(ctx, arg, f.limit())
			f.split(Item{Name: arg, Raw: b}, err, yield)
		}
	}
	return func(yield func(Item, error) bool) {
		dir, paths := filepath.Dir(arg), []string{filepath.Base(arg)}
		info, err := os.Stat(arg)
		if err == nil && info.IsDir() {
			dir, paths = arg, nil
		}
		var tree Tree
		if err == nil {
			tree, err = OpenTree(ctx, dir, "")
		}
		if err == nil && paths == nil {
			paths, err = f.below(ctx, tree)
		}
		if err != nil {
			yield(Item{}, err)
			return
		}
		defer func() { _ = tree.Close() }()
		for _, p := range paths {
			if !f.read(ctx, tree, dir, p, yield) {
				return
			}
		}
	}
}

// below returns the files of a directory that are taken.
func (f *Files) below(ctx context.Context, tree Tree) ([]string, error) {
	all, err := tree.List(ctx, ".")
	return slices.DeleteFunc(all, func(p string) bool {
		return !slices.ContainsFunc(f.Suffixes, func(s string) bool { return strings.HasSuffix(p, s) })
	}), err
}

// read yields the items of one file, and reports whether more are wanted.
func (f *Files) read(ctx context.Context, tree Tree, dir, p string, yield func(Item, error) bool) bool {
	item := Item{Name: path.Join(dir, p)}
	b, err := tree.Read(ctx, p, f.limit())
	if err != nil {
		return f.split(item, err, yield)
	}
	item.Raw = b
	for _, suffix := range DetachedSuffixes() {
		sig, serr := tree.Read(ctx, p+suffix, attest.MaxEnvelope)
		if errors.Is(serr, fs.ErrNotExist) {
			continue
		}
		item.Name += suffix
		var each [][]byte
		if serr == nil {
			each, serr = JoinEach(b, sig)
		}
		if serr != nil {
			item.Err = serr
			return yield(item, nil)
		}
		return yieldEach(item, each, yield)
	}
	return f.split(item, nil, yield)
}

// limit is that of a file.
func (f *Files) limit() int64 {
	if f.Lines {
		return 64 * attest.MaxEnvelope
	}
	return attest.MaxEnvelope
}

// split yields an item, or one for each line of it.
func (f *Files) split(item Item, err error, yield func(Item, error) bool) bool {
	if err != nil {
		item.Err = unobtained(err)
		return yield(item, nil)
	}
	if !f.Lines {
		return yield(item, nil)
	}
	return yieldEach(item, Lines(item.Raw), yield)
}

// yieldEach yields one item for each of several attestations that came as one.
func yieldEach(item Item, each [][]byte, yield func(Item, error) bool) bool {
	for i, raw := range each {
		one := item
		one.Raw = raw
		if len(each) > 1 {
			one.Name = fmt.Sprintf("%s#%d", item.Name, i+1)
		}
		if !yield(one, nil) {
			return false
		}
	}
	return true
}

// Lines returns the lines of a file of JSON lines that hold something.
func Lines(b []byte) [][]byte {
	var lines [][]byte
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, []byte(line))
		}
	}
	if len(lines) == 0 {
		return [][]byte{b} // which is refused as what it is
	}
	return lines
}

// unobtained gives the reason of an item that could not be had.
func unobtained(err error) error {
	if errors.Is(err, ErrTooLarge) {
		return reason.Errorf(reason.EnvelopeTooLarge, "%w", err)
	}
	return err
}
