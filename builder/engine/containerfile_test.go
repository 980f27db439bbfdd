package engine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func TestParseContainerfile(t *testing.T) {
	const text = `ARG A=1
FROM scratch AS Build
COPY a b
RUN make
RUN --network=none --mount=from=x,target=/x make
  run --security=sandbox true
FROM build
WORKDIR /
ENV X=y
ADD <<EOF /
RUN --network=default no instruction
EOF
RUN \
  make install
`
	c, line, err := parseContainerfile([]byte(text), false)
	if err != nil {
		t.Fatalf("line %d: %v", line, err)
	}
	want := []stage{
		{"build", []instruction{{"COPY", "", 3}, {"RUN", "none", 4}, {"RUN", "none", 5}, {"RUN", "none", 6}}},
		{"stage-1", []instruction{{"WORKDIR", "", 8}, {"ADD", "", 10}, {"RUN", "none", 13}}},
	}
	if diff := cmp.Diff(want, c.stages, cmp.AllowUnexported(stage{}, instruction{})); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if c.network || string(c.data) != text {
		t.Errorf("a Containerfile that asks for no network was changed:\n%s", c.data)
	}
}

// Where a RUN asks for the network, those that do not must say so.
func TestForbidNetwork(t *testing.T) {
	const text = `FROM scratch
RUN make
run	make
RUN\
  make
RUN <<EOF
RUN not me
EOF
RUN --mount=target=/x make
RUN --network=none make
RUN --network=default make
`
	const want = `FROM scratch
RUN --network=none  make
run --network=none 	make
RUN --network=none \
  make
RUN --network=none  <<EOF
RUN not me
EOF
RUN --network=none  --mount=target=/x make
RUN --network=none make
RUN --network=default make
`
	c, line, err := parseContainerfile([]byte(text), false)
	if err != nil {
		t.Fatalf("line %d: %v", line, err)
	}
	if diff := cmp.Diff(want, string(c.data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzContainerfile looks for RUNs that get a network without asking for it.
func FuzzContainerfile(f *testing.F) {
	f.Add("FROM scratch\nRUN a\nRUN --network=default b\n")
	f.Add("# escape=`\nFROM x\nRUN a `\n b\nRUN --network=default <<E\nRUN x\nE\n")
	f.Add("from a as b\n  run\\\n --network=none \\\n # c\n x\nRUN --network=default y")
	f.Fuzz(func(t *testing.T, text string) {
		c, line, err := parseContainerfile([]byte(text), false)
		if err != nil {
			if n := strings.Count(text, "\n") + 1; line < 0 || line > n {
				t.Fatalf("an error in line %d of %d: %v", line, n, err)
			}
			return
		}
		if !c.network {
			if string(c.data) != text {
				t.Fatalf("changed without need:\n%s", c.data)
			}
			return
		}
		ast, err := parser.Parse(bytes.NewReader(c.data))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, c.data)
		}
		before, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := len(before.AST.Children), len(ast.AST.Children); a != b {
			t.Fatalf("%d instructions became %d:\n%s", a, b, c.data)
		}
		for i, node := range ast.AST.Children {
			if !strings.EqualFold(node.Value, "run") {
				continue
			}
			got, err := runNetwork(node.Flags, false)
			if err != nil || got == "" {
				t.Fatalf("line %d has no network flag (%v):\n%s", node.StartLine, err, c.data)
			}
			was, _ := runNetwork(before.AST.Children[i].Flags, false)
			if got == networkDefault && was != networkDefault {
				t.Fatalf("line %d got a network:\n%s", node.StartLine, c.data)
			}
		}
	})
}
