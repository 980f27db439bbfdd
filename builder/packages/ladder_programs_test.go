//go:build linux && amd64

package packages_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// result is how a program has ended.
type result struct {
	status   int
	out, err string
}

// start runs a program of the ladder.
func start(t testing.TB, program, stdin string, args ...string) result {
	t.Helper()
	var out, msg bytes.Buffer
	command := exec.Command(program, args...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &out, &msg
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{command.ProcessState.ExitCode(), out.String(), msg.String()}
}

// write writes a file of a test, and returns its name.
func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// immediates are the numbers that stand for the operands of instructions, for GNU
// as and for m.
var immediates = []struct {
	name       *regexp.Regexp
	as, ladder string
}{
	{regexp.MustCompile(`\bi64\b`), "0x1122334455667788", " 4'0x55667788 4'0x11223344"},
	{regexp.MustCompile(`\bi32\b`), "0x11223344", " 4'0x11223344"},
	{regexp.MustCompile(`\bi16\b`), "0x1122", " 2'0x1122"},
	{regexp.MustCompile(`\bi8\b`), "0x11", " 1'0x11"},
}

var (
	jumps  = regexp.MustCompile(`^(j[a-z]+|call)(8?)$`)
	memory = regexp.MustCompile(`(byte|word|dword|qword)\[`)
	order  = regexp.MustCompile(`i(64|32|16|8)\b`)
)

// syntax returns an instruction of amd64.m, which has so many bytes without its
// operands, for GNU as and for m.
func syntax(name string, size int) (as, ladder string) {
	if match := jumps.FindStringSubmatch(name); match != nil {
		if match[2] == "8" {
			return match[1] + " . + 2", name + " 1'0"
		}
		return match[1] + " . + 0x11223344", fmt.Sprintf("%s 4'%d", name, 0x11223344-size-4)
	}
	as, ladder = strings.ReplaceAll(strings.Replace(name, "_", " ", 1), "_", " "), name
	for _, found := range order.FindAllString(as, -1) {
		for _, i := range immediates {
			if i.name.MatchString(found) {
				ladder += i.ladder
			}
		}
	}
	for _, i := range immediates {
		as = i.name.ReplaceAllString(as, i.as)
	}
	return memory.ReplaceAllString(as, "$1 ptr ["), ladder
}

func TestInstructionsAreWhatGNUAsMakesOfTheirNames(t *testing.T) {
	definitions := read(t, "packages/bootstrap/stage2/amd64.m")
	source := ".intel_syntax noprefix\n"
	var names []string
	var ours [][]byte
	for line := range strings.Lines(string(definitions)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "def" {
			continue
		}
		as, ladder := syntax(words[1], len(words)-2)
		text, err := expand(append([]byte(line), ladder...))
		if err != nil {
			t.Fatal(err)
		}
		code, err := link(2, text)
		if err != nil {
			t.Fatal(err)
		}
		source += as + "\n"
		names, ours = append(names, words[1]), append(ours, code)
	}
	if len(names) < 100 {
		t.Fatalf("only %d instructions were found", len(names))
	}
	theirs, err := gnu(t, "--64", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range ours {
		if !bytes.HasPrefix(theirs, code) {
			t.Fatalf("%s: % X, but GNU as has % X", names[i], code, theirs[:min(len(code), len(theirs))])
		}
		theirs = theirs[len(code):]
	}
	if len(theirs) > 0 {
		t.Errorf("GNU as has % X more", theirs)
	}
}

// Every error of a tool ends with status 1 and leaves no output.
func TestToolsRefuse(t *testing.T) {
	h := build(t)
	everywhere := []string{"4", "4g", "zz", "g4", "4:", "41 4"}
	labels := []string{":a :a", "!a", "%a", "4 1", ":", "%", ":a" + strings.Repeat(" 00", 129) + " !a"}
	names := []string{"&a", "<a", ":aa :aa", "!aa %aa", "&", "<", "4#\n1"}
	macros := []string{"abc", "1'256", "1'-129", "2'65536", "2'-32769", "4'0x100000000",
		"4'-0x80000001", "3'1", "8'1", "1'-", "1'0x", "1'0xg", "1'1a", "1'-0", `"a`, "def", "def x",
		"def x 90", "def x 90\ndef x 90\n", "def x def y 90\n", "def x x\n", "def x 90 x\n"}
	for _, test := range []struct {
		image, tool string
		texts       [][]string
	}{
		{"bootstrap-stage0", "hex0", [][]string{everywhere, {":a"}}},
		{"bootstrap-stage3", "hex0", [][]string{everywhere, {":a"}}},
		{"bootstrap-stage1", "hex1", [][]string{everywhere, labels, {"&a"}}},
		{"bootstrap-stage3", "hex1", [][]string{everywhere, labels, {"&a"}}},
		{"bootstrap-stage1", "hex2", [][]string{everywhere, labels, names}},
		{"bootstrap-stage3", "hex2", [][]string{everywhere, labels, names}},
		{"bootstrap-stage1", "m", [][]string{everywhere, macros}},
		{"bootstrap-stage3", "m", [][]string{everywhere, macros}},
	} {
		t.Run(test.image+" "+test.tool, func(t *testing.T) {
			tool, dir := h.file(test.image, "bin/"+test.tool), t.TempDir()
			good := write(t, dir, "good", "41\n")
			out := filepath.Join(dir, "out")
			inputs := [][]string{{filepath.Join(dir, "none")}, {good, dir}, {write(t, dir, "big", strings.Repeat(" ", 8<<20)), good}}
			for _, texts := range test.texts {
				for i, text := range texts {
					inputs = append(inputs, []string{write(t, dir, fmt.Sprintf("bad%d-%d", len(inputs), i), text)})
				}
			}
			for _, input := range inputs {
				if got := start(t, tool, "", append([]string{out}, input...)...); got.status != 1 {
					t.Errorf("%s: status %d: %s", read(t, input[0])[:min(40, len(read(t, input[0])))], got.status, got.err)
				}
				if _, err := os.Stat(out); err == nil {
					t.Fatalf("%s: there is output", input)
				}
			}
			if got := start(t, tool, "", "/dev/full", good); got.status != 1 {
				t.Errorf("a full disk: status %d", got.status)
			}
			if got := start(t, tool, "", out, good); got.status != 0 {
				t.Errorf("a good text: status %d: %s", got.status, got.err)
			}
		})
	}
}

func TestSHA256SumsAgreeWithGo(t *testing.T) {
	h := build(t)
	program, dir := h.file("pallet-ladder", "bin/sha256sum"), t.TempDir()
	var list strings.Builder
	for _, n := range []int{0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 65535, 65536, 65537, 1 << 20} {
		content := strings.Repeat("abcdefg", n/7+1)[:n]
		name := write(t, dir, fmt.Sprint(n), content)
		want := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(content)), name)
		if got := start(t, program, "", name); got != (result{out: want}) {
			t.Errorf("%d bytes: got %+v, want %s", n, got, want)
		}
		list.WriteString(want)
	}
	// FIPS 180-2, appendix B.1, through the standard input.
	want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n"
	if got := start(t, program, "abc"); got != (result{out: want}) {
		t.Errorf("abc: got %+v", got)
	}
	check := write(t, dir, "list", list.String())
	if got := start(t, program, "", "-c", check); got.status != 0 || strings.Count(got.out, ": OK\n") != 17 {
		t.Errorf("-c of good files: %+v", got)
	}
	write(t, dir, "3", "abd")
	if got := start(t, program, "", "-c", check); got.status != 1 || strings.Count(got.out, ": FAILED\n") != 1 {
		t.Errorf("-c with one that has changed: %+v", got)
	}
	for _, bad := range []string{"", "nothing\n", strings.Repeat("0", 64) + "  " + dir + "/none\n", strings.Repeat("0", 63) + "  x\n"} {
		if got := start(t, program, bad, "-c"); got.status != 1 || got.err == "" {
			t.Errorf("-c of %q: %+v", bad, got)
		}
	}
}

