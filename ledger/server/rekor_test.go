package server_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	rekorv1 "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/server"
)

// rekorRequest returns what a client of Rekor's sends for an artifact.
func rekorRequest(t testing.TB, name, artifact string) *rekorpb.CreateEntryRequest {
	t.Helper()
	var entry rekorpb.Entry
	if err := protojson.Unmarshal(leaftest.HashedRekord(t, name, artifact), &entry); err != nil {
		t.Fatal(err)
	}
	h := entry.GetSpec().GetHashedRekordV002()
	return &rekorpb.CreateEntryRequest{Spec: &rekorpb.CreateEntryRequest_HashedRekordRequestV002{
		HashedRekordRequestV002: &rekorpb.HashedRekordRequestV002{Digest: h.GetData().GetDigest(), Signature: h.GetSignature()},
	}}
}

func rekorBody(t testing.TB, req *rekorpb.CreateEntryRequest) string {
	t.Helper()
	b, err := protojson.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// post sends a request to a ledger.
func post(t testing.TB, addr, path, body string) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.Post("http://"+addr+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func get(t testing.TB, addr, path string) (int, []byte) {
	t.Helper()
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// A client gets the entry and its proof at once, and a retry gets it again.
func TestRekorEntry(t *testing.T) {
	s := benchServer(t, 3)
	req := rekorRequest(t, "alice", "hello\n")
	for range 2 {
		resp, body := post(t, s.http, "/api/v2/log/entries", rekorBody(t, req))
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %s", resp.Status, body)
		}
		checkRekorAnswer(t, s, req, body)
	}
	resp, body := post(t, s.http, "/api/v2/log/entries", rekorBody(t, rekorRequest(t, "alice", "other\n")))
	if resp.StatusCode != http.StatusCreated || !strings.Contains(string(body), `"logIndex":"4"`) {
		t.Errorf("another artifact: %s %s", resp.Status, body)
	}
}

// checkRekorAnswer verifies an answer as Rekor's clients do, with their libraries.
func checkRekorAnswer(t *testing.T, s served, req *rekorpb.CreateEntryRequest, body []byte) {
	t.Helper()
	var tle rekorv1.TransparencyLogEntry
	if err := protojson.Unmarshal(body, &tle); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	want := leaftest.HashedRekord(t, "alice", "hello\n")
	if !bytes.Equal(tle.CanonicalizedBody, want) || tle.LogIndex != 3 || tle.IntegratedTime != 0 || tle.InclusionPromise != nil ||
		tle.GetKindVersion().GetKind() != "hashedrekord" || tle.GetKindVersion().GetVersion() != "0.0.2" {
		t.Errorf("the answer is %s", body)
	}
	h := req.GetHashedRekordRequestV002()
	hash, err := hashedrekord.ToEntryHash(h.GetDigest(), h.GetSignature())
	if err != nil || !bytes.Equal(hash, leaf.Hash(want)) {
		t.Errorf("clients compute the leaf hash %x, %v", hash, err)
	}
	p := tle.GetInclusionProof()
	verifier, err := note.NewVerifier(s.rekor.VKey())
	if err != nil {
		t.Fatal(err)
	}
	if id := tle.GetLogId().GetKeyId(); len(id) != 32 || binary.BigEndian.Uint32(id) != verifier.KeyHash() {
		t.Errorf("the log's id is %x, the key's %08x", id, verifier.KeyHash())
	}
	signed, err := note.Open([]byte(p.GetCheckpoint().GetEnvelope()), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	c, err := torchwood.ParseCheckpoint(signed.Text)
	if err != nil || c.Origin != "127.0.0.1" || c.N != p.TreeSize || !bytes.Equal(c.Hash[:], p.RootHash) || p.LogIndex != 3 {
		t.Errorf("checkpoint %+v, %v; proof %v", c, err, p)
	}
	var path tlog.RecordProof
	for _, h := range p.Hashes {
		path = append(path, tlog.Hash(h))
	}
	if err := tlog.CheckRecord(path, c.N, c.Hash, p.LogIndex, tlog.Hash(hash)); err != nil {
		t.Error(err)
	}
}

// The log's files are the same under both names, but for the checkpoint's name and
// signature.
func TestRekorReads(t *testing.T) {
	s := benchServer(t, 300)
	addr := s.http
	_, own := get(t, addr, "/checkpoint")
	status, other := get(t, addr, "/api/v2/checkpoint")
	ownTree, otherTree := strings.SplitN(string(own), "\n", 4), strings.SplitN(string(other), "\n", 4)
	if status != http.StatusOK || ownTree[0] != "localhost/bench" || otherTree[0] != "127.0.0.1" || ownTree[1] != "300" {
		t.Fatalf("%d\n%s\n%s", status, own, other)
	}
	if d := cmp.Diff(ownTree[1:3], otherTree[1:3]); d != "" {
		t.Errorf("the trees differ: %s", d)
	}
	verifier, err := note.NewVerifier(s.rekor.VKey())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(other, note.VerifierList(verifier)); err != nil || len(n.UnverifiedSigs) != 0 {
		t.Errorf("%+v, %v", n, err)
	}
	for _, path := range []string{"/tile/0/000", "/tile/0/001.p/44", "/tile/1/000.p/1", "/tile/entries/000", "/tile/entries/001.p/44"} {
		wantStatus, want := get(t, addr, path)
		if status, got := get(t, addr, "/api/v2"+path); status != wantStatus || status != http.StatusOK || !bytes.Equal(want, got) {
			t.Errorf("%s: %d, want %d and the same", path, status, wantStatus)
		}
	}
	for path, want := range map[string]int{
		"/api/v2/tile/0/002": 404, "/api/v2/tile/../checkpoint": 200, "/api/v2/log/entries": 501, "/api/v2": 404, "/api/v2/": 404, "/api/v1/log": 404,
	} {
		if status, body := get(t, addr, path); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
}

// rekorRefusals are requests that are refused.
var rekorRefusals = []struct {
	name   string
	body   func(t *testing.T, good string) string
	status int
	reason string
	says   string
}{
	{"nothing", func(*testing.T, string) string { return "" }, 400, "ENVELOPE_MALFORMED", "not JSON"},
	{"no entry", func(*testing.T, string) string { return "{}" }, 400, "FORMAT_UNKNOWN", "hashedRekordRequestV002"},
	{"an entry of another kind", func(*testing.T, string) string { return `{"dsseRequestV002":{}}` }, 400, "FORMAT_UNKNOWN", "hashedRekordRequestV002"},
	{"an unknown member", func(_ *testing.T, good string) string { return `{"x":1,` + good[1:] }, 400, "ARGUMENT_INVALID", "unknown field"},
	{"a member twice", func(_ *testing.T, good string) string { return good[:len(good)-1] + "," + good[1:] }, 400, "ARGUMENT_INVALID", "hashedRekordRequestV002"},
	{"something behind", func(_ *testing.T, good string) string { return good + "{}" }, 400, "ENVELOPE_MALFORMED", "not JSON"},
	{"a large request", func(_ *testing.T, good string) string { return good + strings.Repeat(" ", 64<<10) }, 413, "ENVELOPE_TOO_LARGE", "over the limit of 65536 bytes"},
	{"a large entry", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Signature.Content = make([]byte, leaf.MaxSize) }), 400, "ENVELOPE_MALFORMED", "over the limit of 40960"},
	{"no digest", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Digest = nil }), 400, "ENVELOPE_MALFORMED", "digest of 0 bytes"},
	{"a short digest", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Digest = h.Digest[1:] }), 400, "ENVELOPE_MALFORMED", "digest of 31 bytes"},
	{"no signature", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Signature.Content = nil }), 400, "ENVELOPE_MALFORMED", "missing"},
	{"no verifier", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Signature.Verifier = nil }), 400, "KEY_UNSUPPORTED", "keyDetails"},
	{"no key", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Signature.Verifier.Verifier = nil }), 400, "ENVELOPE_MALFORMED", "missing"},
	{"an unknown kind of key", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Signature.Verifier.KeyDetails = 999 }), 400, "KEY_UNSUPPORTED", `keyDetails "999"`},
	{"SHA-384", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Signature.Verifier.KeyDetails = 12 }), 400, "KEY_UNSUPPORTED", "P384_SHA_384"},
	{"another digest", changed(func(h *rekorpb.HashedRekordRequestV002) { h.Digest[0] ^= 1 }), 400, "SIGNATURE_INVALID", "does not verify"},
}

