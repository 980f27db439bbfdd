package tree

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

func (l *linter) metadata() {
	for _, key := range []struct{ name, value string }{{"description", l.m.description}, {"license", l.m.license}} {
		if key.value == "" {
			l.inManifest("package", key.name, "no %s", key.name)
		}
	}
}

func (l *linter) unknownKeys() {
	for _, unknown := range l.m.unknown {
		l.add(l.m.file, unknown.line, "%s is read by nobody", unknown.key)
	}
}

// emptySHA256 is the hash of no bytes.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (l *linter) sourceHash() {
	for i := range l.m.sources {
		s := &l.m.sources[i]
		if s.hash == emptySHA256 || strings.Count(s.hash, s.hash[:1]) == len(s.hash) {
			l.inManifest("sources."+s.name, "hash", "the hash of source %s locks nothing", s.name)
		}
	}
}

func (l *linter) mirrorHTTPS() {
	for i := range l.m.sources {
		s := &l.m.sources[i]
		for _, mirror := range s.mirrors {
			if strings.HasPrefix(mirror, "http:") || strings.HasPrefix(mirror, "ftp:") {
				l.inManifest("sources."+s.name, "mirrors", "source %s: %s", s.name, mirror)
			}
		}
	}
}

func (l *linter) mirrorName() {
	for i := range l.m.sources {
		s := &l.m.sources[i]
		differ := func(mirror string) bool { return urlFile(mirror) != urlFile(s.mirrors[0]) }
		if s.file == "" && slices.ContainsFunc(s.mirrors, differ) {
			l.inManifest("sources."+s.name, "mirrors", "the mirrors of source %s end in different names", s.name)
		}
	}
}

func (l *linter) sourceArg() {
	for i := range l.m.sources {
		raw := &l.m.sources[i]
		given, err := sourceArg(l.pkg.Version, raw)
		j := slices.IndexFunc(l.pkg.Sources, func(s Source) bool { return s.Name == raw.name })
		if err == nil && raw.version != "" && given != l.pkg.Sources[j].File {
			l.inManifest("sources."+raw.name, "file", "%s_SOURCE is %s, but the file is called %s",
				strings.ToUpper(raw.name), given, l.pkg.Sources[j].File)
		}
	}
}

func (l *linter) undeclaredBinary() {
	for _, f := range l.d.files {
		if !f.text && !(l.m.seedsGiven && slices.Contains(l.m.seeds, f.path)) {
			l.add(path.Join(l.d.path, f.path), 0, "%s is not text", f.path)
		}
	}
}

// contextPath is a path or pattern that an instruction takes from the build
// context. Sources are under fetch/ there.
type contextPath struct {
	pattern string
	line    int
	text    string // as it is written after expansion
	any     bool   // it cannot be told what it matches
}

// contextPaths returns what the Containerfile takes from the build context.
func (l *linter) contextPaths() []contextPath {
	var paths []contextPath
	for _, s := range l.stages {
		for i := range s.own {
			paths = append(paths, s.own[i].contextPaths()...)
		}
	}
	return paths
}

func (s *Step) contextPaths() []contextPath {
	fetch := slices.ContainsFunc(s.Refs, func(r Ref) bool { return r.Kind == KindFetch })
	if len(s.Refs) > 0 && !fetch {
		return nil
	}
	var files []string
	vague := len(s.Undefined) > 0
	switch command := s.Command.(type) {
	case *instructions.AddCommand:
		files = command.SourcePaths
		vague = vague || command.KeepGitDir != nil
	case *instructions.CopyCommand:
		files = command.SourcePaths
	case *instructions.RunCommand:
		for _, mount := range instructions.GetMounts(command) {
			if mount.Type == instructions.MountTypeBind && (mount.From == "" || mount.From == FetchContext) {
				files, vague = append(files, mount.Source), true
			}
		}
	}
	var paths []contextPath
	for _, file := range files {
		if isRemote(file) {
			continue
		}
		pattern := strings.TrimPrefix(path.Clean("/"+file), "/")
		if fetch {
			pattern = path.Join(FetchContext, pattern)
		}
		_, err := path.Match(pattern, "")
		paths = append(paths, contextPath{pattern, s.Line, file, vague || err != nil})
	}
	return paths
}

// matches reports whether a file of the context is taken: by itself, or with a
// directory that it is in.
func (p contextPath) matches(file string) bool {
	if p.any || p.pattern == "" {
		return true
	}
	for at := file; at != "."; at = path.Dir(at) {
		if ok, err := path.Match(p.pattern, at); ok && err == nil {
			return true
		}
	}
	return false
}

func (l *linter) unusedSource() {
	if l.err != nil {
		return
	}
	paths := l.contextPaths()
	for _, s := range l.pkg.Sources {
		used := func(p contextPath) bool { return p.matches(path.Join(FetchContext, s.File)) }
		if !slices.ContainsFunc(paths, used) {
			l.inManifest("sources."+s.Name, "", "source %s (%s) is not used", s.Name, s.File)
		}
	}
}

// missingFile leaves patterns alone: BuildKit lets them match nothing.
func (l *linter) missingFile() {
	if l.err != nil {
		return
	}
	for _, p := range l.contextPaths() {
		found := p.any || p.pattern == "" || p.pattern == FetchContext || strings.ContainsAny(p.pattern, "*?[")
		found = found || slices.ContainsFunc(l.pkg.Sources, func(s Source) bool { return p.matches(path.Join(FetchContext, s.File)) })
		found = found || slices.ContainsFunc(l.d.files, func(f dirFile) bool { return p.matches(f.path) })
		if !found {
			l.inContainerfile(p.line, "%s is neither a source nor a file of the package", p.text)
		}
	}
}

// isRemote reports whether ADD would fetch what it is given, by the forms of
// BuildKit's reference.
func isRemote(source string) bool {
	for _, prefix := range []string{"http://", "https://", "git://", "ssh://", "git@", "github.com/"} {
		if strings.HasPrefix(source, prefix) {
			return true
		}
	}
	return false
}
