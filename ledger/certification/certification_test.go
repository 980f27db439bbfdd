package certification

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

var update = flag.Bool("update", false, "write the golden files")

func TestDir(t *testing.T) {
	long := "pkg:generic/" + strings.Repeat("é", 100)
	for name, want := range map[string]string{
		"pkg:deb/debian/hello@2.10-3?arch=amd64": "pkg~3adeb~2fdebian~2fhello~402.10-3~3farch~3damd64",
		"pkg:npm/%40angular/core@1":              "pkg~3anpm~2f~2540angular~2fcore~401",
		"pkg:maven/Org/A@1":                      "pkg~3amaven~2f~4frg~2f~41~401",
		"pkg:generic/a@1.":                       "pkg~3ageneric~2fa~401~2e",
		"pkg:generic/../../etc@1":                "pkg~3ageneric~2f..~2f..~2fetc~401",
		long:                                     "pkg~3ageneric~2f" + strings.Repeat("~c3~a9", 10) + "~~" + leaf.NameHash(long).Hex(),
	} {
		if got := Dir(name); got != want {
			t.Errorf("%q is in %q, want %q", name, got, want)
		}
		if len(Dir(name)) > maxDir {
			t.Errorf("%q has %d bytes", Dir(name), len(Dir(name)))
		}
	}
}

func TestParseDirTakesWhatDirWrites(t *testing.T) {
	const hello = "pkg:deb/debian/hello@2.10-3?arch=amd64"
	long := "pkg:generic/" + strings.Repeat("a", 200) + "@1"
	if hash, name, ok := ParseDir(Dir(hello)); !ok || name != hello || hash != leaf.NameHash(hello) {
		t.Errorf("%q %q %v", hash, name, ok)
	}
	if hash, name, ok := ParseDir(Dir(long)); !ok || name != "" || hash != leaf.NameHash(long) {
		t.Errorf("%q %q %v", hash, name, ok)
	}
	for what, dir := range map[string]string{
		"a name that is not canonical":   Dir("pkg:deb/Debian/hello@2.10-3"),
		"no name of a package":           Dir("hello"),
		"capitals":                       strings.ToUpper(Dir(hello)),
		"a capital in an escape":         strings.Replace(Dir(hello), "~3a", "~3A", 1),
		"an escape that is not needed":   strings.Replace(Dir(hello), "hello", "h~65llo", 1),
		"an escape that is cut":          "pkg~3",
		"a dot at the end":               "pkg~3ageneric~2fa~401.",
		"another's hash, cut":            "pkg~~" + strings.Repeat("0", 63),
		"a hash in capitals":             "pkg~~" + strings.Repeat("A", 64),
		"more than a name of a file has": "pkg~3ageneric~2f" + strings.Repeat("a", 200),
		"a directory":                    "..",
		"nothing":                        "",
	} {
		if hash, _, ok := ParseDir(dir); ok {
			t.Errorf("%s: %q is taken for %s", what, dir, hash)
		}
	}
}

func FuzzDir(f *testing.F) {
	f.Add("pkg:deb/debian/hello@2.10-3?arch=amd64")
	f.Add("pkg~3adeb~2fdebian~2fhello~402.10-3")
	f.Add("pkg~~" + strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, s string) {
		dir := Dir(s)
		if len(dir) > maxDir || strings.ContainsFunc(dir, func(r rune) bool { return r > 127 || !isPlain(byte(r)) && r != '~' }) || strings.HasSuffix(dir, ".") {
			t.Fatalf("%q is in %q", s, dir)
		}
		if name, err := attest.LookupName(s); err == nil {
			if hash, _, ok := ParseDir(Dir(name)); !ok || hash != leaf.NameHash(name) {
				t.Fatalf("%q is in %q, which is %s, %v", name, Dir(name), hash, ok)
			}
		}
		if _, name, ok := ParseDir(s); ok && name != "" && Dir(name) != s {
			t.Fatalf("%q is taken for %q, which is in %q", s, name, Dir(name))
		}
		if r, err := ParseRequest(s, ""); err == nil {
			if hash, _, ok := ParseDir(r.Dir); !ok || hash != r.Hash {
				t.Fatalf("the request for %q is answered as %q", s, r.Dir)
			}
		}
	})
}

