package audit_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
)

func tileDamage() []damage {
	return []damage{
		{"a flipped bit in a full tile", flip(tile01, 100*32), "tile-differs", 10},
		{"a flipped bit in the last tile", flip(tile02, 100*32), "tile-differs", 10},
		{"a flipped bit in a tile of the next level", flip(tile1, 33), "tile-differs", 10},
		{"a tile that lacks a byte", cut(tile01, 1), "tile-length", 10},
		{"a tile that lacks a hash", cut(tile02, 32), "tile-length", 10},
		{"a tile with a hash too many", extend(tile02, make([]byte, 32)), "tile-length", 10},
		{"a tile that is too large", extend(tile01, make([]byte, 32)), "file-unreadable", 10},
		{"an empty tile", edit(tile1, func([]byte) []byte { return nil }), "tile-length", 10},
		{"a missing tile", remove(tile01), "tile-missing", 3},
		{"a missing last tile", remove(tile02), "tile-missing", 3},
		{"a missing tile of the next level", remove(tile1), "tile-missing", 3},
		{"a tile that is a symbolic link", link(tile01), "file-irregular", 10},
		{"a narrower tile that is not a prefix", create("log/tile/0/001.p/3", make([]byte, 96)), "tile-differs", 10},
		{"a narrower tile of another width", func(t *testing.T, d *damaged) {
			d.put(t, "log/tile/0/001.p/3", d.get(t, tile01)[:64])
		}, "tile-differs", 10},
		{"a narrower bundle with another entry", func(t *testing.T, d *damaged) {
			d.put(t, "log/tile/entries/001.p/2", joinBundle(splitBundle(d.get(t, bundle1))[1:3]))
		}, "tile-differs", 10},
		{"a narrower bundle of another width", func(t *testing.T, d *damaged) {
			d.put(t, "log/tile/entries/001.p/2", joinBundle(splitBundle(d.get(t, bundle1))[:3]))
		}, "tile-differs", 10},
		{"entries and their tile both gone", remove(bundle1, tile01), "log-lost", 3},
		{"a tile and the one above, both with a flipped bit", func(t *testing.T, d *damaged) {
			flip(tile01, 100*32)(t, d)
			flip(tile1, 33)(t, d)
		}, "tile-differs", 10},
		{"an entry and its tile, both replaced", func(t *testing.T, d *damaged) {
			entries := splitBundle(d.get(t, bundle1))
			entries[100] = entries[99]
			d.put(t, bundle1, joinBundle(entries))
			edit(tile01, func(b []byte) []byte {
				copy(b[100*32:], leaf.Hash(entries[99]))
				return b
			})(t, d)
		}, "root-differs", 5},
		{"an entry, its tile and the tree above, all rebuilt", rebuilt, "root-differs", 5},
	}
}

// rebuilt replaces an entry, and every hash above it.
func rebuilt(t *testing.T, d *damaged) {
	entries := splitBundle(d.get(t, bundle1))
	entries[100] = entries[99]
	d.put(t, bundle1, joinBundle(entries))
	var hashes [][]byte
	for _, e := range entries {
		hashes = append(hashes, leaf.Hash(e))
	}
	d.put(t, tile01, slices.Concat(hashes...))
	for len(hashes) > 1 {
		for i := range len(hashes) / 2 {
			hashes[i] = rfc6962.DefaultHasher.HashChildren(hashes[2*i], hashes[2*i+1])
		}
		hashes = hashes[:len(hashes)/2]
	}
	edit(tile1, func(b []byte) []byte {
		copy(b[32:], hashes[0])
		return b
	})(t, d)
}

// line flips a bit in the line of a note, at a place, or changes more of it if
// that gave no base64.
func line(n, at int) func([]byte) []byte {
	return func(b []byte) []byte {
		lines := strings.SplitAfter(string(b), "\n")
		l := []byte(lines[n])
		if l[at] ^= 1; strings.ContainsRune("@`[{*.", rune(l[at])) {
			l[at] = 'Q'
		}
		lines[n] = string(l)
		return []byte(strings.Join(lines, ""))
	}
}

