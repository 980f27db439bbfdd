// Package private tells whether a file with a secret is as private as it must be.
package private

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Exposed reports whether others than its owner may use a file at a path of a mode.
//
// A credential of systemd is private though its mode may say that its group may read
// it: what stat shows there is the mask of the access control list that lets the
// service in, and the directory, $CREDENTIALS_DIRECTORY, lets in nobody else.
func Exposed(path string, mode fs.FileMode) bool {
	open := mode.Perm() & 0o077
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir != "" && filepath.Clean(filepath.Dir(path)) == filepath.Clean(dir) {
		open &^= 0o040
	}
	return open != 0
}
