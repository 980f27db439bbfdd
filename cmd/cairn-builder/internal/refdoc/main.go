// Command refdoc writes docs/cli-builder.md from cairn-builder's tree of
// commands. `go generate ./cmd/cairn-builder` runs it; its test holds the
// committed file to it.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/cmd/cairn-builder/internal/cli"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: refdoc FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(page()), 0o644); err != nil {
		fmt.Fprintf(os.Stderr, "refdoc: error: writing %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func page() string {
	root := cli.Commands()
	generalise(root)
	return cmdline.Reference(root, "go generate ./cmd/cairn-builder")
}

// byMachine are the defaults of flags that each machine has its own of: the page
// is the same wherever it is written.
var byMachine = map[string]string{"platform": "linux/ARCH", "name": "HOST"}

// generalise replaces what depends on this machine in the help of a command and
// of those below it.
func generalise(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if general, ok := byMachine[f.Name]; ok && f.DefValue != "" {
			f.DefValue = general
		}
	})
	for _, c := range cmd.Commands() {
		generalise(c)
	}
}