// changed returns a request with a changed entry.
func changed(change func(*rekorpb.HashedRekordRequestV002)) func(*testing.T, string) string {
	return func(t *testing.T, _ string) string {
		req := rekorRequest(t, "alice", "hello\n")
		change(req.GetHashedRekordRequestV002())
		return rekorBody(t, req)
	}
}

func TestRekorRefuses(t *testing.T) {
	addr := benchServer(t, 1).http
	good := rekorBody(t, rekorRequest(t, "alice", "hello\n"))
	for _, tt := range rekorRefusals {
		resp, body := post(t, addr, "/api/v2/log/entries", tt.body(t, good))
		var status struct {
			Code    int
			Message string
			Details []struct{ Reason string }
		}
		if err := json.Unmarshal(body, &status); err != nil {
			t.Errorf("%s: %v: %s", tt.name, err, body)
			continue
		}
		if resp.StatusCode != tt.status || status.Code == 0 || len(status.Details) == 0 || status.Details[0].Reason != tt.reason || !strings.Contains(status.Message, tt.says) {
			t.Errorf("%s: %s %s; want %d, %s with %q", tt.name, resp.Status, body, tt.status, tt.reason, tt.says)
		}
	}
	if _, c := get(t, addr, "/checkpoint"); !strings.HasPrefix(string(c), "localhost/bench\n1\n") {
		t.Errorf("something was logged:\n%s", c)
	}
}

