package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// plan is what a Containerfile asks for, known before buildah starts.
type plan struct {
	text   []byte // for buildah: see translate
	stages []planStage
	images []string       // the names of the request's images that are needed, sorted
	online bool           // some step asks for network
	fetch  bool           // the context "fetch" may be named
	modes  bool           // the context has set-user-ID or set-group-ID
	shells map[int]string // SHELL's argument that a stage has from its image, by index
}

// planStage is a stage that is built, in the order of the Containerfile.
type planStage struct {
	label string // "build", or "stage-2" where it has no name
	steps []planStep
}

// planStep is an instruction that is a step.
type planStep struct {
	Step
	line int
}

// stepError is a failure that the Containerfile is to blame for.
type stepError struct {
	step string
	line int
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// isStep reports whether an instruction is one of a result's steps: those that
// change files. BuildKit counts the same.
func isStep(keyword string) bool {
	switch strings.ToUpper(keyword) {
	case "ADD", "COPY", "RUN", "WORKDIR":
		return true
	}
	return false
}

func readPlan(r *Request) (*plan, error) {
	text, err := os.ReadFile(r.Containerfile)
	if err != nil {
		return nil, fmt.Errorf("reading the Containerfile: %w", err)
	}
	return newPlan(text, r)
}

func newPlan(text []byte, r *Request) (*plan, error) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, wrong(err)
	}
	stages, global, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, wrong(err)
	}
	res := &resolver{stages: stages, images: r.Images, lex: shell.NewLex(parsed.EscapeToken)}
	if err := res.arguments(global, r); err != nil {
		return nil, err
	}
	needed, err := res.reachable(r.Target)
	if err != nil {
		return nil, err
	}
	modes, err := specialModes(r.Context)
	if err != nil {
		return nil, err
	}
	if err := res.baseShells(needed, r.Platform); err != nil {
		return nil, err
	}
	p := &plan{modes: modes, shells: res.shells, fetch: !res.hasStage("fetch"), images: slices.Sorted(maps.Keys(res.used))}
	for _, i := range slices.Sorted(maps.Keys(needed)) {
		if err := check(&stages[i]); err != nil {
			return nil, err
		}
		stage := stagePlan(stages, i)
		for j := range stage.steps {
			n := stage.steps[j].Network
			p.online = p.online || n != "" && n != instructions.NetworkNone
		}
		p.stages = append(p.stages, stage)
	}
	if p.modes {
		if err := ignorable(r); err != nil {
			return nil, err
		}
	}
	p.text, err = p.translate(text, parsed.AST)
	return p, err
}

func stagePlan(stages []instructions.Stage, i int) planStage {
	s := planStage{label: stages[i].Name + " "}
	switch {
	case s.label == " " && len(stages) == 1:
		s.label = ""
	case s.label == " ":
		s.label = fmt.Sprintf("stage-%d ", i)
	}
	for _, c := range stages[i].Commands {
		if w, ok := c.(*instructions.WorkdirCommand); ok && isRoot(w.Path) || !isStep(c.Name()) {
			continue
		}
		step := planStep{line: firstLine(c.Location())}
		if text, ok := c.(fmt.Stringer); ok {
			step.Name, _, _ = strings.Cut(text.String(), "\n")
		}
		if run, ok := c.(*instructions.RunCommand); ok {
			step.Network = instructions.NetworkNone
			// The parser takes a bare RUN for --network=default.
			if slices.Contains(run.FlagsUsed, "network") {
				step.Network = instructions.GetNetwork(run)
			}
		}
		s.steps = append(s.steps, step)
	}
	for j := range s.steps {
		s.steps[j].Name = fmt.Sprintf("[%s%d/%d] %s", s.label, j+2, len(s.steps)+1, s.steps[j].Name)
	}
	return s
}

// check refuses what would reach out of the build.
func check(stage *instructions.Stage) error {
	for _, c := range stage.Commands {
		switch c := c.(type) {
		case *instructions.RunCommand:
			if s := instructions.GetSecurity(c); s != instructions.SecuritySandbox {
				return at(c, fmt.Errorf("--security=%s is refused: steps run without privileges", s))
			}
		case *instructions.AddCommand:
			if c.Chown != "" {
				return fmt.Errorf("line %d of the Containerfile: ADD --chown: buildah leaves the files of an archive to their owners, which BuildKit does not: unpack it in a step", firstLine(c.Location()))
			}
			for _, source := range c.SourcePaths {
				if isRemote(source) {
					return at(c, fmt.Errorf("%s is remote, and nothing is pulled: declare it as a source in package.toml, and ADD the file from fetch/", source))
				}
			}
		}
	}
	return nil
}

func isRemote(source string) bool {
	return strings.Contains(source, "://") || strings.HasPrefix(source, "git@")
}

// at blames an instruction.
func at(c instructions.Command, err error) error {
	return wrong(parser.WithLocation(err, c.Location()))
}

// wrong blames the Containerfile, at the place that the error knows.
func wrong(err error) error {
	var located *parser.LocationError
	line := 0
	if errors.As(err, &located) && len(located.Locations) > 0 {
		line = firstLine(located.Locations[0])
	}
	return &stepError{step: "Containerfile", line: line, err: err}
}

