package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine/enginetest/trilliantest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/migrate"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/sigstore/sigstoretest"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// moving is an embedded ledger, and where its log moves to.
type moving struct {
	t        *testing.T
	dir      string // of the ledger
	file     string // of a front end
	bucket   string
	trillian *trilliantest.Server
	history  *keys.History
	size     uint64
	alice    *audittest.Author
	policy   *policy.Policy
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	m := &moving{t: t, dir: t.TempDir(), bucket: t.TempDir(), history: new(keys.History)}
	var addr string
	m.trillian, addr = trilliantest.Listen(t)
	var err error
	if m.alice, err = audittest.NewAuthor(); err != nil {
		t.Fatal(err)
	}
	m.write(func(l *audittest.Log) {
		m.addKinds(l)
		m.reproductions(l, 290)
		m.publish(l)
	})
	key, err := checkpoint.ReadKey(filepath.Join(m.dir, "ledger.key"))
	if err != nil {
		t.Fatal(err)
	}
	text := "log " + key.VKey + "\nquorum none\n"
	if m.policy, err = policy.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	m.file = m.put("front.yaml", fmt.Sprintf("key: %s/ledger.key\npolicy: %s\nhttp: 127.0.0.1:0\ngrpc: 127.0.0.1:0\n"+
		"distributed: {database: %q, bucket: \"file://%s\", trillian: %q}\n",
		m.dir, m.put("policy", text), pgtest.Database(t), m.bucket, addr))
	return m
}

func (m *moving) put(name, text string) (path string) {
	m.t.Helper()
	path = filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// write opens the embedded ledger's parts, and closes them as a stop does.
func (m *moving) write(f func(*audittest.Log)) {
	m.t.Helper()
	l, err := audittest.New(m.t.Context(), m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	f(l)
	if err := l.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *moving) add(l *audittest.Log, raws ...[]byte) {
	m.t.Helper()
	for _, raw := range raws {
		e, err := audittest.EntryOf(raw, m.history)
		if err != nil {
			m.t.Fatal(err)
		}
		if event := keys.EventOf(e.Attestation, m.size); event != nil {
			if _, err := m.history.Apply(event); err != nil {
				m.t.Fatal(err)
			}
		}
		if err := l.Add(m.t.Context(), e); err != nil {
			m.t.Fatal(err)
		}
		m.size++
	}
}

// addKinds adds what changes keys in every way, and an entry of every kind of key.
func (m *moving) addKinds(l *audittest.Log) {
	m.t.Helper()
	must := func(raw []byte, err error) []byte {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
		return raw
	}
	bob, err := audittest.NewAuthor()
	if err != nil {
		m.t.Fatal(err)
	}
	pgp := pgptest.New(m.t, "somebody")
	const certified = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example/p","predicate":{},` +
		`"subject":[{"name":"a","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}`
	m.add(l,
		must(attest.Enrol(m.alice.Signer, "https://alice.example", "")),
		must(attest.Endorse(m.alice.Signer, bob.Public, "https://bob.example", "")),
		must(attest.RevokeOf(m.alice.Signer, bob.Public.Fingerprint, "")),
		must(attest.Enrol(bob.Signer, "https://bob.example", "")),
		pgp.Public(), pgp.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1)),
		sigstoretest.New(m.t).Attest(m.t, certified),
		must(attest.Revoke(bob.Signer, "lost")))
	m.publish(l)
	pgp.AddSubkey()
	m.add(l, pgp.Public(), pgp.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 2)))
	m.publish(l)
}

func (m *moving) reproductions(l *audittest.Log, n int) {
	m.t.Helper()
	for range n {
		e, err := m.alice.Reproduction(int(m.size))
		if err != nil {
			m.t.Fatal(err)
		}
		m.add(l, e.Raw)
	}
}

// publish publishes all entries, and leaves the signer's state so.
func (m *moving) publish(l *audittest.Log) {
	m.t.Helper()
	if err := l.Publish(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	m.signed(l)
}

// signed leaves the state of a signer that signed all entries.
func (m *moving) signed(l *audittest.Log) {
	m.t.Helper()
	tree, err := l.Tree(m.t.Context(), m.size)
	if err != nil {
		m.t.Fatal(err)
	}
	m.put("signed", torchwood.Checkpoint{Origin: audittest.Origin, Tree: tree}.String())
}

// move runs the command, which a fault may end after a step.
func (m *moving) move(fault migrate.Step) (stdout string, err error) {
	m.t.Helper()
	var out, errs bytes.Buffer
	c := &migration{stdout: &out, stderr: &errs, shown: term.NewProgress(nil), after: func(s migrate.Step) error {
		if s == fault {
			return errKilled
		}
		return nil
	}}
	if err := c.parse([]string{"-from", m.dir, "-config", m.file}); err != nil {
		m.t.Fatal(err)
	}
	err = c.run(m.t.Context())
	return out.String(), err
}

var errKilled = errors.New("killed")

// served has a front end serve the log until it has published all entries.
func (m *moving) served() {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	ended := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() { ended <- run(ctx, []string{"-config", m.file}, &out, &errs) }()
	for deadline := time.Now().Add(30 * time.Second); m.publishedSize() < m.size && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if code := <-ended; code != 0 || m.publishedSize() != m.size {
		m.t.Fatalf("a front end ended with %d, and published size %d of %d\n%s", code, m.publishedSize(), m.size, &errs)
	}
}

func (m *moving) publishedSize() uint64 {
	tree, _ := m.published(m.bucket)
	return uint64(tree.N)
}

// audited wants the bucket to be a clean log of all entries.
func (m *moving) audited(size uint64) {
	m.t.Helper()
	c, err := audit.OpenDir(m.bucket)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, err := audit.Run(m.t.Context(), c, audit.Options{Policy: m.policy})
	if err != nil || !r.Clean || r.Counts.Entries.Load() != size || !r.Coverage.Archive {
		m.t.Fatalf("the bucket is not clean: %v, %+v", err, r)
	}
}

// proof is one that somebody saved.
type proof struct {
	index int64
	tree  tlog.Tree
	leaf  tlog.Hash
	path  tlog.RecordProof
}

// published returns the published tree of a log in a directory, and its hashes.
func (m *moving) published(dir string) (tlog.Tree, tlog.HashReader) {
	m.t.Helper()
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		m.t.Fatal(err)
	}
	c, _, err := torchwood.VerifyCheckpoint(signed, m.policy)
	if err != nil {
		m.t.Fatal(err)
	}
	tiles, err := torchwood.NewTileFS(os.DirFS(dir))
	if err != nil {
		m.t.Fatal(err)
	}
	return c.Tree, torchwood.TileHashReaderWithContext(m.t.Context(), c.Tree, tiles)
}

