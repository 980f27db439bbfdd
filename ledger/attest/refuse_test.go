package attest_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// refused checks that raw is refused for want, with a message that says why.
func refused(t *testing.T, raw []byte, ring attest.Keyring, want reason.Reason, message string) {
	t.Helper()
	a, err := attest.Open(raw, ring)
	if err == nil {
		t.Fatalf("accepted as %+v", a.Claim)
	}
	if a != nil {
		t.Errorf("an attestation beside the error %v", err)
	}
	var e *reason.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *reason.Error", err)
	}
	if e.Reason != want || !strings.Contains(e.Message, message) {
		t.Errorf("got %s: %s\nwant %s with %q", e.Reason, e.Message, want, message)
	}
}

// spoiler makes bad envelopes of a good one.
type spoiler struct {
	t         *testing.T
	s, p, eve *attest.Signer // eve is unknown
	payload   string
	good      string
}

func newSpoiler(t *testing.T) *spoiler {
	x := &spoiler{t: t, s: ed25519Signer(t, "alice"), p: p256Signer(t, "bob"), eve: ed25519Signer(t, "eve"), payload: statement("x", "{}")}
	x.good = string(seal(t, attest.TypeStatement, x.payload, x.s).text(t))
	return x
}

func (x *spoiler) replace(old, new string) []byte {
	x.t.Helper()
	if !strings.Contains(x.good, old) {
		x.t.Fatalf("%q is not in %s", old, x.good)
	}
	return []byte(strings.Replace(x.good, old, new, 1))
}

func (x *spoiler) with(change func(e *envelope), signers ...*attest.Signer) []byte {
	x.t.Helper()
	e := seal(x.t, attest.TypeStatement, x.payload, signers...)
	change(e)
	return e.text(x.t)
}

type badEnvelope struct {
	name    string
	raw     []byte
	want    reason.Reason
	message string
}

func (x *spoiler) test(cases []badEnvelope) {
	x.t.Helper()
	for _, tt := range cases {
		x.t.Run(tt.name, func(t *testing.T) { refused(t, tt.raw, ringOf(x.s, x.p), tt.want, tt.message) })
	}
}

func TestOpenRefusesFormats(t *testing.T) {
	x := newSpoiler(t)
	good := x.good
	x.test([]badEnvelope{
		{"nothing", nil, reason.FormatUnknown, "is empty"},
		{"white space", []byte(" \r\n\t"), reason.FormatUnknown, "is empty"},
		{"another format", []byte("Format: 1.0\n"), reason.FormatUnknown, `begins with "Format: 1.0`},
		{"a JSON array", []byte("[" + good + "]"), reason.FormatUnknown, "no known format"},
		{"a byte order mark", []byte("\ufeff" + good), reason.FormatUnknown, "no known format"},
		{"too large", []byte(good + strings.Repeat(" ", attest.MaxEnvelope)), reason.EnvelopeTooLarge, "over the limit of 1048576"},
	})
}

func TestOpenRefusesEnvelopes(t *testing.T) {
	x := newSpoiler(t)
	good, replace, with, s, p := x.good, x.replace, x.with, x.s, x.p
	x.test([]badEnvelope{
		{"a brace", []byte("{"), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"cut off", []byte(good[:len(good)-1]), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"trailing data", []byte(good + "x"), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"two envelopes", []byte(good + good), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"payload twice", replace(`"payload":`, `"payload":"","payload":`), reason.EnvelopeMalformed, `duplicate object member name "payload"`},
		{"payload twice, once escaped", replace(`"payload":`, `"p\u0061yload":"","payload":`), reason.EnvelopeMalformed, "duplicate object member name"},
		{"sig twice", replace(`"sig":`, `"sig":"","sig":`), reason.EnvelopeMalformed, `duplicate object member name "sig"`},
		{"payload in two cases", replace(`"payload":`, `"Payload":"","payload":`), reason.EnvelopeMalformed, `members "Payload" and "payload" differ only in case`},
		{"an unknown member twice", replace(`{"payloadType"`, `{"x":1,"x":1,"payloadType"`), reason.EnvelopeMalformed, `duplicate object member name "x"`},
		{"invalid UTF-8", replace(`"keyid":"`, "\"keyid\":\"\xff"), reason.EnvelopeMalformed, "invalid UTF-8"},
		{"half a surrogate", replace(`"keyid":"`, `"keyid":"\ud800`), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"a comment", replace(`{"payloadType"`, `{/**/"payloadType"`), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"one signature for a list", replace(`[{"keyid"`, `{"keyid"`), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"a number for the payload", []byte(`{"payloadType":"x","payload":1,"signatures":[]}`), reason.EnvelopeMalformed, "parsing DSSE envelope"},
		{"payload that is not base64", with(func(e *envelope) { e.Payload = "!" }, s), reason.EnvelopeMalformed, "decoding the envelope's payload"},
		{"payload without padding", with(func(e *envelope) { e.Payload = "YQ" }, s), reason.EnvelopeMalformed, "decoding the envelope's payload"},
		{"signature that is not base64", with(func(e *envelope) { e.Signatures[1].Sig = "!" }, s, p), reason.EnvelopeMalformed, "decoding signature 1"},
	})
}