func firstLine(ranges []parser.Range) int {
	if len(ranges) == 0 {
		return 0
	}
	return ranges[0].Start.Line
}

// resolver finds out what names mean.
type resolver struct {
	stages []instructions.Stage
	images map[string]string
	lex    *shell.Lex
	env    []string // the arguments that FROM and --from can use
	used   map[string]bool
	shells map[int]string
}

func (res *resolver) arguments(global []instructions.ArgCommand, r *Request) error {
	res.used = make(map[string]bool)
	given := make(map[string]string)
	for _, a := range r.Args {
		given[a.Name] = a.Value
	}
	os, arch, ok := strings.Cut(r.Platform, "/")
	if !ok {
		return fmt.Errorf("platform %q is not os/architecture", r.Platform)
	}
	res.env = []string{"TARGETPLATFORM=" + r.Platform, "TARGETOS=" + os, "TARGETARCH=" + arch}
	for i := range global {
		for _, arg := range global[i].Args {
			value, known := given[arg.Key]
			if !known && arg.Value != nil {
				word, err := res.expand(*arg.Value)
				if err != nil {
					return at(&global[i], err)
				}
				value = word
			}
			res.env = append(res.env, arg.Key+"="+value)
		}
	}
	return nil
}

func (res *resolver) expand(word string) (string, error) {
	expanded, _, err := res.lex.ProcessWord(word, shell.EnvsFromSlice(res.env))
	return expanded, err
}

func (res *resolver) hasStage(name string) bool {
	_, ok := instructions.HasStage(res.stages, name)
	return ok
}

// reachable returns the indices of the stages that the target is built from.
func (res *resolver) reachable(target string) (map[int]bool, error) {
	last := len(res.stages) - 1
	if last < 0 {
		return nil, wrong(errors.New("there are no stages"))
	}
	if target != "" {
		i, ok := instructions.HasStage(res.stages, target)
		if !ok {
			return nil, wrong(fmt.Errorf("there is no stage %q", target))
		}
		last = i
	}
	needed := make(map[int]bool)
	for todo := []int{last}; len(todo) > 0; todo = todo[1:] {
		i := todo[0]
		if needed[i] {
			continue
		}
		needed[i] = true
		next, err := res.references(i)
		if err != nil {
			return nil, err
		}
		todo = append(todo, next...)
	}
	return needed, nil
}

// baseShells finds the stages that have a SHELL from an image of the request.
func (res *resolver) baseShells(needed map[int]bool, platform string) error {
	res.shells = make(map[int]string)
	for i := range needed {
		base, err := res.expand(res.stages[i].BaseName)
		if err != nil {
			return err
		}
		dir, ok := res.images[base]
		if !ok {
			continue
		}
		shell, err := imageShell(dir, platform)
		if err != nil {
			return fmt.Errorf("image %s, from %s: %w", base, dir, err)
		}
		if shell != "" {
			res.shells[i] = shell
		}
	}
	return nil
}

// references returns the stages that stage i names, and notes the images.
func (res *resolver) references(i int) ([]int, error) {
	stage := &res.stages[i]
	var next []int
	follow := func(name string, mayIndex bool) error {
		j, ok, err := res.resolve(i, name, mayIndex)
		if ok {
			next = append(next, j)
		}
		return err
	}
	if err := follow(stage.BaseName, false); err != nil {
		return nil, wrong(parser.WithLocation(err, stage.Location))
	}
	for _, c := range stage.Commands {
		var froms []string
		switch c := c.(type) {
		case *instructions.CopyCommand:
			froms = append(froms, c.From)
		case *instructions.RunCommand:
			for _, m := range instructions.GetMounts(c) {
				froms = append(froms, m.From)
			}
		}
		for _, from := range froms {
			if from == "" {
				continue
			}
			err := follow(from, true)
			if err != nil && isNumber(from) {
				// To BuildKit, such a name is no stage's, so it knows no line.
				return nil, wrong(fmt.Errorf("line %d: %w", firstLine(c.Location()), err))
			}
			if err != nil {
				return nil, at(c, err)
			}
		}
	}
	return next, nil
}

func isNumber(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil
}

// resolve says what a name means in stage i: an earlier stage, or else an image
// of the request, the context "fetch" or scratch.
func (res *resolver) resolve(i int, name string, mayIndex bool) (stage int, isStage bool, err error) {
	expanded, err := res.expand(name)
	if err != nil {
		return 0, false, err
	}
	if expanded == "" {
		return 0, false, fmt.Errorf("%q is empty", name)
	}
	if expanded == "scratch" {
		return 0, false, nil
	}
	if _, ok := res.images[expanded]; ok {
		res.used[expanded] = true
		return 0, false, nil
	}
	if j, ok := instructions.HasStage(res.stages[:i], expanded); ok {
		return j, true, nil
	}
	if mayIndex {
		if j, err := strconv.Atoi(expanded); err == nil && j >= 0 && j < i {
			return j, true, nil
		}
		if expanded == "fetch" {
			return 0, false, nil
		}
	}
	return 0, false, fmt.Errorf("%s is no earlier stage and not among the images that the build was given, and nothing is pulled", expanded)
}
