package certification

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// PageSize is the most certifications that a page of a list has.
const PageSize = 1000

// MaxPage bounds a page, in bytes.
const MaxPage = 4 << 20

// Entry is an entry of the log that is about a name.
type Entry struct {
	Index uint64
	File
	Claim  leaf.Claim
	Result leaf.Result
}

// EntryOf returns what a list says of an entry.
func EntryOf(index uint64, l *leaf.Leaf) Entry {
	return Entry{Index: index, File: File{l.Envelope, l.Format}, Claim: l.Claim, Result: l.Result}
}

// The types of a list's members, in the words of the repository that this follows:
// a collection is a further page.
const (
	typeObject     = "object"
	typeCollection = "collection"
)

// member is one member of a list.
type member struct {
	URL    string      `json:"url"`  // relative to the server's root
	Path   string      `json:"path"` // the same without the slash
	Name   string      `json:"name"`
	Type   string      `json:"type"`
	Index  uint64      `json:"index"`
	SHA256 string      `json:"sha256,omitempty"`
	Format string      `json:"format,omitempty"`
	Claim  leaf.Claim  `json:"claim,omitempty"`
	Result leaf.Result `json:"result,omitempty"`
	Proof  string      `json:"proof,omitempty"` // URL
}

func memberOf(dir, name, kind string) member {
	path := Root + "/" + dir + "/" + name
	return member{URL: "/" + path, Path: path, Name: name, Type: kind}
}

// Path returns the path of a file in a directory.
func Path(dir, name string) string { return Root + "/" + dir + "/" + name }

// Page is one page of a list: certifications in log order, and the entry that the
// next page begins at; 0 if it is the last, for no package's entry is the first of
// a log, which enrols a key.
type Page struct {
	Entries []Entry
	Next    uint64
}

// Marshal returns the page of a directory: a JSON array with one member in a line.
func (p *Page) Marshal(dir string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('[')
	write := func(m *member) error {
		text, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("writing a list of certifications: %w", err)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(text)
		return nil
	}
	for i := range p.Entries {
		if err := write(p.Entries[i].member(dir)); err != nil {
			return nil, err
		}
	}
	if p.Next > 0 {
		m := memberOf(dir, pageName(p.Next), typeCollection)
		m.Index = p.Next
		if err := write(&m); err != nil {
			return nil, err
		}
	}
	b.WriteString("\n]\n")
	return b.Bytes(), nil
}

func (e *Entry) member(dir string) *member {
	m := memberOf(dir, e.Name(), typeObject)
	m.Index, m.SHA256, m.Format, m.Claim = e.Index, e.Envelope.Hex(), e.Format, e.Claim
	if e.Result != leaf.NoResult {
		m.Result = e.Result
	}
	m.Proof = m.URL + ProofSuffix
	return &m
}

// MarshalEntry returns what a list in a directory says of an entry, as a JSON object.
func MarshalEntry(dir string, e Entry) ([]byte, error) {
	text, err := json.Marshal(e.member(dir))
	return append(text, '\n'), err
}

// UnmarshalPage reads a page of a directory. It takes only what Marshal writes.
func UnmarshalPage(dir string, text []byte) (*Page, error) {
	var members []member
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("reading a list of certifications: %w", err)
	}
	p := &Page{}
	for i := range members {
		m := &members[i]
		if m.Type == typeCollection {
			p.Next = m.Index
			continue
		}
		e := Entry{Index: m.Index, File: File{leaf.Digest("sha256:" + m.SHA256), m.Format}, Claim: m.Claim, Result: m.Result}
		if e.Result == "" {
			e.Result = leaf.NoResult
		}
		if !e.Envelope.Valid() {
			return nil, fmt.Errorf("reading a list of certifications: %.80q is no SHA-256", m.SHA256)
		}
		if n := len(p.Entries); n > 0 && p.Entries[n-1].Index >= e.Index {
			return nil, fmt.Errorf("reading a list of certifications: entry %d follows entry %d", e.Index, p.Entries[n-1].Index)
		}
		p.Entries = append(p.Entries, e)
	}
	if again, err := p.Marshal(dir); err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("reading a list of certifications: it is not as this program writes it")
	}
	return p, nil
}

// Pages divides a whole list, which is in log order, into pages by their names.
func Pages(entries []Entry) (names []string, pages []Page) {
	name := Index
	for {
		n := min(len(entries), PageSize)
		p := Page{Entries: entries[:n:n]}
		entries = entries[n:]
		if len(entries) > 0 {
			p.Next = entries[0].Index
		}
		names, pages = append(names, name), append(pages, p)
		if len(entries) == 0 {
			return names, pages
		}
		name = pageName(p.Next)
	}
}

// NextPage returns the name of the page that follows, or nothing.
func (p *Page) NextPage() string {
	if p.Next == 0 {
		return ""
	}
	return pageName(p.Next)
}
