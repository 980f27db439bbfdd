package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cairn-builder": main})
}

// TestScripts runs the commands that need no engine. Those that do are run in
// cmd/e2e, with the real ones.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "")
			env.Setenv("LC_ALL", "C.UTF-8")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"json":  jsonMember,
		},
	})
}

// exits is `exits CODE COMMAND…`: the command must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exits %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// jsonMember is `json PATH VALUE`: stdout must be one JSON document, and its
// member at PATH, such as packages.0.id, be VALUE.
func jsonMember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, word := range strings.Split(args[0], ".") {
		switch c := v.(type) {
		case map[string]any:
			v = c[word]
		case []any:
			i, err := strconv.Atoi(word)
			if err != nil || i >= len(c) {
				ts.Fatalf("json: there is no %s", args[0])
			}
			v = c[i]
		}
	}
	got, err := json.Marshal(v)
	ts.Check(err)
	if s, err := strconv.Unquote(string(got)); err == nil {
		got = []byte(s)
	}
	if string(got) != args[1] {
		ts.Fatalf("json: %s is %s, want %s", args[0], got, args[1])
	}
}
