// Package plain makes text that others wrote fit to be shown.
//
// Invariant: what it returns cannot move the cursor, change colours, break the line
// or reorder what stands around it, on a terminal or on a page: what does not print as
// a character of its own is escaped, and so is every space but the plain one. That
// includes the controls of bidirectional text, which could make a digest read as
// another.
package plain

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s on one line, escaped.
func Line(s string) string { return clean(s, unicode.IsPrint) }

// Lines is Line for a text of several lines.
func Lines(s string) string {
	return clean(s, func(r rune) bool { return unicode.IsPrint(r) || r == '\n' })
}

// ASCII is Line with whatever is not ASCII escaped, too.
func ASCII(s string) string {
	return clean(s, func(r rune) bool { return r < unicode.MaxASCII && unicode.IsPrint(r) })
}

// colours are what sets colours on a terminal.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Output is Lines for what a program wrote: colours and the returns before line ends
// are left out, and tabs stay.
func Output(s string) string {
	parts := strings.Split(colours.ReplaceAllString(strings.ReplaceAll(s, "\r\n", "\n"), ""), "\t")
	for i := range parts {
		parts[i] = Lines(parts[i])
	}
	return strings.Join(parts, "\t")
}

func clean(s string, ok func(rune) bool) string {
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
