// Package bundle is the file that holds all evidence about an artifact and its
// ancestry: attestations with the proofs that they are logged, and the keys that
// signed them. It holds no policy: whom to believe is the verifier's own.
//
// The file is a tar archive (POSIX ustar, not compressed), so that `tar tf` lists
// it, and what `tar xf` takes out of it is what `cairn verify` takes:
//
//	cairn-bundle
//	entries/00000000000000000000.attestation     as it was submitted
//	entries/00000000000000000000.tlog-proof      C2SP tlog-proof
//	entries/00000000000000000007.attestation
//	…
//
// The first member says what the others are:
//
//	cairn.bundle/v1
//	artifact sha256:<hex>
//	name <purl>                                  0..64, sorted
//	sha256:<hex> <size> <member>                 of each that follows
//	manifest sha256:<hex>                        of the lines above
//
// Invariants:
//   - A bundle has one encoding: every byte of the file follows from the
//     contents, and Parse refuses any other file. So no byte of it can change
//     by itself, not even one that a verifier has no use for. Who changes the
//     manifest too makes another bundle, which is worth what it proves.
//   - Each entry is there once, ascending by index, with both its parts, and its
//     proof is of that index.
//   - Nothing here is verified: whether a proof proves anything is for package
//     verify to say.
//
// The package does no I/O.
package bundle

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Limits of a bundle. Its parts have those of their own formats.
const (
	MaxSize    = 512 << 20 // bytes of the file
	MaxEntries = 100_000
	MaxNames   = 64
)

// Bundle is evidence that was collected about an artifact.
type Bundle struct {
	Artifact leaf.Digest // what it was collected about
	Names    []string    // canonical purls under which it was asked for, sorted
	Entries  []Entry     // ascending by index, each once
}

// Entry is one entry of a log: about the artifact, about something in its
// ancestry, or the enrolment of a key that signed one of these.
type Entry struct {
	Index       int64
	Attestation []byte // as it was submitted
	// Proof is a C2SP tlog-proof with the leaf and the signers' keys as extra.
	Proof []byte
}

// Parse reads a bundle. It verifies nothing. The result refers to file, which
// must not be changed any more. Errors name the part that is wrong.
func Parse(file []byte) (*Bundle, error) {
	b, err := parse(file)
	if err != nil {
		return nil, fmt.Errorf("parsing bundle: %w", err)
	}
	return b, nil
}

func parse(file []byte) (*Bundle, error) {
	if len(file) > MaxSize {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(file), MaxSize)
	}
	members, err := unpack(file)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 || members[0].name != manifestName {
		return nil, fmt.Errorf("the first member is not %s", manifestName)
	}
	m, err := parseManifest(members[0].data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	if err := m.lists(members[1:]); err != nil {
		return nil, err
	}
	b := &Bundle{Artifact: m.artifact, Names: m.names}
	if b.Entries, err = entriesOf(members[1:]); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	same := &comparer{rest: file}
	if err := b.write(same); err != nil {
		return nil, err
	}
	if len(same.rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the end", len(same.rest))
	}
	return b, nil
}

// Marshal returns the bundle's one encoding, or an error if Parse would refuse
// it.
func (b *Bundle) Marshal() ([]byte, error) {
	var file bytes.Buffer
	err := b.check()
	if err == nil {
		err = b.write(&file)
	}
	if err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	return file.Bytes(), nil
}

// check checks everything but that the parts are where they belong.
func (b *Bundle) check() error {
	if !b.Artifact.Valid() {
		return fmt.Errorf("%s: invalid artifact %.160q", manifestName, b.Artifact)
	}
	if err := checkNames(b.Names); err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	if len(b.Entries) > MaxEntries {
		return fmt.Errorf("%d entries are over the limit of %d", len(b.Entries), MaxEntries)
	}
	last := int64(-1)
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.Index <= last {
			return fmt.Errorf("entry %d follows entry %d: they must ascend", e.Index, last)
		}
		last = e.Index
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

func checkNames(names []string) error {
	if len(names) > MaxNames {
		return fmt.Errorf("%d names are over the limit of %d", len(names), MaxNames)
	}
	for i, n := range names {
		canonical, err := attest.CanonicalPurl(n)
		switch {
		case err != nil:
			return err
		case canonical != n || !oneLine(n):
			return fmt.Errorf("name %.160q is not a canonical package URL", n)
		case i > 0 && names[i-1] >= n:
			return fmt.Errorf("name %.160q is not after %.160q: they must be sorted", n, names[i-1])
		}
	}
	return nil
}

func (e *Entry) check() error {
	if n := len(e.Attestation); n == 0 || n > attest.MaxEnvelope {
		return fmt.Errorf("%s: %d bytes are not between 1 and the limit of %d", e.attestationName(), n, attest.MaxEnvelope)
	}
	p, err := tlogproof.Parse(e.Proof)
	if err != nil {
		return fmt.Errorf("%s: %w", e.proofName(), err)
	}
	if p.Index != e.Index {
		return fmt.Errorf("%s: the proof is of entry %d", e.proofName(), p.Index)
	}
	return nil
}

// entriesOf puts the members after the manifest together again.
func entriesOf(members []member) ([]Entry, error) {
	var entries []Entry
	for len(members) > 0 {
		index, err := indexOf(members[0].name)
		if err != nil {
			return nil, err
		}
		e := Entry{Index: index, Attestation: members[0].data}
		if members[0].name != e.attestationName() {
			return nil, fmt.Errorf("%s: want %s before it", members[0].name, e.attestationName())
		}
		if len(members) < 2 || members[1].name != e.proofName() {
			return nil, fmt.Errorf("%s: want %s after it", members[0].name, e.proofName())
		}
		e.Proof = members[1].data
		entries = append(entries, e)
		members = members[2:]
	}
	return entries, nil
}

var errDifferent = errors.New("the bytes are not those that it is written with")

// comparer is a writer that fails at the first byte that is not that of rest.
type comparer struct{ rest []byte }

func (c *comparer) Write(b []byte) (int, error) {
	rest, ok := bytes.CutPrefix(c.rest, b)
	if !ok {
		return 0, errDifferent
	}
	c.rest = rest
	return len(b), nil
}
