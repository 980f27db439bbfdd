package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
)

// mirror is one place that may have a source. Its String is what it was parsed
// from, in one spelling.
type mirror interface {
	// get writes the source's bytes to p. Those that p has from before are the
	// beginning of it, unless somebody lied; a mirror that cannot go on from there
	// resets p. The hash is the caller's to check.
	get(ctx context.Context, r *run, w *Wanted, p *partial) error
	String() string
}

// maxMirror bounds the text of a mirror.
const maxMirror = 8 << 10

// parseMirror reads a mirror. The forms are
//
//	https://HOST/PATH, http://HOST/PATH
//	file:///PATH
//	git+https://HOST/REPOSITORY?rev=COMMIT[&prefix=NAME/]
//	deb-src:PACKAGE[=VERSION]/FILE[?suite=SUITE]
//	deb-rootfs:LOCK
func parseMirror(s string) (mirror, error) {
	if len(s) > maxMirror {
		return nil, fmt.Errorf("mirror has %d bytes, at most %d are allowed", len(s), maxMirror)
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return nil, errors.New("mirror has no scheme")
	}
	switch scheme {
	case "https", "http":
		return parseHTTP(s)
	case "file":
		return parseFile(s)
	case "git+https", "git+http", "git+file":
		return parseGit(s)
	case "deb-src":
		return parseDebSrc(rest)
	case "deb-rootfs":
		return parseDebRootfs(rest)
	}
	return nil, fmt.Errorf("scheme %q of the mirror is not understood: there are https, http, file, git+https, deb-src, deb-rootfs", scheme)
}

// readsPackage reports whether what a mirror gives depends on a file of the
// package.
func readsPackage(s string) bool { return strings.HasPrefix(s, "deb-rootfs:") }

// fileMirror is a file of this machine.
type fileMirror struct{ path string }

func parseFile(s string) (mirror, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Host != "" || u.RawQuery != "" || u.Fragment != "" || !path.IsAbs(u.Path) {
		return nil, fmt.Errorf("%q is not of the form file:///PATH", s)
	}
	return fileMirror{path.Clean(u.Path)}, nil
}

func (m fileMirror) String() string { return (&url.URL{Scheme: "file", Path: m.path}).String() }

func (m fileMirror) get(ctx context.Context, _ *run, _ *Wanted, p *partial) (err error) {
	if err := p.reset(); err != nil {
		return err
	}
	fi, err := os.Stat(m.path)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", m.path) // opening a pipe would wait for its writer
	}
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p.total = fi.Size()
	_, err = io.Copy(p, contextReader{ctx, f})
	return err
}

// debianName is what a name or version of Debian may be made of: nothing that apt
// could take for an option or a pattern.
var (
	debianName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	debianVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+:~-]*$`)
	debianFile    = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._+~-]*$`)
	debianSuite   = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)
)

// debSrcMirror is a file of a source package of Debian, had through apt.
type debSrcMirror struct{ pkg, version, file, suite string }

func parseDebSrc(s string) (mirror, error) {
	var m debSrcMirror
	name, query, asked := strings.Cut(s, "?")
	if asked {
		var ok bool
		if m.suite, ok = strings.CutPrefix(query, "suite="); !ok || !debianSuite.MatchString(m.suite) {
			return nil, fmt.Errorf("deb-src: %q is not suite=SUITE", query)
		}
	}
	name, m.file, _ = strings.Cut(name, "/")
	name, m.version, asked = strings.Cut(name, "=")
	m.pkg = name
	if !debianName.MatchString(m.pkg) || asked && !debianVersion.MatchString(m.version) || !debianFile.MatchString(m.file) {
		return nil, fmt.Errorf("deb-src: %q is not of the form PACKAGE[=VERSION]/FILE[?suite=SUITE]", s)
	}
	return m, nil
}

func (m debSrcMirror) String() string {
	s := "deb-src:" + m.pkg
	if m.version != "" {
		s += "=" + m.version
	}
	s += "/" + m.file
	if m.suite != "" {
		s += "?suite=" + m.suite
	}
	return s
}

func (m debSrcMirror) get(ctx context.Context, r *run, w *Wanted, p *partial) error {
	if err := p.reset(); err != nil {
		return err
	}
	apt, err := r.apt(ctx, aptKey{suite: m.suite, types: "deb-src"})
	if err != nil {
		return err
	}
	d, err := apt.SourceFile(ctx, m.pkg, m.version, m.file)
	if err != nil {
		return err
	}
	if d.SHA256 != w.SHA256 {
		return &WrongHash{Want: w.SHA256, Got: d.SHA256, Size: d.Size}
	}
	if d.Size > p.limit {
		return &TooLarge{Size: d.Size, Limit: p.limit}
	}
	p.total = d.Size
	return apt.Get(ctx, d, p)
}
