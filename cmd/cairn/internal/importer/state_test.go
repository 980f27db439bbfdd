package importer

import (
	"os"
	"path/filepath"
	"testing"
)

func TestATornStateGoesOnWhereItIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, torn := range []string{"", stateSchema, stateSchema + "\nlog\n", stateSchema + "\nlog\nsrc\n", stateSchema + "\nlog\nsrc\na\nb"} {
		if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenState(path, "log", "src")
		if err != nil {
			t.Fatalf("after %q: %v", torn, err)
		}
		if s.Has("b") {
			t.Errorf("after %q, the torn name counts", torn)
		}
		if err := s.Add("c"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = OpenState(path, "log", "src"); err != nil || !s.Has("c") {
			t.Errorf("after %q, what was added is lost: %v", torn, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoStateHasNothing(t *testing.T) {
	var s *State
	if s.Has("a") || s.Add("a") != nil || s.Close() != nil {
		t.Error("a nil state does something")
	}
}
