//go:build linux && amd64

package packages_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The languages of the first rungs once more, in Go, to be compared with the
// ladder's own tools. They follow builder/packages/README.md, not the tools.

// isBlank reports whether a byte is a blank or a control character.
func isBlank(c byte) bool { return c <= ' ' }

// linked is hex0, hex1 or hex2, by level.
type linked struct {
	level  int
	text   []byte
	labels map[string]int // offsets
	out    []byte
}

// link translates text from the language of hex0, hex1 or hex2.
func link(level int, text []byte) ([]byte, error) {
	l := &linked{level: level, text: text, labels: make(map[string]int)}
	for pass := range 2 {
		l.out = nil
		if err := l.pass(pass == 1); err != nil {
			return nil, err
		}
	}
	return l.out, nil
}

func (l *linked) pass(last bool) error {
	var half []byte // the high digit of a byte, if that is what was last
	for i := 0; i < len(l.text); {
		c := l.text[i]
		i++
		switch {
		case c == '#' || c == ';' || isBlank(c):
			if len(half) > 0 && l.level > 0 {
				return errors.New("half a byte")
			}
			if !isBlank(c) {
				end := bytes.IndexByte(l.text[i:], '\n')
				if end < 0 {
					end = len(l.text) - i
				}
				i += end
			}
		case l.level > 0 && bytes.IndexByte([]byte(":!%&<")[:2*l.level+1], c) >= 0:
			if len(half) > 0 {
				return errors.New("half a byte")
			}
			end := i
			for end < len(l.text) && !isBlank(l.text[end]) && (l.level == 2 || end == i) {
				end++
			}
			if err := l.label(c, string(l.text[i:end]), last); err != nil {
				return err
			}
			i = end
		default:
			half = append(half, c)
			if len(half) == 2 {
				b, err := hex.DecodeString(string(half))
				if err != nil {
					return err
				}
				l.out, half = append(l.out, b...), nil
			}
		}
	}
	if len(half) > 0 {
		return errors.New("half a byte")
	}
	return nil
}

// label defines or uses a label.
func (l *linked) label(c byte, name string, last bool) error {
	if name == "" {
		return errors.New("no name")
	}
	at, known := l.labels[name]
	if c == ':' {
		if known && !last {
			return fmt.Errorf("%s is defined twice", name)
		}
		l.labels[name] = len(l.out)
		return nil
	}
	if !known && last {
		return fmt.Errorf("%s is not defined", name)
	}
	switch c {
	case '!':
		distance := at - len(l.out) - 1
		if last && distance != int(int8(distance)) {
			return fmt.Errorf("%s is too far away", name)
		}
		l.out = append(l.out, byte(distance))
	case '%':
		l.out = binary.LittleEndian.AppendUint32(l.out, uint32(at-len(l.out)-4))
	case '&':
		l.out = binary.LittleEndian.AppendUint32(l.out, uint32(at+0x400000))
	case '<':
		l.out = binary.LittleEndian.AppendUint32(l.out, uint32(at))
	}
	return nil
}

// expand translates text from the language of m to that of hex2.
func expand(text []byte) ([]byte, error) {
	macros := make(map[string][]byte)
	var out []byte
	for line := range bytes.Lines(text) {
		words, err := split(line)
		if err != nil {
			return nil, err
		}
		var body []byte
		before := len(words) // of def
		if i := slices.Index(words, "def"); i >= 0 {
			before = i
		}
		for _, word := range words[:before] {
			if out, err = translate(out, word, macros); err != nil {
				return nil, err
			}
		}
		complete := bytes.HasSuffix(line, []byte("\n"))
		if before == len(words) {
			if complete {
				out = append(out, '\n')
			}
			continue
		}
		definition := words[before+1:]
		if len(definition) == 0 || !complete {
			return nil, errors.New("def of nothing, or without an end")
		}
		if _, twice := macros[definition[0]]; twice {
			return nil, fmt.Errorf("%s is defined twice", definition[0])
		}
		for _, word := range definition[1:] {
			if body, err = translate(body, word, macros); err != nil {
				return nil, err
			}
		}
		macros[definition[0]] = body
	}
	return out, nil
}

// split returns the words of a line; strings keep their quotes.
func split(line []byte) ([]string, error) {
	var words []string
	for i := 0; i < len(line); {
		c := line[i]
		end := i + 1
		isName := slices.Index(words, "def") == len(words)-1 && len(words) > 0
		switch {
		case isBlank(c):
			i++
			continue
		case isName:
			for end < len(line) && !isBlank(line[end]) {
				end++
			}
		case c == '#' || c == ';':
			return words, nil
		case c == '"':
			length := bytes.IndexByte(line[end:], '"')
			if length < 0 {
				return nil, errors.New("a string that does not end")
			}
			end += length + 1
		default:
			for end < len(line) && !isBlank(line[end]) {
				end++
			}
		}
		words = append(words, string(line[i:end]))
		i = end
	}
	return words, nil
}

// translate appends what a word stands for.
func translate(out []byte, word string, macros map[string][]byte) ([]byte, error) {
	switch {
	case word[0] == '"':
		return fmt.Appendf(out, "%X ", word[1:len(word)-1]), nil
	case word == "def":
		return nil, errors.New("def within def")
	case len(word) > 2 && word[1] == '\'':
		return number(out, word)
	}
	if body, known := macros[word]; known {
		return append(out, body...), nil
	}
	if strings.IndexByte(":!%&<", word[0]) < 0 {
		if _, err := hex.DecodeString(word); err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
	}
	return append(out, word+" "...), nil
}

