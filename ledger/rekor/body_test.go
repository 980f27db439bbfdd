package rekor_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/rekor"
	"github.com/cairnlog/cairn/ledger/rekor/rekortest"
)

// get logs a body in a new log, and returns the entry.
func get(t *testing.T, body, payload []byte) (*rekor.Found, *rekortest.Log) {
	t.Helper()
	l := rekortest.New(t)
	f, err := client(t, l).Get(t.Context(), fmt.Sprint(l.Add(body, payload)))
	if err != nil {
		t.Fatal(err)
	}
	return f, l
}

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hexC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// bodies are entries of each kind, with the digests that they are about beside
// themselves.
var bodies = []struct {
	name, kind, spec string
	about            []leaf.Digest
	refused          string
}{
	{"hashedrekord", "hashedrekord 0.0.1", `{"data":{"hash":{"algorithm":"sha256","value":"` + hexA + `"}},"signature":{"content":"AA==","publicKey":{"content":"AA=="}}}`, []leaf.Digest{"sha256:" + hexA}, ""},
	{"upper case", "hashedrekord 0.0.1", `{"data":{"hash":{"algorithm":"sha256","value":"` + strings.ToUpper(hexA) + `"}}}`, []leaf.Digest{"sha256:" + hexA}, ""},
	{"sha512", "hashedrekord 0.0.1", `{"data":{"hash":{"algorithm":"sha512","value":"` + hexA + hexB + `"}}}`, []leaf.Digest{"sha512:" + hexA + hexB}, ""},
	{"sha384", "hashedrekord 0.0.1", `{"data":{"hash":{"algorithm":"sha384","value":"` + hexA + hexB[:32] + `"}}}`, nil, ""},
	{"rekord", "rekord 0.0.1", `{"data":{"hash":{"algorithm":"sha256","value":"` + hexB + `"}},"signature":{"format":"pgp","content":"AA==","publicKey":{"content":"AA=="}}}`, []leaf.Digest{"sha256:" + hexB}, ""},
	{"dsse", "dsse 0.0.1", `{"envelopeHash":{"algorithm":"sha256","value":"` + hexA + `"},"payloadHash":{"algorithm":"sha256","value":"` + hexB + `"},"signatures":[]}`, []leaf.Digest{"sha256:" + hexA, "sha256:" + hexB}, ""},
	{"intoto", "intoto 0.0.1", `{"content":{"hash":{"algorithm":"sha256","value":"` + hexC + `"}},"publicKey":"AA=="}`, []leaf.Digest{"sha256:" + hexC}, ""},
	{"rpm", "rpm 0.0.1", `{"package":{"hash":{"algorithm":"sha256","value":"` + hexC + `"}},"signature":7}`, nil, ""},
	{"bad digest", "hashedrekord 0.0.1", `{"data":{"hash":{"algorithm":"sha256","value":"abc"}}}`, nil, "no valid digest"},
	{"no digest", "dsse 0.0.1", `{}`, nil, "no valid digest"},
	{"bad spec", "dsse 0.0.1", `[]`, nil, "parsing the body of the dsse entry"},
}

func TestBodies(t *testing.T) {
	for _, tt := range bodies {
		t.Run(tt.name, func(t *testing.T) {
			kind, version, _ := strings.Cut(tt.kind, " ")
			f, l := get(t, fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"spec":%s}`, version, kind, tt.spec), nil)
			st, err := f.Statement(l.URL, l.Key)
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("got %v, want that it says %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := append([]leaf.Digest{leaf.Digest("sha256:" + f.LeafHash())}, tt.about...)
			var got []leaf.Digest
			for _, s := range st.Subject {
				for alg, h := range s.Digest {
					got = append(got, leaf.Digest(alg+":"+h))
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("subjects (-want +got):\n%s", d)
			}
			if got, err := f.Kind(); got != tt.kind || err != nil {
				t.Errorf("kind %q, %v", got, err)
			}
		})
	}
	for _, body := range []string{"{}", "[]", `{"kind":"dsse"}`, "hello", `{"kind":"a","kind":"b","apiVersion":"1"}`} {
		f, l := get(t, []byte(body), nil)
		if _, err := f.Statement(l.URL, l.Key); err == nil {
			t.Errorf("a statement about %s", body)
		}
	}
}

// intoto returns a DSSE envelope and the intoto 0.0.2 entry that rekor makes of it.
func intoto(t *testing.T, signer *attest.Signer) (envelope, body, payload []byte) {
	t.Helper()
	st, err := attest.NewStatement("https://example.com/test/v1", map[string]any{"a": 1},
		attest.ResourceDescriptor{Name: "hello", Digest: map[string]string{"sha256": hexA}})
	if err != nil {
		t.Fatal(err)
	}
	if envelope, err = signer.Sign(st); err != nil {
		t.Fatal(err)
	}
	if body, payload, err = rekortest.Intoto(envelope, []byte(signer.Public.PEM)); err != nil {
		t.Fatal(err)
	}
	return envelope, body, payload
}

// What a log keeps of an intoto entry is the attestation that was signed.
func TestEnvelope(t *testing.T) {
	signer := p256(t)
	envelope, body, payload := intoto(t, signer)
	f, _ := get(t, body, payload)
	raw, err := f.Envelope(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	att, err := attest.Open(raw, attest.NewKeyring(signer.Public))
	if err != nil {
		t.Fatal(err)
	}
	original, err := attest.Open(envelope, attest.NewKeyring(signer.Public))
	if err != nil {
		t.Fatal(err)
	}
	if att.Leaf.Payload != original.Leaf.Payload {
		t.Errorf("the payload is %s, and was %s", att.Leaf.Payload, original.Leaf.Payload)
	}
	f, _ = get(t, body, append(payload, ' '))
	if raw, err := f.Envelope(f.Payload); err == nil || raw != nil {
		t.Error("a payload that is not the entry's is taken")
	}
	for name, body := range map[string]string{
		"without signatures": `{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{"hash":{"algorithm":"sha256","value":"` + hexC + `"}}}}`,
		"of another kind":    `{"apiVersion":"0.0.1","kind":"dsse","spec":{}}`,
	} {
		f, _ := get(t, []byte(body), payload)
		if raw, err := f.Envelope(f.Payload); err != nil || raw != nil {
			t.Errorf("an entry %s gives %q, %v", name, raw, err)
		}
	}
}

// A signature in the entry that is not over the content, and other entries.
func TestSigned(t *testing.T) {
	signer, content := p256(t), []byte("content")
	sig, err := signer.SignBytes([]byte("other content"))
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	for name, body := range map[string]string{
		"is not that of its key":        fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":%q}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`, leaf.SHA256(content).Hex(), b64(sig), b64([]byte(signer.Public.PEM))),
		"reading the signer's key":      fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":%q}}}}`, leaf.SHA256(content).Hex()),
		"want hashedrekord 0.0.1":       `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{}}`,
		"the entry is about sha512:abc": `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha512","value":"abc"}}}}`,
	} {
		f, _ := get(t, []byte(body), nil)
		if _, err := f.Signed(content); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want that it says %q", err, name)
		}
	}
}
