package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// vertex is what BuildKit tells of a step: its name, what it builds upon, and
// how far it is: "", started, cached, done or an error.
func vertex(name, state string, inputs ...string) *client.Vertex {
	v := &client.Vertex{Digest: digest.FromString(name), Name: name}
	for _, input := range inputs {
		v.Inputs = append(v.Inputs, digest.FromString(input))
	}
	now := time.Unix(1, 0)
	switch state {
	case "":
	case "started":
		v.Started = &now
	case "cached":
		v.Cached = true
	default:
		v.Started, v.Completed = &now, &now
		v.Error = strings.TrimPrefix(state, "done")
	}
	return v
}

func logged(name, text string) *client.VertexLog {
	return &client.VertexLog{Vertex: digest.FromString(name), Data: []byte(text)}
}

const stepsFile = `FROM scratch AS build
COPY a /
RUN make
RUN --network=default make
FROM stagex/core-x
COPY --from=build / /
`

// follow returns what is told of these statuses, and the steps in the end.
func follow(t *testing.T, statuses ...*client.SolveStatus) (told []string, all *steps) {
	t.Helper()
	file, line, err := parseContainerfile([]byte(strings.ReplaceAll(stepsFile, "=default", "=none")), false)
	if err != nil {
		t.Fatalf("line %d: %v", line, err)
	}
	r := &Request{ID: "x", Progress: func(e Event) {
		told = append(told, strings.TrimSpace(fmt.Sprintf("%d %s %s%s", e.Step, e.Kind, e.Log, e.Err)))
	}}
	all = newSteps(r, file)
	for _, status := range statuses {
		all.add(status)
	}
	return told, all
}

func TestStepsAreInOrder(t *testing.T) {
	const one, two, three, last = "[linux/amd64 build 1/3] COPY a /", "[build 2/3] RUN make", "[build 3/3] RUN --network=none make", "[linux/amd64 stage-1 1/2] COPY --from=build / /"
	told, all := follow(t,
		&client.SolveStatus{Vertexes: []*client.Vertex{
			vertex(last, "", three), vertex("[internal] load build context", "started"),
			vertex("[context stagex/core-x::linux/amd64] OCI load from client", "done"),
			vertex(two, "", one), vertex(three, "", two), vertex(one, ""),
		}},
		&client.SolveStatus{Vertexes: []*client.Vertex{vertex(one, "started"), vertex(one, "done")}},
		&client.SolveStatus{Vertexes: []*client.Vertex{vertex(two, "started"), vertex(two, "done")}, Logs: []*client.VertexLog{logged(two, "made")}},
		&client.SolveStatus{Vertexes: []*client.Vertex{vertex(three, "cached"), vertex(three, "done")}},
	)
	want := []string{"0 started", "0 done", "1 started", "1 log made", "1 done", "2 cached"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	// What was never begun was known.
	steps := []Step{{one, false, ""}, {two, false, "none"}, {three, true, "none"}, {last, true, ""}}
	if diff := cmp.Diff(steps, all.finish()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// BuildKit runs a step of two builds once, and tells one of them the other's
// names for it.
func TestStepsOfAnotherBuild(t *testing.T) {
	const ours, theirs = "[build 2/3] RUN make", "[other 5/9] RUN make"
	told, all := follow(t,
		&client.SolveStatus{Vertexes: []*client.Vertex{vertex(ours, "")}},
		&client.SolveStatus{Vertexes: []*client.Vertex{vertex(theirs, "started"), vertex("[other 1/9] COPY b /", "started")}},
		&client.SolveStatus{Logs: []*client.VertexLog{logged(theirs, "made")}},
		&client.SolveStatus{Vertexes: []*client.Vertex{vertex(theirs, "done"), vertex("[other 1/9] COPY b /", "done")}},
	)
	if diff := cmp.Diff([]string{"0 started", "0 log made", "0 done"}, told); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Step{{ours, false, "none"}}, all.finish()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestStepsFailAndAreCancelled(t *testing.T) {
	const one, two = "[build 1/3] COPY a /", "[build 2/3] RUN make"
	told, _ := follow(t, &client.SolveStatus{Vertexes: []*client.Vertex{
		vertex(one, "process \"x\" did not complete successfully"), vertex(two, "context canceled: context canceled"),
	}})
	want := []string{"0 started", "1 started", "0 failed process \"x\" did not complete successfully"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestStepsKeepTheEndOfALog(t *testing.T) {
	const name = "[build 2/3] RUN make"
	statuses := []*client.SolveStatus{{Vertexes: []*client.Vertex{vertex(name, "started")}}}
	var whole strings.Builder
	for i := range 1000 {
		text := fmt.Sprintf("%0200d\n", i)
		whole.WriteString(text)
		statuses = append(statuses, &client.SolveStatus{Logs: []*client.VertexLog{logged(name, text)}})
	}
	_, all := follow(t, statuses...)
	text := whole.String()
	if got, want := string(all.ordered[0].log), text[len(text)-maxLog:]; got != want {
		t.Errorf("%d bytes are kept, of %d wanted", len(got), len(want))
	}
}
