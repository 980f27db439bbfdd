// Command testcount reads `go test -json` on standard input, prints what plain
// `go test` would have printed as it comes, and ends with one line that counts
// passes, failures and skips. Before that line it lists each skipped test with
// its reason, so that a check which did not run cannot pass for one that did.
// It exits 1 if anything failed or if nothing was tested.
package main

import (
	"fmt"
	"os"
)

func main() {
	c := newCounter(os.Stdout)
	if err := c.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
	if !c.finish() {
		os.Exit(1)
	}
}
