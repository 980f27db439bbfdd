package tree

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/util/suggest"
)

// Containerfile is a Containerfile as BuildKit's parser reads it, with the
// images it names resolved. It is not changed after it is read.
type Containerfile struct {
	File   string // relative to the tree's root, with slashes
	Syntax string // what "# syntax=" names: a frontend that BuildKit would pull
	// SyntaxLine is the line of that directive.
	SyntaxLine int
	Stages     []*Stage

	text   string
	prefix string // of the names of the tree's images
	escape rune
	global []instructions.ArgCommand // before the first FROM
}

// Stage is one FROM and what follows it.
type Stage struct {
	Index    int
	Name     string // lower-case; may be empty
	Line     int
	Base     string // what FROM names, as it is written
	Platform string // as FROM --platform= has it; may be empty
	// From is what FROM names. It has more than one element only if the name
	// contains a platform argument: one for each platform of [Build.Platforms].
	From         []Ref
	Instructions []Instruction
}

// Instruction is one line of a stage, as it is written.
type Instruction struct {
	Line int
	Name string // in capitals: RUN
	Text string // without line continuations and heredocs
	// Network is what RUN --network= says, none, default or host; empty where
	// nothing is said. Our engines give none then, StageX's default.
	Network string
	// Refs are what COPY --from and RUN --mount=from= name.
	Refs []Ref
	// Command is the parsed form, whose variables are not replaced. It must not
	// be changed, and so not expanded: see [Containerfile.Steps].
	Command instructions.Command

	node *parser.Node
}

// Kind says what a Ref names.
type Kind string

// The kinds of Ref.
const (
	KindScratch Kind = "scratch" // nothing
	KindStage   Kind = "stage"   // an earlier stage of the Containerfile
	KindPackage Kind = "package" // an image of the tree
	KindFetch   Kind = "fetch"   // the directory of sources
	KindImage   Kind = "image"   // any other image
)

// Ref is what a FROM, COPY --from or RUN --mount=from= names.
type Ref struct {
	Kind  Kind
	Name  string // with variables replaced
	Stage int    // index, for KindStage
	// ID is that of the package, for KindPackage.
	ID   string
	Line int
}

// Build says for what a Containerfile is read or evaluated.
type Build struct {
	// Platforms are those it is built for. If there are none, linux/amd64 and
	// linux/arm64 are taken to find what FROM names, and the former in
	// [Containerfile.Steps].
	Platforms []string
	Args      []Arg // the build arguments, all of them
	// BaseEnv is the environment of the image that the target begins with. It
	// matters to [Containerfile.Steps] only.
	BaseEnv []Arg
}

func (b *Build) platforms() []string {
	if b == nil || len(b.Platforms) == 0 {
		return []string{"linux/amd64", "linux/arm64"}
	}
	return b.Platforms
}

// ParseContainerfile reads a Containerfile in which the images of its tree have
// the given prefix. The build may be nil: no arguments, any platform.
func ParseContainerfile(file string, text []byte, prefix string, b *Build) (*Containerfile, error) {
	c, errs := parseContainerfile(file, text, prefix, b)
	return c, errs.join()
}

func parseContainerfile(file string, text []byte, prefix string, b *Build) (*Containerfile, problems) {
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, problems{parserError(file, err)}
	}
	stages, global, err := instructions.Parse(result.AST, nil)
	if err != nil {
		return nil, problems{parserError(file, err)}
	}
	c := &Containerfile{File: file, text: string(text), prefix: prefix, escape: result.EscapeToken, global: global}
	if syntax, _, at, ok := parser.DetectSyntax(text); ok {
		c.Syntax = syntax
		if len(at) > 0 {
			c.SyntaxLine = at[0].Start.Line
		}
	}
	var errs problems
	if len(stages) == 0 {
		errs.add(file, 0, "", "has no FROM")
		return nil, errs
	}
	c.readStages(stages, result.AST.Children[len(global):], &errs)
	if errs == nil {
		c.resolve(b, &errs)
	}
	if errs != nil {
		return nil, errs
	}
	return c, nil
}

