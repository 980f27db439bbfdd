package main

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// workdirProgram is what runtimeMain takes for a step that does nothing.
const workdirProgram = "/cairn-workdir"

// workdirRun is the instruction that follows each WORKDIR in what buildah gets.
const workdirRun = `RUN ["` + workdirProgram + `"]`

// translate makes of a Containerfile for BuildKit one that means the same to
// buildah, where the two differ:
//
//   - RUN --network=default becomes --network=host. In a build without network,
//     buildah takes "default" for none.
//   - WORKDIR makes a layer with the directory in BuildKit, and nothing at all in
//     buildah, whose next RUN makes it instead. So one that does nothing else is
//     put there.
//   - COPY --from=fetch gives files to root in BuildKit, and to their owner in
//     buildah, so --chown=0:0 is added.
//   - A SHELL that an image brings is repeated after FROM: buildah reads none from
//     OCI's configurations.
//   - COPY keeps set-user-ID and set-group-ID in BuildKit, and in buildah only
//     with --from. So if the context has any, it is named there.
func (p *plan) translate(text []byte, ast *parser.Node) ([]byte, error) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	stage := -1
	for _, node := range ast.Children {
		if node.EndLine > len(lines) {
			break // the parser counts the same lines
		}
		within := lines[node.StartLine-1 : node.EndLine]
		switch strings.ToUpper(node.Value) {
		case "FROM":
			stage++
			if shell, ok := p.shells[stage]; ok {
				insertAfter(within, "SHELL "+shell)
			}
		case "RUN":
			replaceFlag(within, node.Flags, "--network=default", "--network=host")
		case "COPY":
			if p.fetch && !hasFlag(node, "--chown=") {
				replaceFlag(within, node.Flags, "--from=fetch", "--from=fetch --chown=0:0")
			}
			if p.modes && !hasFlag(node, "--from=") {
				if err := nameContext(node, within); err != nil {
					return nil, err
				}
			}
		case "ADD":
			if p.modes {
				return nil, fmt.Errorf("line %d of the Containerfile: the build context has set-user-ID or set-group-ID, which ADD would drop: use COPY, or take it away", node.StartLine)
			}
		case "WORKDIR":
			if node.Next != nil && isRoot(node.Next.Value) {
				continue
			}
			insertAfter(within, workdirRun)
		}
	}
	return bytes.Join(lines, nil), nil
}

// insertAfter adds an instruction after the one on these lines.
func insertAfter(lines [][]byte, instruction string) {
	last := &lines[len(lines)-1]
	*last = append(bytes.TrimRight(slices.Clone(*last), "\r\n"), "\n"+instruction+"\n"...)
}

func hasFlag(node *parser.Node, prefix string) bool {
	return slices.ContainsFunc(node.Flags, func(f string) bool { return strings.HasPrefix(f, prefix) })
}

var copyKeyword = regexp.MustCompile(`^\s*(?i:COPY)\s`)

// nameContext makes a COPY from the context one from the context's name.
func nameContext(node *parser.Node, lines [][]byte) error {
	sources := 0
	for n := node.Next; n != nil && n.Next != nil; n = n.Next {
		sources++
	}
	if len(node.Heredocs) == sources && sources > 0 {
		return nil
	}
	end := copyKeyword.FindIndex(lines[0])
	if end == nil || len(node.Heredocs) > 0 {
		return fmt.Errorf("line %d of the Containerfile: the build context has set-user-ID or set-group-ID, which buildah would drop here", node.StartLine)
	}
	flags := "--from=" + contextName + " "
	if !hasFlag(node, "--chown=") {
		flags += "--chown=0:0 "
	}
	lines[0] = slices.Concat(lines[0][:end[1]], []byte(flags), lines[0][end[1]:])
	return nil
}

// replaceFlag replaces the first mention of a flag that the instruction has.
// Flags come before all else.
func replaceFlag(lines [][]byte, flags []string, old, replacement string) {
	if !slices.Contains(flags, old) {
		return
	}
	for i, line := range lines {
		if bytes.Contains(line, []byte(old)) {
			lines[i] = bytes.Replace(line, []byte(old), []byte(replacement), 1)
			return
		}
	}
}

// isRoot reports whether a WORKDIR is one of the root directory, for which no
// engine makes a layer.
func isRoot(dir string) bool { return strings.HasPrefix(dir, "/") && path.Clean(dir) == "/" }
