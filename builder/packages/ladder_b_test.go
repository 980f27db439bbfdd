//go:build linux && amd64

package packages_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// compilers are the two compilers of b: the one in macro assembly, and the one in b.
func (h *host) compilers() []string {
	return []string{
		filepath.Join(h.dir, "core-b.build", "build", "b-asm"),
		h.file("core-b", "bin/b"),
	}
}

// compile makes a program of text, with io.b before it, and returns its name.
func (h *host) compile(text string) string {
	h.t.Helper()
	dir := h.t.TempDir()
	lib := func(name string) string { return h.file("pallet-ladder", "lib/"+name) }
	out := filepath.Join(dir, "out")
	for _, step := range [][]string{
		{"b", out + ".m", lib("io.b"), write(h.t, dir, "in.b", text)},
		{"m", out + ".hex2", lib("amd64.m"), lib("elf.m"), lib("b-x86-64.m"), out + ".m", lib("end.m")},
		{"hex2", out, out + ".hex2"},
	} {
		if got := start(h.t, h.file("pallet-ladder", "bin/"+step[0]), "", step[1:]...); got.status != 0 {
			h.t.Fatalf("%s: %+v", step[0], got)
		}
	}
	return out
}

func TestTheLanguageB(t *testing.T) {
	h := build(t)
	for _, test := range []struct{ name, declarations, statements, want string }{
		{"precedence", "", "n(2 + 3 * 4 - 5); n((2 + 3) * 4); n(7 & 3 | 8 ^ 1); n(1 << 40 >> 38); n(10 - 4 - 3);", "9 20 11 4 3"},
		{"unary operators", "", "n(!5 + !0); n(~0); n(- -3); n(!!7);", "1 -1 3 1"},
		{"division rounds towards zero", "", "n(-7 / 2); n(-7 % 2); n(7 / -2);", "-3 -1 -3"},
		{"comparisons have signs", "", "n(-1 < 1); n(1 <= 0); n(2 > -3); n(2 >= 3); n(3 == 3); n(3 != 3);", "1 0 1 0 1 0"},
		{"shifts have none", "", "n(-1 >> 60); n(1 << 63 < 0);", "15 1"},
		{"what is not needed is not evaluated", "", "n(0 && n(9)); n(2 || n(9)); n(0 || 0); n(1 && 2);", "0 1 0 1"},
		{"numbers", "const c = 'A'; const m = -c;", "n(c); n(m); n(0xff); n('\\n'); n('\\x7f'); n('\\''); n(0xffffffffffffffff);", "65 -65 255 10 127 39 -1"},
		{"words and bytes", "var w[2], x;", "w[1] = 258; w.[0] = 300; n(w[1]); n(w.[8]); n(w.[9]); n(w.[0]); n(x); n(w[1] = 5);", "258 2 1 44 0 5"},
		{"tables", "table k { 1, -2, 0x123456789a, 'c' }", "n(k[1]); n(k[2] >> 36); n(k[3]);", "-2 1 99"},
		{"strings", "var s;", `s = "a\t\"\\\x41"; n(s.[0]); n(s.[1]); n(s.[2]); n(s.[3]); n(s.[4]); n(s.[5]);`, "97 9 34 92 65 0"},
		{"assignments go to the right", "var a, b;", "a = b = 3; n(a + b); a = b = a == b; n(a);", "6 1"},
		{"loops", "var i, j;", "while (1) { i = i + 1; if (i == 2) continue; if (i > 4) break; n(i); j = 2; while (j) { j = j - 1; if (j) break; } n(j); }", "1 1 3 1 4 1"},
		{"else belongs to the last if", "", "if (1) if (0) n(1); else n(2); else n(3);", "2"},
		{"functions", "f(a, b, c) { var d, e; e = a; if (c) return f(b, c, 0); return e * 10 + b + d; } g() { }", "n(f(1, 2, 3)); n(g());", "23 0"},
		{"a local name hides a global one", "var v; f(v) { v = 7; return v; }", "v = 1; n(f(2)); n(v);", "7 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := (&host{t: t, dir: h.dir, images: h.images}).compile(test.declarations + `
				n(x) { if (x < 0) { put('-'); x = -x; } put_number(x, 1); put(' '); return 1; }
				main(argc, argv) { ` + test.statements + ` flush(); return 42; }`)
			if got := start(t, program, ""); strings.TrimSpace(got.out) != test.want || got.status != 42 {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}

func TestTheCompilersRefuse(t *testing.T) {
	h := build(t)
	for _, test := range []struct{ text, want string }{
		{"f() {\nreturn x; }", "line 2: not declared"},
		{"var a, a;", "line 1: declared twice"},
		{"f(a) { var a; }", "declared twice"},
		{"f() { 1 = 2; }", "nothing can be stored here"},
		{"const c = 1; f() { c = 2; }", "nothing can be stored here"},
		{"const c = d;", "not declared"},
		{"var v; const c = v;", "not a number"},
		{"f() { break; }", "not in a loop"},
		{"f() { g(1,2,3,4,5,6,7,8,9,0); }", "more than 9 parameters"},
		{"f() { return 1 }", "expected ;"},
		{"f() { if 1 return; }", "expected ("},
		{"f() { return (1; }", "expected )"},
		{"f() { return a[1; }", "not declared"},
		{"f(a) { return a[1; }", "expected ]"},
		{"f() { 'ab'; }", "more than one character"},
		{"f() { \"a\n\"; }", "the line ends in a string"},
		{"f() { \"\\q\"; }", "no such character after a backslash"},
		{"f() { 18446744073709551616; }", "more than 64 bits"},
		{"f() { 0x; }", "not a digit"},
		{"f() { 12a; }", "not a digit"},
		{"f() {", "expected a name"},
		{"var a[9000000];", "memory is full"},
		{"f() { \"", "the text ends too early"},
	} {
		dir := t.TempDir()
		in, out := write(t, dir, "in", test.text), filepath.Join(dir, "out")
		for i, compiler := range h.compilers() {
			got := start(t, compiler, "", out, in)
			if got.status != 1 || i == 1 && !strings.Contains(got.err, test.want) {
				t.Errorf("%s: %s: got %+v, want status 1 and %q", test.text, filepath.Base(compiler), got, test.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Errorf("%s: there is output", test.text)
			}
		}
	}
}

// A function has as many arguments as it has parameters, or does not link.
func TestTheLinkerCountsArguments(t *testing.T) {
	h := build(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	in := write(t, dir, "in", "f(a) { } main(c, v) { f(1, 2); }")
	if got := start(t, h.compilers()[1], "", out, in); got.status != 0 {
		t.Fatalf("%+v", got)
	}
	_, err := link(2, callsOnly(read(t, out)))
	if err == nil || !strings.Contains(err.Error(), "f.2 is not defined") {
		t.Errorf("got %v", err)
	}
}

// callsOnly keeps the labels of what a compiler has written.
func callsOnly(text []byte) []byte {
	var labels []byte
	for word := range bytes.FieldsSeq(text) {
		if word[0] == ':' || word[0] == '%' {
			labels = append(append(labels, word...), '\n')
		}
	}
	return labels
}

// Where memory ends, tools stop: what is full is never written over something else.
// Tables of names are left out: to fill one takes a minute.
func TestFullToolsStop(t *testing.T) {
	h := build(t)
	dir := t.TempDir()
	kilo := "def kilo " + strings.Repeat("90", 1000) + "\n"
	for _, test := range []struct{ name, good, bad string }{
		{"output", kilo + strings.Repeat("kilo ", 8000), kilo + strings.Repeat("kilo ", 9000)},
		{"what names stand for", kilo + "def x " + strings.Repeat("kilo ", 5000) + "\n", kilo + "def x " + strings.Repeat("kilo ", 5300) + "\n"},
	} {
		for _, image := range []string{"bootstrap-stage1", "core-asm"} {
			tool := h.file(image, "bin/m")
			if got := start(t, tool, "", filepath.Join(dir, "good"), write(t, dir, "in", test.good)); got.status != 0 {
				t.Errorf("m of %s: %s that fit: %+v", image, test.name, got)
			}
			if got := start(t, tool, "", filepath.Join(dir, "bad"), write(t, dir, "in", test.bad)); got.status != 1 {
				t.Errorf("m of %s: %s that do not fit: status %d", image, test.name, got.status)
			}
		}
	}
	for i, compiler := range h.compilers() {
		body := strings.Repeat("a=a+a;", 80000)
		if got := start(t, compiler, "", filepath.Join(dir, "good"), write(t, dir, "in", "f(a){"+body+"}")); got.status != 0 {
			t.Errorf("compiler %d: output that fits: %+v", i, got)
		}
		if got := start(t, compiler, "", filepath.Join(dir, "bad"), write(t, dir, "in", "f(a){"+strings.Repeat(body, 4)+"}")); got.status != 1 {
			t.Errorf("compiler %d: output that does not fit: status %d", i, got.status)
		}
	}
}
