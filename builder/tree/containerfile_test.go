package tree_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/cairnlog/cairn/builder/tree"
)

func parse(t *testing.T, text string, b *tree.Build) *tree.Containerfile {
	t.Helper()
	c, err := tree.ParseContainerfile("Containerfile", []byte(text), tree.DefaultPrefix, b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContainerfileErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "", "Containerfile: file with no instructions"},
		{"no FROM", "ARG X\n", "Containerfile: has no FROM"},
		{"RUN before FROM", "RUN x\n", "Containerfile:1: no build stage in current context"},
		{"an unknown instruction", "FROM scratch\n\nRUNN x\n", "Containerfile:3: unknown instruction: RUNN (did you mean RUN?)"},
		{"an unknown flag", "FROM scratch\nCOPY --form=x a b\n", "Containerfile:2: unknown flag: --form (did you mean from?)"},
		{"an unfinished heredoc", "FROM scratch\nCOPY <<EOF x\n", "Containerfile:2: unterminated heredoc"},
		{"an unknown network", "FROM scratch\nRUN --network=any x\n", `Containerfile:2: invalid network mode "any"`},
		{"a blank FROM", "ARG X\nFROM $X\n", "Containerfile:2: names nothing once its variables are replaced"},
		{"a bad variable", "FROM ${X:+\n", "Containerfile:1: FROM ${X:+: failed to process \"${X:+\": syntax error: missing '}'"},
		{"a bad default", "ARG X=${Y:+\nFROM scratch\n", "Containerfile:1: failed to process \"${Y:+\": syntax error: missing '}'"},
		{"a name twice", "FROM scratch AS a\nFROM scratch AS A\n", "Containerfile:2: the stage of line 1 is called a, too"},
		{"a reserved name", "FROM scratch AS context\n", "Containerfile:1: a stage cannot be called context: BuildKit reserves the name"},
		{"a variable in --from", "ARG X=a\nFROM scratch AS a\nFROM scratch\nCOPY --from=$X a b\n",
			"Containerfile:4: --from=$X: BuildKit replaces no variables there: define a stage with FROM"},
		{"a later stage", "FROM scratch\nCOPY --from=b x y\nFROM scratch AS b\n", "Containerfile:2: --from=b: the stage of line 3 must stand before this one"},
		{"its own stage", "FROM scratch AS a\nCOPY --from=a x y\n", "Containerfile:2: --from=a: the stage of line 1 must stand before this one"},
		{"a number too high", "FROM scratch\nFROM scratch\nCOPY --from=1 x y\n", "Containerfile:3: --from=1: there is no such stage before this one"},
		{"a number too low", "FROM scratch\nCOPY --from=-1 x y\n", "Containerfile:2: --from=-1: there is no such stage before this one"},
		{"ONBUILD", "FROM scratch\nONBUILD RUN x\n", "Containerfile:2: ONBUILD is not understood: it would hide from the graph what is run"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := tree.ParseContainerfile("Containerfile", []byte(test.text), tree.DefaultPrefix, nil)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

const manyRefs = `# syntax=example.org/frontend
ARG BASE=core-tcc
FROM stagex/${BASE} AS base
FROM --platform=linux/386 docker.io/stagex/core-a:latest
COPY --from=base a b
COPY --from=0 a b
COPY --chmod=755 --from=stagex/core-b a b
COPY --from=fetch . .
COPY --from=scratch . .
RUN --mount=from=stagex/core-c,target=/c --network=none \
  make \
  all
RUN --network=default x
RUN y <<END
COPY --from=stagex/core-not a b
END
FROM base-${TARGETARCH} AS other
FROM example.org/x@sha256:0000000000000000000000000000000000000000000000000000000000000000
COPY --from=stagex/core-d@sha256:00 a b
FROM BASE AS last
`

func TestRefs(t *testing.T) {
	c := parse(t, manyRefs, &tree.Build{Platforms: []string{"linux/amd64", "linux/arm64", "linux/amd64"}})
	var got []string
	for _, ref := range c.Refs() {
		got = append(got, fmt.Sprintf("%d %s %s %d %s", ref.Line, ref.Kind, ref.Name, ref.Stage, ref.ID))
	}
	equal(t, "references", got, []string{
		"3 package stagex/core-tcc 0 core-tcc",
		"4 package docker.io/stagex/core-a:latest 0 core-a",
		"5 stage base 0 ",
		"6 stage 0 0 ",
		"7 package stagex/core-b 0 core-b",
		"8 fetch fetch 0 ",
		"9 scratch scratch 0 ",
		"10 package stagex/core-c 0 core-c",
		"17 image base-amd64 0 ",
		"17 image base-arm64 0 ",
		"18 image example.org/x@sha256:0000000000000000000000000000000000000000000000000000000000000000 0 ",
		"19 image stagex/core-d@sha256:00 0 ",
		"20 image BASE 0 ",
	})
	equal(t, "dependencies", c.Deps(), []string{"core-a", "core-b", "core-c", "core-tcc"})
	equal(t, "syntax", c.Syntax, "example.org/frontend")
	equal(t, "its line", c.SyntaxLine, 1)
	second := c.Stages[1]
	equal(t, "platform", second.Platform, "linux/386")
	var runs []string
	for _, in := range second.Instructions {
		if in.Name == "RUN" {
			runs = append(runs, fmt.Sprintf("%d %s %s", in.Line, in.Network, in.Text))
		}
	}
	equal(t, "steps", runs, []string{
		"10 none RUN --mount=from=stagex/core-c,target=/c --network=none   make   all",
		"13 default RUN --network=default x",
		"14  RUN y <<END",
	})
}

func TestArgGivenForFrom(t *testing.T) {
	c := parse(t, manyRefs, &tree.Build{Args: []tree.Arg{{Name: "BASE", Value: "core-clang"}}})
	equal(t, "base", c.Stages[0].From[0].ID, "core-clang")
}

const targets = `FROM stagex/core-a AS base
FROM scratch AS unused
COPY --from=stagex/core-unused a b
FROM base AS build
COPY --from=fetch . .
COPY --from=stagex/core-b a b
FROM scratch AS package-one
COPY --from=build a b
FROM scratch AS package-two
COPY --from=base a b
`

func TestNeeds(t *testing.T) {
	c := parse(t, targets, nil)
	tests := []struct {
		target string
		needs  []string
		fetch  bool
	}{
		{"", []string{"core-a"}, false},
		{"package-two", []string{"core-a"}, false},
		{"package-one", []string{"core-a", "core-b"}, true},
		{"Package-One", []string{"core-a", "core-b"}, true},
		{"unused", []string{"core-unused"}, false},
	}
	for _, test := range tests {
		needs, err := c.Needs(test.target)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "needs of "+test.target, needs, test.needs)
		fetch, err := c.NeedsFetch(test.target)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "fetch of "+test.target, fetch, test.fetch)
	}
	if _, err := c.Needs("package-tow"); err == nil || err.Error() != "Containerfile has no stage package-tow (did you mean package-two?)" {
		t.Errorf("no such target: %v", err)
	}
	if _, err := c.NeedsFetch("x"); err == nil {
		t.Error("no error for a target that is not there")
	}
	equal(t, "all", c.Deps(), []string{"core-a", "core-b", "core-unused"})
}

