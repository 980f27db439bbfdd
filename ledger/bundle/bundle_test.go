package bundle_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

var update = flag.Bool("update", false, "write the golden file again")

const golden = "testdata/small.cairn-bundle"

// hashes is a log in memory.
type hashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}

// zeros is randomness that makes the same keys every time.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// small returns a bundle of three entries of a log of four, which are the same
// every time, and the policy that believes the log.
func small(t testing.TB) (*bundle.Bundle, *policy.Policy) {
	t.Helper()
	signer := check1(attest.NewSigner(ed25519.NewKeyFromSeed(make([]byte, 32))))(t)
	enrol := check1(attest.Enrol(signer, "https://alice.example", ""))(t)
	ring := attest.NewKeyring(signer.Public)
	raws := [][]byte{enrol}
	for i := range 3 {
		b := check1(attest.Revoke(signer, fmt.Sprintf("reason %d", i)))(t)
		raws = append(raws, b)
	}
	var stored hashes
	var texts [][]byte
	for i, raw := range raws {
		a := check1(attest.Open(raw, ring))(t)
		texts = append(texts, a.Text)
		stored = append(stored, check1(tlog.StoredHashes(int64(i), a.Text, stored))(t)...)
	}
	n := int64(len(raws))
	skey, vkey, err := note.GenerateKey(zeros{}, "log.example/cairn")
	if err != nil {
		t.Fatal(err)
	}
	logKey := check1(note.NewSigner(skey))(t)
	tree := tlog.Tree{N: n, Hash: check1(tlog.TreeHash(n, stored))(t)}
	signed := check1(note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: "log.example/cairn", Tree: tree}.String()}, logKey))(t)
	b := &bundle.Bundle{
		Artifact: leaf.SHA256([]byte("hello")),
		Names:    []string{"pkg:deb/debian/hello@2.10-3", "pkg:oci/hello?arch=amd64"},
	}
	for _, i := range []int64{0, 1, 3} {
		p := tlogproof.Proof{Index: i, Leaf: texts[i], Keys: []string{signer.Public.PEM}, Checkpoint: signed}
		for _, h := range check1(tlog.ProveRecord(n, i, stored))(t) {
			p.Path = append(p.Path, h[:])
		}
		b.Entries = append(b.Entries, bundle.Entry{Index: i, Attestation: raws[i], Proof: check1(p.Marshal())(t)})
	}
	return b, check1(policy.Parse([]byte("log " + vkey + "\nquorum none\n")))(t)
}

// check1 returns a value, or ends the test.
func check1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestGolden(t *testing.T) {
	b, _ := small(t)
	got := check1(b.Marshal())(t)
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := check1(os.ReadFile(golden))(t)
	if !bytes.Equal(got, want) {
		t.Error("the bundle is not written as it was: its format is that of files that people keep")
	}
	parsed := check1(bundle.Parse(want))(t)
	if diff := cmp.Diff(b, parsed); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
}

func TestNoEntriesAndNoNames(t *testing.T) {
	b := &bundle.Bundle{Artifact: leaf.SHA256(nil)}
	file := check1(b.Marshal())(t)
	if diff := cmp.Diff(b, check1(bundle.Parse(file))(t)); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	if len(file) != 4*512 {
		t.Errorf("%d bytes, want a header, a manifest and two blocks of end", len(file))
	}
}

// TestMembersVerifyAlone has what tar takes out of a bundle be what cairn verify
// takes.
func TestMembersVerifyAlone(t *testing.T) {
	_, pol := small(t)
	files := members(t, check1(os.ReadFile(golden))(t))
	for _, index := range []int{0, 1, 3} {
		base := fmt.Sprintf("entries/%020d", index)
		r := verify.Entry(verify.EntryInput{Attestation: files[base+".attestation"], Proof: files[base+".tlog-proof"], Policy: pol})
		if r.Exit() != 0 {
			t.Errorf("entry %d: %+v", index, r)
		}
	}
	manifest := string(files["cairn-bundle"])
	if !strings.HasPrefix(manifest, "cairn.bundle/v1\nartifact sha256:") || strings.Count(manifest, "\n") != 2+2+6+1 {
		t.Errorf("the manifest is\n%s", manifest)
	}
}

// members reads an archive as any tar does.
func members(t *testing.T, file []byte) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	r := tar.NewReader(bytes.NewReader(file))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Mode != 0o644 || h.Uname != "" {
			t.Errorf("the header of %s says %+v", h.Name, h)
		}
		files[h.Name] = check1(io.ReadAll(r))(t)
	}
}