func noteDamage() []damage {
	return []damage{
		{"no checkpoint", remove(notePath), "checkpoint-missing", 3},
		{"a flipped bit in a checkpoint's origin", edit(notePath, line(0, 2)), "note-signature", 10},
		{"a flipped bit in a checkpoint's size", edit(notePath, line(1, 1)), "note-signature", 10},
		{"a flipped bit in a checkpoint's root", edit(notePath, line(2, 5)), "note-signature", 10},
		{"a flipped bit in the log's signature", edit(notePath, line(4, 50)), "note-signature", 10},
		{"a flipped bit in a witness's signature", edit(notePath, line(6, 50)), "note-signature", 10},
		{"a flipped bit in the name of who signed", edit(notePath, line(4, 5)), "log-unsigned", 11},
		{"a checkpoint that was cut short", cut(notePath, 10), "note-malformed", 10},
		{"an empty checkpoint", edit(notePath, func([]byte) []byte { return nil }), "note-malformed", 10},
		{"a checkpoint of a gigabyte", func(t *testing.T, d *damaged) {
			if err := os.Truncate(d.path(notePath), 1<<30); err != nil {
				t.Fatal(err)
			}
		}, "file-unreadable", 10},
		{"a checkpoint that is a symbolic link", link(notePath), "file-unreadable", 10},
		{"a checkpoint with too few cosignatures", func(t *testing.T, d *damaged) {
			d.put(t, notePath, resigned(t, d, 1))
		}, "quorum-unmet", 11},
		{"a checkpoint with an extension line", func(t *testing.T, d *damaged) {
			text, _, _ := strings.Cut(string(d.get(t, notePath)), "\n\n")
			d.put(t, notePath, signedText(t, d, text+"\nmore\n"))
		}, "note-malformed", 10},
		{"a checkpoint of another log", func(t *testing.T, d *damaged) {
			d.put(t, notePath, strangers(t))
		}, "log-unsigned", 11},
		{"a checkpoint of another root", func(t *testing.T, d *damaged) {
			d.put(t, notePath, forged(t, worldSize, audittest.Witnesses))
		}, "notes-conflict", 5},
		{"a checkpoint of more entries than there are", func(t *testing.T, d *damaged) {
			d.put(t, notePath, forged(t, 900, audittest.Witnesses))
		}, "bundle-missing", 3},
		{"an older checkpoint", func(t *testing.T, d *damaged) {
			rearchive(func(t *testing.T, notes [][]byte) [][]byte {
				d.put(t, notePath, notes[len(notes)-4])
				return notes
			})(t, d)
		}, "checkpoint-older", 3},
	}
}

