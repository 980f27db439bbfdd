package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// maxLines bounds a file of JSON lines.
const maxLines = 64 * attest.MaxEnvelope

// readAttestations reads what is to be submitted of a file; "-" is stdin. What is
// in no format that is told here is left to the ledger.
func (a *app) readAttestations(path string, s *submission) ([][]byte, error) {
	raw, err := a.readInput(path)
	if err != nil {
		return nil, err
	}
	if s.signature != "" {
		sig, err := cmdline.ReadSmall("signature", s.signature)
		if err != nil {
			return nil, err
		}
		return joined(raw, sig, s.split)
	}
	if lines := jsonLines(raw); len(lines) > 1 {
		return lines, nil
	}
	if len(raw) > attest.MaxEnvelope {
		return nil, reason.Errorf(reason.EnvelopeTooLarge, "%s is over the limit of %d bytes", path, attest.MaxEnvelope)
	}
	if keys, err := attest.SplitOpenPGPKeys(raw); err == nil && len(keys) > 1 {
		return keys, nil
	}
	if path != "-" && isUnsigned(raw) {
		sig, err := beside(path)
		if sig == nil {
			return [][]byte{raw}, err
		}
		return joined(raw, sig, s.split)
	}
	if s.split {
		if each, err := attest.SplitDetached(raw); err == nil {
			return each, nil
		}
	}
	return [][]byte{raw}, nil
}

// readAttestation reads the one attestation of a file, as it would be submitted.
func (a *app) readAttestation(path string) ([]byte, error) {
	each, err := a.readAttestations(path, new(submission))
	if err != nil {
		return nil, err
	}
	if len(each) > 1 {
		return nil, cmdline.Usagef("put each into a file of its own", "%s holds %d attestations, not one", path, len(each))
	}
	return each[0], nil
}

func (a *app) readInput(path string) ([]byte, error) {
	r := a.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, missingFile(path, err)
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxLines+1))
	if err != nil {
		return nil, cmdline.Unreadable("reading "+path, cmdline.PathCause(err))
	}
	if len(raw) > maxLines {
		return nil, reason.Errorf(reason.EnvelopeTooLarge, "%s is over the limit of %d bytes", path, maxLines)
	}
	return raw, nil
}

// joined joins a document and its signatures.
func joined(document, signatures []byte, split bool) ([][]byte, error) {
	if split {
		return importer.JoinEach(document, signatures)
	}
	one, err := importer.Join(document, signatures)
	return [][]byte{one}, err
}

// isUnsigned reports whether raw is in no format of attestations, so that it may
// be a document with a signature elsewhere.
func isUnsigned(raw []byte) bool {
	_, err := attest.Open(raw, attest.NewKeyring())
	refusal, ok := reason.Of(err)
	return ok && refusal.Reason == reason.FormatUnknown
}

// beside returns the detached signature beside a document, or nil if there is none.
func beside(path string) ([]byte, error) {
	for _, suffix := range importer.DetachedSuffixes() {
		b, err := cmdline.ReadSmall("signature", path+suffix)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, nil
}

// jsonLines returns the lines of JSON lines, each one object, or nil if b is
// anything else: one object may have lines of its own.
func jsonLines(b []byte) [][]byte {
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) || json.Valid(b) {
		return nil
	}
	lines := importer.Lines(b)
	for _, line := range lines {
		if line[0] != '{' || !json.Valid(line) {
			return nil
		}
	}
	return lines
}

// numbered returns the name for the n-th of several things, of which the first is
// 0; a suffix stays at the end. An empty name stays empty.
func numbered(name, suffix string, n, of int) string {
	if of == 1 || name == "" {
		return name
	}
	return fmt.Sprintf("%s#%d%s", strings.TrimSuffix(name, suffix), n+1, suffix)
}

// advised says what to do about a refusal, where submit has flags for it.
func advised(s *submission, raw []byte, err error) error {
	p := cmdline.Classify(err)
	if p.Reason == reason.FormatUnknown && s.signature == "" {
		p.Hint = "if it is a document, put its OpenPGP signature beside it as FILE.asc, or name it with --signature"
	}
	if each, serr := attest.SplitDetached(raw); p.Reason == reason.KeyNotEnrolled && !s.split && serr == nil && len(each) > 1 {
		p.Hint = fmt.Sprintf("all %d keys must be enrolled; to log the signatures of those that are, give --split", len(each))
	}
	return p
}
