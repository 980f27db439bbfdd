// Package plain makes text that others wrote fit to be shown.
//
// Invariant: what it returns cannot move the cursor, change colours, break the line
// or reorder what stands around it, on a terminal or on a page: what is not graphic
// is escaped. That includes the controls of bidirectional text, which could make a
// digest read as another.
package plain

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s on one line, with whatever is not graphic escaped.
func Line(s string) string { return clean(s, false) }

// Lines is Line for a text of several lines.
func Lines(s string) string { return clean(s, true) }

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
