// Command errdoc writes docs/errors.md from the table of package reason, and
// docs/cli.md from cairn's tree of commands. `go generate ./cmd/cairn` runs it;
// its test holds the committed files to it.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	errors := flag.String("errors", "", "write the reasons for refusals to `FILE`")
	cli := flag.String("cli", "", "write the reference of the command line to `FILE`")
	flag.Parse()
	for path, page := range map[string]func() string{*errors: errorsPage, *cli: cliPage} {
		if path == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(page()), 0o644); err != nil {
			fmt.Fprintf(os.Stderr, "errdoc: error: writing %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
