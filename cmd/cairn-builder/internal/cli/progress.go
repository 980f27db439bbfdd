package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/builder/progress"
)

// progress returns a printer of what is being built, on stderr. logs has it
// show everything that steps write.
func (a *app) progress(logs bool) *progress.Printer {
	o := progress.Options{W: a.Err, Width: width(a.Err), Logs: logs}
	if a.Quiet {
		o.W = io.Discard
	}
	return progress.New(o)
}

// width returns the columns of the terminal that w is, or 0 if it is none.
func width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