func TestOpenRefusesPayloadTypes(t *testing.T) {
	x := newSpoiler(t)
	replace, with, s := x.replace, x.with, x.s
	x.test([]badEnvelope{
		{"another payload type", with(func(e *envelope) { e.PayloadType = "text/plain" }, s), reason.PayloadTypeUnknown, `payloadType "text/plain"`},
		{"no payload type", replace(`"payloadType":"application/vnd.in-toto+json",`, ""), reason.PayloadTypeUnknown, `payloadType ""`},
		{"a payload type in capitals", replace("application/vnd", "Application/vnd"), reason.PayloadTypeUnknown, "Application/vnd"},
		{"PayloadType", replace(`"payloadType"`, `"PayloadType"`), reason.PayloadTypeUnknown, `payloadType ""`},
	})
}

func TestOpenRefusesSignatureLists(t *testing.T) {
	x := newSpoiler(t)
	replace, with, s := x.replace, x.with, x.s
	x.test([]badEnvelope{
		{"no signatures", with(func(e *envelope) { e.Signatures = nil }, s), reason.SignatureMissing, "no signature"},
		{"an empty list of signatures", with(func(e *envelope) { e.Signatures = []signature{} }, s), reason.SignatureMissing, "no signature"},
		{"Signatures", replace(`"signatures"`, `"Signatures"`), reason.SignatureMissing, "no signature"},
		{"17 signatures", with(func(e *envelope) {
			for len(e.Signatures) < 17 {
				e.Signatures = append(e.Signatures, e.Signatures[0])
			}
		}, s), reason.TooManyKeys, "17 signatures is over the limit of 16"},
	})
}

func TestOpenRefusesSignatures(t *testing.T) {
	x := newSpoiler(t)
	good, replace, with, payload, s, p, eve := x.good, x.replace, x.with, x.payload, x.s, x.p, x.eve
	b64 := base64.StdEncoding.EncodeToString
	x.test([]badEnvelope{
		{"an unknown key that names itself", with(func(*envelope) {}, eve), reason.KeyNotEnrolled,
			"key " + string(eve.Public.Fingerprint) + " is not enrolled: enrol it with `cairn enrol"},
		{"an unknown key with another name", with(func(e *envelope) { e.Signatures[0].KeyID = "eve" }, eve), reason.KeyNotEnrolled, `keyid "eve": set keyid to`},
		{"an unknown key without a name", with(func(e *envelope) { e.Signatures[0].KeyID = "" }, eve), reason.KeyNotEnrolled, `keyid ""`},
		{"an unknown key that names a known one", with(func(e *envelope) { e.Signatures[0].KeyID = string(s.Public.Fingerprint) }, eve),
			reason.SignatureInvalid, "keyid " + string(s.Public.Fingerprint) + " does not verify"},
		{"a good signature and one of an unknown key", with(func(*envelope) {}, s, eve), reason.KeyNotEnrolled, string(eve.Public.Fingerprint)},
		{"a good signature and a bad one", with(func(e *envelope) { e.Signatures[1].Sig = b64(make([]byte, 64)) }, s, p), reason.SignatureInvalid, string(p.Public.Fingerprint)},
		{"an empty signature", with(func(e *envelope) { e.Signatures[0].Sig = "" }, s), reason.SignatureInvalid, "does not verify"},
		{"a null signature", replace(good[strings.Index(good, `[{`):], "[null]}"), reason.KeyNotEnrolled, `keyid ""`},
		{"Sig", replace(`"sig"`, `"Sig"`), reason.SignatureInvalid, "does not verify"},
		{"Payload", replace(`"payload"`, `"Payload"`), reason.SignatureInvalid, "does not verify"},
		{"another payload", with(func(e *envelope) { e.Payload = b64([]byte(payload + " ")) }, s), reason.SignatureInvalid, "does not verify"},
		{"a signature for another payload type", with(func(e *envelope) { e.PayloadType = attest.TypeRevocation }, s), reason.SignatureInvalid, "does not verify"},
		{"a signature for another payload type, P-256", with(func(e *envelope) { e.PayloadType = attest.TypeRevocation }, p), reason.SignatureInvalid, "does not verify"},
	})
}

