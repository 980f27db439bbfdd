//go:build linux && amd64

package packages_test

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// random returns a text of words that fit together more often than bytes would; the
// same for the same n.
func random(n int, words string) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 0))
	choice := strings.Fields(words)
	var text []byte
	for range r.IntN(20) {
		text = append(text, choice[r.IntN(len(choice))]...)
		text = append(text, []string{" ", " ", " ", "\n", ""}[r.IntN(5)]...)
	}
	return text
}

// randomTexts is how many texts of random are tried, for each language.
const randomTexts = 200

// FuzzTools compares the assemblers, of both machines, with those in Go.
func FuzzTools(f *testing.F) {
	h := build(f)
	for level, text := range []string{"7f 45 # x\n4 1", ":a 00 !a %b :b", ":aa !aa %bb &bb <aa :bb 90",
		"def nop 90 \"x\"\nnop 4'-1 1'0x7f :l %l # c\ndef two nop nop\n  two"} {
		f.Add(level, []byte(text))
		for n := range randomTexts {
			f.Add(level, random(n, `00 7f 4 Ff :a :b :cc !a %b !cc %cc &a <a <b : # ; g 41 "a" " def def x y x y
				90 1'1 1'-1 1'-129 2'0x8000 4'-0x80000000 4'4294967296 1' 9'1 '`))
		}
	}
	f.Fuzz(func(t *testing.T, level int, text []byte) {
		level &= 3
		tools := [][]string{{"bootstrap-stage1", "hex0"}, {"bootstrap-stage1", "hex1"}, {"bootstrap-stage1", "hex2"}, {"bootstrap-stage1", "m"}}
		want, wantErr := []byte(nil), error(nil)
		if level == 3 {
			want, wantErr = expand(text)
		} else {
			want, wantErr = link(level, text)
		}
		dir := t.TempDir()
		in := write(t, dir, "in", string(text))
		for _, image := range []string{tools[level][0], "bootstrap-stage3"} {
			out := filepath.Join(dir, image)
			got := start(t, h.file(image, "bin/"+tools[level][1]), "", out, in)
			if (got.status == 0) != (wantErr == nil) {
				t.Fatalf("%s of %s: %+v, but in Go: %v", tools[level][1], image, got, wantErr)
			}
			if wantErr == nil && !bytes.Equal(read(t, out), want) {
				t.Fatalf("%s of %s: %q, but in Go: %q", tools[level][1], image, read(t, out), want)
			}
		}
	})
}

// FuzzCompilers compares the two compilers with each other.
func FuzzCompilers(f *testing.F) {
	h := build(f)
	sources, err := filepath.Glob("packages/*/*/*.b")
	if err != nil || len(sources) == 0 {
		f.Fatalf("no programs in b (%v)", err)
	}
	for _, name := range sources {
		f.Add(read(f, name))
	}
	f.Add([]byte("const a = -1; var b[3], c; table t { a, 'x' } f(x) { var y; y = x[1] + b.[2] && !c || f(\"s\\n\"); }"))
	for n := range randomTexts {
		f.Add(append([]byte("const k = 3; var v, w[k]; table t { k } f(a, b) { var c; "), append(random(n, `a b c k v w t f ( ) ( ) [ ] .[ = ; ; ; , 1 0x2 'c'
			+ - * / % < <= == != && || ! ~ & | ^ << >> { } if while else return break continue var f( "s" // g(`), '}')...))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		in := write(t, dir, "in", string(text))
		var outs [2]string
		for i, compiler := range h.compilers() {
			out := filepath.Join(dir, filepath.Base(compiler))
			if got := start(t, compiler, "", out, in); got.status == 0 {
				outs[i] = string(read(t, out)) + "."
			}
		}
		if outs[0] != outs[1] {
			t.Fatalf("%q: %q, but in b: %q", text, outs[0], outs[1])
		}
	})
}
