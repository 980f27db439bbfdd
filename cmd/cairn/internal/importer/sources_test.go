package importer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex/stagextest"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

const sums = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  bitcoin-30.0.tar.gz\n"

// write writes files below a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rows says of each item in a line what it is, with the keys that came before it.
func rows(t *testing.T, all []importer.Item) []string {
	t.Helper()
	var rows []string
	var keys []*attest.PublicKey
	for _, item := range all {
		row := fmt.Sprintf("%s [%s] ", item.Name, item.Group)
		att, err := attest.Open(item.Raw, attest.NewKeyring(keys...))
		switch refusal, ok := reason.Of(err); {
		case item.Err != nil:
			row += "error: " + item.Err.Error()
		case ok:
			row += string(refusal.Reason)
		case att.Enrolment != nil:
			keys = append(keys, att.Enrolment.Key)
			row += "key"
			if !item.First {
				row += ", too late"
			}
		default:
			row += att.Claim.Format
		}
		rows = append(rows, row)
	}
	return rows
}

func TestGuixSigs(t *testing.T) {
	alice, bob, carol := stagextest.New(t, 1, 0), stagextest.New(t, 2, 0), stagextest.New(t, 3, 0)
	both := append(alice.Detach(t, []byte(sums), stagextest.Made, true), bob.Detach(t, []byte(sums), stagextest.Made, true)...)
	dir := write(t, map[string]string{
		"builder-keys/alice.gpg":                  string(alice.Public(t)),
		"builder-keys/dave.gpg":                   "no key\n",
		"30.0/alice/noncodesigned.SHA256SUMS":     sums,
		"30.0/alice/noncodesigned.SHA256SUMS.asc": string(alice.Detach(t, []byte(sums), stagextest.Made, true)),
		"30.0/alice/all.SHA256SUMS":               sums,
		"30.0/alice/all.SHA256SUMS.asc":           string(both),
		"30.0/bob/all.SHA256SUMS":                 sums,
		"30.0/carol/all.SHA256SUMS":               strings.ToUpper(sums),
		"30.0/carol/all.SHA256SUMS.asc":           string(carol.Detach(t, []byte(sums), stagextest.Made, false)),
		"README.md":                               "Hello\n",
	})
	tree, err := importer.OpenTree(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	got := rows(t, items(t, &importer.GuixSigs{Name: dir, Tree: tree}, none))
	for i := range got {
		if head, _, ok := strings.Cut(got[i], "] error: builder-keys/dave.gpg"); ok {
			got[i] = head + "] error"
		}
	}
	want := []string{
		"builder-keys/alice.gpg [keys] key",
		"builder-keys/dave.gpg [keys] error",
		"30.0/alice/all.SHA256SUMS.asc#1 [alice] sha256sums",
		"30.0/alice/all.SHA256SUMS.asc#2 [alice] KEY_NOT_ENROLLED",
		"30.0/alice/noncodesigned.SHA256SUMS.asc [alice] sha256sums",
		"30.0/bob/all.SHA256SUMS.asc [bob] error: there is no signature of 30.0/bob/all.SHA256SUMS beside it",
		"30.0/carol/all.SHA256SUMS.asc [carol] KEY_NOT_ENROLLED",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	for range (&importer.GuixSigs{Name: dir, Tree: tree}).Items(t.Context(), none) {
		break // a source may be left early
	}
}

func TestFiles(t *testing.T) {
	alice := stagextest.New(t, 1, 0)
	signature := string(alice.Detach(t, []byte(sums), stagextest.Made, true))
	dir := write(t, map[string]string{"a.sums": sums, "a.sums.asc": signature, "sub/b.sums": sums, "sub/c.txt": "no\n", "lines.jsonl": "{}\n\n{\"a\":1}\n", "empty.jsonl": ""})
	var keys importer.Keys
	if err := keys.AddKeyring("alice.asc", alice.Public(t)); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	src := &importer.Files{Kind: "sums", Args: []string{dir, server.URL + "/sub/b.sums", server.URL + "/absent"}, Suffixes: []string{".sums"}, Keys: keys, Web: testWeb(server.Client())}
	got := rows(t, items(t, src, none))
	want := []string{
		"alice.asc [keys] key",
		dir + "/a.sums.asc [] sha256sums",
		dir + "/sub/b.sums [] FORMAT_UNKNOWN",
		server.URL + "/sub/b.sums [] FORMAT_UNKNOWN",
		server.URL + "/absent [] error: getting " + server.URL + "/absent: file does not exist",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	lines := &importer.Files{Kind: "lines", Args: []string{dir + "/lines.jsonl", dir + "/empty.jsonl", server.URL + "/lines.jsonl"}, Lines: true, Web: testWeb(server.Client())}
	var names []string
	for _, item := range items(t, lines, none) {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(item.Name, dir), server.URL)+" "+string(item.Raw))
	}
	want = []string{"/lines.jsonl#1 {}", `/lines.jsonl#2 {"a":1}`, "/empty.jsonl ", "/lines.jsonl#1 {}", `/lines.jsonl#2 {"a":1}`}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestTreesAreAlike reads a directory, and a git repository and a bare one of the
// same files.
func TestTreesAreAlike(t *testing.T) {
	dir := write(t, map[string]string{"a.txt": "a\n", "sub/b": strings.Repeat("b", 1000), "sub/sub/c": "", "with space@sha256=1": "x"})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	bare := filepath.Join(t.TempDir(), "bare.git")
	git("clone", "-q", "--bare", dir, bare)
	for _, tc := range []struct{ path, commit string }{{dir, ""}, {dir, "main"}, {bare, ""}, {bare, "HEAD"}} {
		tree, err := importer.OpenTree(t.Context(), tc.path, tc.commit)
		if err != nil {
			t.Fatalf("%v: %v", tc, err)
		}
		checkTree(t, tree)
		if err := tree.Close(); err != nil {
			t.Errorf("closing %v: %v", tc, err)
		}
	}
	for _, bad := range []struct{ path, commit string }{{filepath.Join(dir, "absent"), ""}, {dir, "nothing"}, {dir, "--help"}, {filepath.Join(dir, "sub"), "main"}} {
		if tree, err := importer.OpenTree(t.Context(), bad.path, bad.commit); err == nil {
			_ = tree.Close()
			t.Errorf("%v opens", bad)
		}
	}
}

func checkTree(t *testing.T, tree importer.Tree) {
	t.Helper()
	ctx := t.Context()
	all, err := tree.List(ctx, ".")
	if diff := cmp.Diff([]string{"a.txt", "sub/b", "sub/sub/c", "with space@sha256=1"}, all); diff != "" || err != nil {
		t.Errorf("files (-want +got):\n%s%v", diff, err)
	}
	sub, err := tree.List(ctx, "sub")
	if diff := cmp.Diff([]string{"sub/b", "sub/sub/c"}, sub); diff != "" || err != nil {
		t.Errorf("below sub (-want +got):\n%s%v", diff, err)
	}
	if paths, err := tree.List(ctx, "absent"); len(paths) > 0 || err != nil {
		t.Errorf("below what is not there: %v, %v", paths, err)
	}
	if _, err := tree.Read(ctx, "sub/b", 999); !errors.Is(err, importer.ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
	// What is over the limit does not spoil what is read after it.
	for path, want := range map[string]string{"sub/b": strings.Repeat("b", 1000), "sub/sub/c": "", "a.txt": "a\n"} {
		if b, err := tree.Read(ctx, path, 1000); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v", path, b, err)
		}
	}
	if _, err := tree.Read(ctx, "absent", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if b, err := tree.Read(ctx, "link", 1<<20); err == nil {
		t.Errorf("a link leads out of the tree, to %q", b)
	}
}

// badJoins are documents and signatures that cannot be joined.
var badJoins = []struct {
	name, document, signature string
	want                      reason.Reason
}{
	{"no newline at the end", "a", "", reason.EnvelopeMalformed},
	{"a signature in the document", "a\n-----BEGIN PGP SIGNATURE-----\n", "", reason.EnvelopeMalformed},
	{"no signature", "a\n", "", reason.SignatureMissing},
	{"no packets", "a\n", "hello", reason.EnvelopeMalformed},
	{"another packet", "a\n", "\xb4\x01b", reason.EnvelopeMalformed},
}

func TestBadJoins(t *testing.T) {
	for _, tc := range badJoins {
		_, err := importer.Join([]byte(tc.document), []byte(tc.signature))
		if e, ok := reason.Of(err); !ok || e.Reason != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestJoinedSignaturesVerify(t *testing.T) {
	alice, bob := stagextest.New(t, 1, 0), stagextest.New(t, 2, 0)
	a, b := alice.Detach(t, []byte(sums), stagextest.Made, false), bob.Detach(t, []byte(sums), stagextest.Made, false)
	key := func(s *stagextest.Signer) *attest.PublicKey {
		k, err := attest.ParsePublicKey(s.Public(t))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ring := attest.NewKeyring(key(alice), key(bob))
	joined, err := importer.Join([]byte(sums), append(bytes.Clone(a), b...))
	if err != nil {
		t.Fatal(err)
	}
	if att, err := attest.Open(joined, ring); err != nil || len(att.Keys) != 2 {
		t.Errorf("joined: %v, %v", att, err)
	}
	again, err := importer.Join([]byte(sums), append(bytes.Clone(a), b...))
	if err != nil || !bytes.Equal(again, joined) {
		t.Errorf("joined again, the bytes differ: %v", err)
	}
	each, err := importer.JoinEach([]byte(sums), append(bytes.Clone(a), b...))
	if err != nil || len(each) != 2 {
		t.Fatalf("%d attestations, %v", len(each), err)
	}
	for i, raw := range each {
		if att, err := attest.Open(raw, ring); err != nil || len(att.Keys) != 1 {
			t.Errorf("attestation %d: %v, %v", i, att, err)
		}
	}
}

func FuzzJoin(f *testing.F) {
	s := stagextest.New(f, 1, 0)
	f.Add([]byte(sums), s.Detach(f, []byte(sums), stagextest.Made, false))
	f.Add([]byte(sums), s.Detach(f, []byte(sums), stagextest.Made, true))
	f.Fuzz(func(t *testing.T, document, signature []byte) {
		joined, err := importer.Join(document, signature)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(joined, document) || len(joined) == len(document) {
			t.Errorf("joined to %q", joined)
		}
	})
}