// Each byte of a signature counts, and each of what is signed.
func TestOpenRefusesChangedSignatures(t *testing.T) {
	for name, s := range map[string]*attest.Signer{"Ed25519": ed25519Signer(t, "alice"), "P-256": p256Signer(t, "alice")} {
		good := seal(t, attest.TypeStatement, statement("x", "{}"), s)
		for _, field := range []*string{&good.Signatures[0].Sig, &good.Payload} {
			was := *field
			b, err := base64.StdEncoding.DecodeString(was)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b {
				changed := bytes.Clone(b)
				changed[i] ^= 1
				*field = base64.StdEncoding.EncodeToString(changed)
				if _, err := attest.Open(good.text(t), ringOf(s)); err == nil {
					t.Errorf("%s: accepted with byte %d changed", name, i)
				}
			}
			*field = was
		}
		if _, err := attest.Open(good.text(t), ringOf(s)); err != nil {
			t.Errorf("%s: as it was: %v", name, err)
		}
	}
}

type badStatement struct {
	name, payload string
	want          reason.Reason
	message       string
}

func testStatements(t *testing.T, cases []badStatement) {
	t.Helper()
	s := ed25519Signer(t, "alice")
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, seal(t, attest.TypeStatement, tt.payload, s).text(t), ringOf(s), tt.want, tt.message)
		})
	}
}

func repeat(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }

// subject is a statement with subjects of this JSON.
func subject(json string) string {
	return `{"_type":"` + attest.StatementV1 + `","subject":[` + json + `],"predicateType":"x"}`
}

func build(p string) string { return statement(attest.PredicateProvenance, p) }

func repro(p string) string {
	return statement(attest.PredicateReproduction, `{`+p+`,"rebuilder":{"id":"r"}}`)
}

func outputs(hex string) string { return `"outputs":[{"digest":{"sha256":"` + hex + `"}}]` }

func TestOpenRefusesStatements(t *testing.T) {
	good := statement("x", "{}")
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	testStatements(t, []badStatement{
		{"nothing", "", reason.PayloadNotStatement, "parsing the payload"},
		{"text", "hello", reason.PayloadNotStatement, "parsing the payload"},
		{"an array", "[" + good + "]", reason.PayloadNotStatement, "parsing the payload"},
		{"trailing data", good + "{}", reason.PayloadNotStatement, "parsing the payload"},
		{"a member twice", replace(`"predicateType"`, `"predicateType":"y","predicateType"`), reason.PayloadNotStatement, "duplicate object member name"},
		{"a member in two cases", replace(`"predicateType"`, `"predicatetype":"y","predicateType"`), reason.PayloadNotStatement, "differ only in case"},
		{"a nested member in two cases", replace(`"predicate":{}`, `"predicate":{"result":"DIFFERENT","Result":"IDENTICAL"}`), reason.PayloadNotStatement, `members "result" and "Result" differ only in case`},
		{"a member of an unknown predicate twice", replace(`"predicate":{}`, `"predicate":{"a":{"b":1,"b":2}}`), reason.PayloadNotStatement, `duplicate object member name "b" within "/predicate/a"`},
		{"invalid UTF-8", replace(`"name":"go"`, "\"name\":\"\xff\""), reason.PayloadNotStatement, "invalid UTF-8"},
		{"invalid UTF-8 in an unknown predicate", replace(`"predicate":{}`, "\"predicate\":{\"x\":\"\xff\"}"), reason.PayloadNotStatement, "invalid UTF-8"},
		{"no _type", replace(`"_type":"https://in-toto.io/Statement/v1",`, ""), reason.PayloadNotStatement, `_type is ""`},
		{"_Type", replace(`"_type"`, `"_Type"`), reason.PayloadNotStatement, `_type is ""`},
		{"Statement v0.1", replace("Statement/v1", "Statement/v0.1"), reason.PayloadNotStatement, "Statement/v0.1"},
		{"no predicateType", replace(`"predicateType":"x",`, ""), reason.PayloadNotStatement, "no predicateType"},
		{"PredicateType", replace(`"predicateType"`, `"PredicateType"`), reason.PayloadNotStatement, "no predicateType"},
	})
}

