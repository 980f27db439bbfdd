package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func add(t testing.TB, s *Store, b []byte) string {
	t.Helper()
	if err := s.Add(t.Context(), sumOf(b), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return sumOf(b)
}

// tidy sees that a store holds nothing but files by their hash.
func tidy(t *testing.T, s *Store) {
	t.Helper()
	for _, d := range []string{"partial", "scratch"} {
		list, err := os.ReadDir(filepath.Join(s.dir, d))
		if err != nil || len(list) > 0 {
			t.Errorf("%s holds %v (%v)", d, list, err)
		}
	}
}

func TestStore(t *testing.T) {
	s := openStore(t)
	if s.Has(sumOf(content)) {
		t.Error("an empty store has something")
	}
	sum := add(t, s, content)
	got, err := os.ReadFile(s.Path(sum))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the store has %d bytes (%v)", len(got), err)
	}
	if want := filepath.Join(s.Dir(), "sha256", sum[:2], sum); s.Path(sum) != want {
		t.Errorf("path %s, want %s", s.Path(sum), want)
	}
	if fi, err := os.Stat(s.Path(sum)); err != nil || fi.Mode() != 0o644 || fi.ModTime().Unix() != 1 {
		t.Errorf("mode %v, time %v (%v)", fi.Mode(), fi.ModTime(), err)
	}
	// What is there is not read again.
	if err := s.Add(t.Context(), sum, iotest.ErrReader(errors.New("read"))); err != nil {
		t.Error(err)
	}
	tidy(t, s)
}

func TestStoreTakesNothingElse(t *testing.T) {
	s := openStore(t)
	var wrong *WrongHash
	err := s.Add(t.Context(), sumOf(content), strings.NewReader("other"))
	if !errors.As(err, &wrong) || wrong.Got != sumOf([]byte("other")) || wrong.Size != 5 {
		t.Errorf("Add: %v", err)
	}
	for _, sum := range []string{"", "../../x", strings.ToUpper(sumOf(content)), sumOf(content)[1:]} {
		if err := s.Add(t.Context(), sum, strings.NewReader("")); err == nil || s.Has(sum) {
			t.Errorf("a file is stored by the name %q", sum)
		}
		if rel, err := filepath.Rel(s.dir, s.Path(sum)); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("the path of %q is %s", sum, s.Path(sum))
		}
	}
	if err := s.Add(t.Context(), sumOf(content), iotest.TimeoutReader(bytes.NewReader(content))); err == nil {
		t.Error("a file whose reading failed is stored")
	}
	if s.Has(sumOf(content)) {
		t.Error("the store has what was never given whole")
	}
}

