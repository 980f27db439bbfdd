package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnlog/cairn/ledger/attest"
)

const goodDigest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// statement returns a statement with some members in place of its own.
func statement(subject, predicateType, predicate string) string {
	return fmt.Sprintf(`{"_type":%q,"subject":%s,"predicateType":%q,"predicate":%s}`,
		attest.StatementV1, subject, predicateType, predicate)
}

func subject(digest string) string { return fmt.Sprintf(`[{"name":"a","digest":%s}]`, digest) }

func sha(hex string) string { return fmt.Sprintf(`{"sha256":%q}`, hex) }

const (
	otherType = "https://example.com/test/v1"
	rebuild   = attest.PredicateReproduction
)

// badInput is something that the ledger refuses.
type badInput struct {
	name    string
	raw     []byte
	reason  string
	http    int
	code    codes.Code
	message string // part of it
}

// badInputs returns one of each kind of what people send by mistake. a is
// enrolled, b is not, and gone is revoked.
func badInputs(t *testing.T, a, b, gone *author) []badInput {
	t.Helper()
	good := a.attestation()
	edit := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the good attestation has no %q", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	payload := func(s string) []byte { return a.sign(s) }
	many := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	signature := `{"keyid":"","sig":"` + base64.StdEncoding.EncodeToString(make([]byte, 64)) + `"}`
	const bad, pre, exhausted = codes.InvalidArgument, codes.FailedPrecondition, codes.ResourceExhausted
	return []badInput{
		{"nothing", nil, "FORMAT_UNKNOWN", 400, bad, "empty"},
		{"text", []byte("hello"), "FORMAT_UNKNOWN", 400, bad, "hello"},
		{"JSON that is no envelope", []byte(`{"hello":"world"}`), "PAYLOAD_TYPE_UNKNOWN", 400, bad, "payloadType"},
		{"half an envelope", good[:len(good)/2], "ENVELOPE_MALFORMED", 400, bad, "parsing DSSE envelope"},
		{"a member twice", edit(`"payloadType"`, `"payloadType":"x","payloadType"`), "ENVELOPE_MALFORMED", 400, bad, "duplicate"},
		{"a payload that is no base64", edit(`"payload":"`, `"payload":"!`), "ENVELOPE_MALFORMED", 400, bad, "payload"},
		{"another payload type", edit("vnd.in-toto+json", "json"), "PAYLOAD_TYPE_UNKNOWN", 400, bad, "application/json"},
		{"no signature", edit(string(good[bytes.Index(good, []byte(`"signatures"`)):]), `"signatures":[]}`), "SIGNATURE_MISSING", 400, bad, "no signature"},
		{"17 signatures", edit(string(good[bytes.Index(good, []byte(`"signatures"`)):]), `"signatures":`+many(17, signature)+`}`),
			"TOO_MANY_KEYS", 413, exhausted, "17 signatures is over the limit of 16"},
		{"a changed payload", edit(`"payload":"eyJf`, `"payload":"eyJg`), "SIGNATURE_INVALID", 400, bad, "does not verify"},
		{"a key that is not enrolled", b.attestation(), "KEY_NOT_ENROLLED", 400, pre, "cairn enrol"},
		{"a key that was revoked", gone.attestation(), "KEY_REVOKED", 400, pre, "was revoked"},
		{"a payload that is no statement", payload(`{"a":1}`), "PAYLOAD_NOT_STATEMENT", 400, bad, "_type"},
		{"no subject", payload(statement(`[]`, otherType, `{}`)), "SUBJECT_MISSING", 400, bad, "no subject"},
		{"a subject with a weak digest", payload(statement(subject(`{"sha1":"aaaa"}`), otherType, `{}`)),
			"SUBJECT_WITHOUT_DIGEST", 400, bad, "neither a sha256 nor a sha512"},
		{"a digest in capitals", payload(statement(subject(sha(strings.ToUpper(goodDigest))), otherType, `{}`)),
			"DIGEST_INVALID", 400, bad, "AAAA"},
		{"a bad package URL", payload(statement(`[{"name":"pkg:oci","digest":`+sha(goodDigest)+`}]`, otherType, `{}`)),
			"PURL_INVALID", 400, bad, "pkg:oci"},
		{"65 subjects", payload(statement(many(65, `{"name":"a","digest":`+sha(goodDigest)+`}`), otherType, `{}`)),
			"TOO_MANY_SUBJECTS", 413, exhausted, "65 subjects is over the limit of 64"},
		{"a reproduction that contradicts itself", payload(statement(subject(sha(goodDigest)), rebuild,
			`{"result":"IDENTICAL","rebuilder":{"id":"https://r.example"},"outputs":`+subject(sha(strings.Repeat("b", 64)))+`}`)),
			"PREDICATE_INVALID", 400, bad, "says IDENTICAL"},
		{"a reproduction with an unknown result", payload(statement(subject(sha(goodDigest)), rebuild,
			`{"result":"FINE","rebuilder":{"id":"https://r.example"}}`)), "PREDICATE_INVALID", 400, bad, "FINE"},
		{"one byte over the limit", append(bytes.Repeat([]byte(" "), 1<<20+1-len(good)), good...), "ENVELOPE_TOO_LARGE", 413, exhausted, "over the limit of 1048576"},
	}
}