func TestOpenRefusesSubjects(t *testing.T) {
	good := statement("x", "{}")
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	testStatements(t, []badStatement{
		{"no subject", replace(`"subject"`, `"subjects"`), reason.SubjectMissing, "no subject"},
		{"Subject", replace(`"subject"`, `"Subject"`), reason.SubjectMissing, "no subject"},
		{"an empty list of subjects", subject(""), reason.SubjectMissing, "no subject"},
		{"65 subjects", subject(repeat(65, `{"digest":{"sha256":"`+hexA+`"}}`)), reason.TooManySubjects, "65 subjects is over the limit of 64"},
		{"a subject without digests", subject(`{"name":"hello"}`), reason.SubjectWithoutDigest, `subject 0 ("hello") has neither`},
		{"a subject with a weak digest", subject(`{"digest":{"sha1":"` + hexA[:40] + `"}}`), reason.SubjectWithoutDigest, "neither a sha256 nor a sha512"},
		{"a subject with SHA256", subject(`{"digest":{"SHA256":"` + hexA + `"}}`), reason.SubjectWithoutDigest, "neither a sha256 nor a sha512"},
		{"the second subject without digests", subject(`{"digest":{"sha256":"` + hexA + `"}},{}`), reason.SubjectWithoutDigest, "subject 1"},
		{"a digest in capitals", subject(`{"digest":{"sha256":"` + strings.ToUpper(hexA) + `"}}`), reason.DigestInvalid, `invalid sha256 digest "AAAA`},
		{"a short digest", subject(`{"digest":{"sha256":"` + hexA[1:] + `"}}`), reason.DigestInvalid, "invalid sha256 digest"},
		{"an invalid sha512 beside a good sha256", subject(`{"digest":{"sha256":"` + hexA + `","sha512":"` + hexA + `"}}`), reason.DigestInvalid, "invalid sha512 digest"},
		{"a digest twice", subject(`{"digest":{"sha256":"` + hexA + `","sha256":"` + hexB + `"}}`), reason.PayloadNotStatement, "duplicate object member name"},
		{"a purl without a name", subject(`{"uri":"pkg:oci/","digest":{"sha256":"` + hexA + `"}}`), reason.PurlInvalid, `parsing package URL "pkg:oci/"`},
		{"a purl in the name", subject(`{"name":"pkg:oci","digest":{"sha256":"` + hexA + `"}}`), reason.PurlInvalid, `parsing package URL "pkg:oci"`},
		{"a purl that is too long", subject(`{"uri":"pkg:oci/` + strings.Repeat("a", 4096) + `","digest":{"sha256":"` + hexA + `"}}`), reason.PurlInvalid, "over the limit of 4096"},
	})
}

func TestOpenRefusesProvenance(t *testing.T) {
	testStatements(t, []badStatement{
		{"provenance without a predicate", subject(`{"digest":{"sha256":"` + hexA + `"}}`)[:strings.LastIndex(subject(`{"digest":{"sha256":"`+hexA+`"}}`), `"x"`)] + `"` + attest.PredicateProvenance + `"}`, reason.PredicateInvalid, "parsing SLSA provenance"},
		{"provenance that is a list", build(`[]`), reason.PredicateInvalid, "parsing SLSA provenance"},
		{"provenance without a buildType", build(`{"runDetails":{"builder":{"id":"b"}}}`), reason.PredicateInvalid, "needs buildDefinition.buildType"},
		{"provenance without a builder", build(`{"buildDefinition":{"buildType":"b"}}`), reason.PredicateInvalid, "runDetails.builder.id"},
		{"BuildType", build(strings.Replace(provenance, "buildType", "BuildType", 1)), reason.PredicateInvalid, "needs buildDefinition.buildType"},
		{"a material with a bad digest", build(strings.Replace(provenance, "gitCommit", "sha256", 1)), reason.DigestInvalid, "resolved dependency 0"},
		{"a material with a bad purl", build(strings.Replace(provenance, "pkg:oci/y", "pkg:oci/", 1)), reason.PurlInvalid, "pkg:oci/"},
		{"4097 materials", build(`{"buildDefinition":{"buildType":"b","resolvedDependencies":[` + repeat(4097, "{}") + `]},"runDetails":{"builder":{"id":"b"}}}`), reason.TooManyMaterials, "4097 resolved dependencies is over the limit of 4096"},
	})
}

