package source

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestImportFiles(t *testing.T) {
	dir := t.TempDir()
	second, third := []byte("second"), []byte("third")
	writeFile(t, filepath.Join(dir, "a", "called otherwise"), content)
	writeFile(t, filepath.Join(dir, "second.tar.gz"), second)
	writeFile(t, filepath.Join(dir, "a", "second.tar.gz"), []byte("not it"))
	outside := filepath.Join(t.TempDir(), "third")
	writeFile(t, outside, third)
	for to, from := range map[string]string{"link": outside, "loop": dir, "broken": "nothing"} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	two := want(second, "https://example.org/second.tar.gz")
	two.Name = "second"
	three := want(third)
	three.Name = "third"
	absent := want([]byte("absent"))
	store := openStore(t)
	f := &Fetcher{Store: store}
	kept := 0
	got, err := f.Import(t.Context(), []Wanted{want(content), two, absent, three, two}, []string{dir}, func(p Progress) {
		if p.Kept && p.Done > 0 && p.Done == p.Total {
			kept++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, found := range got.Found {
		lines = append(lines, found.Name+" "+strings.TrimPrefix(found.From, dir))
		if !store.Has(found.SHA256) {
			t.Errorf("%s is not in the store", found.Name)
		}
	}
	if want := "test /a/called otherwise,second /second.tar.gz,third /link"; strings.Join(lines, ",") != want {
		t.Errorf("found %q, want %q", lines, want)
	}
	if kept != 3 || len(got.Unread) != 0 {
		t.Errorf("progress of %d, unread %v", kept, got.Unread)
	}
	tidy(t, store)
}

func TestImportFails(t *testing.T) {
	store := openStore(t)
	f := &Fetcher{Store: store, MaxSize: 10}
	if _, err := f.Import(t.Context(), []Wanted{want(content)}, []string{filepath.Join(t.TempDir(), "none")}, nil); err == nil {
		t.Error("a directory that is not there is no error")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "large"), content)
	got, err := f.Import(t.Context(), []Wanted{want(content)}, []string{dir}, nil)
	if err != nil || len(got.Found) != 0 {
		t.Errorf("above the limit: %+v, %v", got, err)
	}
}

func TestImportCommits(t *testing.T) {
	u := newUpstream(t, prose())
	tarball := u.forge(t, "Thing-"+u.commit+"/")
	tagged := u.forge(t, "Thing-1.0/")
	byGit := git(t, u.dir, "-c", "tar.tar.gz.command=git archive gzip", "archive", "--format=tar.gz", "--prefix=thing/", "HEAD")
	if bytes.Equal(byGit, u.forge(t, "thing/")) {
		t.Fatal("git and gzip compress alike: nothing shows that both are tried")
	}
	wanted := []Wanted{
		want(tarball, "https://github.com/o/Thing/archive/"+u.commit+".tar.gz"),
		want(tagged, "https://github.com/o/Thing/archive/refs/tags/v1.0.tar.gz"),
		want(byGit, "https://codeberg.org/o/Thing/archive/"+u.commit+".tar.gz"),
	}
	bare := filepath.Join(t.TempDir(), "any name")
	git(t, u.dir, "clone", "-q", "--bare", u.dir, bare)
	packed := filepath.Join(t.TempDir(), "packed")
	git(t, u.dir, "clone", "-q", "--bare", u.dir, packed)
	git(t, packed, "pack-refs", "--all")
	if err := os.Remove(filepath.Join(packed, "config")); err != nil {
		t.Fatal(err)
	}
	worktree := filepath.Join(t.TempDir(), "worktree")
	git(t, u.dir, "worktree", "add", "-q", "--detach", worktree)
	for name, dir := range map[string]string{
		"a repository": u.dir, "one below": filepath.Dir(u.dir), "a bare one": bare,
		"one with packed references and no configuration": packed, "a work tree of another": worktree,
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t)
			got, err := (&Fetcher{Store: store}).Import(t.Context(), wanted, []string{dir}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Found) != len(wanted) {
				t.Errorf("found %d of %d", len(got.Found), len(wanted))
			}
			for _, found := range got.Found {
				if !strings.Contains(found.From, "commit ") && !strings.Contains(found.From, u.commit) {
					t.Errorf("found in %q", found.From)
				}
			}
			tidy(t, store)
		})
	}
}

// A repository that lacks the commit, or has another, gives nothing.
func TestImportOtherCommits(t *testing.T) {
	u, other := newUpstream(t, "text"), newUpstream(t, "other text")
	store := openStore(t)
	w := want(u.forge(t, "Thing-1.0/"), "https://github.com/o/Thing/archive/refs/tags/v1.0.tar.gz",
		"https://github.com/o/Thing/archive/"+u.commit+".tar.gz")
	got, err := (&Fetcher{Store: store}).Import(t.Context(), []Wanted{w}, []string{other.dir}, nil)
	if err != nil || len(got.Found) != 0 {
		t.Errorf("found %+v, %v", got, err)
	}
	got, err = (&Fetcher{Store: store}).Import(t.Context(), []Wanted{w}, []string{other.dir, u.dir}, nil)
	if err != nil || len(got.Found) != 1 {
		t.Errorf("found %+v, %v", got, err)
	}
	tidy(t, store)
}

func TestImportSubmodules(t *testing.T) {
	u, super := newUpstream(t, "text"), newUpstream(t, "super")
	git(t, super.dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", u.dir, "sub")
	w := want(u.forge(t, "Thing-"+u.commit+"/"), "https://github.com/o/Thing/archive/"+u.commit+".tar.gz")
	for _, dir := range []string{super.dir, filepath.Join(super.dir, "sub"), filepath.Join(super.dir, ".git")} {
		got, err := (&Fetcher{Store: openStore(t)}).Import(t.Context(), []Wanted{w}, []string{dir}, nil)
		if err != nil || len(got.Found) != 1 {
			t.Errorf("%s: found %+v, %v", dir, got, err)
		}
	}
}

// SHA-256 repositories cannot stand beside the others; they must not spoil them.
func TestImportBesideSHA256(t *testing.T) {
	u := newUpstream(t, "text")
	dir := t.TempDir()
	git(t, dir, "init", "-q", "--bare", "--object-format=sha256", "other")
	w := want(u.forge(t, "Thing-"+u.commit+"/"), "https://github.com/o/Thing/archive/"+u.commit+".tar.gz")
	got, err := (&Fetcher{Store: openStore(t)}).Import(t.Context(), []Wanted{w}, []string{dir, u.dir}, nil)
	if err != nil || len(got.Found) != 1 {
		t.Errorf("found %+v, %v", got, err)
	}
}

func BenchmarkImport(b *testing.B) {
	dir := b.TempDir()
	for i := range 20 {
		writeFile(b, filepath.Join(dir, string(rune('a'+i))), append(bytes.Repeat(content, 5), byte(i)))
	}
	b.SetBytes(int64(20 * (5*len(content) + 1)))
	f := &Fetcher{Store: openStore(b)}
	for b.Loop() {
		if _, err := f.Import(b.Context(), []Wanted{want([]byte("absent"))}, []string{dir}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