func TestStoreNoticesTouch(t *testing.T) {
	s := openStore(t)
	sum := add(t, s, content)
	path := s.Path(sum)
	for _, touch := range []func() error{
		func() error { return os.Chmod(path, 0o600) },
		func() error { return os.Chtimes(path, time.Now(), time.Now()) },
	} {
		if err := touch(); err != nil {
			t.Fatal(err)
		}
		if !s.Has(sum) {
			t.Error("the store lost a file that is what it was")
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o644 || fi.ModTime().Unix() != 1 {
			t.Errorf("mode %v, time %v (%v) were not set right", fi.Mode(), fi.ModTime(), err)
		}
	}
	if err := os.WriteFile(path, content[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if s.Has(sum) {
		t.Error("the store has a file that was written to")
	}
	add(t, s, content)
	if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
		t.Error("the damaged file was not replaced")
	}
	copied := filepath.Join(t.TempDir(), "copy")
	writeFile(t, copied, content)
	if err := errors.Join(os.Remove(path), os.Symlink(copied, path)); err != nil {
		t.Fatal(err)
	}
	if s.Has(sum) {
		t.Error("the store has a link")
	}
}

func TestStoreCheck(t *testing.T) {
	s := openStore(t)
	if r, err := s.Check(t.Context()); err != nil || r.Files != 0 {
		t.Errorf("an empty store: %v, %v", r, err)
	}
	good, bad := add(t, s, content), add(t, s, []byte("to be damaged"))
	if r, err := s.Check(t.Context()); err != nil || r.Files != 2 || r.Bytes != int64(len(content)+13) || r.Damage != nil {
		t.Errorf("a good store: %v, %v", r, err)
	}
	// The disk, not a process: the time is as it was.
	if err := errors.Join(os.WriteFile(s.Path(bad), []byte("damaged"), 0o644), seal(s.Path(bad))); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(s.dir, "sha256", "stray")
	misplaced := filepath.Join(s.dir, "sha256", good[:2], sumOf(nil))
	for _, path := range []string{stray, misplaced} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range r.Damage {
		got = append(got, d.String())
	}
	text := strings.Join(got, "\n")
	if r.Files != 4 || len(got) != 3 || !strings.Contains(text, s.Path(bad)+": content has sha256 "+sumOf([]byte("damaged"))) ||
		!strings.Contains(text, stray+": is not named by a hash") || !strings.Contains(text, misplaced+": is not named by a hash") {
		t.Errorf("%d files, damage:\n%s", r.Files, text)
	}
	if s.Has(bad) {
		t.Error("the store still has what Check found damaged")
	}
	if _, err := os.Stat(s.Path(bad)); err != nil {
		t.Errorf("Check removed something: %v", err)
	}
}

// fullDisk writes no more than the first n bytes.
func fullDisk(n int) func(*os.File, []byte) (int, error) {
	return func(f *os.File, p []byte) (int, error) {
		if len(p) <= n {
			n -= len(p)
			return f.Write(p)
		}
		written, err := f.Write(p[:n])
		n = 0
		return written, errors.Join(err, syscall.ENOSPC)
	}
}

func TestStoreOnFullDisk(t *testing.T) {
	s := openStore(t)
	s.write = fullDisk(1000)
	err := s.Add(t.Context(), sumOf(content), bytes.NewReader(content))
	if !errors.Is(err, syscall.ENOSPC) || s.Has(sumOf(content)) {
		t.Fatalf("Add: %v; stored: %v", err, s.Has(sumOf(content)))
	}
	s.write = (*os.File).Write
	add(t, s, content)
	tidy(t, s)
}

// As many processes would: each has a store of its own on one directory.
func TestStoreConcurrently(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 20 {
				b := fmt.Appendf(nil, "content %d", i)
				if err := s.Add(t.Context(), sumOf(b), bytes.NewReader(b)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Check(t.Context()); err != nil || r.Files != 20 || r.Damage != nil {
		t.Errorf("%v, %v", r, err)
	}
	tidy(t, s)
}

// Who waits for another's download gets its result, or gives up with its context.
func TestStoreWaits(t *testing.T) {
	s := openStore(t)
	first, err := s.partial(t.Context(), sumOf(content))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Add(ctx, sumOf(content), bytes.NewReader(content)); !errors.Is(err, context.Canceled) {
		t.Errorf("Add: %v", err)
	}
	second := make(chan error)
	go func() { second <- s.Add(t.Context(), sumOf(content), iotest.ErrReader(errors.New("read twice"))) }()
	_, err = first.Write(content)
	if err := errors.Join(err, first.commit()); err != nil {
		t.Fatal(err)
	}
	first.close()
	if err := <-second; err != nil {
		t.Error(err)
	}
	tidy(t, s)
}

// Who waits for one that gives up starts anew, in a file of the name.
func TestStoreWaitsForNothing(t *testing.T) {
	s := openStore(t)
	first, err := s.partial(t.Context(), sumOf(content))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "partial", sumOf(content))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		// It has opened the file before it waits for its lock.
		current, err := lockFile(t.Context(), f)
		if current {
			err = errors.Join(err, errors.New("a file without a name is taken for that of the name"))
		}
		second <- errors.Join(err, f.Close())
	}()
	first.close()
	if err := <-second; err != nil {
		t.Error(err)
	}
	add(t, s, content)
	tidy(t, s)
}

// A partial file is never followed elsewhere.
func TestPartialIsNoLink(t *testing.T) {
	s := openStore(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(other, filepath.Join(s.dir, "partial", sumOf(content))); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), sumOf(content), bytes.NewReader(content)); err == nil {
		t.Error("written through a link")
	}
}

func TestOpenSweeps(t *testing.T) {
	s := openStore(t)
	sum := add(t, s, content)
	left := []string{filepath.Join(s.dir, "partial", sumOf(nil)), filepath.Join(s.dir, "scratch", "git-1", "file")}
	for _, path := range left {
		writeFile(t, path, content)
		// As of one that is about to be stored.
		if err := os.Chtimes(path, epoch, epoch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(s.dir); err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("what is in use was removed: %v", err)
		}
	}
	if err := s.sweep(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	tidy(t, s)
	if !s.Has(sum) {
		t.Error("a file of the store was removed")
	}
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil {
		t.Error("a file was opened as a store")
	}
}

func BenchmarkAdd(b *testing.B) {
	s := openStore(b)
	data := bytes.Repeat(content, 100)
	sum := sumOf(data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := s.Add(b.Context(), sum, onlyReader{bytes.NewReader(data)}); err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(s.Path(sum)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	s := openStore(b)
	var size int64
	for i := range 10 {
		data := append(bytes.Repeat(content, 10), byte(i))
		add(b, s, data)
		size += int64(len(data))
	}
	b.SetBytes(size)
	for b.Loop() {
		if r, err := s.Check(b.Context()); err != nil || r.Files != 10 {
			b.Fatal(r, err)
		}
	}
}