func TestPrograms(t *testing.T) {
	h := build(t)
	dir := t.TempDir()
	a, b := write(t, dir, "a", "one two\nthree\n"), write(t, dir, "b", "one twO\n")
	empty, none := write(t, dir, "empty", ""), filepath.Join(dir, "none")
	big := strings.Repeat("0123456789abcde\n", 100000)
	lines := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n"
	missing := ": No such file or directory\n"
	for _, test := range []struct {
		command string
		stdin   string
		want    result
	}{
		{"true", "", result{}},
		{"false", "", result{status: 1}},
		{"echo", "", result{out: "\n"}},
		{"echo a b", "", result{out: "a b\n"}},
		{"echo -n a -n", "", result{out: "a -n"}},
		{"cat", big, result{out: big}},
		{"cat " + empty + " " + a + " - " + b, "x", result{out: "one two\nthree\nxone twO\n"}},
		{"cat " + none + " " + b, "", result{1, "one twO\n", "cat: " + none + missing}},
		{"cat " + dir, "", result{1, "", "cat: " + dir + ": Is a directory\n"}},
		{"head", lines, result{out: strings.TrimSuffix(lines, "11\n")}},
		{"head -n 2 " + a, "", result{out: "one two\nthree\n"}},
		{"head -c 5 " + a + " " + b, "", result{out: "==> " + a + " <==\none t\n==> " + b + " <==\none t"}},
		{"head -n 0", lines, result{}},
		{"head -n x", "", result{2, "", "usage: head [-n LINES | -c BYTES] [FILE...]\n"}},
		{"head " + none, "", result{1, "", "head: " + none + missing}},
		{"tee " + dir + "/t " + none + "/x", "text", result{1, "text", "tee: " + none + "/x" + missing}},
		{"tee -a " + dir + "/t", "more", result{out: "more"}},
		{"cat " + dir + "/t", "", result{out: "textmore"}},
		{"wc -l", big, result{out: "100000\n"}},
		{"wc", "a b\tc\r\nd", result{out: "      1       4       8\n"}},
		{"wc " + a, "", result{out: " 2  3 14 " + a + "\n"}},
		{"wc -c " + a + " " + empty + " " + b, "", result{out: "14 " + a + "\n 0 " + empty + "\n 8 " + b + "\n22 total\n"}},
		{"wc -w " + none, "", result{1, "", "wc: " + none + missing}},
		{"wc -x", "", result{2, "", "usage: wc [-lwc] [FILE...]\n"}},
		{"cmp " + a + " " + a, "", result{}},
		{"cmp " + a + " " + b, "", result{1, a + " " + b + " differ: byte 7, line 1\n", ""}},
		{"cmp " + a + " -", "one two\n", result{1, "", "cmp: EOF on -, after that the other goes on\n"}},
		{"cmp " + a + " " + none, "", result{2, "", "cmp: " + none + missing}},
		{"hexdump", "hex\n", result{out: "68 65 78 0a" + strings.Repeat("   ", 12) + " # 00000000  hex.\n"}},
	} {
		words := strings.Fields(test.command)
		if got := start(t, h.file("pallet-ladder", "bin/"+words[0]), test.stdin, words[1:]...); got != test.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.command, got, test.want)
		}
	}
	dump := start(t, h.file("pallet-ladder", "bin/hexdump"), "", h.file("pallet-ladder", "bin/b")).out
	if got, err := link(0, []byte(dump)); err != nil || !bytes.Equal(got, read(t, h.file("pallet-ladder", "bin/b"))) {
		t.Errorf("hex0 does not make of hexdump's output what it was (%v)", err)
	}
}

