// Package rekortest is a Rekor v1 log in memory, for tests: its REST API as far as
// Cairn uses it, entries in rekor's own canonical form, checkpoints and signed
// entry timestamps made with rekor's own code by a key of its own. It can be made
// to lie.
package rekortest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/go-openapi/runtime"
	"github.com/go-openapi/strfmt"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	intoto "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cairnlog/cairn/ledger/rekor"
)

// Shift is what a log has before its first entry in indexes, and not in the tree:
// as a log has whose first shards are closed.
const Shift = 1000

// integratedTime of the first entry; each further one is a second later.
const integratedTime = 1_790_000_000

// Log is a running log.
type Log struct {
	URL string
	Key *rekor.Key
	// TreeID is the shard's; Origin the host in checkpoints.
	TreeID int64
	Origin string
	// Inflate is added to the size in checkpoints: the log signs a size that is not
	// that of the root.
	Inflate uint64
	// Lie changes an answer before it is sent, if it is set.
	Lie func(models.LogEntry) models.LogEntry

	mu       sync.Mutex
	signer   signature.Signer
	bodies   [][]byte
	payloads [][]byte
}

// New starts a log, which ends with the test.
func New(t testing.TB) *Log {
	t.Helper()
	l := &Log{TreeID: 0x1234567890abcd, Origin: "rekor.example"}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if l.signer, err = signature.LoadECDSASigner(private, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	if l.Key, err = rekor.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/log/entries", l.create)
	mux.HandleFunc("GET /api/v1/log/entries", l.byIndex)
	mux.HandleFunc("GET /api/v1/log/entries/{uuid}", l.byUUID)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	l.URL = s.URL
	return l
}

// Add logs an entry as it was proposed, in JSON, with the payload that is kept
// beside it, and returns its index. It does not hold the entry to anything.
func (l *Log) Add(body, payload []byte) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bodies, l.payloads = append(l.bodies, body), append(l.payloads, payload)
	return Shift + int64(len(l.bodies)) - 1
}

// Size returns how many entries the log has.
func (l *Log) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.bodies)
}

// Canonical returns the canonical form of a proposed entry, as rekor has it, and
// what rekor would keep beside it.
func Canonical(ctx context.Context, proposed []byte) (body, payload []byte, err error) {
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), runtime.JSONConsumer())
	if err != nil {
		return nil, nil, err
	}
	entry, err := types.CreateVersionedEntry(pe)
	if err != nil {
		return nil, nil, err
	}
	if body, err = types.CanonicalizeEntry(ctx, entry); err != nil {
		return nil, nil, err
	}
	if with, ok := entry.(types.EntryWithAttestationImpl); ok {
		_, payload = with.AttestationKeyValue()
	}
	return body, payload, nil
}

// Intoto returns the intoto 0.0.2 entry that rekor makes of a DSSE envelope that a
// key, in PEM, signed, and the payload that it keeps.
func Intoto(envelope, key []byte) (body, payload []byte, err error) {
	var env dsse.Envelope
	if err := json.Unmarshal(envelope, &env); err != nil {
		return nil, nil, err
	}
	version, algorithm := intoto.APIVERSION, "sha256"
	sum := sha256.Sum256(envelope)
	digest := hex.EncodeToString(sum[:])
	publicKey := strfmt.Base64(key)
	spec := models.IntotoV002Schema{Content: &models.IntotoV002SchemaContent{
		Hash:     &models.IntotoV002SchemaContentHash{Algorithm: &algorithm, Value: &digest},
		Envelope: &models.IntotoV002SchemaContentEnvelope{PayloadType: &env.PayloadType, Payload: strfmt.Base64(env.Payload)},
	}}
	for _, s := range env.Signatures {
		sig := strfmt.Base64(s.Sig)
		spec.Content.Envelope.Signatures = append(spec.Content.Envelope.Signatures,
			&models.IntotoV002SchemaContentEnvelopeSignaturesItems0{Keyid: s.KeyID, Sig: &sig, PublicKey: &publicKey})
	}
	proposed, err := json.Marshal(&models.Intoto{APIVersion: &version, Spec: spec})
	if err != nil {
		return nil, nil, err
	}
	return Canonical(context.Background(), proposed)
}

func (l *Log) create(w http.ResponseWriter, r *http.Request) {
	var proposed bytes.Buffer
	if _, err := proposed.ReadFrom(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	body, payload, err := Canonical(r.Context(), proposed.Bytes())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if at := l.find(hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(body))); at >= 0 {
		w.Header().Set("Location", "/api/v1/log/entries/"+l.uuid(body))
		refuse(w, http.StatusConflict, "an equivalent entry already exists in the transparency log")
		return
	}
	at := int(l.Add(body, payload) - Shift)
	w.Header().Set("ETag", l.uuid(body))
	w.Header().Set("Location", "/api/v1/log/entries/"+l.uuid(body))
	l.answer(w, r, http.StatusCreated, at)
}

