package tree

import (
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

var digested = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

func (l *linter) pinnedBase() {
	for _, ref := range l.c.Refs() {
		if ref.Kind == KindImage && !digested.MatchString(ref.Name) {
			l.inContainerfile(ref.Line, "%s is neither a package of the tree nor named by digest", ref.Name)
		}
	}
}

func (l *linter) foreignBase() {
	for _, ref := range l.c.Refs() {
		if ref.Kind == KindImage && digested.MatchString(ref.Name) {
			l.inContainerfile(ref.Line, "%s is not built by this tree", ref.Name)
		}
	}
}

func (l *linter) syntaxDirective() {
	if l.c.Syntax != "" {
		l.inContainerfile(l.c.SyntaxLine, "# syntax=%s", l.c.Syntax)
	}
}

func (l *linter) remoteAdd() {
	for _, s := range l.stages {
		for i := range s.own {
			add, ok := s.own[i].Command.(*instructions.AddCommand)
			if !ok {
				continue
			}
			for _, source := range add.SourcePaths {
				if isRemote(source) {
					l.inContainerfile(s.own[i].Line, "ADD %s", source)
				}
			}
		}
	}
}

func (l *linter) networkUndeclared() {
	l.instructions(func(s *Stage, in *Instruction) {
		asks := in.Network == instructions.NetworkDefault || in.Network == instructions.NetworkHost
		if asks && !slices.Contains(l.m.network, s.Name) {
			l.inContainerfile(in.Line, "RUN --network=%s, which package.toml does not declare", in.Network)
		}
	})
}

func (l *linter) networkUnsaid() {
	l.instructions(func(_ *Stage, in *Instruction) {
		if in.Name == "RUN" && in.Network == "" {
			l.inContainerfile(in.Line, "RUN without --network=none")
		}
	})
}

func (l *linter) insecureRun() {
	l.instructions(func(_ *Stage, in *Instruction) {
		run, ok := in.Command.(*instructions.RunCommand)
		if ok && (instructions.GetSecurity(run) == "insecure" || len(instructions.GetDevices(run)) > 0) {
			l.inContainerfile(in.Line, "RUN asks for more than a sandbox")
		}
	})
}

func (l *linter) runMount() {
	for _, s := range l.stages {
		for i := range s.own {
			run, ok := s.own[i].Command.(*instructions.RunCommand)
			if !ok {
				continue
			}
			for _, mount := range instructions.GetMounts(run) {
				switch mount.Type {
				case instructions.MountTypeCache, instructions.MountTypeSecret, instructions.MountTypeSSH:
					l.inContainerfile(s.own[i].Line, "RUN --mount=type=%s", mount.Type)
				}
			}
		}
	}
}

func (l *linter) badVariable() {
	if l.err != nil {
		l.inContainerfile(l.err.Line, "%v", l.err.Err)
	}
}

// proxyArgs are the arguments that BuildKit knows without ARG, in capitals.
var proxyArgs = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// undefinedArg reports variables only where all are known: an image that a
// stage is FROM may define others.
func (l *linter) undefinedArg() {
	for _, s := range l.stages {
		for i := range s.own {
			step := &s.own[i]
			if step.Name != "ARG" && !s.scratch {
				continue
			}
			for _, name := range step.Undefined {
				if !slices.Contains(proxyArgs, strings.ToUpper(name)) {
					l.inContainerfile(step.Line, "%s: nothing gives %s", step.Name, name)
				}
			}
		}
	}
}

func (l *linter) finalRun() {
	var told []int
	for _, target := range l.targets() {
		for i := range target.chain {
			step := &target.chain[i]
			if step.Name == "RUN" && !slices.Contains(told, step.Line) {
				told = append(told, step.Line)
				l.inContainerfile(step.Line, "RUN in a stage that is published")
			}
		}
	}
}

// fiveStages are those of StageX's older layout. Newer Containerfiles have no
// stage fetch, by which the older ones are told.
var fiveStages = []string{"base", "fetch", "build", "install", "package"}

func (l *linter) older() bool {
	_, ok := l.c.stageNamed("fetch", len(l.c.Stages))
	return ok
}

func (l *linter) fiveStages() {
	if !l.older() {
		return
	}
	last := -1
	for _, name := range fiveStages {
		s, ok := l.c.stageNamed(name, len(l.c.Stages))
		switch {
		case !ok:
			l.inContainerfile(0, "no stage %s", name)
		case s.Index < last:
			l.inContainerfile(s.Line, "stage %s stands before one that comes before it", name)
		default:
			last = s.Index
		}
	}
}

func (l *linter) buildUser() {
	if !l.older() {
		return
	}
	for _, s := range l.stages {
		if s.stage.Name != "build" {
			continue
		}
		user := ""
		for i := range s.chain {
			step := &s.chain[i]
			if command, ok := step.Command.(*instructions.UserCommand); ok {
				user, _, _ = strings.Cut(command.User, ":")
			}
			if step.Stage == s.stage && step.Name == "RUN" && (user == "" || user == "0" || user == "root") {
				l.inContainerfile(step.Line, "stage build runs as root")
				return
			}
		}
	}
}

func (l *linter) parallelism() {
	told := false
	l.instructions(func(_ *Stage, in *Instruction) {
		if !told && strings.Contains(original(in.node), "nproc") {
			told = true
			l.inContainerfile(in.Line, "asks for the number of processors")
		}
	})
}

func (l *linter) unneededDependency() {
	var needed []string
	for _, pkg := range l.d.pkgs {
		needed = append(needed, pkg.Needs()...)
	}
	for _, ref := range l.c.Refs() {
		if ref.Kind == KindPackage && !slices.Contains(needed, ref.ID) {
			needed = append(needed, ref.ID) // tell it once
			l.inContainerfile(ref.Line, "%s is needed by no image", ref.ID)
		}
	}
}

// dependencyScan compares the dependencies with what targets.py finds.
func (l *linter) dependencyScan() {
	scanned := scanDeps(l.c.text, l.tree.Prefix)
	for _, id := range scanned {
		if !slices.Contains(l.pkg.Deps, id) {
			l.inContainerfile(0, "targets.py takes %s for a dependency", id)
		}
	}
	for _, ref := range l.c.Refs() {
		if ref.Kind == KindPackage && !slices.Contains(scanned, ref.ID) {
			scanned = append(scanned, ref.ID)
			l.inContainerfile(ref.Line, "targets.py does not find %s", ref.ID)
		}
	}
}

// scanDeps finds dependencies as targets.py does.
func scanDeps(text, prefix string) []string {
	var ids []string
	add := func(name string) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(name), prefix); ok {
			ids = append(ids, id)
		}
	}
	for line := range strings.Lines(text) {
		words := strings.Split(line, " ")
		switch {
		case len(words) < 2:
		case strings.HasPrefix(line, "COPY") && strings.HasPrefix(words[1], "--from"):
			_, name, _ := strings.Cut(words[1], "=")
			add(name)
		case strings.HasPrefix(line, "FROM "+prefix):
			add(words[1])
		case strings.HasPrefix(line, "FROM --platform=linux/386 "+prefix):
			add(words[2])
		}
	}
	return ids
}