// TestEveryByteCounts changes, drops and inserts each byte of a bundle.
func TestEveryByteCounts(t *testing.T) {
	b, _ := small(t)
	b.Entries = b.Entries[:1]
	file := check1(b.Marshal())(t)
	refused := func(what string, i int, changed []byte) {
		if _, err := bundle.Parse(changed); err == nil {
			t.Errorf("byte %d %s: accepted", i, what)
		}
	}
	buf := make([]byte, 0, len(file)+1)
	for i := range file {
		for _, bit := range []byte{0x01, 0x20, 0x80} {
			buf = append(buf[:0], file...)
			buf[i] ^= bit
			refused("changed", i, buf)
		}
		buf = append(append(buf[:0], file[:i]...), file[i+1:]...)
		refused("dropped", i, buf)
		for _, c := range []byte{0, '\n', 'x'} {
			buf = append(append(append(buf[:0], file[:i]...), c), file[i:]...)
			refused("inserted", i, buf)
		}
		refused("and all that follow dropped", i, file[:i])
	}
	refused("appended", len(file), append(bytes.Clone(file), 0))
	refused("appended as a block", len(file), append(bytes.Clone(file), make([]byte, 512)...))
}

// archive writes members as Marshal does, whatever they are, with a manifest
// that begins with head and lists them.
func archive(t *testing.T, head string, files ...[2]string) []byte {
	t.Helper()
	return pack(t, head+listed(files...), files...)
}

// listed returns the lines that list members.
func listed(files ...[2]string) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "sha256:%x %d %s\n", sha256.Sum256([]byte(f[1])), len(f[1]), f[0])
	}
	return b.String()
}

