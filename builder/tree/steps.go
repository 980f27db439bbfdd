package tree

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Step is an instruction as it is run.
type Step struct {
	Instruction        // as it is written, but for Command, whose variables are replaced
	Stage       *Stage // whose instruction it is
	// Env is the environment of the image before the step, in the order of its
	// configuration. BuildKit puts PATH there before anything else.
	Env []Arg
	// Args are the build arguments that ARG has declared before the step and that
	// have a value, in the order of the file.
	Args []Arg
	// Undefined are the variables that the step uses and that nothing defines,
	// sorted. For ARG it is the argument, if it has no value.
	Undefined []string
}

// defaultPath is what BuildKit sets where an image sets nothing.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Steps evaluates a target as BuildKit's Dockerfile frontend does: the steps of
// its stage, after those of the stages that it is FROM.
func (c *Containerfile) Steps(target string, b Build) ([]Step, error) {
	stage, err := c.Stage(target)
	if err != nil {
		return nil, err
	}
	steps, bad := c.steps(stage, b)
	if bad != nil {
		return nil, bad
	}
	return steps, nil
}

func (c *Containerfile) steps(stage *Stage, b Build) ([]Step, *Error) {
	e, err := c.evaluator(b.platforms()[0], &b)
	if err != nil {
		return nil, err
	}
	e.env = set(nil, Arg{"PATH", defaultPath})
	for _, arg := range b.BaseEnv {
		e.env = set(e.env, arg)
	}
	e.vars = slices.Clone(e.env)
	var steps []Step
	for _, s := range c.chain(stage, e) {
		for i := range s.Instructions {
			step, err := e.step(s, &s.Instructions[i])
			if err != nil {
				return nil, &Error{File: c.File, Line: s.Instructions[i].Line, Err: err}
			}
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// chain returns the stages that a stage is FROM, the first one first, and
// itself.
func (c *Containerfile) chain(stage *Stage, e *evaluator) []*Stage {
	chain := []*Stage{stage}
	for {
		var ignored problems // told when the file was read
		from := c.from(chain[0], e, &ignored)
		if from.Kind != KindStage {
			return chain
		}
		chain = slices.Insert(chain, 0, c.Stages[from.Stage])
	}
}

// evaluator keeps the variables while the instructions of a target pass.
type evaluator struct {
	lex    *shell.Lex
	given  []Arg // build arguments
	global []Arg // of the platform, and of ARG before the first FROM
	vars   []Arg // what instructions see: ARG and ENV
	env    []Arg // of ENV
	args   []Arg // of ARG
}

func (c *Containerfile) evaluator(platform string, b *Build) (*evaluator, *Error) {
	e := &evaluator{lex: shell.NewLex(c.escape)}
	if b != nil {
		e.given = b.Args
	}
	for _, arg := range platformArgs(platform) {
		if value, ok := get(e.given, arg.Name); ok {
			arg.Value = value
		}
		e.global = set(e.global, arg)
	}
	for i := range c.global {
		for _, arg := range c.global[i].Args {
			value, ok := get(e.given, arg.Key)
			if !ok && arg.Value == nil {
				continue
			}
			if !ok {
				word, _, err := e.lex.ProcessWord(*arg.Value, vars(e.global))
				if err != nil {
					return nil, &Error{File: c.File, Line: firstLine(c.global[i].Location()), Err: err}
				}
				value = word
			}
			e.global = set(e.global, Arg{arg.Key, value})
		}
	}
	return e, nil
}

// platformArgs are the variables that BuildKit defines for each build. The
// platform it builds on is taken to be that which it builds for.
func platformArgs(platform string) []Arg {
	parts := append(strings.SplitN(platform, "/", 3), "", "", "")
	goos, arch, variant := parts[0], parts[1], parts[2]
	var args []Arg
	for _, of := range []string{"BUILD", "TARGET"} {
		args = append(args, Arg{of + "PLATFORM", platform}, Arg{of + "OS", goos}, Arg{of + "OSVERSION", ""},
			Arg{of + "ARCH", arch}, Arg{of + "VARIANT", variant})
	}
	return append(args, Arg{"TARGETSTAGE", "default"})
}

// step evaluates one instruction, on a copy of it: BuildKit expands in place.
func (e *evaluator) step(s *Stage, in *Instruction) (Step, error) {
	command, err := instructions.ParseCommand(in.node)
	if err != nil {
		return Step{}, err
	}
	step := Step{Instruction: *in, Stage: s, Env: slices.Clone(e.env), Args: slices.Clone(e.args)}
	step.Command = command
	expand := func(lex *shell.Lex) instructions.SingleWordExpander {
		return func(word string) (string, error) {
			value, unmatched, err := lex.ProcessWord(word, vars(e.vars))
			for name := range unmatched {
				step.Undefined = append(step.Undefined, name)
			}
			return value, err
		}
	}
	if arg, ok := command.(*instructions.ArgCommand); ok {
		err = e.arg(arg, &step, expand(e.lex))
	} else if x, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		err = x.Expand(expand(e.lex))
	}
	if x, ok := command.(instructions.SupportsSingleWordExpansionRaw); ok && err == nil {
		raw := shell.NewLex('\\')
		raw.SkipProcessQuotes = true
		err = x.ExpandRaw(expand(raw))
	}
	if env, ok := command.(*instructions.EnvCommand); ok {
		for _, kv := range env.Env {
			e.env = set(e.env, Arg{kv.Key, kv.Value})
			e.vars = set(e.vars, Arg{kv.Key, kv.Value})
		}
	}
	slices.Sort(step.Undefined)
	step.Undefined = slices.Compact(step.Undefined)
	return step, err
}

// arg declares arguments: given values come before defaults, and defaults
// before global ones.
func (e *evaluator) arg(command *instructions.ArgCommand, step *Step, expand instructions.SingleWordExpander) error {
	for i := range command.Args {
		arg := &command.Args[i]
		value, ok := get(e.given, arg.Key)
		switch {
		case ok:
		case arg.Value != nil:
			word, err := expand(*arg.Value)
			if err != nil {
				return err
			}
			value, ok = word, true
		default:
			value, ok = get(e.global, arg.Key)
		}
		if !ok {
			step.Undefined = append(step.Undefined, arg.Key)
			continue
		}
		arg.Value = &value
		e.args = append(e.args, Arg{arg.Key, value})
		e.vars = set(e.vars, Arg{arg.Key, value})
	}
	return nil
}

// vars are variables as BuildKit's lexer asks for them.
type vars []Arg

func (v vars) Get(name string) (string, bool) { return get(v, name) }

func (v vars) Keys() []string {
	keys := make([]string, len(v))
	for i, arg := range v {
		keys[i] = arg.Name
	}
	return keys
}

// get returns the last value of a name: what is given twice counts as given
// last.
func get(args []Arg, name string) (string, bool) {
	for i := len(args) - 1; i >= 0; i-- {
		if args[i].Name == name {
			return args[i].Value, true
		}
	}
	return "", false
}

// set replaces a value where it stands, or appends it.
func set(args []Arg, arg Arg) []Arg {
	for i := range args {
		if args[i].Name == arg.Name {
			args[i] = arg
			return args
		}
	}
	return append(args, arg)
}

// original returns the whole text of an instruction, with its heredocs.
func original(node *parser.Node) string {
	text := node.Original
	for _, doc := range node.Heredocs {
		text += "\n" + doc.Content
	}
	return text
}
