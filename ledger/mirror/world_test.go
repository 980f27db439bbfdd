package mirror_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
)

// log is a log in memory, on x/mod's tlog, that is written into a directory as a
// source to copy.
type log struct {
	signer note.Signer
	policy torchwood.Policy
	key    *attest.Signer
	raws   [][]byte // attestations
	texts  [][]byte // leaves
	hashes []tlog.Hash
	notes  []byte // the archive
}

const origin = "log.example/mirror"

// ReadHashes implements tlog.HashReader.
func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

// newLog returns a log of a key's enrolment.
func newLog(t testing.TB) *log {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	must(t, err)
	l := &log{}
	l.signer, err = note.NewSigner(skey)
	must(t, err)
	l.policy, err = torchwood.ParsePolicy([]byte("log " + vkey + "\nquorum none\n"))
	must(t, err)
	l.key, _, err = attest.GenerateEd25519()
	must(t, err)
	raw, err := attest.Enrol(l.key, "https://alice.example", "")
	must(t, err)
	l.add(t, raw)
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *log) add(t testing.TB, raw []byte) {
	t.Helper()
	a, err := attest.Open(raw, attest.NewKeyring(l.key.Public))
	must(t, err)
	hs, err := tlog.StoredHashes(int64(len(l.texts)), a.Text, l)
	must(t, err)
	l.raws, l.texts, l.hashes = append(l.raws, raw), append(l.texts, a.Text), append(l.hashes, hs...)
}

// grow adds statements until the log has n entries.
func (l *log) grow(t testing.TB, n int) {
	t.Helper()
	for i := len(l.texts); i < n; i++ {
		l.add(t, l.statement(t, fmt.Sprint("artifact ", i)))
	}
}

func (l *log) statement(t testing.TB, what string) []byte {
	t.Helper()
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]string{"what": what},
		attest.ResourceDescriptor{Name: what, Digest: map[string]string{"sha256": fmt.Sprintf("%064x", len(what))}})
	must(t, err)
	raw, err := l.key.Sign(st)
	must(t, err)
	return raw
}

// fork returns a log of the same key that has the first n entries alone.
func (l *log) fork(n int) *log {
	f := *l
	f.raws, f.texts = l.raws[:n:n], l.texts[:n:n]
	f.hashes = l.hashes[:tlog.StoredHashIndex(0, int64(n)):tlog.StoredHashIndex(0, int64(n))]
	f.notes = nil
	return &f
}

func (l *log) tree(t testing.TB) tlog.Tree {
	t.Helper()
	n := int64(len(l.texts))
	root, err := tlog.TreeHash(n, l)
	must(t, err)
	return tlog.Tree{N: n, Hash: root}
}

func (l *log) sign(t testing.TB, tree tlog.Tree) []byte {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tree}.String()}, l.signer)
	must(t, err)
	return signed
}

// publish writes the log's files into a directory.
func (l *log) publish(t testing.TB, dir string) *mirror.Source {
	t.Helper()
	signed := l.sign(t, l.tree(t))
	l.notes = checkpoint.AppendArchived(l.notes, signed)
	write(t, dir, "checkpoint", signed)
	write(t, dir, "checkpoints/000000000", l.notes)
	for _, raw := range l.raws {
		h := leaf.SHA256(raw).Hex()
		write(t, dir, "attestations/"+h[:2]+"/"+h, raw)
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, int64(len(l.texts))) {
		b, err := tlog.ReadTileData(tile, l)
		must(t, err)
		write(t, dir, torchwood.TilePath(tile), b)
		if tile.L > 0 {
			continue
		}
		tile.L = -1
		var bundle []byte
		for _, text := range l.texts[tile.N*256:][:tile.W] {
			bundle, err = torchwood.AppendTileEntry(bundle, text)
			must(t, err)
		}
		write(t, dir, torchwood.TilePath(tile), bundle)
	}
	return source(t, dir)
}

func source(t testing.TB, dir string) *mirror.Source {
	t.Helper()
	s, err := mirror.OpenSource(context.Background(), dir, clientOptions)
	must(t, err)
	return s
}

func write(t testing.TB, dir, path string, b []byte) {
	t.Helper()
	full := filepath.Join(dir, path)
	if old, err := os.ReadFile(full); err == nil && bytes.Equal(old, b) {
		return
	}
	must(t, os.MkdirAll(filepath.Dir(full), 0o755))
	must(t, os.WriteFile(full, b, 0o644))
}

// wide leaves out the narrow tiles whose full ones are there.
func wide(files map[string]string) map[string]string {
	found := make(map[string]string)
	for path, b := range files {
		full, _, narrow := strings.Cut(path, ".p/")
		if _, ok := files[full]; !narrow || !ok {
			found[path] = b
		}
	}
	return found
}

// files returns the files below a directory, but for what is about the copy.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, "index/") {
			return err
		}
		b, err := os.ReadFile(path)
		found[rel] = string(b)
		return err
	}))
	return found
}