func TestOpenRefusesReproductions(t *testing.T) {
	testStatements(t, []badStatement{
		{"a reproduction that is a list", statement(attest.PredicateReproduction, `[]`), reason.PredicateInvalid, "parsing reproduction"},
		{"no result", repro(`"obtained":"BUILT"`), reason.PredicateInvalid, `unknown result ""`},
		{"Result", repro(`"Result":"DIFFERENT"`), reason.PredicateInvalid, `unknown result ""`},
		{"a result in small letters", repro(`"result":"different"`), reason.PredicateInvalid, `unknown result "different"`},
		{"no result as a result", repro(`"result":"-"`), reason.PredicateInvalid, `unknown result "-"`},
		{"an unknown way", repro(`"result":"DIFFERENT","obtained":"FOUND"`), reason.PredicateInvalid, `unknown obtained "FOUND"`},
		{"no rebuilder", statement(attest.PredicateReproduction, `{"result":"DIFFERENT"}`), reason.PredicateInvalid, "needs rebuilder.id"},
		{"identical to something else", repro(`"result":"IDENTICAL",` + outputs(hexB)), reason.PredicateInvalid, "says IDENTICAL, but output [sha256:bbbb"},
		{"identical but for sha512", repro(`"result":"IDENTICAL","outputs":[{"digest":{"sha512":"` + hexA + hexA + `"}}]`), reason.PredicateInvalid, "says IDENTICAL"},
		{"different from itself", repro(`"result":"DIFFERENT",` + outputs(hexA)), reason.PredicateInvalid, "says DIFFERENT, but every output is a subject"},
		{"equivalent in no sense", repro(`"result":"EQUIVALENT",` + outputs(hexB)), reason.PredicateInvalid, "names no equivalence.method"},
		{"equivalent by an empty method", repro(`"result":"EQUIVALENT","equivalence":{}`), reason.PredicateInvalid, "names no equivalence.method"},
		{"failed with outputs", repro(`"result":"BUILD_FAILED",` + outputs(hexB)), reason.PredicateInvalid, "says BUILD_FAILED, but has outputs"},
		{"an output without digests", repro(`"result":"DIFFERENT","outputs":[{"name":"o"}]`), reason.SubjectWithoutDigest, `output 0 ("o")`},
		{"65 outputs", repro(`"result":"DIFFERENT","outputs":[` + repeat(65, `{"digest":{"sha256":"`+hexB+`"}}`) + `]`), reason.TooManyOutputs, "65 outputs is over the limit of 64"},
		{"a reproduction with 4097 materials", repro(`"result":"DIFFERENT","buildDefinition":{"resolvedDependencies":[` + repeat(4097, "{}") + `]}`), reason.TooManyMaterials, "4097"},
	})
}

// Digests of one algorithm decide nothing if those of the other differ.
func TestSameDigestNeedsAllThatBothGive(t *testing.T) {
	s := ed25519Signer(t, "alice")
	payload := `{"_type":"` + attest.StatementV1 + `","predicateType":"` + attest.PredicateReproduction + `",` +
		`"subject":[{"digest":{"sha256":"` + hexA + `","sha512":"` + hexA + hexA + `"}}],` +
		`"predicate":{"result":"%s","rebuilder":{"id":"r"},"outputs":[{"digest":{"sha256":"` + hexA + `","sha512":"` + hexA + hexB + `"}}]}}`
	refused(t, seal(t, attest.TypeStatement, fmt.Sprintf(payload, "IDENTICAL"), s).text(t), ringOf(s), reason.PredicateInvalid, "says IDENTICAL")
	mustOpen(t, seal(t, attest.TypeStatement, fmt.Sprintf(payload, "DIFFERENT"), s).text(t), ringOf(s))
}

// A digest that only one side gives does not make two artifacts different.
func TestSameDigestIgnoresWhatOneGives(t *testing.T) {
	s := ed25519Signer(t, "alice")
	one, both := `{"sha256":"`+hexA+`"}`, `{"sha256":"`+hexA+`","sha512":"`+hexA+hexB+`"}`
	for _, d := range [][2]string{{one, both}, {both, one}} {
		payload := `{"_type":"` + attest.StatementV1 + `","predicateType":"` + attest.PredicateReproduction + `",` +
			`"subject":[{"digest":` + d[0] + `}],"predicate":{"result":"IDENTICAL","rebuilder":{"id":"r"},"outputs":[{"digest":` + d[1] + `}]}}`
		mustOpen(t, seal(t, attest.TypeStatement, payload, s).text(t), ringOf(s))
	}
}
