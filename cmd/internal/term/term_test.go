package term_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/internal/term"
)

type named string

type spoken struct{}

func (spoken) String() string { return "s\x1b" }

func TestPrinterCleansArguments(t *testing.T) {
	var b strings.Builder
	p := term.Printer{W: &b}
	p.Printf("%s|%s|%v|%s|%d|%s\n", "a\n", named("b\r"), errors.New("c\x1b"), spoken{}, 7, p.Paint(term.Bad, "d\x1b"))
	if got, want := b.String(), `a\u000a|b\u000d|c\u001b|s\u001b|7|d\u001b`+"\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	b.Reset()
	p.Colour = true
	p.Printf("%s\n", p.Paint(term.Bad, "d\x1b"))
	if got, want := b.String(), "\x1b[1;31md\\u001b\x1b[0m\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestWantColour(t *testing.T) {
	tests := []struct {
		name, mode string
		env        map[string]string
		want       bool
	}{
		{"no terminal", "auto", nil, false},
		{"forced", "auto", map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{"forced with 0", "auto", map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{"NO_COLOR wins over CLICOLOR_FORCE", "auto", map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
		{"empty NO_COLOR is none", "auto", map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": ""}, true},
		{"the flag wins over NO_COLOR", "always", map[string]string{"NO_COLOR": "1"}, true},
		{"the flag wins over CLICOLOR_FORCE", "never", map[string]string{"CLICOLOR_FORCE": "1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := term.WantColour(tt.mode, func(k string) string { return tt.env[k] }, &strings.Builder{})
			if got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
