package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// The networks of a RUN step.
const (
	networkNone    = "none"
	networkDefault = "default"
	networkHost    = "host"
)

// containerfile is a Containerfile that an engine may run.
type containerfile struct {
	data   []byte
	stages []stage
	// network reports whether some step asks for a network.
	network bool
}

// stage is a stage of a Containerfile.
type stage struct {
	name  string // in lower case; "stage-0" and so on if it has none
	steps []instruction
}

// instruction is one that makes a step.
type instruction struct {
	keyword string // in upper case
	network string // of RUN
	line    int    // from 1
}

// readContainerfile reads r.Containerfile and refuses what would bring into the
// build something that the request does not name. What it refuses, and syntax
// errors, are a *StepError.
func readContainerfile(r *Request, hostNetwork bool) (*containerfile, error) {
	for _, a := range r.Args {
		if a.Name == "BUILDKIT_SYNTAX" {
			return nil, fmt.Errorf("%s: the build argument %s=%s names a frontend to pull: leave it out, the engine has its own", r.ID, a.Name, a.Value)
		}
	}
	data, err := os.ReadFile(r.Containerfile)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the Containerfile: %w", r.ID, err)
	}
	c, line, err := parseContainerfile(data, hostNetwork)
	if err != nil {
		return nil, containerfileError(r.ID, line, err)
	}
	return c, nil
}

func containerfileError(id string, line int, err error) *StepError {
	step := "Containerfile"
	if line > 0 {
		step = fmt.Sprintf("Containerfile:%d", line)
	}
	return &StepError{ID: id, Step: step, Line: line, Err: err}
}

// parseContainerfile returns the line, from 1, to which an error belongs; zero
// if there is none.
func parseContainerfile(data []byte, hostNetwork bool) (*containerfile, int, error) {
	if ref, _, loc, ok := parser.DetectSyntax(data); ok {
		return nil, firstLine(loc), fmt.Errorf("syntax=%s names a frontend to pull: remove the line, the engine has its own", ref)
	}
	ast, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		var at *parser.LocationError
		if errors.As(err, &at) && len(at.Locations) > 0 {
			return nil, firstLine(at.Locations[0]), err
		}
		return nil, 0, err
	}
	c := &containerfile{data: data}
	var runs []int // lines of the RUNs that name no network
	for _, node := range ast.AST.Children {
		network, err := c.add(node, hostNetwork)
		if err != nil {
			return nil, node.StartLine, err
		}
		if network == "" {
			runs = append(runs, node.StartLine)
		}
	}
	if c.network {
		return c, 0, c.forbidNetwork(runs)
	}
	return c, 0, nil
}

// add takes in one instruction, and returns the network that it names; empty
// for a RUN that names none.
func (c *containerfile) add(node *parser.Node, hostNetwork bool) (string, error) {
	keyword := strings.ToUpper(node.Value)
	step := instruction{keyword: keyword, line: node.StartLine}
	named := networkNone
	switch keyword {
	case "FROM":
		c.stages = append(c.stages, stage{name: stageName(node, len(c.stages))})
		return named, nil
	case "ONBUILD":
		return "", errors.New("ONBUILD is refused: it makes steps of other packages that their Containerfiles do not show")
	case "RUN":
		var err error
		if named, err = runNetwork(node.Flags, hostNetwork); err != nil {
			return "", err
		}
		step.network = cmp.Or(named, networkNone)
		c.network = c.network || step.network != networkNone
	case "COPY", "ADD", "WORKDIR":
	default:
		return named, nil
	}
	if n := len(c.stages); n > 0 {
		c.stages[n-1].steps = append(c.stages[n-1].steps, step)
	}
	return named, nil
}

func stageName(from *parser.Node, index int) string {
	var words []string
	for node := from.Next; node != nil; node = node.Next {
		words = append(words, node.Value)
	}
	if len(words) == 3 && strings.EqualFold(words[1], "as") {
		return strings.ToLower(words[2])
	}
	return fmt.Sprintf("stage-%d", index)
}

func firstLine(ranges []parser.Range) int {
	if len(ranges) == 0 {
		return 0
	}
	return ranges[0].Start.Line
}

// runNetwork returns the network that the flags of a RUN ask for, empty if they
// do not.
func runNetwork(flags []string, hostNetwork bool) (string, error) {
	network := ""
	for _, flag := range flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		switch {
		case name == "network":
			network = strings.ToLower(value)
			if network != networkNone && network != networkDefault && network != networkHost {
				return "", fmt.Errorf("RUN %s: the network is none, default or host", flag)
			}
		case name == "security" && value != "sandbox", name == "device":
			return "", fmt.Errorf("RUN %s is refused: steps run without privileges", flag)
		case name == "mount" && cacheMount.MatchString(value):
			return "", fmt.Errorf("RUN %s is refused: a cache would carry what one build left into another", flag)
		}
	}
	if network == networkHost && !hostNetwork {
		return "", errors.New("RUN --network=host is refused: it opens the services of this machine to the step")
	}
	return network, nil
}

// A value of CSV fields, which may be quoted, in any case.
var cacheMount = regexp.MustCompile(`(?i)(^|,)\s*"?\s*type\s*=\s*"?cache`)

var runInstruction = regexp.MustCompile(`^\s*(?i:run)`)

// forbidNetwork gives --network=none to the RUNs at these lines. BuildKit cannot
// tell RUN --network=default from a RUN without the flag, so where one asks for
// the network the others must say that they do not.
func (c *containerfile) forbidNetwork(runs []int) error {
	lines := bytes.SplitAfter(c.data, []byte("\n"))
	for _, line := range runs {
		text := lines[line-1]
		end := runInstruction.FindIndex(text)
		if end == nil {
			return fmt.Errorf("line %d: no RUN where the parser saw one", line)
		}
		lines[line-1] = bytes.Join([][]byte{text[:end[1]], text[end[1]:]}, []byte(" --network=none "))
	}
	c.data = bytes.Join(lines, nil)
	return nil
}

// runName matches the name of a step that is a RUN, and the flags in it.
var runName = regexp.MustCompile(`^(?:\[[^]]*\] )?(?i:run)((?:\s+--\S+)*)`)

// stepNetwork returns the network of the step of this name, empty if it is not
// of a RUN. A flag counts as the parser counts it: the last one.
func stepNetwork(name string) string {
	m := runName.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	network := networkNone
	for _, flag := range strings.Fields(m[1]) {
		if value, ok := strings.CutPrefix(flag, "--network="); ok {
			network = strings.ToLower(value)
		}
	}
	return network
}

// hasStage reports whether a stage has the name, in lower case.
func (c *containerfile) hasStage(name string) bool {
	return slices.ContainsFunc(c.stages, func(s stage) bool { return s.name == name })
}
