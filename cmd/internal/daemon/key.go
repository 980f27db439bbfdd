package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// KeyFile is how a daemon keeps its key in a file.
type KeyFile struct {
	// Program is the daemon, and Name the flag that has the name of a new key, of
	// What it is.
	Program, Name, What string
	// Create makes a new key, durably and with mode 0600, in a file that must not
	// exist; Read reads one. Both return the verifier key.
	Create func(path, name string) (vkey string, err error)
	Read   func(path string) (vkey string, err error)
}

// Run is the command `key` of a daemon: it makes a key, or reads one, and prints its
// verifier key on stdout. usage is set if the arguments are why it failed.
func (k KeyFile) Run(args []string, stdout, stderr io.Writer) (usage bool, err error) {
	fs := flag.NewFlagSet(k.Program+" key", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s key -%s NAME -out FILE\n       %s key -show FILE\n\n"+
			"Makes the key of %s, in a file that must not exist, and prints its verifier key.\n\n", k.Program, k.Name, k.Program, k.What)
		fs.PrintDefaults()
	}
	name := fs.String(k.Name, "", "the `NAME` of "+k.What+", for good: a host name, and perhaps a path")
	out := fs.String("out", "", "make the key in `FILE`")
	show := fs.String("show", "", "only print the verifier key of the key in `FILE`")
	if err := fs.Parse(args); err != nil {
		return true, err
	}
	var vkey string
	switch {
	case fs.NArg() > 0:
		return true, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case *show != "" && *name == "" && *out == "":
		vkey, err = k.Read(*show)
	case *show == "" && *name != "" && *out != "":
		vkey, err = k.Create(*out, strings.TrimSpace(*name))
	default:
		return true, errors.New("give -" + k.Name + " NAME and -out FILE, or -show FILE alone")
	}
	if err != nil {
		return false, err
	}
	_, err = fmt.Fprintln(stdout, vkey)
	return false, err
}
