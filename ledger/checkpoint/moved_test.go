package checkpoint

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

// TestMoved wants a state whose log moved to sign no more, whatever opens it.
func TestMoved(t *testing.T) {
	dir := t.TempDir()
	key, err := CreateKey(filepath.Join(dir, "key"), "moved.example/log")
	if err != nil {
		t.Fatal(err)
	}
	state, err := OpenFileState(filepath.Join(dir, "signed"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = state.Close() }()
	guard, err := NewGuard(t.Context(), key.Signer, state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Sign(t.Context(), tlog.Tree{Hash: emptyRoot()}, nil); err != nil {
		t.Fatal(err)
	}
	last, err := state.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &MovedError{To: "tree 42, and others", Last: last}
	if err := state.Swap(t.Context(), last, want.State()); err != nil {
		t.Fatal(err)
	}
	var moved *MovedError
	if _, err := NewGuard(t.Context(), key.Signer, state); !errors.As(err, &moved) {
		t.Fatalf("a guard of a log that moved: %v", err)
	}
	if diff := cmp.Diff(want, moved); diff != "" {
		t.Errorf("what the state says differs:\n%s", diff)
	}
	// A program that knows of no moves takes the text for no checkpoint, either.
	if _, err := parseText(string(want.State())); err == nil {
		t.Error("the state of a log that moved is a checkpoint")
	}
	for cut := len(movedLine); cut < len(want.State()); cut++ {
		if parseMoved(want.State()[:cut]) == nil {
			t.Errorf("the first %d bytes are not of a log that moved", cut)
		}
	}
}
