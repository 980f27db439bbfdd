// Package audittest writes logs to audit: with the engine, the stores and the
// archive of a ledger, but without what a ledger refuses. So a log may hold what
// no honest ledger would log, and is written as fast as the disk takes it.
package audittest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Origin is the name of the logs.
const Origin = "log.example/audited"

// Witnesses is how many witnesses cosign every checkpoint. The policy asks for
// all of them but one.
const Witnesses = 3

// Log is a ledger's directory that is being written.
type Log struct {
	Dir    string
	Policy *policy.Policy

	key       *checkpoint.Key
	witnesses []*torchwood.CosignatureSigner
	log       *engine.Tessera
	prover    *engine.Prover
	blobs     *store.SQLiteBlobs
	index     *store.SQLiteIndex
	archive   *checkpoint.Archive
	keys      *keys.History
	size      uint64
}

// Entry is one entry to log.
type Entry struct {
	Raw  []byte // its attestation; not stored if nil
	Text []byte
	Leaf *leaf.Leaf
	// Attestation is Raw opened; nil if it does not open.
	Attestation *attest.Attestation
}

// EntryOf returns the entry that an attestation gives.
func EntryOf(raw []byte, ring attest.Keyring) (Entry, error) {
	att, err := attest.Open(raw, ring)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Raw: raw, Text: att.Text, Leaf: att.Leaf, Attestation: att}, nil
}

// New makes an empty log in dir, which must exist. The same dir can be opened
// again, for the same log.
func New(ctx context.Context, dir string) (*Log, error) {
	l := &Log{Dir: dir}
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("making a log to audit in %s: %w", dir, err)
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) (err error) {
	path := filepath.Join(l.Dir, "ledger.key")
	if l.key, err = checkpoint.ReadKey(path); errors.Is(err, fs.ErrNotExist) {
		l.key, err = checkpoint.CreateKey(path, Origin)
	}
	if err != nil {
		return err
	}
	if err := l.trust(); err != nil {
		return err
	}
	if l.log, err = engine.OpenTessera(ctx, filepath.Join(l.Dir, "log"), l.key.Signer); err != nil {
		return err
	}
	l.prover = engine.NewProver(l.log)
	if l.blobs, err = store.OpenSQLiteBlobs(ctx, filepath.Join(l.Dir, "blobs.db")); err != nil {
		return err
	}
	if l.index, err = store.OpenSQLiteIndex(ctx, filepath.Join(l.Dir, "index.db")); err != nil {
		return err
	}
	if l.archive, err = checkpoint.OpenArchive(filepath.Join(l.Dir, "log", checkpoint.ArchiveDir)); err != nil {
		return err
	}
	if l.size, err = l.log.Size(ctx); err != nil {
		return err
	}
	list, standing, err := l.index.Keys(ctx)
	if err == nil {
		l.keys, err = keys.Restore(l.size, list, standing)
	}
	return err
}

func (l *Log) trust() error {
	var text strings.Builder
	fmt.Fprintf(&text, "log %s\n", l.key.VKey)
	names := ""
	for i := range Witnesses {
		seed := sha256.Sum256(fmt.Appendf(nil, "witness %d", i))
		w, err := torchwood.NewCosignatureSigner(fmt.Sprintf("witness%d.example", i), ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			return err
		}
		l.witnesses = append(l.witnesses, w)
		fmt.Fprintf(&text, "witness w%d %s\n", i, w.Verifier())
		names += fmt.Sprintf(" w%d", i)
	}
	fmt.Fprintf(&text, "group ws %d%s\nquorum ws\n", Witnesses-1, names)
	var err error
	l.Policy, err = policy.Parse([]byte(text.String()))
	return err
}

// Size returns how many entries were added.
func (l *Log) Size() uint64 { return l.size }

// Add logs, stores and indexes entries.
func (l *Log) Add(ctx context.Context, entries ...Entry) error {
	var blobs []store.Blob
	futures := make([]engine.Future, 0, len(entries))
	indexed, events := make([]store.Entry, len(entries)), make([]*keys.Event, len(entries))
	for i := range entries {
		e := &entries[i]
		if e.Raw != nil {
			blobs = append(blobs, store.Blob{Digest: leaf.SHA256(e.Raw), Bytes: e.Raw})
		}
	}
	if err := l.blobs.Put(ctx, blobs); err != nil {
		return err
	}
	for i := range entries {
		futures = append(futures, l.log.Append(ctx, entries[i].Text))
	}
	for i, future := range futures {
		index, err := future()
		if err != nil {
			return err
		}
		// The engine may let one batch of its own overtake another.
		if index-l.size >= uint64(len(entries)) {
			return fmt.Errorf("an entry behind %d was logged as %d", l.size, index)
		}
		indexed[index-l.size] = store.Entry{Index: index, Text: entries[i].Text, Leaf: entries[i].Leaf}
		events[index-l.size] = eventOf(index, &entries[i])
	}
	for i, e := range events {
		if e == nil {
			continue
		}
		change, err := l.keys.Apply(e)
		if _, refused := reason.Of(err); err != nil && !refused {
			return err
		}
		indexed[i].Keys = change
	}
	l.size += uint64(len(entries))
	return l.index.Add(ctx, indexed)
}

// eventOf returns what an entry does to a key, or nil.
func eventOf(index uint64, e *Entry) *keys.Event {
	switch {
	case e.Leaf == nil:
		return nil
	case e.Attestation == nil:
		return keys.EventOfLeaf(e.Leaf, index)
	}
	return keys.EventOf(e.Attestation, index)
}

// Tree returns the tree of the first size entries.
func (l *Log) Tree(ctx context.Context, size uint64) (tlog.Tree, error) {
	root, err := l.prover.Root(ctx, size, l.size)
	return tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}, err
}

// Sign returns a tree's checkpoint with the log's signature and those of so many
// witnesses.
func (l *Log) Sign(tree tlog.Tree, witnesses int) ([]byte, error) {
	signers := []note.Signer{l.key.Signer}
	for _, w := range l.witnesses[:witnesses] {
		signers = append(signers, w)
	}
	return note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: Origin, Tree: tree}.String()}, signers...)
}

// Publish archives and publishes the checkpoint of all entries.
func (l *Log) Publish(ctx context.Context) error {
	tree, err := l.Tree(ctx, l.size)
	if err != nil {
		return err
	}
	signed, err := l.Sign(tree, Witnesses)
	if err != nil {
		return err
	}
	if err := l.archive.Add(ctx, signed); err != nil {
		return err
	}
	return l.log.Publish(ctx, signed)
}

// Close closes the log; its directory is then that of a ledger that was stopped.
func (l *Log) Close() error {
	return errors.Join(l.archive.Close(), l.index.Close(), l.blobs.Close(), l.log.Close())
}
