package checkpoint_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

func TestGuardRefusesABadState(t *testing.T) {
	good := guarded + "\n6\n" + strings.Repeat("A", 43) + "=\n"
	for _, test := range []struct {
		name, text string
	}{
		{"empty", ""},
		{"of another origin", strings.Replace(good, "guard", "other", 1)},
		{"of an origin that begins alike", strings.Replace(good, guarded, guarded+"2", 1)},
		{"cut after the size", guarded + "\n6\n"},
		{"cut within the root", good[:len(good)-10]},
		{"without its last newline", good[:len(good)-1]},
		{"with a size that is no number", strings.Replace(good, "6", "six", 1)},
		{"with a negative size", strings.Replace(good, "6", "-6", 1)},
		{"with a size in another spelling", strings.Replace(good, "6", "06", 1)},
		{"with a root of 31 bytes", guarded + "\n6\n" + strings.Repeat("A", 40) + "AA==\n"},
		{"of zeros, as a crash may leave it", strings.Repeat("\x00", len(good))},
	} {
		d := newDesk(t)
		d.text = []byte(test.text)
		if g, err := checkpoint.NewGuard(t.Context(), d, d); err == nil {
			t.Errorf("a state %s made a guard, which knows %v", test.name, second(g.Last()))
		}
	}
	d := newDesk(t)
	d.text = []byte(good)
	d.guard(t)
	d.loadFail = errors.New("broken")
	if _, err := checkpoint.NewGuard(t.Context(), d, d); !errors.Is(err, d.loadFail) {
		t.Errorf("a state that cannot be read: %v", err)
	}
}

func second[T any](v T, _ bool) T { return v }

func TestGuardChecksTheSizeOfTheLog(t *testing.T) {
	log := (&branch{}).grow(t, "a", 6)
	for _, test := range []struct {
		name   string
		signed int64 // -1 for nothing
		size   uint64
		ok     bool
	}{
		{"a new log", -1, 0, true},
		{"a log without its state", -1, 1, false},
		{"an empty log of which only that was signed", 0, 0, true},
		{"a log that grew since it was empty", 0, 5, true},
		{"the log that was signed", 6, 6, true},
		{"a log that grew since", 6, 7, true},
		{"a log that lost an entry", 6, 5, false},
		{"a log that was removed", 6, 0, false},
	} {
		d := newDesk(t)
		g := d.guard(t)
		if test.signed >= 0 {
			mustSign(t, d, g, log.tree(t, test.signed), log.prove)
			g = d.guard(t)
		}
		err := g.Check(test.size)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, checkpoint.ErrRollback) {
			t.Errorf("%s: Check(%d) = %v after size %d was signed", test.name, test.size, err, test.signed)
		}
	}
}

func TestGenesisSignsTheEmptyTreeAlone(t *testing.T) {
	log := (&branch{}).grow(t, "a", 3)
	empty := guarded + "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	for _, test := range []struct {
		name, text string
		ok         bool
	}{
		{"the empty tree", empty, true},
		{"the empty tree of another log", strings.Replace(empty, "guard", "other", 1), false},
		{"an empty tree with another root", strings.Replace(empty, "47DE", "47DF", 1), false},
		{"a tree with an entry", strings.Replace(empty, "\n0\n", "\n1\n", 1), false},
		{"an extension line", empty + "extension\n", false},
		{"another text", "transfer all\n", false},
	} {
		d := newDesk(t)
		signed, err := note.Sign(&note.Note{Text: test.text}, d.guard(t).Genesis(t.Context()))
		if (err == nil) != test.ok {
			t.Errorf("%s: %q, %v", test.name, signed, err)
		}
		if err == nil {
			d.signed(t, signed)
		} else if d.signatures() != 0 {
			t.Errorf("%s: refused, but signed", test.name)
		}
	}

	// An emptied log directory must not be taken for a new log.
	d := newDesk(t)
	mustSign(t, d, d.guard(t), log.tree(t, 3), log.prove)
	signed, err := note.Sign(&note.Note{Text: empty}, d.guard(t).Genesis(t.Context()))
	if !errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("the empty tree after size 3: %q, %v", signed, err)
	}
}

