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
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s on one line, with whatever is not graphic escaped. That
// includes the controls of bidirectional text, which could make a digest read
// as another.
func Clean(s string) string { return clean(s, false) }

// CleanText is Clean for a text of several lines.
func CleanText(s string) string { return clean(s, true) }

func clean(s string, lines bool) string {
	ok := func(r rune) bool { return unicode.IsGraphic(r) || lines && r == '\n' }
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case ok(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Colour is an ANSI colour.
type Colour string

// The colours. They are told apart by people who see red and green alike.
const (
	Bad  Colour = "\x1b[1;31m"
	Good Colour = "\x1b[1;36m"
	Dim  Colour = "\x1b[2m"
)

const plain = "\x1b[0m"

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
		return Painted(Clean(s))
	}
	return Painted(string(c) + Clean(s) + plain)
}

// Printf formats like fmt.Fprintf with every argument cleaned.
func (p Printer) Printf(format string, args ...any) {
	for i, arg := range args {
		switch v := arg.(type) {
		case Painted:
			args[i] = string(v)
		case error:
			args[i] = Clean(v.Error())
		case fmt.Stringer:
			args[i] = Clean(v.String())
		default:
			if r := reflect.ValueOf(arg); r.Kind() == reflect.String {
				args[i] = Clean(r.String())
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
