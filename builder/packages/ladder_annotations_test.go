//go:build linux && amd64

package packages_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// base is the address of the first byte of a program.
const base = 0x400000

var (
	addressed = regexp.MustCompile(`^([^#]*)# ([0-9A-F]{6})(?: (.*))?$`)
	constant  = regexp.MustCompile(`([0-9A-F]{6,7})\s+([A-Z_]+)[:,]`)
	labelled  = regexp.MustCompile(`^([A-Za-z_]+):(?: .*)?$`)
	target    = regexp.MustCompile(` \([0-9A-F]{6}\)$`)
)

// reading is the assembly that the comments of an annotated program are, for GNU
// as: addresses are checked on the way.
func reading(text, program []byte) (string, error) {
	var source strings.Builder
	source.WriteString(".intel_syntax noprefix\n")
	at, inCode := 0, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			for _, match := range constant.FindAllStringSubmatch(line, -1) {
				fmt.Fprintf(&source, ".equ %s, 0x%s\n", match[2], match[1])
			}
			continue
		}
		match := addressed.FindStringSubmatch(line)
		if line == "" {
			continue
		}
		if match == nil {
			return "", fmt.Errorf("%q has no address", line)
		}
		code, note := strings.TrimSpace(match[1]), match[3]
		if address, err := strconv.ParseInt(match[2], 16, 64); err != nil || int(address) != base+at {
			return "", fmt.Errorf("%q is at %X", line, base+at)
		}
		if name, ok := label(code, note); ok {
			inCode = true
			fmt.Fprintf(&source, "%s:\n", name)
			continue
		}
		size := length(code)
		if inCode {
			instruction, _, _ := strings.Cut(note, ";")
			fmt.Fprintln(&source, target.ReplaceAllString(strings.TrimSpace(instruction), ""))
		} else {
			for _, b := range program[at : at+size] {
				fmt.Fprintf(&source, ".byte %d\n", b)
			}
		}
		at += size
	}
	return source.String(), nil
}

// label returns the label that a line defines: the name in the comment, or that in
// the code.
func label(code, note string) (string, bool) {
	if match := labelled.FindStringSubmatch(note); match != nil && (code == "" || len(code) == 2 && code[0] == ':') {
		return match[1], true
	}
	return strings.CutPrefix(code, ":")
}

// length returns how many bytes the words of a line stand for.
func length(code string) int {
	size := 0
	for _, word := range strings.Fields(code) {
		switch word[0] {
		case '%', '&', '<':
			size += 4
		default:
			size++
		}
	}
	return size
}

// Who reads the hexadecimal programs reads their comments: these have to be true.
func TestTheAnnotationsAreWhatTheBytesMean(t *testing.T) {
	h := build(t)
	for _, test := range []struct{ source, image, tool string }{
		{"stage0/hex0.hex0", "bootstrap-stage0", "hex0"},
		{"stage1/hex1.hex0", "bootstrap-stage1", "hex1"},
		{"stage1/hex2.hex1", "bootstrap-stage1", "hex2"},
		{"stage1/m.hex2", "bootstrap-stage1", "m"},
	} {
		program := read(t, h.file(test.image, "bin/"+test.tool))
		text := read(t, filepath.Join("packages/bootstrap", test.source))
		source, err := reading(text, program)
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		got, err := gnu(t, "--32", []byte(source))
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		if !bytes.Equal(got, program) {
			t.Errorf("%s: the comments say\n%sbut the bytes are\n%s", test.source, hex.Dump(got), hex.Dump(program))
		}
	}
}