// TestGuardNeverContradictsItself asks for random trees of two branches, with
// faults and restarts between, and from many goroutines. All that was ever
// signed must be trees of one log.
func TestGuardNeverContradictsItself(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	signatures := 0
	for round := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, round))
		common := (&branch{}).grow(t, "a", r.IntN(20))
		branches := []*branch{common.fork().grow(t, "b", 30), common.fork().grow(t, "c", 30)}
		d := newDesk(t)
		var mu sync.Mutex // guards signed
		var signed []tlog.Tree
		for range 20 {
			g := d.guard(t)
			var wg sync.WaitGroup
			for range 4 {
				b := branches[r.IntN(2)]
				tree := b.tree(t, r.Int64N(b.size+1))
				wg.Go(func() {
					if note, err := g.Sign(t.Context(), tree, b.prove); err == nil {
						mu.Lock()
						defer mu.Unlock()
						signed = append(signed, d.signed(t, note))
					}
				})
			}
			wg.Wait()
			d.lost, d.kept, d.mute = nil, nil, nil
			switch fault := errors.New("broken"); r.IntN(6) {
			case 0:
				d.lost = fault
			case 1:
				d.kept = fault
			case 2:
				d.mute = fault
			}
		}
		if !oneLog(t, branches[0], signed) && !oneLog(t, branches[1], signed) {
			t.Fatalf("round %d: signed trees of two logs: %v", round, signed)
		}
		signatures += len(signed)
	}
	if signatures < 100 {
		t.Errorf("only %d trees were signed: the test proves little", signatures)
	}
}

func oneLog(t *testing.T, b *branch, trees []tlog.Tree) bool {
	t.Helper()
	for _, tree := range trees {
		if b.tree(t, tree.N) != tree {
			return false
		}
	}
	return true
}

func openState(t *testing.T, path string) *checkpoint.FileState {
	t.Helper()
	s, err := checkpoint.OpenFileState(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFileState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signed")
	s := openState(t, path)
	want := func(text string) {
		t.Helper()
		if got, err := s.Load(t.Context()); err != nil || string(got) != text || (got == nil) != (text == "") {
			t.Fatalf("Load() = %q, %v, want %q", got, err, text)
		}
	}
	refused := func(old []byte) {
		t.Helper()
		if err := s.Swap(t.Context(), old, []byte("wrong")); !errors.Is(err, checkpoint.ErrRollback) {
			t.Fatalf("Swap of %q: %v, want ErrRollback", old, err)
		}
	}
	want("")
	refused([]byte("never stored"))
	want("")
	for _, step := range []struct{ old, text string }{{"", "one"}, {"one", "two, and longer"}, {"two, and longer", "3"}} {
		refused([]byte("never stored"))
		var old []byte
		if step.old != "" {
			refused(nil)
			old = []byte(step.old)
		}
		if err := s.Swap(t.Context(), old, []byte(step.text)); err != nil {
			t.Fatal(err)
		}
		want(step.text)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openState(t, path)
		want(step.text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the state is %v, %v, want mode 0600", info.Mode(), err)
	}
	// What a crash left half-written is in the way of nothing.
	if err := os.WriteFile(path+".tmp", []byte("half of somethi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Swap(t.Context(), []byte("3"), []byte("four")); err != nil {
		t.Fatal(err)
	}
	want("four")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFileStateKeepsTheOldTextOnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signed")
	s := openState(t, path)
	if err := s.Swap(t.Context(), nil, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Swap(t.Context(), []byte("one"), []byte("two")); err == nil {
		t.Error("Swap reports success")
	}
	if got, err := s.Load(t.Context()); err != nil || string(got) != "one" {
		t.Errorf("Load() = %q, %v, want the old text", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFileStateIsOfOneProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "signed")
	s := openState(t, path)
	for _, same := range []string{path, filepath.Join(dir, ".", "..", filepath.Base(dir), "signed")} {
		second, err := checkpoint.OpenFileState(same)
		if err == nil {
			_ = second.Close()
			t.Fatalf("%s was opened twice", same)
		}
		if !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("the error does not say what is wrong: %v", err)
		}
	}
	other := openState(t, path+"2")
	if err := errors.Join(other.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	again := openState(t, path)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.OpenFileState(filepath.Join(dir, "missing", "signed")); err == nil {
		t.Error("a state in a directory that does not exist was opened")
	}
}