// A stage called fetch is what --from=fetch means, not the sources.
func TestStageCalledFetch(t *testing.T) {
	c := parse(t, "FROM scratch AS fetch\nADD fetch/x .\nFROM scratch\nCOPY --from=fetch . .\n", nil)
	fetch, err := c.NeedsFetch("")
	if err != nil || fetch {
		t.Errorf("needs fetch: %v, %v", fetch, err)
	}
}

const evaluated = `ARG GLOBAL=one
ARG DERIVED=${GLOBAL}-two
FROM stagex/core-a AS base
ARG GLOBAL
ARG VERSION
ARG UNSET
ENV PATH=/bin NAME=${GLOBAL}
FROM base AS build
ARG TARGETARCH
ARG DERIVED
ARG DEFAULT="a b"
ARG NAME=hidden
WORKDIR /src/${NAME}
ADD fetch/x-${VERSION}.${TARGETARCH}.tar ${NONE}/
COPY <<END <<"RAW" /etc/
version=${VERSION} 'kept'
END
version=${VERSION}
RAW
RUN echo ${VERSION}
FROM scratch
ENTRYPOINT ["/bin/x"]
`

func TestSteps(t *testing.T) {
	c := parse(t, evaluated, nil)
	steps, err := c.Steps("build", tree.Build{
		Platforms: []string{"linux/arm64"},
		Args:      []tree.Arg{{Name: "VERSION", Value: "1.2"}},
		BaseEnv:   []tree.Arg{{Name: "PATH", Value: "/usr/bin"}, {Name: "HOME", Value: "/"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, step := range steps {
		got = append(got, fmt.Sprintf("%s %s%s", step.Stage.Name, describe(step.Command), strings.Join(append([]string{""}, step.Undefined...), " ?")))
	}
	equal(t, "steps", got, []string{
		"base ARG GLOBAL=one",
		"base ARG VERSION=1.2",
		"base ARG UNSET ?UNSET",
		"base ENV PATH=/bin NAME=one",
		"build ARG TARGETARCH=arm64",
		"build ARG DERIVED=one-two",
		"build ARG DEFAULT=a b",
		"build ARG NAME=hidden",
		"build WORKDIR /src/hidden",
		"build ADD fetch/x-1.2.arm64.tar to / ?NONE",
		"build COPY to /etc/ END=\"version=1.2 'kept'\\n\" RAW=\"version=${VERSION}\\n\"",
		"build RUN echo ${VERSION}",
	})
	last := steps[len(steps)-1]
	equal(t, "environment", last.Env, []tree.Arg{{Name: "PATH", Value: "/bin"}, {Name: "HOME", Value: "/"}, {Name: "NAME", Value: "one"}})
	equal(t, "arguments", last.Args, []tree.Arg{{Name: "GLOBAL", Value: "one"}, {Name: "VERSION", Value: "1.2"},
		{Name: "TARGETARCH", Value: "arm64"}, {Name: "DERIVED", Value: "one-two"}, {Name: "DEFAULT", Value: "a b"}, {Name: "NAME", Value: "hidden"}})
	equal(t, "what was read is not changed", describe(c.Stages[1].Instructions[4].Command), "WORKDIR /src/${NAME}")
	final, err := c.Steps("", tree.Build{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the final stage has BuildKit's PATH", final[0].Env[0].Value, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if _, err := c.Steps("none", tree.Build{}); err == nil {
		t.Error("no error for a target that is not there")
	}
}

func TestStepsError(t *testing.T) {
	c := parse(t, "FROM scratch\nWORKDIR ${X:!}\n", nil)
	_, err := c.Steps("", tree.Build{})
	if err == nil || !strings.HasPrefix(err.Error(), "Containerfile:2: ") {
		t.Errorf("got %v", err)
	}
}

// describe returns the parts of a command that variables are replaced in.
func describe(command instructions.Command) string {
	switch c := command.(type) {
	case *instructions.ArgCommand:
		if c.Args[0].Value == nil {
			return "ARG " + c.Args[0].Key
		}
		return "ARG " + c.Args[0].Key + "=" + *c.Args[0].Value
	case *instructions.EnvCommand:
		text := "ENV"
		for _, kv := range c.Env {
			text += " " + kv.String()
		}
		return text
	case *instructions.WorkdirCommand:
		return "WORKDIR " + c.Path
	case *instructions.AddCommand:
		return "ADD " + strings.Join(c.SourcePaths, " ") + " to " + c.DestPath
	case *instructions.CopyCommand:
		text := "COPY to " + c.DestPath
		for _, doc := range c.SourceContents {
			text += fmt.Sprintf(" %s=%q", doc.Path, doc.Data)
		}
		return text
	case *instructions.RunCommand:
		return "RUN " + strings.Join(c.CmdLine, " ")
	}
	return command.Name()
}
