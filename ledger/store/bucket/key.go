package bucket

import (
	"fmt"
	"strings"
)

// Bounds of keys: those of S3, and of the names that file systems take.
const (
	maxKey  = 1024
	maxName = 200
)

// makingDir is where a directory's files in the making are, as in a mirror.
const makingDir = "index/new"

// CheckKey checks that a key is one that every kind of bucket takes as it is:
//
//	key  = name *( "/" name )
//	name = 1*200( ALPHA / DIGIT / "-" / "_" / "." ), neither beginning nor ending with "."
//
// and that is not where a directory's files in the making are.
func CheckKey(key string) error {
	if len(key) > maxKey {
		return fmt.Errorf("the key of %d bytes is over the limit of %d", len(key), maxKey)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || len(name) > maxName || name[0] == '.' || name[len(name)-1] == '.' || strings.ContainsFunc(name, notInName) {
			return fmt.Errorf("%q is no key: each part of it is 1 to %d ASCII letters, digits, -, _ or ., without a . at its ends", key, maxName)
		}
	}
	if key == makingDir || strings.HasPrefix(key, makingDir+"/") || strings.HasSuffix(key, attrsSuffix) {
		return fmt.Errorf("%q is no key: %s and names with %s are not for objects", key, makingDir, attrsSuffix)
	}
	return nil
}

// attrsSuffix ends the names that fileblob keeps for itself.
const attrsSuffix = ".attrs"

func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}
