package bearer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	alice = "qIWCWsWsYMhXaGvRNlrTpkWSoJ"
	bob   = "V5XQMHNYOUH2JRVYKBB4CWHJ7A"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte("# two\n" + alice + " alice\n\n" + bob + " bob@example\r\n"))
	want := []Token{{alice, "alice"}, {bob, "bob@example"}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"only a comment":    "# " + alice + " alice\n",
		"no name":           alice + "\n",
		"an empty name":     alice + " \n",
		"a name of words":   alice + " alice and bob\n",
		"a short token":     alice[:minToken-1] + " alice\n",
		"a token of dots":   strings.Repeat("é", minToken) + " alice\n",
		"a token twice":     alice + " alice\n" + alice + " bob\n",
		"a name twice":      alice + " alice\n" + bob + " alice\n",
		"a long name":       alice + " " + strings.Repeat("a", maxField+1) + "\n",
		"a file too large":  "#" + strings.Repeat("x", maxFile),
		"an indented line":  " " + alice + " alice\n",
		"a control in it":   alice + "\x00 alice\n",
		"a space too many":  alice + "  alice\n",
		"a comment at last": alice + " alice # mine\n",
	} {
		if got, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: taken as %v", name, got)
		} else if strings.Contains(err.Error(), alice) {
			t.Errorf("%s: the error tells the token: %v", name, err)
		}
	}
}

func TestBearer(t *testing.T) {
	set := NewSet([]Token{{alice, "alice"}, {bob, "bob"}})
	for _, test := range []struct {
		header, name string
		err          error
	}{
		{"Bearer " + alice, "alice", nil},
		{"bearer " + bob, "bob", nil},
		{"", "", ErrMissing},
		{alice, "", ErrMissing},
		{"Basic " + alice, "", ErrMissing},
		{"Bearer", "", ErrMissing},
		{"Bearer ", "", ErrUnknown},
		{"Bearer " + alice[1:], "", ErrUnknown},
		{"Bearer " + alice + " ", "", ErrUnknown},
		{"Bearer " + alice + bob, "", ErrUnknown},
	} {
		if name, err := set.Bearer(test.header); name != test.name || !errors.Is(err, test.err) {
			t.Errorf("%q: %q, %v; want %q, %v", test.header, name, err, test.name, test.err)
		}
	}
	if name, err := NewSet(nil).Bearer("Bearer "); err == nil {
		t.Errorf("a set without tokens knows %q", name)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := Generate()
	own := write("own", string(Format([]Token{{secret, "dev"}})), 0o600)
	if got, err := ReadOwn(own); got != secret || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for name, path := range map[string]string{
		"a file that is not there":  filepath.Join(dir, "missing"),
		"a file that others read":   write("open", alice+" alice\n", 0o644),
		"a file of two":             write("two", alice+" alice\n"+bob+" bob\n", 0o600),
		"a file that does not fit":  write("large", strings.Repeat("#\n", maxFile), 0o600),
		"a file that does not read": write("bad", alice, 0o600),
	} {
		if got, err := ReadOwn(path); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# two\n" + alice + " alice\n\n" + bob + " bob\n"))
	f.Add([]byte(alice + " alice"))
	f.Add([]byte(alice + " alice\r\n" + alice + " bob\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tokens, err := Parse(text)
		if err != nil {
			return
		}
		formatted := Format(tokens)
		again, err := Parse(formatted)
		if err != nil || !cmp.Equal(again, tokens) || !bytes.Equal(Format(again), formatted) {
			t.Errorf("%q: %v, then %v, %v", text, tokens, again, err)
		}
		set := NewSet(tokens)
		for _, token := range tokens {
			if name, err := set.Bearer("Bearer " + token.Secret); name != token.Name || err != nil {
				t.Errorf("%q is %q, %v", token.Name, name, err)
			}
		}
	})
}
