package plain_test

import (
	"testing"

	"github.com/cairnlog/cairn/internal/plain"
)

func TestLine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain text", "core-go 1.2 – ✓ é", "core-go 1.2 – ✓ é"},
		{"a colour", "a\x1b[31mb", `a\u001b[31mb`},
		{"a new line", "a\nb\r\n", `a\u000ab\u000d\u000a`},
		{"C1 controls", "a\u009b31mb", `a\u009b31mb`},
		{"text turned round", "a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"beyond the first plane", "a\U000e0001b", `a\U000e0001b`},
		{"invalid UTF-8", "a\xffb", `a\xffb`},
		{"the replacement character itself", "a\ufffdb\xff", `a�b\xff`},
		{"tab", "a\tb", `a\u0009b`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := plain.Line(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got, want := plain.ASCII("a é\n"), `a \u00e9\u000a`; got != want {
		t.Errorf("ASCII: got %q, want %q", got, want)
	}
	if got, want := plain.Lines("a\n\x1bb\n"), "a\n\\u001bb\n"; got != want {
		t.Errorf("Lines: got %q, want %q", got, want)
	}
}

func TestOutput(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"lines and tabs", "a\tb\n\tc\n", "a\tb\n\tc\n"},
		{"colours", "\x1b[1;31merror\x1b[0m\n", "error\n"},
		{"a colour that returns would make", "\x1b[3\r\n1mb", "\\u001b[3\n1mb"},
		{"other sequences of terminals", "\x1b[2Ja\x1b]0;b\x07", `\u001b[2Ja\u001b]0;b\u0007`},
		{"returns before line ends", "a\r\nb\rc\r\n", "a\nb\\u000dc\n"},
		{"text turned round", "a\u202eb", `a\u202eb`},
		{"invalid UTF-8", "a\xff\tb", "a\\xff\tb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := plain.Output(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
