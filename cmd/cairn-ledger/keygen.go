package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// keygen makes the key of a new log, and prints its line of a tlog-policy.
func keygen(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("cairn-ledger keygen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: cairn-ledger keygen -key FILE -origin NAME\n\n"+
			"Makes the key of a new log, and prints its line of a policy. A log keeps its key\n"+
			"and its origin for as long as it lives; a new key is a new log.\n\n")
		flags.PrintDefaults()
		fmt.Fprint(stderr, "\nThe log of the year 2027:\n  cairn-ledger keygen -key /etc/cairn/ledger.key -origin ledger.example/2027\n")
	}
	file := flags.String("key", "", "the `FILE` to make, mode 0600; one that is there is left as it is")
	origin := flags.String("origin", "", "the log's `NAME`, which every checkpoint bears: a host and a path of yours")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	switch {
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case *file == "" || *origin == "":
		return usageError{errors.New("give -key FILE and -origin NAME")}
	}
	if _, err := os.Lstat(*file); !errors.Is(err, fs.ErrNotExist) {
		return usageError{errors.Join(fmt.Errorf("%s is there already: nothing was changed", *file), err)}
	}
	key, err := checkpoint.CreateKey(*file, *origin)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintf(stdout, "log %s\n", key.VKey)
	return err
}
