package enginetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/google/go-cmp/cmp"
)

// uuid is a step whose result is another each time it is run.
const uuid = `FROM scratch AS build
COPY tool /tool
RUN ["/tool", "copy", "/proc/sys/kernel/random/uuid", "/uuid"]
FROM scratch
COPY --from=build /uuid /
`

func noCache(t *testing.T, s *suite) {
	build := func(noCache bool) (*engine.Result, *Image) {
		return s.build(t, Build{Containerfile: uuid, Edit: func(r *engine.Request) { r.NoCache = noCache }})
	}
	_, first := build(false)
	known, second := build(false)
	if !known.Cached() {
		t.Errorf("nothing is said to come from the cache: %+v", known.Steps)
	}
	if first.Manifest != second.Manifest {
		t.Errorf("the cache gives another image:\n%s", cmp.Diff(first, second))
	}
	digests := map[string]bool{first.Manifest.String(): true}
	var builds sync.WaitGroup
	var mu sync.Mutex
	const n = 3
	for range n {
		// At the same time: none may have another's result.
		builds.Go(func() {
			r := Build{Containerfile: uuid, Edit: func(r *engine.Request) { r.NoCache = true }}.Request(t, s.tools)
			ran, err := s.engine.Build(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			if ran.Cached() {
				t.Errorf("without cache something came from it: %+v", ran.Steps)
			}
			mu.Lock()
			defer mu.Unlock()
			digests[Read(t, r.Output).Manifest.String()] = true
		})
	}
	builds.Wait()
	if len(digests) != n+1 {
		t.Errorf("without cache steps were not run again: %d runs gave %d results", n+1, len(digests))
	}
}

func cancelled(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := Build{
		Containerfile: "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"wait\"]\n",
		Edit: func(r *engine.Request) {
			r.NoCache = true
			r.Progress = func(e engine.Event) {
				if e.Kind == engine.StepLog {
					cancel()
				}
			}
		},
	}.Request(t, s.tools)
	err := s.failRequest(t, ctx, r)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error does not say that the build was cancelled: %v", err)
	}
	notStep(t, err)
}

func limitTime(t *testing.T, s *suite) {
	err := s.fail(t, Build{
		Containerfile: "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"wait\"]\n",
		Edit: func(r *engine.Request) {
			r.NoCache = true
			r.Limits.Time = time.Second
		},
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1s") {
		t.Errorf("the error does not name the limit: %v", err)
	}
	notStep(t, err)
}

func notStep(t *testing.T, err error) {
	t.Helper()
	var step *engine.StepError
	if errors.As(err, &step) {
		t.Errorf("the package is blamed: %v", err)
	}
}

func concurrent(t *testing.T, s *suite) {
	const n = 4
	var builds sync.WaitGroup
	got := make([]string, n)
	for i := range n {
		builds.Go(func() {
			r := Build{
				Containerfile: fmt.Sprintf("FROM scratch AS build\nCOPY tool /tool\nRUN [\"/tool\", \"write\", \"/out\", \"%d\"]\nFROM scratch\nCOPY --from=build /out /\n", i),
			}.Request(t, s.tools)
			if _, err := s.engine.Build(t.Context(), r); err != nil {
				t.Error(err)
				return
			}
			got[i] = Read(t, r.Output).Files["out"].Content
		})
	}
	builds.Wait()
	if diff := cmp.Diff([]string{"0\n", "1\n", "2\n", "3\n"}, got); diff != "" {
		t.Errorf("results of builds at the same time (-want +got):\n%s", diff)
	}
}

func progress(t *testing.T, s *suite) {
	var told events
	result, _ := s.build(t, Build{
		Containerfile: "FROM scratch AS build\nCOPY tool /tool\nRUN [\"/tool\", \"say\", \"hello\"]\nRUN [\"/tool\", \"write\", \"/out\", \"x\"]\nFROM scratch\nCOPY --from=build /out /\n",
		Edit: func(r *engine.Request) {
			r.NoCache = true
			r.Progress = told.add
		},
	})
	kinds := map[int][]engine.EventKind{}
	log := ""
	for _, e := range told.all {
		if e.ID != "test-tells_what_happens_in_order" || e.Step >= len(result.Steps) || e.Name != result.Steps[e.Step].Name {
			t.Errorf("an event is not of a step of the result: %+v", e)
		}
		log += string(e.Log)
		if e.Kind != engine.StepLog {
			kinds[e.Step] = append(kinds[e.Step], e.Kind)
		}
	}
	if log != "hello\n" {
		t.Errorf("the log is %q", log)
	}
	for i, step := range result.Steps {
		if diff := cmp.Diff([]engine.EventKind{engine.StepStarted, engine.StepDone}, kinds[i]); diff != "" {
			t.Errorf("events of %s (-want +got):\n%s", step.Name, diff)
		}
	}
	var order []string
	for _, step := range result.Steps {
		words := strings.Fields(step.Name[strings.Index(step.Name, "]")+1:])
		order = append(order, words[0])
	}
	if diff := cmp.Diff([]string{"COPY", "RUN", "RUN", "COPY"}, order); diff != "" {
		t.Errorf("steps are not in the order of the build (-want +got):\n%s", diff)
	}
}
