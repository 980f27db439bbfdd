// Package term writes for people to read: text that others wrote is shown, not
// obeyed, and colour is used where it is wanted.
//
// Invariants:
//   - Nothing that is printed as an argument can move the cursor, change
//     colours, break the line or reorder it: what is not graphic is escaped.
//   - Colour repeats what words already say.
package term

import (
	"fmt"
	"io"
	"reflect"

	"github.com/cairnlog/cairn/internal/plain"
)

// Colour is an ANSI colour.
type Colour string

// The colours. They are told apart by people who see red and green alike.
const (
	Bad  Colour = "\x1b[1;31m"
	Good Colour = "\x1b[1;36m"
	Dim  Colour = "\x1b[2m"
)

const reset = "\x1b[0m"

// Printer writes lines.
type Printer struct {
	W      io.Writer
	Colour bool
}

// Painted is text that Printer prints as it is.
type Painted string

// Paint returns s in a colour, if there is any.
func (p Printer) Paint(c Colour, s string) Painted {
	if !p.Colour {
		return Painted(plain.Line(s))
	}
	return Painted(string(c) + plain.Line(s) + reset)
}

// Printf formats like fmt.Fprintf with every argument cleaned.
func (p Printer) Printf(format string, args ...any) {
	for i, arg := range args {
		switch v := arg.(type) {
		case Painted:
			args[i] = string(v)
		case error:
			args[i] = plain.Line(v.Error())
		case fmt.Stringer:
			args[i] = plain.Line(v.String())
		default:
			if r := reflect.ValueOf(arg); r.Kind() == reflect.String {
				args[i] = plain.Line(r.String())
			}
		}
	}
	_, _ = fmt.Fprintf(p.W, format, args...)
}

// WantColour decides whether to write colour to w: what the user asked for on
// the command line, then NO_COLOR and CLICOLOR_FORCE, then whether w is a
// terminal that can show it.
func WantColour(mode string, getenv func(string) string, w io.Writer) bool {
	switch {
	case mode == "always":
		return true
	case mode == "never" || getenv("NO_COLOR") != "":
		return false
	case getenv("CLICOLOR_FORCE") != "" && getenv("CLICOLOR_FORCE") != "0":
		return true
	}
	return getenv("TERM") != "dumb" && IsTerminal(w)
}