// resigned is the checkpoint with fewer witnesses.
func resigned(t *testing.T, d *damaged, witnesses int) []byte {
	t.Helper()
	c := strings.Split(string(d.get(t, notePath)), "\n")
	root, err := tlog.ParseHash(c[2])
	if err != nil {
		t.Fatal(err)
	}
	signed, err := built().log.Sign(tlog.Tree{N: worldSize, Hash: root}, witnesses)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// signedText is a text with the signature of the log alone.
func signedText(t *testing.T, d *damaged, text string) []byte {
	t.Helper()
	key, err := checkpoint.ReadKey(filepath.Join(built().log.Dir, "ledger.key"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text}, key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// strangers is a checkpoint of the same name by another key.
func strangers(t *testing.T) []byte {
	t.Helper()
	l, err := audittest.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	signed, err := l.Sign(tlog.Tree{N: 500, Hash: tlog.Hash{1}}, audittest.Witnesses)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func archiveDamage() []damage {
	insert := func(size int64, witnesses int) func(*testing.T, *damaged) {
		return rearchive(func(t *testing.T, notes [][]byte) [][]byte {
			return slices.Insert(notes, len(notes)-3, forged(t, size, witnesses))
		})
	}
	return []damage{
		{"no archive", remove("log/checkpoints"), "archive-missing", 3},
		{"no first segment", remove(segment), "archive-missing", 3},
		{"the archive's last note dropped", rearchive(func(_ *testing.T, n [][]byte) [][]byte { return n[:len(n)-1] }), "archive-missing", 3},
		{"a segment that is not full before another", create("log/checkpoints/000000001", nil), "archive-missing", 3},
		{"a segment missing between two", create("log/checkpoints/000000002", nil), "file-stray", 10},
		{"a flipped bit in an archived checkpoint", rearchive(func(_ *testing.T, n [][]byte) [][]byte {
			n[len(n)-3] = line(2, 5)(n[len(n)-3])
			return n
		}), "note-signature", 10},
		{"a flipped bit in the length of an archived checkpoint", edit(segment, func(b []byte) []byte {
			at := bytes.LastIndex(b, []byte(audittest.Origin+"\n7"))
			b[at-2] ^= 1
			return b
		}), "archive-malformed", 10},
		{"an archive that was cut short", cut(segment, 10), "archive-malformed", 10},
		{"zeros behind the archive", extend(segment, make([]byte, 64)), "archive-malformed", 10},
		{"archived checkpoints in another order", rearchive(func(_ *testing.T, n [][]byte) [][]byte {
			n[len(n)-3], n[len(n)-2] = n[len(n)-2], n[len(n)-3]
			return n
		}), "archive-order", 10},
		{"an archived checkpoint of another root", insert(599, audittest.Witnesses), "root-differs", 5},
		{"an archived checkpoint of another root, late", rearchive(func(t *testing.T, n [][]byte) [][]byte {
			return append(n, forged(t, 599, audittest.Witnesses))
		}), "root-differs", 5},
		{"two archived checkpoints of one size", insert(592, audittest.Witnesses), "notes-conflict", 5},
		{"an archived checkpoint with too few cosignatures", rearchive(func(t *testing.T, n [][]byte) [][]byte {
			c := strings.Split(string(n[len(n)-2]), "\n")
			n[len(n)-2] = []byte(strings.Join(append(c[:6], ""), "\n"))
			return n
		}), "quorum-unmet", 11},
		{"an archived checkpoint of another log", rearchive(func(t *testing.T, n [][]byte) [][]byte {
			return slices.Insert(n, len(n)-1, strangers(t))
		}), "log-unsigned", 11},
		{"a witness that went back in time", witnessWentBack, "witness-time", 11},
		{"a segment that is a symbolic link", link(segment), "archive-unreadable", 10},
		{"a stray file in the archive", create("log/checkpoints/0", nil), "file-stray", 10},
	}
}

// witnessWentBack has the last checkpoint but one cosigned long ago.
func witnessWentBack(t *testing.T, d *damaged) {
	rearchive(func(t *testing.T, n [][]byte) [][]byte {
		c := strings.Split(string(n[len(n)-2]), "\n")
		root, err := tlog.ParseHash(c[2])
		if err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, digit := range c[1] {
			size = size*10 + int64(digit-'0')
		}
		var signed []byte
		synctest.Test(t, func(t *testing.T) { // where it is the year 2000
			if signed, err = built().log.Sign(tlog.Tree{N: size, Hash: root}, audittest.Witnesses); err != nil {
				t.Fatal(err)
			}
		})
		n[len(n)-2] = signed
		return n
	})(t, d)
}

func databaseDamage() []damage {
	const row = "(SELECT id FROM blobs ORDER BY id LIMIT 1 OFFSET 600)"
	garbage := bytes.Repeat([]byte("no database "), 1000)
	return []damage{
		{"a dropped attestation", exec(blobsDB, "DELETE FROM blobs WHERE id = "+row), "attestation-missing", 3},
		{"a dropped enrolment", exec(blobsDB, "DELETE FROM blobs WHERE id = (SELECT id FROM blobs ORDER BY id LIMIT 1 OFFSET 649)"), "attestation-missing", 3},
		{"a changed attestation", exec(blobsDB, "UPDATE blobs SET bytes = CAST(replace(CAST(bytes AS TEXT), 'payload', 'payl0ad') AS BLOB) WHERE id = "+row), "attestation-bytes", 10},
		{"an attestation cut short", exec(blobsDB, "UPDATE blobs SET bytes = substr(bytes, 1, 100) WHERE id = "+row), "attestation-bytes", 10},
		{"an empty attestation", exec(blobsDB, "UPDATE blobs SET bytes = x'' WHERE id = "+row), "attestation-bytes", 10},
		{"an attestation of two megabytes", exec(blobsDB, "UPDATE blobs SET bytes = zeroblob(2000000) WHERE id = "+row), "attestation-bytes", 10},
		{"an attestation under another digest", exec(blobsDB, "UPDATE blobs SET sha256 = randomblob(32) WHERE id = "+row), "attestation-missing", 3},
		{"no database of attestations", remove(blobsDB), "attestations-missing", 3},
		{"a database of attestations that is none", create(blobsDB, garbage), "attestations-unreadable", 10},
		{"an empty database of attestations", create(blobsDB, nil), "attestations-unreadable", 10},
		{"half a database of attestations", edit(blobsDB, func(b []byte) []byte { return b[:len(b)/2/4096*4096] }), "attestations-unreadable", 10},
		{"a database without its table", exec(blobsDB, "DROP TABLE blobs"), "attestations-unreadable", 10},
		{"a database of attestations that is a symbolic link", link(blobsDB), "attestations-unreadable", 10},
		{"a flipped bit in the bytes of an attestation", edit(blobsDB, func(b []byte) []byte {
			b[bytes.LastIndex(b, []byte(`"payload":"`))+100] ^= 1
			return b
		}), "attestation-bytes", 10},
		{"a flipped bit in a digest of the database", edit(blobsDB, flipDigest), "database-damaged", 10},
		{"an entry that is not indexed", exec(indexDB, "DELETE FROM entries WHERE idx = 600"), "index-row-missing", 3},
		{"another leaf in the index", exec(indexDB, "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE idx = 599) WHERE idx = 600"), "index-row-differs", 10},
		{"an entry of the index that is not logged", exec(indexDB, "INSERT INTO entries VALUES (5000, x'00')"), "index-row-extra", 10},
		{"an entry of the index before the first", exec(indexDB, "INSERT INTO entries VALUES (-1, x'00')"), "index-row-extra", 10},
		{"a term that is not indexed", exec(indexDB, "DELETE FROM terms WHERE idx = 600 AND term = (SELECT min(term) FROM terms WHERE idx = 600)"), "index-row-missing", 3},
		{"a term that no leaf has", exec(indexDB, "INSERT INTO terms VALUES (randomblob(32), 600)"), "index-row-extra", 10},
		{"a term of an entry that is not logged", exec(indexDB, "INSERT INTO terms VALUES (randomblob(32), 5000)"), "index-row-extra", 10},
		{"a term of another length", exec(indexDB, "INSERT INTO terms VALUES (x'00', 600)"), "index-row-extra", 10},
		{"a term moved to another entry", exec(indexDB, "UPDATE terms SET idx = 601 WHERE idx = 600 AND term = (SELECT min(term) FROM terms WHERE idx = 600)"), "index-row-extra", 10},
		{"a key that is not indexed", exec(indexDB, "DELETE FROM keys WHERE revoked IS NOT NULL"), "index-row-missing", 3},
		{"another operator of a key", exec(indexDB, "UPDATE keys SET operator = 'https://mallory.example/' WHERE enrolled = 649"), "index-row-differs", 10},
		{"another PEM of a key", exec(indexDB, "UPDATE keys SET pem = replace(pem, 'M', 'N') WHERE enrolled = 649"), "index-row-differs", 10},
		{"a key that was never enrolled", exec(indexDB, "INSERT INTO keys VALUES ('sha256:00', '', '', '', 5, '', NULL, 0, 5)"), "index-row-extra", 10},
		{"a revocation that is forgotten", exec(indexDB, "UPDATE keys SET revoked = NULL WHERE revoked IS NOT NULL"), "index-row-differs", 10},
		{"a revocation that never was", exec(indexDB, "UPDATE keys SET revoked = 600 WHERE revoked IS NULL"), "index-row-differs", 10},
		{"an endorsement that never was", exec(indexDB, "INSERT INTO endorsements VALUES ('sha256:00', 'sha256:01', 5, '', '')"), "index-row-differs", 10},
		{"an index of an earlier version", exec(indexDB, "UPDATE keys SET url = 'x'", "DROP TABLE keys", "DROP TABLE endorsements", "DROP TABLE terms", "DROP TABLE entries", "PRAGMA user_version = 0"), "index-outdated", 3},
		{"no index", remove(indexDB), "index-missing", 3},
		{"an index that is no database", create(indexDB, garbage), "database-damaged", 10},
		{"an index without a table", exec(indexDB, "DROP TABLE terms"), "database-damaged", 10},
		{"an index that is a symbolic link", link(indexDB), "database-damaged", 10},
	}
}

// flipDigest flips a bit where a digest stands in the table's own index: the
// table still has it, but a look-up would not find it.
func flipDigest(b []byte) []byte {
	body := b[bytes.LastIndex(b, []byte(`{"payloadType"`)):]
	end := bytes.Index(body, []byte(`"}]}`)) + len(`"}]}`)
	digest := sha256.Sum256(body[:end])
	for at := 0; ; {
		i := bytes.Index(b[at:], digest[:])
		if i < 0 {
			panic("the digest stands nowhere but before its bytes")
		}
		at += i + len(digest)
		if !bytes.HasPrefix(b[at:], []byte(`{"payloadType"`)) {
			b[at-5] ^= 1
			return b
		}
	}
}

// logs logs one more entry, and publishes.
func logs(f func(t *testing.T, w *world) audittest.Entry) func(*testing.T, *damaged) {
	return logged(func(t *testing.T, w *world) []audittest.Entry { return []audittest.Entry{f(t, w)} })
}

// reproduction is one that is not logged.
func reproduction(t *testing.T, a *audittest.Author) audittest.Entry {
	t.Helper()
	e, err := a.Reproduction(9999)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func stranger(t *testing.T) *audittest.Author {
	t.Helper()
	a, err := audittest.NewAuthor()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// relogged is an entry with other bytes, or another leaf, than its own.
func relogged(t *testing.T, e audittest.Entry, raw []byte, change func(*leaf.Leaf)) audittest.Entry {
	t.Helper()
	l := *e.Leaf
	l.Envelope = leaf.SHA256(raw)
	change(&l)
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return audittest.Entry{Raw: raw, Text: text, Leaf: &l}
}

func entryDamage() []damage {
	return []damage{
		{"an entry by a key that is not enrolled", logs(func(t *testing.T, _ *world) audittest.Entry {
			return reproduction(t, stranger(t))
		}), "attestation-refused", 12},
		{"an entry by a key that is enrolled later", logged(func(t *testing.T, _ *world) []audittest.Entry {
			a := stranger(t)
			enrolment, err := a.Enrolment("https://operator.example/")
			if err != nil {
				t.Fatal(err)
			}
			return []audittest.Entry{reproduction(t, a), enrolment}
		}), "attestation-refused", 12},
		{"an entry by a revoked key", logs(func(t *testing.T, w *world) audittest.Entry {
			return reproduction(t, w.authors[2])
		}), "key-revoked", 12},
		{"a second revocation", logs(func(t *testing.T, w *world) audittest.Entry {
			e, err := w.authors[2].Revocation("again")
			if err != nil {
				t.Fatal(err)
			}
			return e
		}), "key-revoked", 12},
		{"a leaf that claims more than its attestation", logs(func(t *testing.T, w *world) audittest.Entry {
			e := reproduction(t, w.authors[0])
			return relogged(t, e, e.Raw, func(l *leaf.Leaf) { l.Result = leaf.Different })
		}), "leaf-differs", 12},
		{"an attestation whose signature does not verify", logs(func(t *testing.T, w *world) audittest.Entry {
			e := reproduction(t, w.authors[0])
			raw := bytes.Clone(e.Raw)
			at := bytes.Index(raw, []byte(`"sig":"`)) + 10
			raw[at] = 'A' + (raw[at]-'A'+1)%2
			return relogged(t, e, raw, func(*leaf.Leaf) {})
		}), "attestation-refused", 12},
		{"an attestation that is none", logs(func(t *testing.T, w *world) audittest.Entry {
			return relogged(t, reproduction(t, w.authors[0]), []byte("not an attestation"), func(*leaf.Leaf) {})
		}), "attestation-refused", 12},
		{"the same attestation twice", logged(func(t *testing.T, w *world) []audittest.Entry {
			e := reproduction(t, w.authors[0])
			return []audittest.Entry{e, e}
		}), "entry-repeated", 10},
		{"an entry that is no leaf", logs(func(t *testing.T, w *world) audittest.Entry {
			e := reproduction(t, w.authors[0])
			e.Text = append(bytes.Clone(e.Text), "more\n"...)
			return e
		}), "entry-malformed", 10},
		{"an entry without a stored attestation", logs(func(t *testing.T, w *world) audittest.Entry {
			e := reproduction(t, w.authors[0])
			e.Raw = nil
			return e
		}), "attestation-missing", 3},
	}
}
