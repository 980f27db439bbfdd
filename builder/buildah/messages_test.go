package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestReadRequest(t *testing.T) {
	const good = `{"id":"x","root":"/r","runtime":"/runc","context":"/c","containerfile":"/f","target":"","platform":"linux/386","args":[{"name":"A","value":"b"}],"images":{"a":"/b"},"output":"/o","noCache":true,"memory":1,"cpus":2}`
	r, err := readRequest(strings.NewReader(good))
	if err != nil || r.Args[0] != (Arg{"A", "b"}) || r.Images["a"] != "/b" || r.CPUs != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for name, bad := range map[string]string{
		"an unknown field": strings.Replace(good, `"id"`, `"identity"`, 1),
		"no output":        strings.Replace(good, `"/o"`, `""`, 1),
		"a negative limit": strings.Replace(good, `"memory":1`, `"memory":-1`, 1),
		"a colon":          strings.Replace(good, `"/r"`, `"/r:x"`, 1),
		"half of it":       good[:50],
		"nothing":          "",
	} {
		if _, err := readRequest(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRecorderTellsStepsApart(t *testing.T) {
	var out bytes.Buffer
	rec := newRecorder(&output{enc: json.NewEncoder(&out)}, []planStage{
		{steps: []planStep{{Step{Name: "[a 2/3] WORKDIR /w"}, 2}, {Step{Name: "[a 3/3] RUN x", Network: "none"}, 3}}},
		{steps: []planStep{{Step{Name: "[b 2/2] COPY y /"}, 5}}},
	})
	hit := "--> Using cache " + strings.Repeat("a", 64) + "\n"
	write := func(s string) {
		if _, err := rec.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	rec.Log("FROM %s", "scratch AS a")
	rec.Log("%s", "WORKDIR /w")
	write(hit) // of the WORKDIR, which is no step yet
	rec.Log("%s", workdirRun)
	rec.Log("%s", "RUN x")
	write("said\n")
	write(hit) // said by the step
	rec.Log("FROM %s", "scratch AS b")
	rec.Log("%s", "ENV A=1")
	rec.Log("%s", "COPY y /")
	write(hit)
	rec.Log("COMMIT")
	if step := rec.end(nil); step != nil {
		t.Errorf("%+v had not ended", step)
	}
	var got []string
	for dec := json.NewDecoder(&out); dec.More(); {
		var m Message
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Event.Name+": "+m.Event.Kind)
	}
	want := []string{
		"[a 2/3] WORKDIR /w: started", "[a 2/3] WORKDIR /w: done",
		"[a 3/3] RUN x: started", "[a 3/3] RUN x: log", "[a 3/3] RUN x: log", "[a 3/3] RUN x: done",
		"[b 2/2] COPY y /: started", "[b 2/2] COPY y /: cached",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	steps := rec.steps()
	if len(steps) != 3 || steps[0].Cached || steps[1].Cached || !steps[2].Cached || steps[1].Network != "none" {
		t.Errorf("got %+v", steps)
	}
}

func TestErrorsBlameTheStep(t *testing.T) {
	err := exec.Command("/bin/sh", "-c", "exit 7").Run()
	s := &state{root: t.TempDir()}
	got := asError(t.Context(), s.blame(&planStep{Step{Name: "RUN x"}, 4}, err))
	if got.Step != "RUN x" || got.Line != 4 || got.Exit != 7 {
		t.Errorf("got %+v", got)
	}
	if got := asError(t.Context(), s.blame(nil, errors.New("x"))); got.Step != "Containerfile" {
		t.Errorf("got %+v", got)
	}
	full := fmt.Errorf("copying: %w", unix.ENOSPC)
	if got := asError(t.Context(), s.blame(&planStep{}, full)); got.Step != "" {
		t.Errorf("a full disk is blamed on the step: %+v", got)
	}
}

func TestMountPoints(t *testing.T) {
	spec := &specs.Spec{Mounts: []specs.Mount{{Destination: "/dev"}, {Destination: "/dev/pts"}, {Destination: "/etc/hosts"}}}
	if got := strings.Join(mountPoints(spec), " "); got != "etc/hosts etc dev/pts dev" {
		t.Errorf("got %q", got)
	}
}

func TestEnvironmentKeepsTheHostOut(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://proxy.test")
	for _, v := range environment() {
		name, value, _ := strings.Cut(v, "=")
		if strings.Contains(v, "proxy.test") || strings.HasSuffix(name, "_CONF") && value != "/dev/null" || strings.HasPrefix(value, filepath.Clean("/root")) {
			t.Errorf("a step could see %s", v)
		}
	}
}
