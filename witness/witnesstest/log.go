// Package witnesstest has a log in memory that can misbehave, for the tests of
// the witness and its parts.
//
// Invariant: all of it is a function of the names it is given, so that a test
// that failed once fails again.
package witnesstest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness"
)

// Key returns an Ed25519 key that is a function of its name.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Signer is an Ed25519 note.Signer of which the verifier key is known.
type Signer struct {
	note.Verifier
	VKey string
	key  ed25519.PrivateKey
}

var _ note.Signer = (*Signer)(nil)

// NewSigner returns the signer of name with the key of seed.
func NewSigner(name, seed string) *Signer {
	key := Key(seed)
	vkey, err := note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // a bad name in a test
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		panic(err)
	}
	return &Signer{Verifier: v, VKey: vkey, key: key}
}

// Sign implements note.Signer.
func (s *Signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// Log is a log in memory. Its methods may be called concurrently.
type Log struct {
	*Signer

	mu     sync.Mutex
	hashes []tlog.Hash // as tlog.StoredHashIndex numbers them
	size   int64
}

// NewLog returns an empty log.
func NewLog(origin string) *Log { return &Log{Signer: NewSigner(origin, origin)} }

// Grow appends n entries. A label tells the entries of one fork from another's.
func (l *Log) Grow(n int, label string) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		more, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "%s %d", label, l.size), l.reader())
		if err != nil {
			panic(err) // the reader has all hashes
		}
		l.hashes = append(l.hashes, more...)
		l.size++
	}
	return l
}

// Fork returns a second log with the same key and the entries until now.
func (l *Log) Fork() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Log{Signer: l.Signer, hashes: append([]tlog.Hash(nil), l.hashes...), size: l.size}
}

// reader reads hashes. l.mu must be held.
func (l *Log) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index >= int64(len(l.hashes)) {
				return nil, fmt.Errorf("no hash %d", index)
			}
			hashes[i] = l.hashes[index]
		}
		return hashes, nil
	})
}

// Size returns the number of entries.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Tree returns the tree of the first n entries.
func (l *Log) Tree(n int64) tlog.Tree {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 {
		return tlog.Tree{Hash: sha256.Sum256(nil)}
	}
	h, err := tlog.TreeHash(n, l.reader())
	if err != nil {
		panic(err) // n is larger than the log
	}
	return tlog.Tree{N: n, Hash: h}
}

// Proof returns the consistency proof between two sizes.
func (l *Log) Proof(from, to int64) []tlog.Hash {
	if from == 0 || from == to {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := tlog.ProveTree(to, from, l.reader())
	if err != nil {
		panic(err) // a size is larger than the log
	}
	return p
}

// Checkpoint returns the signed checkpoint of the first n entries.
func (l *Log) Checkpoint(n int64) []byte { return l.SignTree(l.Tree(n)) }

// SignTree signs any tree.
func (l *Log) SignTree(t tlog.Tree, more ...note.Signer) []byte {
	return SignText(torchwood.Checkpoint{Origin: l.Name(), Tree: t}.String(), append([]note.Signer{l.Signer}, more...)...)
}

// SignText signs any text.
func SignText(text string, signers ...note.Signer) []byte {
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		panic(err) // the text does not end in a newline
	}
	return signed
}

// Request returns an honest add-checkpoint request.
func (l *Log) Request(old, n int64) []byte {
	return witness.Request{Old: old, Proof: l.Proof(old, n), Note: l.Checkpoint(n)}.Marshal()
}

// ServeHTTP serves the log's checkpoint and tiles, as of C2SP tlog-tiles. Full
// tiles have no partial ones, as in a log that collected its garbage.
func (l *Log) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path == "checkpoint" {
		_, _ = rw.Write(l.Checkpoint(l.Size()))
		return
	}
	tile, err := torchwood.ParseTilePath(path)
	if err != nil || tile.L < 0 {
		http.NotFound(rw, r)
		return
	}
	size := l.Size()
	full := (tile.N+1)<<(8*(tile.L+1)) <= size
	if full && tile.W != 256 || (tile.N<<8+int64(tile.W))<<(8*tile.L) > size {
		http.NotFound(rw, r)
		return
	}
	l.mu.Lock()
	data, err := tlog.ReadTileData(tile, l.reader())
	l.mu.Unlock()
	if err != nil {
		http.NotFound(rw, r)
		return
	}
	_, _ = rw.Write(data)
}
