// Package clienttest is a ledger in memory for tests of what asks one.
//
// It speaks the REST API of docs/api.md as the gateway does, and serves its tiles,
// with true Merkle trees and signatures, and unlike a true ledger it can be told to lie: Tamper
// changes an answer before it is sent. It keeps nothing, limits nothing and
// publishes at once; what it refuses, it refuses as the ledger does.
package clienttest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Ledger is a log in memory. Set its fields before the first request.
type Ledger struct {
	// Tamper is given each answer, with the name of the RPC, before it is sent.
	Tamper func(rpc string, answer proto.Message)
	// Refuse is asked before each request is served; what it returns is the
	// answer, if anything. A *reason.Error is encoded as the gateway does.
	Refuse func(r *http.Request) error

	origin string
	vkey   string
	signer note.Signer

	mu      sync.Mutex // guards what follows
	entries []entry
	hashes  []tlog.Hash // by tlog.StoredHashIndex
	keys    *keys.Admission
}

type entry struct {
	att      *attest.Attestation
	identity [32]byte
}

// New returns an empty log with a key of its own.
func New(origin string) (*Ledger, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("generating the log's key: %w", err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	return &Ledger{origin: origin, vkey: vkey, signer: signer, keys: keys.NewAdmission(new(keys.History))}, nil
}

// VKey returns the log's public key as a policy's log line has it.
func (l *Ledger) VKey() string { return l.vkey }

// Sign returns the signed checkpoint of a tree, whether or not it is the
// log's.
func (l *Ledger) Sign(tree tlog.Tree) (string, error) {
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: l.origin, Tree: tree}.String()}, l.signer)
	return string(signed), err
}

// ServeHTTP implements http.Handler.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Refuse != nil {
		if err := l.Refuse(r); err != nil {
			writeError(w, err)
			return
		}
	}
	mux := http.NewServeMux()
	handle := func(pattern, rpc string, serve func(*http.Request) (proto.Message, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			m, err := serve(r)
			if err != nil {
				writeError(w, err)
				return
			}
			if l.Tamper != nil {
				m = proto.Clone(m) // a lie is told once, and does not become what the log holds
				l.Tamper(rpc, m)
			}
			writeJSON(w, m)
		})
	}
	handle("POST /v1/attestations", "SubmitAttestation", l.submit)
	handle("GET /v1/attestations/{envelope}", "GetAttestation", l.attestation)
	handle("GET /v1/attestations", "ListAttestations", l.list)
	handle("GET /v1/artifacts/{digest}", "GetArtifact", l.artifact)
	handle("GET /v1/keys/{fingerprint}", "GetKey", l.key)
	handle("GET /v1/log/checkpoint", "GetCheckpoint", l.checkpoint)
	handle("GET /v1/log/entries/{index}", "GetEntry", l.entry)
	handle("GET /v1/log/proofs/inclusion", "GetInclusionProof", l.inclusion)
	handle("GET /v1/log/proofs/consistency", "GetConsistencyProof", l.consistency)
	mux.HandleFunc("GET /checkpoint", l.file)
	mux.HandleFunc("GET /tile/", l.file)
	mux.ServeHTTP(w, r)
}

func writeJSON(w http.ResponseWriter, m proto.Message) {
	body, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if s, ok := m.(*cairnv1.SubmitAttestationResponse); ok && s.GetCreated() {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = w.Write(body)
}

func writeError(w http.ResponseWriter, err error) {
	e, ok := reason.Of(err)
	if !ok {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
	}
	row := reason.Lookup(e.Reason)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(row.HTTP)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"code":    row.Code,
		"message": e.Message,
		"details": []map[string]string{{
			"@type":  "type.googleapis.com/google.rpc.ErrorInfo",
			"reason": string(e.Reason),
			"domain": reason.Domain,
		}},
	})
}

// Add logs an attestation, and returns its index and whether it is new.
func (l *Ledger) Add(raw []byte) (index int64, created bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(raw)
}

func (l *Ledger) add(raw []byte) (index int64, created bool, err error) {
	a, err := attest.Open(raw, l.keys)
	if err != nil {
		return 0, false, err
	}
	id := a.Leaf.Identity()
	for i, e := range l.entries {
		if e.identity == id {
			return int64(i), false, nil
		}
	}
	if _, err := l.keys.Admit(a); err != nil {
		return 0, false, err
	}
	index = int64(len(l.entries))
	hashes, err := tlog.StoredHashes(index, a.Text, l)
	if err != nil {
		return 0, false, err
	}
	l.hashes = append(l.hashes, hashes...)
	l.entries = append(l.entries, entry{a, id})
	if e := keys.EventOf(a, uint64(index)); e != nil {
		if _, err := l.keys.Apply(e); err != nil {
			return 0, false, err
		}
		l.keys.Settle(id)
	}
	return index, true, nil
}

// ReadHashes implements tlog.HashReader.
func (l *Ledger) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, 0, len(indexes))
	for _, i := range indexes {
		list = append(list, l.hashes[i])
	}
	return list, nil
}

// Tree returns the tree of the first n entries.
func (l *Ledger) Tree(n int64) (tlog.Tree, error) {
	h, err := tlog.TreeHash(n, l)
	return tlog.Tree{N: n, Hash: h}, err
}

func (l *Ledger) latest() (string, error) {
	tree, err := l.Tree(int64(len(l.entries)))
	if err != nil {
		return "", err
	}
	return l.Sign(tree)
}

func (l *Ledger) submit(r *http.Request) (proto.Message, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	index, created, err := l.add(raw)
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.SubmitAttestationResponse{
		Index: index, Leaf: string(l.entries[index].att.Text), Created: created,
	}
	if r.URL.Query().Get("wait") == "sequenced" {
		return resp, nil
	}
	resp.InclusionProof, err = l.prove(index, int64(len(l.entries)))
	if err != nil {
		return nil, err
	}
	resp.Checkpoint, err = l.latest()
	return resp, err
}
