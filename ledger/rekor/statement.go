package rekor

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cairnlog/cairn/ledger/attest"
)

// PredicateEntry is the type of the statement that a Rekor log has an entry.
const PredicateEntry = "https://github.com/cairnlog/cairn/attestation/rekor-entry/v0.1"

// Predicate is what the statement about an entry holds: all that it takes to
// verify the entry again, offline. The key is the one that the importer had
// pinned; whether it is the log's is for the reader to say.
type Predicate struct {
	Log       string         `json:"log"`       // URL
	PublicKey string         `json:"publicKey"` // PEM; its SHA-256 is the entry's logID
	Entry     jsontext.Value `json:"entry"`     // of an Entry
}

// Statement returns the statement that the log at a URL has the entry, which
// verifies with the key. It is about the entry, by its leaf hash, and about the
// digests that the entry is about.
func (e *Entry) Statement(logURL string, key *Key) (*attest.Statement, error) {
	if err := e.Verify(key); err != nil {
		return nil, err
	}
	subjects, err := e.descriptors(logURL + "/api/v1/log/entries/" + e.UUID)
	if err != nil {
		return nil, err
	}
	text, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	return attest.NewStatement(PredicateEntry, Predicate{Log: logURL, PublicKey: key.PEM, Entry: text}, subjects...)
}

// Imported is an entry that a statement is about, with what the statement says of
// its log.
type Imported struct {
	*Entry
	Log string // URL
	Key *Key   // that proves the entry; whose it is, its ID has to say
}

// FromStatement returns the entry that a statement is about, once it verified with
// the statement's key.
func FromStatement(st *attest.Statement) (*Imported, error) {
	if st == nil || st.PredicateType != PredicateEntry {
		return nil, fmt.Errorf("the statement is not of type %s", PredicateEntry)
	}
	var p Predicate
	if err := json.Unmarshal(st.Predicate, &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("parsing the predicate: %w", err)
	}
	key, err := ParseKey([]byte(p.PublicKey))
	if err != nil {
		return nil, err
	}
	e, err := ParseEntry(p.Entry)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(key); err != nil {
		return nil, err
	}
	return &Imported{Entry: e, Log: p.Log, Key: key}, nil
}