// saved returns proofs of entries, in trees of some sizes, from the embedded ledger.
func (m *moving) saved(sizes ...int64) (proofs []proof) {
	m.t.Helper()
	_, hashes := m.published(filepath.Join(m.dir, "log"))
	for _, n := range sizes {
		root, err := tlog.TreeHash(n, hashes)
		if err != nil {
			m.t.Fatal(err)
		}
		for i := int64(0); i < n; i += 13 {
			path, err := tlog.ProveRecord(n, i, hashes)
			leaf, readErr := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
			if err := errors.Join(err, readErr); err != nil {
				m.t.Fatal(err)
			}
			proofs = append(proofs, proof{index: i, tree: tlog.Tree{N: n, Hash: root}, leaf: leaf[0], path: path})
		}
	}
	return proofs
}

// holds wants proofs to be of trees that the log in the bucket extends.
func (m *moving) holds(proofs []proof) {
	m.t.Helper()
	tree, hashes := m.published(m.bucket)
	for _, p := range proofs {
		if err := tlog.CheckRecord(p.path, p.tree.N, p.tree.Hash, p.index, p.leaf); err != nil {
			m.t.Errorf("entry %d in the tree of %d: %v", p.index, p.tree.N, err)
		}
		path, err := tlog.ProveTree(tree.N, p.tree.N, hashes)
		if err == nil {
			err = tlog.CheckTree(path, tree.N, tree.Hash, p.tree.N, p.tree.Hash)
		}
		if err != nil {
			m.t.Fatalf("size %d does not extend size %d: %v", tree.N, p.tree.N, err)
		}
		now, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, p.index)})
		if err != nil || now[0] != p.leaf {
			m.t.Fatalf("entry %d is another: %v, %v", p.index, now, err)
		}
	}
}

// TestMigrate moves a log, whose ledger was killed before it had published all.
func TestMigrate(t *testing.T) {
	m := newMoving(t)
	proofs := m.saved(8, 200, 300)
	m.write(func(l *audittest.Log) {
		m.reproductions(l, 7)
		m.signed(l)
		m.reproductions(l, 30)
	})
	out, err := m.move("")
	if err != nil {
		t.Fatal(err)
	}
	var said migrated
	if err := json.Unmarshal([]byte(out), &said); err != nil || said.Entries != 337 || said.Published != 300 || said.Keys != 3 || said.Tree != trilliantest.Tree {
		t.Errorf("it said %q, %v", out, err)
	}
	m.audited(300)
	m.refusesToStart()
	m.served()
	m.audited(337)
	m.holds(proofs)
	if out, err := m.move(""); err != nil || !strings.Contains(out, audittest.Origin) {
		t.Errorf("again: %q, %v", out, err)
	}
}

// refusesToStart wants the ledger that moved away to say so.
func (m *moving) refusesToStart() {
	m.t.Helper()
	code, out, errs := command(m.t, "-dev", m.dir)
	if code != 2 || out != "" || !strings.Contains(errs, "the log moved to tree 42 of Trillian, bucket file://") {
		m.t.Errorf("the embedded ledger: exit code %d, %q, %q", code, out, errs)
	}
}

// TestMigrateIsCutShort ends a move after each of its steps, has the ledger go on in
// between, and never finds that both could sign.
func TestMigrateIsCutShort(t *testing.T) {
	m := newMoving(t)
	proofs := m.saved(8, 300)
	for _, step := range migrate.Steps() {
		if _, err := m.move(step); !errors.Is(err, errKilled) {
			t.Fatalf("cut short after %q: %v", step, err)
		}
		for _, args := range [][]string{{"-config", m.file}, {"init", "-config", m.file}} {
			code, out, errs := command(t, args...)
			if code == 0 || out != "" || !strings.Contains(errs, "being moved into the database") {
				t.Errorf("after %q, %v: exit code %d, %q, %q", step, args, code, out, errs)
			}
		}
		if step == migrate.Switched {
			m.refusesToStart()
			continue
		}
		m.write(func(l *audittest.Log) {
			m.reproductions(l, 3)
			m.publish(l)
			m.reproductions(l, 2)
		})
	}
	if _, err := m.move(""); err != nil {
		t.Fatal(err)
	}
	m.refusesToStart()
	m.served()
	m.audited(m.size)
	m.holds(proofs)
}