func TestFileNames(t *testing.T) {
	sum := strings.Repeat("0123456789abcdef", 4)
	for name, want := range map[string]File{
		sum + ".dsse.json":                 {leaf.Digest("sha256:" + sum), "dsse"},
		sum + ".sigstore-certificate.json": {leaf.Digest("sha256:" + sum), "sigstore-certificate"},
		sum + ".buildinfo":                 {leaf.Digest("sha256:" + sum), "buildinfo"},
		sum + ".sigstore.json":             {leaf.Digest("sha256:" + sum), "sigstore"},
		sum + ".simple-signing":            {leaf.Digest("sha256:" + sum), "simple-signing"},
	} {
		for _, proof := range []bool{false, true} {
			full := name
			if proof {
				full += ProofSuffix
			}
			if got, isProof, ok := ParseFile(full); !ok || isProof != proof || got != want || got.Name() != name {
				t.Errorf("%s: %v %v %v", full, got, isProof, ok)
			}
		}
	}
	for _, name := range []string{"", sum, sum + ".", sum + ".dsse", sum + ".buildinfo.json", sum[1:] + ".dsse.json",
		strings.ToUpper(sum) + ".dsse.json", sum + ".dsse.json.tlog-proof.tlog-proof", "index.json"} {
		if f, _, ok := ParseFile(name); ok {
			t.Errorf("%q is taken for %v", name, f)
		}
	}
	for name, want := range map[string]uint64{"index.json": 0, "from-7.json": 7, "from-4611686018427387903.json": 1<<62 - 1} {
		if got, ok := ParsePage(name); !ok || got != want {
			t.Errorf("%s: %d %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "index", "from-.json", "from-07.json", "from--7.json", "from-7", "from-4611686018427387904.json"} {
		if from, ok := ParsePage(name); ok {
			t.Errorf("%q is taken for the page from %d", name, from)
		}
	}
}

// entries returns n entries of a list.
func entries(n int) []Entry {
	list := make([]Entry, n)
	for i := range list {
		list[i] = Entry{Index: uint64(2*i + 1), File: File{leaf.SHA256([]byte{byte(i), byte(i >> 8)}), "buildinfo"}, Claim: leaf.ClaimBuild, Result: leaf.NoResult}
	}
	return list
}

func TestListIsAsItAlwaysWas(t *testing.T) {
	const dir = "pkg~3adeb~2fdebian~2fhello~402.10-3"
	list := entries(2)
	list[1].Format, list[1].Claim, list[1].Result = "dsse", leaf.ClaimReproduction, leaf.Different
	p := &Page{Entries: list, Next: 9}
	got, err := p.Marshal(dir)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "list.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	again, err := UnmarshalPage(dir, got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, again); diff != "" {
		t.Error(diff)
	}
	for what, text := range map[string]string{
		"of another directory": strings.ReplaceAll(string(got), "hello", "hallo"),
		"with a member more":   strings.Replace(string(got), `"type"`, `"more":1,"type"`, 1),
		"with no digest":       strings.Replace(string(got), `"sha256":"`, `"sha256":"x`, 1),
		"out of order":         strings.Replace(string(got), `"index":3`, `"index":1`, 1),
		"with a space":         string(got) + " ",
		"cut":                  string(got[:len(got)-3]),
		"another thing":        "{}",
	} {
		if _, err := UnmarshalPage(dir, []byte(text)); err == nil {
			t.Errorf("a list %s is read", what)
		}
	}
}

func TestPages(t *testing.T) {
	for n, want := range map[int][]string{
		0: {"index.json"}, PageSize: {"index.json"}, PageSize + 1: {"index.json", "from-2001.json"},
		2*PageSize + 1: {"index.json", "from-2001.json", "from-4001.json"},
	} {
		names, pages := Pages(entries(n))
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%d entries: %s", n, diff)
		}
		total := 0
		for i := range pages {
			total += len(pages[i].Entries)
			next := ""
			if i+1 < len(names) {
				next = names[i+1]
			}
			if pages[i].NextPage() != next {
				t.Errorf("%d entries: %s is followed by %q", n, names[i], pages[i].NextPage())
			}
			if text, err := pages[i].Marshal(Dir("pkg:generic/" + strings.Repeat("é", 400))); err != nil || len(text) > MaxPage {
				t.Errorf("%s has %d bytes, %v", names[i], len(text), err)
			}
		}
		if total != n {
			t.Errorf("of %d entries, %d are listed", n, total)
		}
	}
}

func FuzzUnmarshalPage(f *testing.F) {
	const dir = "pkg~3ageneric~2fa"
	p := &Page{Entries: entries(3), Next: 12}
	text, err := p.Marshal(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := UnmarshalPage(dir, text)
		if err != nil {
			return
		}
		if again, err := p.Marshal(dir); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%s is read as %v (%v)", text, p, err)
		}
	})
}
