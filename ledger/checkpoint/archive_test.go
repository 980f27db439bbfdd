package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aNote is a well-formed note; nobody's signature is on it.
func aNote(i int) []byte {
	return fmt.Appendf(nil, "log.example\n%d\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log.example AAAAAAAA\n", i)
}

func openArchive(t *testing.T, dir string) *Archive {
	t.Helper()
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func add(t *testing.T, a *Archive, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := a.Add(t.Context(), aNote(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// archived returns what all segments hold, read as others read them.
func archived(t *testing.T, a *Archive) (notes []string, perSegment []int) {
	t.Helper()
	for n := uint64(0); ; n++ {
		f, err := a.Segment(t.Context(), n)
		if errors.Is(err, fs.ErrNotExist) {
			return notes, perSegment
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		count := 0
		for len(data) > 0 {
			var signed []byte
			if signed, data, err = ReadArchived(data); err != nil {
				t.Fatal(err)
			}
			notes = append(notes, string(signed))
			count++
		}
		perSegment = append(perSegment, count)
	}
}

func want(from, to int) []string {
	var notes []string
	for i := from; i < to; i++ {
		notes = append(notes, string(aNote(i)))
	}
	return notes
}

func TestArchiveKeepsEveryNoteInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	a := openArchive(t, dir)
	a.sync = func(*os.File) error { return nil } // thousands of them
	if _, err := a.Segment(t.Context(), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new archive has a segment: %v", err)
	}
	add(t, a, 0, 1000)
	a = openArchive(t, dir)
	a.sync = func(*os.File) error { return nil }
	add(t, a, 1000, 2*SegmentNotes+3)
	notes, segments := archived(t, openArchive(t, dir))
	if diff := cmp.Diff(want(0, 2*SegmentNotes+3), notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{SegmentNotes, SegmentNotes, 3}, segments); diff != "" {
		t.Error(diff)
	}
}

func TestArchiveEnsuresOnce(t *testing.T) {
	dir := t.TempDir()
	a := openArchive(t, dir)
	for range 2 {
		for _, i := range []int{1, 2, 1} {
			if err := a.Ensure(t.Context(), aNote(i)); err != nil {
				t.Fatal(err)
			}
		}
		a = openArchive(t, dir)
	}
	if notes, _ := archived(t, a); len(notes) != 2 {
		t.Errorf("archived %d notes, want 2", len(notes))
	}
}

// A crash may leave any prefix of the last note, or zeros in place of what was
// not written back.
func TestArchiveCutsATornEnd(t *testing.T) {
	whole := AppendArchived(nil, aNote(2))
	torn := map[string][]byte{"zeros": make([]byte, 100)}
	for n := range len(whole) {
		torn[fmt.Sprintf("%d bytes of the last note", n)] = whole[:n]
		torn[fmt.Sprintf("%d bytes of the last note and zeros", n)] = append(bytes.Clone(whole[:n]), make([]byte, len(whole)-n)...)
		torn[fmt.Sprintf("zeros, and the last note from byte %d", n+1)] = append(make([]byte, n+1), whole[n+1:]...)
	}
	for name, tail := range torn {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := openArchive(t, dir)
			add(t, a, 0, 2)
			before := a.size
			if _, err := a.last.Write(tail); err != nil {
				t.Fatal(err)
			}
			a = openArchive(t, dir)
			if a.size != before {
				t.Errorf("%d bytes are left, want %d", a.size, before)
			}
			add(t, a, 2, 3)
			if notes, _ := archived(t, a); !cmp.Equal(notes, want(0, 3)) {
				t.Errorf("archived %q", notes)
			}
		})
	}
}

func TestArchiveRefusesDamageAndRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	a := openArchive(t, dir)
	add(t, a, 0, 3)
	path := filepath.Join(dir, SegmentName(0))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenArchive(dir); err == nil || !strings.Contains(err.Error(), "byte 0") {
		t.Errorf("OpenArchive() = %v, want the damaged byte", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, data) {
		t.Error("the damaged segment was changed")
	}
}

// After a failure, the archive says what is durable, and adds nothing more.
func TestArchiveStopsAtTheFirstFailure(t *testing.T) {
	broken := errors.New("no space")
	for name, breakIt := range map[string]func(a *Archive){
		"write": func(a *Archive) {
			a.write = func(f *os.File, b []byte) (int, error) {
				n, _ := f.Write(b[:len(b)/2])
				return n, broken
			}
		},
		"sync": func(a *Archive) { a.sync = func(*os.File) error { return broken } },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := openArchive(t, dir)
			add(t, a, 0, 2)
			breakIt(a)
			if err := a.Add(t.Context(), aNote(2)); !errors.Is(err, broken) {
				t.Fatalf("Add() = %v, want %v", err, broken)
			}
			a.write, a.sync = (*os.File).Write, (*os.File).Sync
			if err := a.Add(t.Context(), aNote(3)); !errors.Is(err, broken) {
				t.Errorf("Add() after a failure = %v, want %v", err, broken)
			}
			if notes, _ := archived(t, a); !cmp.Equal(notes, want(0, 2)) {
				t.Errorf("shows %d notes, want what is durable", len(notes))
			}
			a = openArchive(t, dir)
			if err := a.Ensure(t.Context(), aNote(2)); err != nil {
				t.Fatal(err)
			}
			if notes, _ := archived(t, a); !cmp.Equal(notes, want(0, 3)) {
				t.Errorf("after a restart %d notes", len(notes))
			}
		})
	}
}

func TestArchiveRefusesWhatIsNoNote(t *testing.T) {
	for name, signed := range map[string][]byte{
		"empty":     nil,
		"unsigned":  []byte("log.example\n0\nAAAA\n"),
		"too large": append(bytes.Repeat([]byte("x\n"), MaxNote/2), aNote(1)...),
	} {
		if err := openArchive(t, t.TempDir()).Add(t.Context(), signed); err == nil {
			t.Errorf("%s: was archived", name)
		}
	}
}

// What is read has one encoding, and nothing panics.
func FuzzReadArchived(f *testing.F) {
	f.Add(AppendArchived(nil, aNote(1)))
	f.Add([]byte("1\nx"))
	f.Add([]byte("0195\n"))
	f.Add([]byte("65536"))
	f.Fuzz(func(t *testing.T, data []byte) {
		signed, rest, err := ReadArchived(data)
		if err != nil {
			return
		}
		if got := append(AppendArchived(nil, signed), rest...); !bytes.Equal(got, data) {
			t.Errorf("%q is written as %q", data, got)
		}
	})
}

// BenchmarkArchiveAdd is what archiving adds to a publication: one write and one
// fsync.
func BenchmarkArchiveAdd(b *testing.B) {
	a, err := OpenArchive(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	for i := 0; b.Loop(); i++ {
		if err := a.Add(b.Context(), aNote(i)); err != nil {
			b.Fatal(err)
		}
	}
}
