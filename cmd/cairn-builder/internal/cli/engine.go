package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

// engineFlags say what runs the builds.
type engineFlags struct {
	name             string
	address, program string
	time             time.Duration
	memory           int64
	cpus             int
}

// programs are the programs of the engines that are started.
var programs = map[string]string{"buildkit": "buildkitd", "buildah": "cairn-buildah"}

func (e *engineFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	cmdline.ChoiceVar(cmd, f, &e.name, "engine", "", "build with", "buildkit", "buildah")
	f.StringVar(&e.address, "engine-address", "", "use the engine at `ADDRESS`, such as unix:///run/buildkit/buildkitd.sock,\ninstead of starting one")
	f.StringVar(&e.program, "engine-program", "", "start the engine `FILE` (default: beside this program, then in PATH)")
	f.DurationVar(&e.time, "step-time", 0, "end a package's build after `DURATION`")
	f.Int64Var(&e.memory, "step-memory", 0, "let a step use at most `BYTES` of memory")
	f.IntVar(&e.cpus, "step-cpus", 0, "let a step use and see `N` CPUs")
}

func (e *engineFlags) limits() engine.Limits {
	return engine.Limits{Time: e.time, Memory: e.memory, CPUs: e.cpus}
}

// start connects to the engine, or starts it.
func (e *engineFlags) start(ctx context.Context, a *app) (engine.Engine, error) {
	o := engine.Options{
		Address: e.address,
		Program: e.program,
		Root:    a.path("engine/" + e.name),
		Log:     slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if o.Program == "" {
		o.Program = beside(programs[e.name])
	}
	open := engine.BuildKit
	if e.name == "buildah" {
		open = engine.Buildah
	}
	eng, err := open(ctx, o)
	if err != nil {
		return nil, &cmdline.Problem{Reason: cmdline.EngineUnavailable, Err: fmt.Errorf("starting %s: %w", e.name, err)}
	}
	return eng, nil
}

// beside returns the path of a program beside this one or in the tools of a
// checkout, or else its name, to be found in PATH.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(dir, "..", ".tools", "bin", name)} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}
