package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// contextName is a name for the build context by which COPY --from can mean it.
const contextName = "cairn.context"

// specialModes reports whether some file or directory of the build context is
// set-user-ID or set-group-ID. COPY keeps that in BuildKit; buildah drops it,
// except for what is copied from a context that has a name.
func specialModes(dir string) (found bool, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() && !d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("reading the build context: %w", err)
	}
	return found, nil
}

// ignorable refuses, for such a context, files that say what of it to ignore:
// buildah has other rules for contexts with names.
func ignorable(r *Request) error {
	for _, path := range []string{
		r.Containerfile + ".dockerignore",
		filepath.Join(r.Context, ".dockerignore"),
		filepath.Join(r.Context, ".containerignore"),
	} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("the build context has set-user-ID or set-group-ID and %s: buildah can do justice to one of them only", path)
		}
	}
	return nil
}