// readStages takes over what BuildKit parsed. The nodes are those of the
// instructions from the first FROM on, in the order of the file.
func (c *Containerfile) readStages(stages []instructions.Stage, nodes []*parser.Node, errs *problems) {
	for i, s := range stages {
		stage := &Stage{Index: i, Name: s.Name, Line: firstLine(s.Location), Base: s.BaseName, Platform: s.Platform}
		if s.Name == "scratch" || s.Name == "context" {
			errs.add(c.File, stage.Line, "", "a stage cannot be called %s: BuildKit reserves the name", s.Name)
		}
		if other, ok := c.stageNamed(s.Name, i); ok {
			errs.add(c.File, stage.Line, "", "the stage of line %d is called %s, too", other.Line, s.Name)
		}
		nodes = nodes[1:]
		for j, command := range s.Commands {
			in := Instruction{
				Line: firstLine(command.Location()), Name: strings.ToUpper(command.Name()),
				Command: command, node: nodes[j], Text: nodes[j].Original,
			}
			switch command := command.(type) {
			case *instructions.RunCommand:
				if slices.Contains(command.FlagsUsed, "network") {
					in.Network = instructions.GetNetwork(command)
				}
			case *instructions.OnbuildCommand:
				errs.add(c.File, in.Line, "", "ONBUILD is not understood: it would hide from the graph what is run")
			}
			stage.Instructions = append(stage.Instructions, in)
		}
		nodes = nodes[len(s.Commands):]
		c.Stages = append(c.Stages, stage)
	}
}

func firstLine(location []parser.Range) int {
	if len(location) == 0 {
		return 0
	}
	return location[0].Start.Line
}

// stageNamed finds a stage by name among the first n.
func (c *Containerfile) stageNamed(name string, n int) (*Stage, bool) {
	if name == "" {
		return nil, false
	}
	for _, s := range c.Stages[:min(n, len(c.Stages))] {
		if strings.EqualFold(s.Name, name) {
			return s, true
		}
	}
	return nil, false
}

// resolve finds out what the stages and their instructions name.
func (c *Containerfile) resolve(b *Build, errs *problems) {
	var evaluators []*evaluator
	for _, platform := range b.platforms() {
		e, err := c.evaluator(platform, b)
		if err != nil {
			*errs = append(*errs, err)
			return
		}
		evaluators = append(evaluators, e)
	}
	for _, stage := range c.Stages {
		for _, e := range evaluators {
			ref := c.from(stage, e, errs)
			if !slices.Contains(stage.From, ref) {
				stage.From = append(stage.From, ref)
			}
		}
		for j := range stage.Instructions {
			in := &stage.Instructions[j]
			for _, name := range fromFlags(in.Command) {
				in.Refs = append(in.Refs, c.refOrIndex(name, stage, in, errs))
			}
		}
	}
}

// from says what a stage is FROM for one platform. BuildKit minds the case of a
// stage's name there, and nowhere else.
func (c *Containerfile) from(stage *Stage, e *evaluator, errs *problems) Ref {
	name, _, err := e.lex.ProcessWord(stage.Base, vars(e.global))
	if err != nil {
		errs.add(c.File, stage.Line, "", "FROM %s: %w", stage.Base, err)
		return Ref{}
	}
	if s, ok := c.stageNamed(name, stage.Index); ok && s.Name == name {
		return Ref{Kind: KindStage, Name: name, Stage: s.Index, Line: stage.Line}
	}
	return c.ref(name, stage.Line, errs)
}

// fromFlags returns what an instruction names as --from or in mounts.
func fromFlags(command instructions.Command) []string {
	switch command := command.(type) {
	case *instructions.CopyCommand:
		if command.From != "" {
			return []string{command.From}
		}
	case *instructions.RunCommand:
		var names []string
		for _, mount := range instructions.GetMounts(command) {
			if mount.From != "" {
				names = append(names, mount.From)
			}
		}
		return names
	}
	return nil
}

