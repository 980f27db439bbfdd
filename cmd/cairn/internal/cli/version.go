package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
)

// versionAnswer is the JSON of cairn version.
type versionAnswer struct {
	Schema   string `json:"schema"` // cairn/version/v1
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Long:  "Version says which version of cairn this is, and what built it.",
		Example: `  cairn version
  cairn version -o json`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(context.Context, []string) error {
			v := versionAnswer{"cairn/version/v1", moduleVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			a.Answer(v, func(p term.Printer) { p.Printf("cairn %s %s %s\n", v.Version, v.Go, v.Platform) })
			return nil
		}),
	}
}

// moduleVersion is the version that the go command recorded.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