func (l *Log) byIndex(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.Atoi(r.URL.Query().Get("logIndex"))
	if at := index - Shift; err != nil || at < 0 || at >= l.Size() {
		refuse(w, http.StatusNotFound, "grpc error: not found")
	} else {
		l.answer(w, r, http.StatusOK, at)
	}
}

func (l *Log) byUUID(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("uuid")
	if at := l.find(id[max(0, len(id)-64):]); at < 0 {
		refuse(w, http.StatusNotFound, "not found")
	} else {
		l.answer(w, r, http.StatusOK, at)
	}
}

// find returns the place of the entry with a leaf hash, or -1.
func (l *Log) find(leafHash string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, body := range l.bodies {
		if hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(body)) == leafHash {
			return i
		}
	}
	return -1
}

func (l *Log) uuid(body []byte) string {
	return fmt.Sprintf("%016x%x", l.TreeID, rfc6962.DefaultHasher.HashLeaf(body))
}

func (l *Log) answer(w http.ResponseWriter, r *http.Request, status, at int) {
	entry, err := l.Entry(r.Context(), at)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if l.Lie != nil {
		entry = l.Lie(entry)
	}
	reply(w, status, entry)
}

func refuse(w http.ResponseWriter, code int, message string) {
	reply(w, code, models.Error{Code: int64(code), Message: message})
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who asked is gone
}

// Entry returns what the log answers about the entry at a place in its tree.
func (l *Log) Entry(ctx context.Context, at int) (models.LogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body := base64.StdEncoding.EncodeToString(l.bodies[at])
	index, seconds := int64(Shift+at), int64(integratedTime+at)
	m := models.LogEntryAnon{Body: body, IntegratedTime: &seconds, LogID: &l.Key.ID, LogIndex: &index}
	promise, err := l.promise(ctx, &m)
	if err != nil {
		return nil, err
	}
	included, err := l.prove(ctx, at)
	if err != nil {
		return nil, err
	}
	m.Verification = &models.LogEntryAnonVerification{InclusionProof: included, SignedEntryTimestamp: promise}
	if l.payloads[at] != nil {
		m.Attestation = &models.LogEntryAnonAttestation{Data: l.payloads[at]}
	}
	return models.LogEntry{l.uuid(l.bodies[at]): m}, nil
}

// promise returns the signed entry timestamp: over the canonical JSON of the entry
// without its verification.
func (l *Log) promise(ctx context.Context, m *models.LogEntryAnon) ([]byte, error) {
	text, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	canonical, err := jsoncanonicalizer.Transform(text)
	if err != nil {
		return nil, err
	}
	return l.signer.SignMessage(bytes.NewReader(canonical))
}

func (l *Log) prove(ctx context.Context, at int) (*models.InclusionProof, error) {
	size := uint64(len(l.bodies))
	nodes, err := proof.Inclusion(uint64(at), size)
	if err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		hashes[i] = l.subtree(id.Index<<id.Level, min(size, (id.Index+1)<<id.Level))
	}
	if hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		return nil, err
	}
	root := l.subtree(0, size)
	signed, err := util.CreateAndSignCheckpoint(ctx, l.Origin, l.TreeID, size+l.Inflate, root, l.signer)
	if err != nil {
		return nil, err
	}
	index, treeSize, rootHash, checkpoint := int64(at), int64(size), hex.EncodeToString(root), string(signed)
	p := &models.InclusionProof{Checkpoint: &checkpoint, LogIndex: &index, RootHash: &rootHash, TreeSize: &treeSize, Hashes: []string{}}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, hex.EncodeToString(h))
	}
	return p, nil
}

// subtree returns the root of the entries from one to another.
func (l *Log) subtree(from, to uint64) []byte {
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, body := range l.bodies[from:to] {
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(body), nil); err != nil {
			panic(err) // only for what is no hash
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		panic(err)
	}
	return root
}

// Altered returns an answer with its entry changed.
func Altered(answer models.LogEntry, change func(uuid string, m *models.LogEntryAnon) string) models.LogEntry {
	altered := make(models.LogEntry, len(answer))
	for uuid, m := range answer {
		uuid = change(strings.Clone(uuid), &m)
		altered[uuid] = m
	}
	return altered
}