// refOrIndex is ref, where a number names a stage by its index.
func (c *Containerfile) refOrIndex(name string, stage *Stage, in *Instruction, errs *problems) Ref {
	if strings.Contains(name, "$") {
		errs.add(c.File, in.Line, "", "--from=%s: BuildKit replaces no variables there: define a stage with FROM", name)
		return Ref{Kind: KindImage, Name: name, Line: in.Line}
	}
	if n, err := strconv.Atoi(name); err == nil && in.Name == "COPY" {
		if n < 0 || n >= stage.Index {
			errs.add(c.File, in.Line, "", "--from=%s: there is no such stage before this one", name)
		}
		return Ref{Kind: KindStage, Name: name, Stage: n, Line: in.Line}
	}
	s, ok := c.stageNamed(name, len(c.Stages))
	if !ok {
		return c.ref(name, in.Line, errs)
	}
	if s.Index >= stage.Index {
		errs.add(c.File, in.Line, "", "--from=%s: the stage of line %d must stand before this one", name, s.Line)
	}
	return Ref{Kind: KindStage, Name: name, Stage: s.Index, Line: in.Line}
}

// ref says what a name stands for that is none of a stage, as BuildKit would
// look it up if it were given the tree's images and sources as named build
// contexts.
func (c *Containerfile) ref(name string, line int, errs *problems) Ref {
	ref := Ref{Name: name, Line: line}
	short := strings.TrimSuffix(strings.TrimPrefix(name, "docker.io/"), ":latest")
	id, ours := strings.CutPrefix(short, c.prefix)
	switch {
	case name == "":
		errs.add(c.File, line, "", "names nothing once its variables are replaced")
	case name == "scratch":
		ref.Kind = KindScratch
	case name == FetchContext:
		ref.Kind = KindFetch
	case ours && strings.Contains(id, "@"):
		ref.Kind = KindImage
	case ours:
		ref.Kind, ref.ID = KindPackage, id
	default:
		ref.Kind = KindImage
	}
	return ref
}

// Final returns the last stage, which is the image of a package without
// subpackages.
func (c *Containerfile) Final() *Stage { return c.Stages[len(c.Stages)-1] }

// Stage returns the stage of a target: the last if it is empty.
func (c *Containerfile) Stage(target string) (*Stage, error) {
	if target == "" {
		return c.Final(), nil
	}
	if s, ok := c.stageNamed(target, len(c.Stages)); ok {
		return s, nil
	}
	var names []string
	for _, s := range c.Stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	err := fmt.Errorf("%s has no stage %s", c.File, target)
	return nil, suggest.WrapError(err, target, names, false)
}

// Refs returns everything that the Containerfile names, in its order.
func (c *Containerfile) Refs() []Ref {
	var refs []Ref
	for _, s := range c.Stages {
		refs = append(refs, s.refs()...)
	}
	return refs
}

func (s *Stage) refs() []Ref {
	refs := slices.Clone(s.From)
	for i := range s.Instructions {
		refs = append(refs, s.Instructions[i].Refs...)
	}
	return refs
}

// Deps returns the IDs of all packages that the Containerfile names, sorted,
// each once.
func (c *Containerfile) Deps() []string { return packageIDs(c.Refs()) }

// Needs returns the IDs of the packages that one target needs: those named by
// its stage and by the stages that this one is made from, sorted, each once.
func (c *Containerfile) Needs(target string) ([]string, error) {
	refs, err := c.reach(target)
	return packageIDs(refs), err
}

// NeedsFetch reports whether a target needs the directory of sources as the
// build context "fetch", beside the fetch/ of its own context. A Containerfile
// that has a stage of that name must not be given it: BuildKit would put it in
// the stage's place.
func (c *Containerfile) NeedsFetch(target string) (bool, error) {
	refs, err := c.reach(target)
	return slices.ContainsFunc(refs, func(r Ref) bool { return r.Kind == KindFetch }), err
}

// reach returns what is named by a target's stage and those it is made from.
func (c *Containerfile) reach(target string) ([]Ref, error) {
	stage, err := c.Stage(target)
	if err != nil {
		return nil, err
	}
	seen := make([]bool, len(c.Stages))
	seen[stage.Index] = true
	var refs []Ref
	for todo := []*Stage{stage}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		for _, ref := range s.refs() {
			refs = append(refs, ref)
			if ref.Kind == KindStage && !seen[ref.Stage] {
				seen[ref.Stage] = true
				todo = append(todo, c.Stages[ref.Stage])
			}
		}
	}
	return refs, nil
}

func packageIDs(refs []Ref) []string {
	var ids []string
	for _, ref := range refs {
		if ref.Kind == KindPackage {
			ids = append(ids, ref.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
