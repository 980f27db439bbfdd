package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/store"
)

// Names in the directories of ledgers and mirrors.
const (
	ledgerLog      = "log"
	ledgerBlobs    = "blobs.db"
	ledgerState    = ".state" // Tessera's own, in the log
	mirrorIndexDir = "index"
	mirrorTermsDir = mirrorIndexDir + "/terms"
)

// OpenDir opens a directory: that of a ledger, with log, blobs.db and index.db
// in it, or a copy of a log that a mirror keeps or a web server serves, or the
// bucket of a ledger with several front ends, which is one, too.
func OpenDir(path string) (Copy, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Copy{}, err
	}
	if !info.IsDir() {
		return Copy{}, fmt.Errorf("%s is not a directory", path)
	}
	if info, err := os.Stat(filepath.Join(path, ledgerLog)); err == nil && info.IsDir() {
		return OpenLedger(path, filepath.Join(path, ledgerLog), filepath.Join(path, ledgerBlobs), filepath.Join(path, indexName)), nil
	}
	for _, name := range []string{"checkpoint", "tile", "checkpoints"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			d := dir{root: path}
			ahead := d.bucketAhead()
			if d.isIndexed() {
				ahead = func() uint64 { return mirror.Ahead(context.Background(), mirror.Dir(path)) }
			}
			return Copy{Source: &mirrorDir{d}, Place: path, Kind: Mirror, Unpublished: ahead}, nil
		}
	}
	return Copy{}, fmt.Errorf("%s holds neither a ledger (log, blobs.db, index.db) nor a copy of a log (checkpoint, tile)", path)
}

// OpenLedger opens a ledger's parts, wherever they are: the directory of its log, and
// the databases of the attestations and of the query index.
func OpenLedger(place, log, blobs, index string) Copy {
	d := dir{root: log}
	return Copy{
		Source: &ledgerDir{dir: d, blobs: newBlobs(blobs)}, Place: place, Kind: Ledger,
		Index: index, Blobs: blobs, Unpublished: d.storedSize,
	}
}

// dir reads a log's directory.
type dir struct{ root string }

// isIndexed reports whether it is a mirror's with an index.
func (d dir) isIndexed() bool {
	_, err := os.Lstat(filepath.Join(d.root, mirrorIndexDir, "progress"))
	return err == nil
}

// Read implements Source. A symbolic link is not followed, and nothing that is
// no file is waited for.
func (d dir) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.root, filepath.FromSlash(path)), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	case errors.Is(err, unix.ELOOP):
		return nil, &Damage{"it is a symbolic link"}
	case err != nil:
		return nil, &Damage{cause(err).Error()}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, &Damage{cause(err).Error()}
	}
	if !info.Mode().IsRegular() {
		return nil, &Damage{"it is no regular file"}
	}
	if info.Size() > limit {
		return nil, &Damage{fmt.Sprintf("%d bytes are over the limit of %d", info.Size(), limit)}
	}
	b := make([]byte, info.Size())
	if n, err := io.ReadFull(f, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return b[:n], nil // it shrank meanwhile: what is left is looked at
		}
		return nil, &Damage{cause(err).Error()}
	}
	return b, nil
}

// cause is an error of package os without the path, which a finding names.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Files implements Source.
func (d dir) Files(ctx context.Context, visit func(File) error) error {
	return filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, relErr := filepath.Rel(d.root, path)
		if relErr != nil {
			return relErr
		}
		f := File{Path: filepath.ToSlash(rel)}
		switch {
		case err != nil:
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted since it was listed
			}
			f.Problem = cause(err).Error()
			return visit(f)
		case e.IsDir():
			if rel == ledgerState {
				return filepath.SkipDir
			}
			return nil
		case e.Type()&fs.ModeSymlink != 0:
			f.Problem = "it is a symbolic link"
		case !e.Type().IsRegular():
			f.Problem = "it is no regular file"
		}
		return visit(f)
	})
}

// storedSize returns the size of the tree that Tessera keeps, which may be ahead
// of the checkpoint; 0 if that is not known.
func (d dir) storedSize() uint64 {
	b, err := d.Read(context.Background(), ledgerState+"/treeState", 4096)
	if err != nil {
		return 0
	}
	var s struct {
		Size uint64 `json:"size"`
	}
	if json.Unmarshal(b, &s) != nil || s.Size > 1<<56 {
		return 0
	}
	return s.Size
}

// ledgerDir is a ledger's own directory.
type ledgerDir struct {
	dir
	blobs *blobs
}

// Attestations implements Source.
func (l *ledgerDir) Attestations(ctx context.Context, envelopes []leaf.Digest) ([][]byte, error) {
	return l.blobs.get(ctx, envelopes)
}

// Close implements Source.
func (l *ledgerDir) Close() error { return l.blobs.close() }

// mirrorDir is a mirror's directory, in which each attestation is a file.
type mirrorDir struct{ dir }

// Attestations implements Source.
func (m *mirrorDir) Attestations(ctx context.Context, envelopes []leaf.Digest) ([][]byte, error) {
	if _, err := os.Lstat(filepath.Join(m.root, store.AttestationsDir)); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoAttestations
	}
	raws := make([][]byte, len(envelopes))
	for i, e := range envelopes {
		raw, err := m.Read(ctx, store.AttestationPath(e), attest.MaxEnvelope)
		if what, damaged := damageOf(err); damaged {
			raw, err = []byte("unreadable: "+what), nil // other bytes than those logged
		}
		if err != nil && !isMissing(err) {
			return nil, err
		}
		raws[i] = raw
	}
	return raws, nil
}

// Close implements Source.
func (m *mirrorDir) Close() error { return nil }

// isAttestationPath reports whether a mirror has files of this name below the
// directory of its attestations.
func isAttestationPath(name string) bool {
	_, h, _ := strings.Cut(name, "/")
	d, err := leaf.ParseDigest("sha256:" + h)
	return err == nil && store.AttestationPath(d) == store.AttestationsDir+"/"+name
}