func TestCheckRekorHostname(t *testing.T) {
	for name, want := range map[string]bool{
		"ledger.example": true, "localhost": true, "127.0.0.1": true, "::1": true, "fd00::7": true, "a": true, "xn--bcher-kva.example": true,
		"": false, "ledger.example:8080": false, "127.0.0.1:80": false, "[::1]": false, "[::1]:80": false, "::g": false, "abc:def": false, "1:2": false,
		"https://ledger.example": false, "ledger.example/log": false, "ledger.example?x": false, "ledger.example#x": false, "u@ledger.example": false,
		"Ledger.example": false, "ledger example": false, "ledger - 123": false, "a+b": false, "bücher.example": false, "a%20b": false, "a\nb": false, "a\x00": false,
	} {
		if err := server.CheckRekorHostname(name); (err == nil) != want {
			t.Errorf("%q: %v, want it to be one: %t", name, err, want)
		}
	}
}

// BenchmarkRekorEntry submits entries as Rekor's clients do, from 64 submitters for
// each core; each waits for its proof.
func BenchmarkRekorEntry(b *testing.B) {
	addr := benchServer(b, 1).http
	transport := &http.Transport{MaxIdleConnsPerHost: 1024}
	client := &http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	var bodies []string
	for i := range b.N {
		bodies = append(bodies, rekorBody(b, rekorRequest(b, "alice", fmt.Sprint(i))))
	}
	var next atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post("http://"+addr+"/api/v2/log/entries", "application/json", strings.NewReader(bodies[next.Add(1)-1]))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
				b.Errorf("%s, %v", resp.Status, err)
			}
			_ = resp.Body.Close()
		}
	})
}