func number(out []byte, word string) ([]byte, error) {
	size := map[byte]int{'1': 1, '2': 2, '4': 4}[word[0]]
	digits, minus := strings.CutPrefix(word[2:], "-")
	base := 10
	if strings.HasPrefix(digits, "0x") {
		digits, base = digits[2:], 16
	}
	value, err := strconv.ParseUint(digits, base, 32)
	if err != nil || size == 0 {
		return nil, fmt.Errorf("%s: no number, or no width", word)
	}
	n, bits := int64(value), size*8
	if minus {
		n = -n
	}
	if minus && (n == 0 || n < -1<<(bits-1)) || n > int64(math.MaxUint32>>(32-bits)) {
		return nil, fmt.Errorf("%s does not fit", word)
	}
	return fmt.Appendf(out, "%X ", binary.LittleEndian.AppendUint32(nil, uint32(n))[:size]), nil
}

// seedHex is the annotated source of the seed.
const seedHex = "packages/bootstrap/stage0/hex0.hex0"

func TestTheSeedIsWhatItsSourceSaysInFourWays(t *testing.T) {
	seed := read(t, "packages/bootstrap/stage0/hex0-seed")
	if len(seed) > 256 {
		t.Errorf("the seed has %d bytes, at most 256 are allowed", len(seed))
	}
	dir := t.TempDir()
	ways := []struct {
		name  string
		bytes func() ([]byte, error)
	}{
		{"itself", func() ([]byte, error) {
			out, program := filepath.Join(dir, "out"), filepath.Join(dir, "seed")
			if err := os.WriteFile(program, seed, 0o755); err != nil {
				return nil, err
			}
			if msg, err := exec.Command(program, out, seedHex).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%w: %s", err, msg)
			}
			return os.ReadFile(out)
		}},
		{"Go", func() ([]byte, error) { return link(0, read(t, seedHex)) }},
		{"GNU as and objcopy", func() ([]byte, error) {
			return gnu(t, "--32", read(t, "packages/bootstrap/stage0/hex0.S"))
		}},
		{"sed and xxd", func() ([]byte, error) {
			need(t, "xxd", "xxd")
			return exec.Command("sh", "-c", "sed 's/[#;].*//' "+seedHex+" | xxd -r -p").Output()
		}},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			got, err := way.bytes()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, seed) {
				t.Errorf("other bytes than the seed's:\n%s", cmp.Diff(hex.Dump(seed), hex.Dump(got)))
			}
		})
	}
}

// need skips a test whose program comes from a Debian package that is not there;
// make deps installs it.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian package %s)", program, pkg)
	}
}

// gnu assembles with GNU as, and returns the bytes of its text.
func gnu(t *testing.T, option string, source []byte) ([]byte, error) {
	t.Helper()
	need(t, "as", "binutils")
	need(t, "objcopy", "binutils")
	dir := t.TempDir()
	object, out := filepath.Join(dir, "object"), filepath.Join(dir, "out")
	as := exec.Command("as", option, "-o", object)
	as.Stdin = bytes.NewReader(source)
	if msg, err := as.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("as: %w: %s", err, msg)
	}
	if msg, err := exec.Command("objcopy", "-O", "binary", "-j", ".text", object, out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("objcopy: %w: %s", err, msg)
	}
	return os.ReadFile(out)
}

// Each program of the first rungs, assembled by Go alone.
func TestTheToolsAreWhatGoMakesOfTheirSources(t *testing.T) {
	h := build(t)
	stage2 := func(names ...string) func() ([]byte, error) {
		return func() ([]byte, error) {
			var text []byte
			for _, name := range slices.Concat([]string{"amd64", "elf"}, names, []string{"end"}) {
				text = append(text, read(t, "packages/bootstrap/stage2/"+name+".m")...)
			}
			text, err := expand(text)
			if err != nil {
				return nil, err
			}
			return link(2, text)
		}
	}
	stage1 := func(level int, name string) func() ([]byte, error) {
		return func() ([]byte, error) { return link(level, read(t, "packages/bootstrap/stage1/"+name)) }
	}
	for _, test := range []struct {
		image, tool string
		bytes       func() ([]byte, error)
	}{
		{"bootstrap-stage1", "hex1", stage1(0, "hex1.hex0")},
		{"bootstrap-stage1", "hex2", stage1(1, "hex2.hex1")},
		{"bootstrap-stage1", "m", stage1(2, "m.hex2")},
		{"bootstrap-stage3", "hex0", stage2("io", "digit", "hex0")},
		{"bootstrap-stage3", "hex1", stage2("io", "digit", "hex1")},
		{"bootstrap-stage3", "hex2", stage2("io", "digit", "hex2")},
		{"bootstrap-stage3", "m", stage2("io", "digit", "m")},
		{"bootstrap-stage3", "cmp", stage2("cmp")},
		{"bootstrap-stage3", "run", stage2("run")},
	} {
		got, err := test.bytes()
		if err != nil {
			t.Errorf("%s: %v", test.tool, err)
			continue
		}
		if want := read(t, h.file(test.image, "bin/"+test.tool)); !bytes.Equal(got, want) {
			t.Errorf("%s of %s: Go makes other bytes", test.tool, test.image)
		}
	}
}
