package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
)

const (
	manifestName   = "cairn-bundle"
	manifestHeader = "cairn.bundle/v1"
	sumPrefix      = "manifest " // of the last line
)

// member is one file of the archive.
type member struct {
	name string
	data []byte
}

func (e *Entry) attestationName() string { return fmt.Sprintf("entries/%020d.attestation", e.Index) }
func (e *Entry) proofName() string       { return fmt.Sprintf("entries/%020d.tlog-proof", e.Index) }

// indexOf reads the index in the name of an entry's part. Whether it is written
// in the one way, the caller finds by writing it.
func indexOf(name string) (int64, error) {
	digits, ok := strings.CutPrefix(name, "entries/")
	digits, _, dot := strings.Cut(digits, ".")
	index, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !dot || err != nil || index < 0 {
		return 0, fmt.Errorf("%.160q is no part of a bundle", name)
	}
	return index, nil
}

// unpack returns the members of an archive, without copying them.
func unpack(file []byte) ([]member, error) {
	r := bytes.NewReader(file)
	archive := tar.NewReader(r)
	var members []member
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading member %d: %w", len(members), err)
		}
		if h.Typeflag != tar.TypeReg || h.Size < 0 || h.Size > int64(r.Len()) {
			return nil, fmt.Errorf("member %d, %.160q, is not a file of the archive's", len(members), h.Name)
		}
		if len(members) > 2*MaxEntries {
			return nil, fmt.Errorf("more than %d entries", MaxEntries)
		}
		at := int64(len(file) - r.Len())
		members = append(members, member{h.Name, file[at : at+h.Size : at+h.Size]})
	}
}

// write writes the bundle's one encoding.
func (b *Bundle) write(w io.Writer) error {
	var m manifest
	m.artifact, m.names = b.Artifact, b.Names
	members := make([]member, 1, 1+2*len(b.Entries))
	size := 0
	for i := range b.Entries {
		e := &b.Entries[i]
		members = append(members, member{e.attestationName(), e.Attestation}, member{e.proofName(), e.Proof})
	}
	for _, part := range members[1:] {
		m.parts = append(m.parts, describe(part))
		size += tarSize(len(part.data))
	}
	members[0] = member{manifestName, m.marshal()}
	if size += tarSize(len(members[0].data)) + 2*tarBlock; size > MaxSize {
		return fmt.Errorf("%d bytes are over the limit of %d", size, MaxSize)
	}
	archive := tar.NewWriter(w)
	for _, part := range members {
		if err := writeMember(archive, part); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("the end: %w", err)
	}
	return nil
}

const tarBlock = 512

// tarSize is the space of a member of n bytes.
func tarSize(n int) int { return tarBlock + (n+tarBlock-1)/tarBlock*tarBlock }

// writeMember writes one member, whose header says nothing but name and size.
func writeMember(archive *tar.Writer, m member) error {
	err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.data)), Mode: 0o644,
		ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	})
	if err != nil {
		return err
	}
	if _, err := archive.Write(m.data); err != nil {
		return err
	}
	return archive.Flush() // the padding, so that an error names this member
}

// manifest is the first member.
type manifest struct {
	artifact leaf.Digest
	names    []string
	parts    []part
}

// part is what the manifest says of another member.
type part struct {
	digest leaf.Digest
	size   int
	name   string
}

func describe(m member) part { return part{leaf.SHA256(m.data), len(m.data), m.name} }

func (m *manifest) marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nartifact %s\n", manifestHeader, m.artifact)
	for _, n := range m.names {
		fmt.Fprintf(&b, "name %s\n", n)
	}
	for _, p := range m.parts {
		fmt.Fprintf(&b, "%s %d %s\n", p.digest, p.size, p.name)
	}
	return fmt.Appendf(b.Bytes(), "%s%s\n", sumPrefix, leaf.SHA256(b.Bytes()))
}

// parseManifest reads a manifest. That it is written in the one way is seen
// when the bundle is written again.
func parseManifest(b []byte) (*manifest, error) {
	above, sum, ok := cutLastLine(b)
	if want := sumPrefix + string(leaf.SHA256(above)); !ok || sum != want {
		return nil, fmt.Errorf("its last line is not %q: it was changed, or cut off", want)
	}
	m := &manifest{}
	n := 0
	// One by one: half a gigabyte can have as many lines.
	for line := range strings.SplitSeq(strings.TrimSuffix(string(above), "\n"), "\n") {
		switch n++; {
		case n == 1 && line != manifestHeader:
			return nil, fmt.Errorf("its first line is %.160q, not %q", line, manifestHeader)
		case n == 1:
			continue
		case len(m.names) > MaxNames || len(m.parts) > 2*MaxEntries:
			return nil, fmt.Errorf("line %d: more than %d names, or %d entries", n, MaxNames, MaxEntries)
		}
		if err := m.parseLine(line, n == 2); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return m, nil
}

// cutLastLine cuts a text before its last line.
func cutLastLine(b []byte) (above []byte, line string, ok bool) {
	b, ok = bytes.CutSuffix(b, []byte("\n"))
	at := bytes.LastIndexByte(b, '\n') + 1
	return b[:at], string(b[at:]), ok
}

func (m *manifest) parseLine(line string, first bool) error {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case first:
		d, err := leaf.ParseDigest(rest)
		if word != "artifact" || err != nil {
			return fmt.Errorf("%.160q does not name the artifact", line)
		}
		m.artifact = d
		return nil
	case word == "name":
		m.names = append(m.names, rest)
		return nil
	}
	size, name, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(size, 10, 31)
	d, derr := leaf.ParseDigest(word)
	if err != nil || derr != nil {
		return fmt.Errorf("%.160q is not of the form sha256:<hex> <size> <member>", line)
	}
	m.parts = append(m.parts, part{d, int(n), name})
	return nil
}

// lists checks that the members are those of the manifest.
func (m *manifest) lists(members []member) error {
	for i, p := range m.parts {
		if i == len(members) {
			return fmt.Errorf("%.160q is missing", p.name)
		}
		got := describe(members[i])
		switch {
		case got.name != p.name:
			return fmt.Errorf("%.160q is where the manifest has %.160q", got.name, p.name)
		case got.size != p.size:
			return fmt.Errorf("%s: %d bytes, the manifest says %d", p.name, got.size, p.size)
		case got.digest != p.digest:
			return fmt.Errorf("%s: its digest is %s, the manifest says %s", p.name, got.digest, p.digest)
		}
	}
	if len(members) > len(m.parts) {
		return fmt.Errorf("%.160q is not in the manifest", members[len(m.parts)].name)
	}
	return nil
}

// oneLine reports whether s can stand on a line of the manifest.
func oneLine(s string) bool { return !strings.ContainsAny(s, "\r\n") }
