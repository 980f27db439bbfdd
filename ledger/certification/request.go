package certification

import (
	"net/url"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Request is what a request's URL names.
type Request struct {
	Hash leaf.Digest // of the look-up name
	Name string      // the look-up name, if the URL has it
	Dir  string
	File string // the last element, if it names a page, a file or a proof; else empty
}

// ParseRequest reads what follows "/certifications/" in the path of a URL, as it
// is escaped there, and the URL's query.
//
// A package stands there in one of three spellings: as its directory (see Dir); as
// the package URL itself, of which the qualifiers are then the query; or as the
// package URL escaped as a path or a path's element is. It was escaped if it does
// not begin with "pkg:", or has no slash, or has an escaped question mark, which
// no package URL has before its qualifiers.
func ParseRequest(path, query string) (*Request, error) {
	r := &Request{}
	path = strings.TrimSuffix(path, "/")
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		_, page := ParsePage(path[i+1:])
		if _, _, file := ParseFile(path[i+1:]); page || file {
			path, r.File = path[:i], path[i+1:]
		}
	}
	if hash, name, ok := ParseDir(path); ok {
		r.Hash, r.Name, r.Dir = hash, name, path
		return r, nil
	}
	purl := path
	if !strings.HasPrefix(path, "pkg:") || !strings.Contains(path, "/") || strings.Contains(strings.ToLower(path), "%3f") {
		var err error
		if purl, err = url.PathUnescape(path); err != nil {
			return nil, reason.Errorf(reason.ArgumentInvalid, "the package URL in the path is escaped wrongly: %w", err)
		}
	}
	if query != "" {
		purl += "?" + query
	}
	name, err := attest.LookupName(purl)
	if err != nil {
		return nil, err
	}
	r.Hash, r.Name, r.Dir = leaf.NameHash(name), name, Dir(name)
	return r, nil
}
