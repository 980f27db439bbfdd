// Package anchor is the file that shows that a checkpoint was in a Rekor log:
// the signed checkpoint, and the log's entry of its digest, with its proof.
//
//	{"schema":"cairn/anchor/v1","checkpoint":"…","rekor":"https://…","entry":{…}}
//
// Invariants:
//   - An anchor has one text, a line of JSON. Parse refuses any other.
//   - Nothing in it is believed before Verify, against a pinned key of the Rekor
//     log. Whether the checkpoint is one of a ledger is for the policy to say.
//   - Verifying needs no network, no clock and no trust root.
//
// The package does no I/O.
package anchor

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/rekor"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Schema is the schema of an anchor.
const Schema = "cairn/anchor/v1"

// Limits of an anchor.
const (
	MaxSize       = 1 << 20 // bytes
	MaxCheckpoint = 64 << 10
)

// Anchor is a checkpoint that is in a Rekor log.
type Anchor struct {
	Checkpoint []byte // signed note, as it was published
	Rekor      string // URL of the log
	Entry      *rekor.Entry
}

// file is an anchor's JSON.
type file struct {
	Schema     string         `json:"schema"`
	Checkpoint string         `json:"checkpoint"`
	Rekor      string         `json:"rekor"`
	Entry      jsontext.Value `json:"entry"`
}

// Parse reads an anchor. It verifies nothing.
func Parse(text []byte) (*Anchor, error) {
	a, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing anchor: %w", err)
	}
	return a, nil
}

func parse(text []byte) (*Anchor, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(text), MaxSize)
	}
	var f file
	if err := json.Unmarshal(text, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	if f.Schema != Schema {
		return nil, fmt.Errorf("schema %.40q, want %q", f.Schema, Schema)
	}
	entry, err := rekor.ParseEntry(f.Entry)
	if err != nil {
		return nil, err
	}
	a := &Anchor{Checkpoint: []byte(f.Checkpoint), Rekor: f.Rekor, Entry: entry}
	again, err := a.marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		return nil, errors.New("it is not in its one encoding")
	}
	return a, nil
}

// Marshal returns the anchor's one text, or an error if Parse would refuse it.
func (a *Anchor) Marshal() ([]byte, error) {
	text, err := a.marshal()
	if err != nil {
		return nil, fmt.Errorf("writing anchor: %w", err)
	}
	return text, nil
}

func (a *Anchor) marshal() ([]byte, error) {
	if _, err := a.Tree(); err != nil {
		return nil, err
	}
	if u, err := url.Parse(a.Rekor); err != nil || u.Host == "" || len(a.Rekor) > 2048 {
		return nil, fmt.Errorf("%.100q is not the URL of a log", a.Rekor)
	}
	entry, err := a.Entry.Marshal()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(file{Schema, string(a.Checkpoint), a.Rekor, entry}, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	if text = append(text, '\n'); len(text) > MaxSize {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(text), MaxSize)
	}
	return text, nil
}

// Tree returns the checkpoint, which nobody may have signed.
func (a *Anchor) Tree() (tlogproof.Checkpoint, error) {
	if len(a.Checkpoint) > MaxCheckpoint {
		return tlogproof.Checkpoint{}, fmt.Errorf("a checkpoint of %d bytes is over the limit of %d", len(a.Checkpoint), MaxCheckpoint)
	}
	_, err := note.Open(a.Checkpoint, nil)
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return tlogproof.Checkpoint{}, errors.New("the checkpoint is not a signed note")
	}
	return tlogproof.ParseCheckpoint(unverified.Note.Text)
}

// Verify verifies that the Rekor log with this key has the checkpoint, and
// returns the key that it was signed with for that log.
func (a *Anchor) Verify(key *rekor.Key) (*attest.PublicKey, error) {
	if err := a.Entry.Verify(key); err != nil {
		return nil, fmt.Errorf("the entry is not proven: %w", err)
	}
	signer, err := a.Entry.Signed(a.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("the entry is not of this checkpoint: %w", err)
	}
	return signer, nil
}
