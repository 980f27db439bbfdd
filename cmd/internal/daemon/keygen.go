package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
)

// Keygen is the command `keygen` of a daemon, which makes its key in a file.
type Keygen struct {
	Program string // the daemon
	Name    string // the flag that has the name of a new key
	About   string // what it makes
	Example string
	// Create makes a new key, durably and with mode 0600, in a file that must not
	// exist: it is fs.ErrExist if it does. Read reads one. Both return the key's line of
	// a tlog-policy.
	Create func(path, name string) (line string, err error)
	Read   func(path string) (line string, err error)
}

// Run makes a key, or reads the one that is there, and prints its line of a policy.
func (k Keygen) Run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(k.Program+" keygen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s keygen -key FILE (-%s NAME|-show)\n\n%s\nIts line of a policy is printed.\n\n", k.Program, k.Name, k.About)
		flags.PrintDefaults()
		fmt.Fprintf(stderr, "\n%s\n", k.Example)
	}
	file := flags.String("key", "", "the `FILE` to make, mode 0600; one that is there is left as it is")
	name := flags.String(k.Name, "", "the `NAME`, which all that it signs bears: a host of yours, and perhaps a path")
	show := flags.Bool("show", false, "make nothing: print the line of the key that is there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var line string
	var err error
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *file == "" || (*name == "") != *show:
		return fmt.Errorf("give -key FILE and -%s NAME, or -show in its place", k.Name)
	case *show:
		line, err = k.Read(*file)
	default:
		line, err = k.Create(*file, *name)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: nothing was changed; `%s keygen -key %s -show` prints its line", *file, k.Program, *file)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}