// run and cmp decide whether a build goes on.
func TestTheToolsThatBuildsRelyOn(t *testing.T) {
	h := build(t)
	dir := t.TempDir()
	bin := func(name string) string { return h.file("core-asm", "bin/"+name) }
	a, same := write(t, dir, "a", "text"), write(t, dir, "same", "text")
	other, longer := write(t, dir, "other", "texT"), write(t, dir, "longer", "text ")
	empty, none := write(t, dir, "empty", ""), filepath.Join(dir, "none")
	big := write(t, dir, "big", strings.Repeat("x", 16<<20))
	for _, test := range []struct {
		args string
		want int
	}{
		{a + " " + same, 0}, {a + " " + other, 1}, {a + " " + longer, 1}, {longer + " " + a, 1},
		{empty + " " + empty, 0}, {a + " " + empty, 1}, {empty + " " + a, 1},
		{a + " " + none, 1}, {none + " " + none, 1}, {dir + " " + dir, 1}, {a, 1}, {"", 1},
		{a + " " + same + " " + same, 1}, {big + " " + big, 1},
	} {
		if got := start(t, bin("cmp"), "", strings.Fields(test.args)...); got.status != test.want {
			t.Errorf("cmp %s: status %d", test.args, got.status)
		}
	}
	yes, no := h.file("pallet-ladder", "bin/true")+"\n", h.file("pallet-ladder", "bin/false")+"\n"
	said := h.file("pallet-ladder", "bin/echo") + "  a \tb\n"
	for _, test := range []struct {
		text string
		want result
	}{
		{"", result{}},
		{"# " + no + "\n  \n" + yes, result{out: "\n  \n" + yes}},
		{said, result{out: said + "a b\n"}},
		{no + said, result{status: 1, out: no}},
		{none + "\n" + said, result{status: 1, out: none + "\n"}},
		{strings.TrimSpace(yes), result{status: 1}}, // the last line does not end
		{strings.Repeat("x ", 4096) + "\n", result{status: 1, out: strings.Repeat("x ", 4096) + "\n"}},
	} {
		if got := start(t, bin("run"), "", write(t, dir, "commands", test.text)); got != test.want {
			t.Errorf("run %.200q:\ngot  %.200q\nwant %.200q", test.text, fmt.Sprint(got), fmt.Sprint(test.want))
		}
	}
	if got := start(t, bin("run"), "", none); got.status != 1 {
		t.Errorf("run of no file: status %d", got.status)
	}
}