// pack writes members under a manifest of these lines.
func pack(t *testing.T, head string, files ...[2]string) []byte {
	t.Helper()
	head += fmt.Sprintf("manifest sha256:%x\n", sha256.Sum256([]byte(head)))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range append([][2]string{{"cairn-bundle", head}}, files...) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f[0], Size: int64(len(f[1])), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParseRefuses(t *testing.T) {
	b, _ := small(t)
	var files [][2]string
	for _, e := range b.Entries {
		base := fmt.Sprintf("entries/%020d", e.Index)
		files = append(files, [2]string{base + ".attestation", string(e.Attestation)}, [2]string{base + ".tlog-proof", string(e.Proof)})
	}
	a0, p0, a1, p1 := files[0], files[1], files[2], files[3]
	const version, artifact = "cairn.bundle/v1\n", "artifact sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n"
	const head = version + artifact
	if got, err := bundle.Parse(archive(t, head, a0, p0, a1, p1)); err != nil || len(got.Entries) != 2 {
		t.Fatalf("an archive that is in order: %v", err)
	}
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "first member is not cairn-bundle"},
		{"no archive", []byte(strings.Repeat("x", 2048)), "reading member 0"},
		{"another version", archive(t, "cairn.bundle/v2\n"+artifact), `first line is "cairn.bundle/v2"`},
		{"no artifact", archive(t, version), "invalid artifact"},
		{"a weak artifact", archive(t, version+"artifact md5:00\n"), "line 2"},
		{"an artifact that is none", archive(t, version+"name pkg:deb/x\n"), "does not name the artifact"},
		{"two artifacts", archive(t, head+artifact), "line 3"},
		{"a name that is no purl", archive(t, head+"name hello\n"), "package URL"},
		{"a name that is not canonical", archive(t, head+"name pkg:DEB/x\n"), "not a canonical package URL"},
		{"names that are not sorted", archive(t, head+"name pkg:deb/y\nname pkg:deb/x\n"), "must be sorted"},
		{"a name twice", archive(t, head+"name pkg:deb/x\nname pkg:deb/x\n"), "must be sorted"},
		{"too many names", archive(t, head+strings.Repeat("name pkg:deb/x\n", 65)), "over the limit of 64"},
		{"a line that is no member", archive(t, head+"hello\n"), "line 3"},
		{"a member in capitals", archive(t, head+strings.ToUpper(fmt.Sprintf("sha256:%x 0 x\n", sha256.Sum256(nil)))), "line 3"},
		{"a member that is missing", archive(t, head+fmt.Sprintf("sha256:%x 0 entries/x\n", sha256.Sum256(nil))), `"entries/x" is missing`},
		{"a member that is not listed", pack(t, head+listed(a0), a0, p0), "is not in the manifest"},
		{"a member by another name", archive(t, head, [2]string{"hello", "x"}), `"hello" is no part of a bundle`},
		{"an index without its zeros", archive(t, head, [2]string{"entries/0.attestation", a0[1]}, p0), "want entries/00000000000000000000.attestation before it"},
		{"a negative index", archive(t, head, [2]string{"entries/-0000000000000000001.attestation", a0[1]}), "is no part"},
		{"an index that is too large", archive(t, head, [2]string{"entries/99999999999999999999.attestation", a0[1]}), "is no part"},
		{"an attestation without proof", archive(t, head, a0), "want entries/00000000000000000000.tlog-proof after it"},
		{"a proof without attestation", archive(t, head, p0), "want entries/00000000000000000000.attestation before it"},
		{"a proof first", archive(t, head, p0, a0), "before it"},
		{"another entry's proof", archive(t, head, a0, p1), "want entries/00000000000000000000.tlog-proof after it"},
		{"another entry's proof under its name", archive(t, head, a0, [2]string{p0[0], p1[1]}), "the proof is of entry 1"},
		{"entries that descend", archive(t, head, a1, p1, a0, p0), "entry 0 follows entry 1"},
		{"an entry twice", archive(t, head, a0, p0, a0, p0), "entry 0 follows entry 0"},
		{"an empty attestation", archive(t, head, [2]string{a0[0], ""}, p0), "between 1 and the limit"},
		{"a large attestation", archive(t, head, [2]string{a0[0], strings.Repeat("x", attest.MaxEnvelope+1)}, p0), "between 1 and the limit"},
		{"a proof that is none", archive(t, head, a0, [2]string{p0[0], "hello"}), p0[0] + ": parsing tlog-proof"},
		{"a size with a zero before it", pack(t, head+strings.Replace(listed(a0, p0), " 486 ", " 0486 ", 1), a0, p0), "cairn-bundle: the bytes are not"},
		{"names without end", pack(t, head+strings.Repeat("name pkg:a/b\n", 10_000)), "line 68: more than 64 names"},
		{"a manifest without its digest", bytes.Replace(archive(t, head), []byte("manifest sha256"), []byte("manifest sha512"), 1), "its last line is not"},
		{"a flipped attestation", bytes.Replace(archive(t, head, a0, p0), []byte("payloadType"), []byte("payloadtype"), 1), a0[0] + ": its digest is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := bundle.Parse(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMarshalRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*bundle.Bundle)
		want   string
	}{
		{"no artifact", func(b *bundle.Bundle) { b.Artifact = "" }, "invalid artifact"},
		{"names that are not sorted", func(b *bundle.Bundle) { b.Names[0], b.Names[1] = b.Names[1], b.Names[0] }, "must be sorted"},
		{"entries that do not ascend", func(b *bundle.Bundle) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }, "must ascend"},
		{"a negative index", func(b *bundle.Bundle) { b.Entries[0].Index = -1 }, "must ascend"},
		{"no proof", func(b *bundle.Bundle) { b.Entries[0].Proof = nil }, "tlog-proof"},
		{"too many entries", func(b *bundle.Bundle) { b.Entries = make([]bundle.Entry, bundle.MaxEntries+1) }, "over the limit"},
		{"too many bytes", func(b *bundle.Bundle) {
			e := b.Entries[1]
			e.Attestation = make([]byte, attest.MaxEnvelope)
			b.Entries = nil
			for i := range int64(513) {
				e.Index = i
				e.Proof = bytes.Replace(small1(t), []byte("index 1\n"), fmt.Appendf(nil, "index %d\n", i), 1)
				b.Entries = append(b.Entries, e)
			}
		}, "over the limit of 536870912"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := small(t)
			tt.change(b)
			if _, err := b.Marshal(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// small1 returns the proof of entry 1.
func small1(t *testing.T) []byte {
	b, _ := small(t)
	return b.Entries[1].Proof
}

func FuzzParse(f *testing.F) {
	b, _ := small(f)
	file, err := b.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	b.Entries = b.Entries[:1]
	if file, err = b.Marshal(); err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		b, err := bundle.Parse(file)
		if err != nil {
			return
		}
		again, err := b.Marshal()
		if err != nil || !bytes.Equal(again, file) {
			t.Errorf("a bundle that was read is not written again: %v", err)
		}
	})
}
