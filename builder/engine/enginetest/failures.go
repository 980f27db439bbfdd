package enginetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
)

func failedStep(t *testing.T, s *suite) {
	var told events
	step := s.failStep(t, Build{
		Containerfile: `FROM scratch
COPY tool /tool
SHELL ["/tool", "-c"]
RUN <<EOF
say the beginning
spill 70
fail 7 the end
EOF
`,
		Edit: func(r *engine.Request) { r.Progress = told.add },
	})
	if step.Exit != 7 || step.Line != 4 || !strings.Contains(step.Step, "RUN") || !strings.Contains(step.Error(), "7") {
		t.Errorf("the error names status %d, line %d and step %q: %v", step.Exit, step.Line, step.Step, step)
	}
	const most = 64 << 10
	if n := len(step.Log); n > most || n < most-2000 {
		t.Errorf("the log has %d bytes", n)
	}
	if log := string(step.Log); !strings.HasSuffix(log, "the end\n") || strings.Contains(log, "the beginning") {
		t.Errorf("the log is not the end of what the step wrote: …%q", log[max(0, len(log)-100):])
	}
	if last := told.all[len(told.all)-1]; last.Kind != engine.StepFailed || last.Err == "" || last.Name != step.Step {
		t.Errorf("the last event is %+v", last)
	}
}

func wrongContainerfile(t *testing.T, s *suite) {
	for _, c := range []struct {
		name, file string
		line       int
		want       string
	}{
		{"an instruction that is none", "FROM scratch\n\nFETCH x /\n", 3, "FETCH"},
		{"a stage that is not there", "FROM scratch\nCOPY tool /\nFROM scratch AS last\nCOPY --from=7 /x /\n", 0, "7"},
		{"an argument too few", "FROM scratch\nCOPY tool\n", 2, "COPY"},
		{"a flag that is none", "FROM scratch\nRUN --netwerk=none x\n", 2, "netwerk"},
		{"no shell", "FROM scratch\nCOPY tool /\nRUN echo hello\n", 3, "/bin/sh"},
		{"no stage", "ARG A=1\n", 0, "no stages"},
		{"comments", "# nothing\n", 1, "no instructions"},
		{"nothing", "", 0, "no instructions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			step := s.failStep(t, Build{Containerfile: c.file})
			if step.Line != c.line || !strings.Contains(step.Error()+string(step.Log), c.want) {
				t.Errorf("got line %d, want %d: %v\n%s", step.Line, c.line, step, step.Log)
			}
		})
	}
}

func missingFile(t *testing.T, s *suite) {
	step := s.failStep(t, Build{Containerfile: "FROM scratch\nCOPY tool /\nCOPY absent.patch /\n"})
	if step.Line != 3 || !strings.Contains(step.Error(), "absent.patch") {
		t.Errorf("got line %d: %v", step.Line, step)
	}
}

func missingInput(t *testing.T, s *suite) {
	for name, edit := range map[string]func(*engine.Request){
		"context":       func(r *engine.Request) { must(t, os.RemoveAll(r.Context)) },
		"Containerfile": func(r *engine.Request) { must(t, os.Remove(r.Containerfile)) },
		"image":         func(r *engine.Request) { r.Images = map[string]string{"stagex/core-x": t.TempDir()} },
	} {
		err := s.fail(t, Build{Containerfile: "FROM scratch\nCOPY tool /\n", Edit: edit})
		notStep(t, err)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name) {
			t.Errorf("without its %s the build says: %v", name, err)
		}
	}
}

func existingOutput(t *testing.T, s *suite) {
	err := s.fail(t, Build{
		Containerfile: "FROM scratch\nCOPY tool /\n",
		Edit:          func(r *engine.Request) { put(t, filepath.Join(r.Output, "kept"), []byte("kept"), 0o644) },
	})
	notStep(t, err)
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("the error does not say that the output exists: %v", err)
	}
}
