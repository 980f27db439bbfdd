package private_test

import (
	"io/fs"
	"testing"

	"github.com/cairnlog/cairn/internal/private"
)

func TestExposed(t *testing.T) {
	const dir = "/run/credentials/some.service"
	for _, c := range []struct {
		dir, path string
		mode      fs.FileMode
		want      bool
	}{
		{"", "/etc/key", 0o600, false},
		{"", "/etc/key", 0o400, false},
		{"", "/etc/key", 0o640, true},
		{"", "/etc/key", 0o604, true},
		{"", "key", 0o440, true},
		{dir, dir + "/key", 0o440, false},
		{dir + "/", dir + "/key", 0o440, false},
		{dir, dir + "/key", 0o444, true},
		{dir, dir + "/key", 0o460, true},
		{dir, "/etc/key", 0o440, true},
		{dir, dir + "/../key", 0o440, true},
		{dir, dir + "/more/key", 0o440, true},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", c.dir)
		if got := private.Exposed(c.path, c.mode); got != c.want {
			t.Errorf("%s with mode %04o beside %q: %v, want %v", c.path, c.mode, c.dir, got, c.want)
		}
	}
}