// badKeyChanges returns enrolments and revocations that the ledger refuses.
func badKeyChanges(t *testing.T, a, b, gone *author) []badInput {
	t.Helper()
	forged, err := a.signer.SignPayload(attest.TypeEnrolment,
		fmt.Appendf(nil, `{"publicKey":%q,"operator":"https://b.example"}`, b.signer.Public.PEM))
	if err != nil {
		t.Fatal(err)
	}
	noOperator, err := b.signer.SignPayload(attest.TypeEnrolment, fmt.Appendf(nil, `{"publicKey":%q,"operator":"me"}`, b.signer.Public.PEM))
	if err != nil {
		t.Fatal(err)
	}
	revokesOther, err := a.signer.SignPayload(attest.TypeRevocation, fmt.Appendf(nil, `{"key":%q}`, gone.signer.Public.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	return []badInput{
		{"an enrolment by another key", forged, "ENROLMENT_INVALID", 400, codes.InvalidArgument, "not signed by the key in it"},
		{"an enrolment without a URI", noOperator, "ENROLMENT_INVALID", 400, codes.InvalidArgument, "absolute URI"},
		{"a revocation by another key", revokesOther, "REVOKER_NOT_AUTHORISED", 403, codes.PermissionDenied, "only it may revoke itself"},
	}
}

// TestBadInput submits each kind of bad input both ways. The two must not
// disagree, and nothing of it may be logged.
func TestBadInput(t *testing.T) {
	p := start(t, t.TempDir())
	r, g := newREST(t, p), newRPC(t, p)
	a, b, gone := enrolled(t, r), newAuthor(t), enrolled(t, r)
	if _, err := r.submit(t.Context(), gone.revocation(t), ""); err != nil {
		t.Fatal(err)
	}
	for _, in := range append(badInputs(t, a, b, gone), badKeyChanges(t, a, b, gone)...) {
		t.Run(in.name, func(t *testing.T) {
			_, err := r.submit(t.Context(), in.raw, "")
			over := wantRefusal(t, "over REST", err, in.reason)
			if over.http != in.http || over.code != int(in.code) {
				t.Errorf("HTTP %d and code %d, want %d and %d", over.http, over.code, in.http, in.code)
			}
			if !strings.Contains(over.message, in.message) {
				t.Errorf("the message %q does not say %q", over.message, in.message)
			}
			if len(over.message) > 400 || strings.ContainsAny(over.message, "\n\r\x00") {
				t.Errorf("the message is %d bytes: %.500q", len(over.message), over.message)
			}
			_, err = g.submit(t.Context(), in.raw, "")
			rpc := wantRefusal(t, "over gRPC", err, in.reason)
			if rpc.code != int(in.code) || rpc.message != over.message {
				t.Errorf("gRPC says code %d, %q; REST code %d, %q", rpc.code, rpc.message, over.code, over.message)
			}
		})
	}
	var c struct {
		Size int64 `json:",string"`
	}
	if err := r.get(t.Context(), "/v1/log/checkpoint", &c); err != nil || c.Size != 3 {
		t.Errorf("the log has %d entries, %v, want the 3 that were good", c.Size, err)
	}
}

// TestBadQuestions asks for what is not there, or wrongly.
func TestBadQuestions(t *testing.T) {
	p := start(t, t.TempDir())
	r := newREST(t, p)
	enrolled(t, r)
	unknown := strings.Repeat("0", 64)
	for _, test := range []struct {
		path   string
		http   int
		code   codes.Code
		reason string
	}{
		{"/v1/attestations/" + unknown, 404, codes.NotFound, "ATTESTATION_NOT_FOUND"},
		{"/v1/attestations/sha256:" + unknown, 404, codes.NotFound, "ATTESTATION_NOT_FOUND"},
		{"/v1/attestations/xyz", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?digest=sha1:aaaa", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?name=pkg:x", 400, codes.InvalidArgument, "PURL_INVALID"},
		{"/v1/attestations?key=me", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?key=sha256:" + unknown + "&digest=sha256:" + unknown, 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?page_size=1001", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?page_size=-1", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?page_size=x", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?page_token=x", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/attestations?page_token=ZnJvbSAtMQ", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/artifacts/sha256:zz", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/keys/sha256:" + unknown, 404, codes.NotFound, "KEY_NOT_FOUND"},
		{"/v1/keys/me", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/log/entries/1", 404, codes.NotFound, "ENTRY_NOT_FOUND"},
		{"/v1/log/entries/-1", 404, codes.NotFound, "ENTRY_NOT_FOUND"},
		{"/v1/log/entries/99999999999999999999", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/log/entries/first", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/log/proofs/inclusion", 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/log/proofs/inclusion?index=0&leaf_hash=" + unknown, 400, codes.InvalidArgument, "ARGUMENT_INVALID"},
		{"/v1/log/proofs/inclusion?index=1", 400, codes.InvalidArgument, "SIZE_OUT_OF_RANGE"},
		{"/v1/log/proofs/inclusion?index=0&size=2", 400, codes.InvalidArgument, "SIZE_OUT_OF_RANGE"},
		{"/v1/log/proofs/inclusion?index=-1", 400, codes.InvalidArgument, "SIZE_OUT_OF_RANGE"},
		{"/v1/log/proofs/inclusion?leaf_hash=" + unknown, 404, codes.NotFound, "ENTRY_NOT_FOUND"},
		{"/v1/log/proofs/consistency?from=2", 400, codes.InvalidArgument, "SIZE_OUT_OF_RANGE"},
		{"/v1/log/proofs/consistency?from=0&to=2", 400, codes.InvalidArgument, "SIZE_OUT_OF_RANGE"},
		{"/v1/log/proofs/consistency?from=-1", 400, codes.InvalidArgument, "SIZE_OUT_OF_RANGE"},
		{"/v1/nothing", 404, codes.NotFound, "ARGUMENT_INVALID"},
		{"/v1/log/entries/0/more", 404, codes.NotFound, "ARGUMENT_INVALID"},
	} {
		err := r.get(t.Context(), test.path, new([]byte))
		var got *refusal
		if !errors.As(err, &got) || got.http != test.http || got.code != int(test.code) || got.reason != test.reason {
			t.Errorf("%s: %v, want HTTP %d, code %d, %s", test.path, err, test.http, test.code, test.reason)
		}
	}
}

func TestWait(t *testing.T) {
	p := start(t, t.TempDir())
	r, g := newREST(t, p), newRPC(t, p)
	a := enrolled(t, r)
	for _, by := range []transport{r, g} {
		for _, wait := range []string{"forever", "Published", "sequenced ", strings.Repeat("x", 10_000)} {
			_, err := by.submit(t.Context(), a.attestation(), strings.ReplaceAll(wait, " ", "%20"))
			got := wantRefusal(t, "wait="+wait[:min(20, len(wait))], err, "ARGUMENT_INVALID")
			if len(got.message) > 200 {
				t.Errorf("the message is %d bytes", len(got.message))
			}
		}
		for _, wait := range []string{"", "published", "sequenced"} {
			got, err := by.submit(t.Context(), a.attestation(), wait)
			if err != nil || !got.created || got.leaf == "" || (got.checkpoint == "") != (wait == "sequenced") || len(got.proof) > 0 && wait == "sequenced" {
				t.Errorf("wait=%q: %+v, %v", wait, got, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.submit(ctx, a.attestation(), ""); err == nil {
		t.Error("a request that was given up succeeded")
	}
}
