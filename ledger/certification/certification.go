// Package certification is the layout of a repository of certifications, as
// raboof's reproducible-builds-certification-repository proposed it: who has a
// package finds at a predictable URL what was attested of it, and who has an
// attestation knows where it is.
//
//	certifications/checkpoint                      what the lists are complete up to
//	certifications/DIR/index.json                  the list of a package's certifications
//	certifications/DIR/from-INDEX.json             a further page of it
//	certifications/DIR/SHA256.FORMAT[.json]        one, as it was submitted
//	certifications/DIR/SHA256.FORMAT[.json].tlog-proof
//
// DIR stands for the package's look-up name; see Dir. A ledger serves these paths,
// and package export writes them as files, the same to the byte.
//
// Invariants:
//   - A path is a function of the attestation and the package URL. It has lower-case
//     letters, digits and -._~ alone: it needs no escaping in a URL, is the same on
//     a file system without cases, and names nothing outside its directory.
//   - A list is a function of the log's entries about one name: who knows these
//     can tell whether any is left out.
//   - Text that strangers wrote is in a path escaped, and in a list not at all.
//
// The package does no I/O.
package certification

import (
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Root is the directory that all paths begin with, and Checkpoint the path of the
// signed checkpoint that lists are complete up to.
const (
	Root       = "certifications"
	Checkpoint = Root + "/checkpoint"
)

// Limits of a directory's name, which must be a file's name anywhere: eCryptfs has
// the least, 143 bytes.
const (
	maxDir    = 142
	maxPrefix = maxDir - len(longMark) - 64
	longMark  = "~~"
)

// Dir returns the directory of a look-up name. Every byte but a-z, 0-9, '-', '_' and
// '.' stands as '~' and two lower-case hex digits. A result of more than 142 bytes
// is cut to whole bytes within 76, and followed by "~~" and the name's SHA-256.
func Dir(name string) string {
	var b strings.Builder
	cut := 0
	for i := range len(name) {
		if c := name[i]; isPlain(c) && (c != '.' || i < len(name)-1) { // no file's name ends in '.' everywhere
			b.WriteByte(c)
		} else {
			b.WriteByte('~')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
		if b.Len() <= maxPrefix {
			cut = b.Len()
		}
	}
	if b.Len() <= maxDir {
		return b.String()
	}
	return b.String()[:cut] + longMark + leaf.NameHash(name).Hex()
}

const hexDigits = "0123456789abcdef"

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// ParseDir returns the hash of the look-up name that a directory stands for, and
// the name itself where the directory has it. It takes only what Dir writes.
func ParseDir(dir string) (hash leaf.Digest, name string, ok bool) {
	if len(dir) > maxDir {
		return "", "", false
	}
	prefix, sum, long := strings.Cut(dir, longMark)
	if long {
		hash = leaf.Digest("sha256:" + sum)
		_, ok := unescape(prefix)
		return hash, "", ok && hash.Valid() && len(prefix) <= maxPrefix
	}
	name, ok = unescape(dir)
	if !ok || Dir(name) != dir {
		return "", "", false
	}
	if lookup, err := attest.LookupName(name); err != nil || lookup != name {
		return "", "", false
	}
	return leaf.NameHash(name), name, true
}

func unescape(s string) (string, bool) {
	var b strings.Builder
	for len(s) > 0 {
		switch {
		case isPlain(s[0]):
			b.WriteByte(s[0])
			s = s[1:]
		case s[0] == '~' && len(s) >= 3 && strings.IndexByte(hexDigits, s[1]) >= 0 && strings.IndexByte(hexDigits, s[2]) >= 0:
			b.WriteByte(byte(strings.IndexByte(hexDigits, s[1])<<4 | strings.IndexByte(hexDigits, s[2])))
			s = s[3:]
		default:
			return "", false
		}
	}
	return b.String(), true
}

// File is an attestation's file.
type File struct {
	Envelope leaf.Digest // sha256
	Format   string      // as its leaf names it
}

// ProofSuffix is what the file of an attestation's tlog-proof has in addition.
const ProofSuffix = ".tlog-proof"

// jsonFormats are the formats that are JSON.
var jsonFormats = map[string]bool{
	attest.FormatDSSE: true, attest.FormatLink: true, attest.FormatSigstore: true, leaf.FormatSigstoreCertificate: true,
	leaf.FormatHashedRekord: true,
}

// Name returns the file's name.
func (f File) Name() string {
	name := f.Envelope.Hex() + "." + f.Format
	if jsonFormats[f.Format] {
		name += ".json"
	}
	return name
}

// MediaType returns what the file is served as. Strangers wrote it: it must not be
// taken for anything that runs.
func (f File) MediaType() string {
	switch {
	case jsonFormats[f.Format]:
		return "application/json"
	case f.Format == attest.FormatSimpleSigning:
		return "application/octet-stream"
	}
	return "text/plain; charset=utf-8"
}

// ParseFile reads the name of an attestation's file, or of its proof.
func ParseFile(name string) (f File, proof, ok bool) {
	rest, proof := strings.CutSuffix(name, ProofSuffix)
	sum, format, _ := strings.Cut(rest, ".")
	f = File{leaf.Digest("sha256:" + sum), strings.TrimSuffix(format, ".json")}
	return f, proof, f.Envelope.Valid() && isFormat(f.Format) && f.Name() == rest
}

func isFormat(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// pageName returns the name of the page that begins at an entry.
func pageName(from uint64) string { return "from-" + strconv.FormatUint(from, 10) + ".json" }

// Index is the name of the first page of a list.
const Index = "index.json"

// ParsePage reads the name of a page, and returns the entry that it begins at.
func ParsePage(name string) (from uint64, ok bool) {
	if name == Index {
		return 0, true
	}
	digits, found := strings.CutPrefix(name, "from-")
	if !found {
		return 0, false
	}
	from, err := strconv.ParseUint(strings.TrimSuffix(digits, ".json"), 10, 62)
	return from, err == nil && pageName(from) == name
}
