package rekor_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/rekor"
	"github.com/cairnlog/cairn/ledger/rekor/rekortest"
)

func p256(t *testing.T) *attest.Signer {
	t.Helper()
	s, _, err := attest.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client returns a client of a log, with the key that it has.
func client(t *testing.T, l *rekortest.Log) *rekor.Client {
	t.Helper()
	c, err := rekor.NewClient(l.URL, l.Key, rekor.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// add logs that signer signed content.
func add(t *testing.T, l *rekortest.Log, signer *attest.Signer, content string) *rekor.Entry {
	t.Helper()
	sig, err := signer.SignBytes([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	e, err := client(t, l).Add(t.Context(), []byte(content), sig, signer.Public)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAddAndGet(t *testing.T) {
	l, signer := rekortest.New(t), p256(t)
	for i := range 5 {
		e := add(t, l, signer, fmt.Sprint("content ", i))
		if want := int64(rekortest.Shift + i); e.LogIndex != want || e.Verification.InclusionProof.LogIndex != int64(i) {
			t.Errorf("entry %d has index %d, and %d in its shard", i, e.LogIndex, e.Verification.InclusionProof.LogIndex)
		}
	}
	byIndex, err := client(t, l).Get(t.Context(), "1002")
	if err != nil {
		t.Fatal(err)
	}
	if kind, err := byIndex.Kind(); err != nil || kind != "hashedrekord 0.0.1" {
		t.Errorf("kind %q, %v", kind, err)
	}
	for _, id := range []string{byIndex.UUID, byIndex.UUID[16:], strings.ToUpper(byIndex.UUID)} {
		byUUID, err := client(t, l).Get(t.Context(), id)
		if err != nil {
			t.Fatalf("getting %s: %v", id, err)
		}
		if byUUID.UUID != byIndex.UUID || byUUID.LogIndex != 1002 {
			t.Errorf("%s is entry %d", id, byUUID.LogIndex)
		}
	}
	key, err := byIndex.Signed([]byte("content 2"))
	if err != nil || key.Fingerprint != signer.Public.Fingerprint {
		t.Errorf("the signer of entry 1002: %v, %v", key, err)
	}
	if _, err := byIndex.Signed([]byte("content 3")); err == nil {
		t.Error("entry 1002 is about other content, too")
	}
}

// The same signature again is the same entry.
func TestAddAgain(t *testing.T) {
	l, signer := rekortest.New(t), p256(t)
	sig, err := signer.SignBytes([]byte("once"))
	if err != nil {
		t.Fatal(err)
	}
	var uuids []string
	for range 2 {
		e, err := client(t, l).Add(t.Context(), []byte("once"), sig, signer.Public)
		if err != nil {
			t.Fatal(err)
		}
		uuids = append(uuids, e.UUID)
	}
	if uuids[0] != uuids[1] || l.Size() != 1 {
		t.Errorf("entries %q in a log of size %d", uuids, l.Size())
	}
}

func TestNotAnswered(t *testing.T) {
	l := rekortest.New(t)
	c := client(t, l)
	for _, id := range []string{"999", "1000", strings.Repeat("ab", 32), strings.Repeat("00ab", 20)} {
		if _, err := c.Get(t.Context(), id); !errors.Is(err, rekor.ErrNotFound) {
			t.Errorf("Get(%s): %v, want ErrNotFound", id, err)
		}
	}
	for _, id := range []string{"", "-1", "+7", "007", "seven", "abcdef", strings.Repeat("g", 64)} {
		if _, err := c.Get(t.Context(), id); err == nil || !strings.Contains(err.Error(), "neither an index nor a UUID") {
			t.Errorf("Get(%q): %v", id, err)
		}
	}
	// The log checks the signature.
	var unanswered *rekor.UnansweredError
	_, err := c.Add(t.Context(), []byte("content"), []byte("no signature"), p256(t).Public)
	if !errors.As(err, &unanswered) || !strings.Contains(err.Error(), "the log says 400") {
		t.Errorf("a bad signature: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "1000"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request: %v", err)
	}
	for _, u := range []string{"", "rekor.example", "ftp://rekor.example", "https://", "https://u:p@rekor.example", "https://rekor.example?x"} {
		if _, err := rekor.NewClient(u, l.Key, rekor.Options{}); err == nil {
			t.Errorf("NewClient(%q) is no error", u)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"` + strings.Repeat("a", 3<<20) + `":{}}`))
	}))
	defer s.Close()
	c, err := rekor.NewClient(s.URL, rekortest.New(t).Key, rekor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), "over the limit of 2097152 bytes") {
		t.Errorf("an answer of 3 MiB: %v", err)
	}
}

// lies are answers that the pinned key does not prove.
var lies = []struct {
	name, says string
	lie        func(uuid string, m *models.LogEntryAnon) string
}{
	{"body", "hashes to", func(u string, m *models.LogEntryAnon) string {
		m.Body = base64.StdEncoding.EncodeToString([]byte(`{"kind":"hashedrekord"}`))
		return u
	}},
	{"body and uuid", "calculated root", func(u string, m *models.LogEntryAnon) string {
		body := []byte(`{"kind":"hashedrekord"}`)
		m.Body = base64.StdEncoding.EncodeToString(body)
		return u[:16] + (&rekor.Entry{Body: body}).LeafHash()
	}},
	{"no body", "the body has 0 bytes", func(u string, m *models.LogEntryAnon) string { m.Body = 7; return u }},
	{"time", "unable to verify bundle", func(u string, m *models.LogEntryAnon) string { *m.IntegratedTime++; return u }},
	{"index", "unable to verify bundle", func(u string, m *models.LogEntryAnon) string { *m.LogIndex++; return u }},
	{"promise", "unable to verify bundle", func(u string, m *models.LogEntryAnon) string {
		m.Verification.SignedEntryTimestamp[20] ^= 1
		return u
	}},
	{"log id", "each shard of a log may have a key of its own", func(u string, m *models.LogEntryAnon) string {
		other := strings.Repeat("ab", 32)
		m.LogID = &other
		return u
	}},
	{"tree id", "tree 00000000deadbeef is not that of the checkpoint", func(u string, _ *models.LogEntryAnon) string {
		return "00000000deadbeef" + u[16:]
	}},
	{"hash", "calculated root", func(u string, m *models.LogEntryAnon) string {
		m.Verification.InclusionProof.Hashes[0] = strings.Repeat("00", 32)
		return u
	}},
	{"checkpoint", "signature on checkpoint did not verify", func(u string, m *models.LogEntryAnon) string {
		c := strings.Replace(*m.Verification.InclusionProof.Checkpoint, "rekor.example - ", "rekor.example2 - ", 1)
		m.Verification.InclusionProof.Checkpoint = &c
		return u
	}},
	{"no checkpoint", "without a whole inclusion proof", func(u string, m *models.LogEntryAnon) string {
		m.Verification.InclusionProof.Checkpoint = nil
		return u
	}},
	{"no proof", "without a proof", func(u string, m *models.LogEntryAnon) string { m.Verification = nil; return u }},
	{"no promise", "the signed entry timestamp has 0 bytes", func(u string, m *models.LogEntryAnon) string {
		m.Verification.SignedEntryTimestamp = nil
		return u
	}},
	{"uuid", "not 80 lower-case hex digits", func(string, *models.LogEntryAnon) string { return "abc" }},
	{"negative index", "one of them cannot be", func(u string, m *models.LogEntryAnon) string {
		*m.Verification.InclusionProof.LogIndex = -1
		return u
	}},
	{"place in the shard", "one of them cannot be", func(u string, m *models.LogEntryAnon) string {
		*m.Verification.InclusionProof.LogIndex = *m.Verification.InclusionProof.TreeSize
		return u
	}},
}

func TestLies(t *testing.T) {
	for _, tt := range lies {
		t.Run(tt.name, func(t *testing.T) {
			l := rekortest.New(t)
			add(t, l, p256(t), "before")
			e := add(t, l, p256(t), "content")
			l.Lie = func(answer models.LogEntry) models.LogEntry { return rekortest.Altered(answer, tt.lie) }
			_, err := client(t, l).Get(t.Context(), e.UUID)
			var unproven *rekor.UnprovenError
			if !errors.As(err, &unproven) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an UnprovenError that says %q", err, tt.says)
			}
		})
	}
}

func TestOtherAnswers(t *testing.T) {
	l, signer := rekortest.New(t), p256(t)
	first, second := add(t, l, signer, "first"), add(t, l, signer, "second")
	other, err := l.Entry(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, l)
	for name, lie := range map[string]func(models.LogEntry) models.LogEntry{
		"the answer is entry": func(models.LogEntry) models.LogEntry { return other },
		"with 0 entries":      func(models.LogEntry) models.LogEntry { return models.LogEntry{} },
		"with 2 entries": func(m models.LogEntry) models.LogEntry {
			m[second.UUID] = other[second.UUID]
			return m
		},
	} {
		l.Lie = lie
		for _, id := range []string{"1000", first.UUID} {
			var unproven *rekor.UnprovenError
			if _, err := c.Get(t.Context(), id); !errors.As(err, &unproven) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: Get(%s): %v", name, id, err)
			}
		}
	}
	l.Lie = func(models.LogEntry) models.LogEntry { return other }
	sig, err := signer.SignBytes([]byte("third"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(t.Context(), []byte("third"), sig, signer.Public); err == nil || !strings.Contains(err.Error(), "logged something else") {
		t.Errorf("adding to a log that shows another entry: %v", err)
	}
	l.Lie = nil
	if c, err = rekor.NewClient(l.URL, rekortest.New(t).Key, rekor.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "1000"); err == nil || !strings.Contains(err.Error(), "the pinned key is that of log") {
		t.Errorf("with another key: %v", err)
	}
}

// A log that signs one size, and proves inclusion in a tree of another.
func TestCheckpointOfAnotherSize(t *testing.T) {
	l := rekortest.New(t)
	add(t, l, p256(t), "content")
	l.Inflate = 1
	_, err := client(t, l).Get(t.Context(), fmt.Sprint(rekortest.Shift))
	var unproven *rekor.UnprovenError
	if !errors.As(err, &unproven) || !strings.Contains(err.Error(), "the checkpoint is of size 2, and the inclusion proof of 1") {
		t.Errorf("got %v", err)
	}
}

func TestStatement(t *testing.T) {
	l := rekortest.New(t)
	e := add(t, l, p256(t), "content")
	st, err := e.Statement(l.URL, l.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Statement(l.URL, rekortest.New(t).Key); err == nil {
		t.Error("a statement of an entry that is not proven")
	}
	importer := p256(t)
	raw, err := importer.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	att, err := attest.Open(raw, attest.NewKeyring(importer.Public))
	if err != nil {
		t.Fatal(err)
	}
	want := []leaf.Digest{leaf.Digest("sha256:" + e.LeafHash()), leaf.SHA256([]byte("content"))}
	if att.Leaf.Claim != leaf.ClaimOther || !cmp.Equal(att.Leaf.Subjects, sorted(want)) {
		t.Errorf("claim %s about %v, want other about %v", att.Leaf.Claim, att.Leaf.Subjects, want)
	}
	again, err := rekor.FromStatement(att.Statement)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(again.Entry, e); d != "" || again.Key.ID != l.Key.ID || again.Log != l.URL {
		t.Errorf("from the statement, of %s by key %s:\n%s", again.Log, again.Key.ID, d)
	}
}

func sorted(ds []leaf.Digest) []leaf.Digest {
	if ds[0] > ds[1] {
		ds[0], ds[1] = ds[1], ds[0]
	}
	return ds
}
