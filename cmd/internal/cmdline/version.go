package cmdline

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/term"
)

// versionAnswer is the JSON of the command version.
type versionAnswer struct {
	Schema   string `json:"schema"` // cairn/version/v1
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// NewVersion returns the command version.
func (a *App) NewVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is",
		Long:    "Version says which version of " + a.name + " this is, and what built it.",
		Example: "  " + a.name + " version\n  " + a.name + " version -o json",
		Args:    Takes(0, 0),
		RunE: RunE(func(context.Context, []string) error {
			v := versionAnswer{"cairn/version/v1", Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			a.Answer(v, func(p term.Printer) { p.Printf(a.name+" %s %s %s\n", v.Version, v.Go, v.Platform) })
			return nil
		}),
	}
}

// Version returns the version that the go command recorded.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
