package leaf_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenRekord = "testdata/hashedrekord.json"

// golden compares text with a file.
func golden(t *testing.T, file string, text []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Error(d)
	}
}

func TestHashedRekordIsItsOwnLeaf(t *testing.T) {
	text := leaftest.HashedRekord(t, "alice", "hello\n")
	golden(t, goldenRekord, text)
	canonical := jsontext.Value(bytes.Clone(text))
	if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, text) {
		t.Errorf("the text is not as RFC 8785 says, %v: %s", err, canonical)
	}
	l, err := leaf.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := leaf.ParseHashedRekord(text)
	if err != nil {
		t.Fatal(err)
	}
	want := &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "hashedrekord", Claim: leaf.ClaimOther, Result: leaf.NoResult,
		Envelope: leaf.SHA256(text), Payload: leaf.SHA256(text),
		Keys:     []leaf.Fingerprint{leaf.Fingerprint(leaf.SHA256(e.Verifier))},
		Subjects: []leaf.Digest{sum256("hello\n")},
		Rekor:    string(text),
	}
	if d := cmp.Diff(want, l); d != "" {
		t.Error(d)
	}
	if !l.BringsKeys() || full().BringsKeys() {
		t.Error("it is not told which leaf's attestation brings its keys")
	}
	if again := mustMarshal(t, l); !bytes.Equal(again, text) {
		t.Errorf("marshalled as %s", again)
	}
}

// certificate has the structure of one, as far as it is looked at.
func certificate(spki string) []byte {
	sequence := func(parts ...string) string {
		body := strings.Join(parts, "")
		return "\x30" + string(rune(len(body))) + body
	}
	tbs := sequence("\xa0\x03\x02\x01\x02", "\x02\x01\x07", sequence(), sequence(), sequence(), sequence(), spki, "\xa3\x00")
	return []byte(sequence(tbs, sequence(), "\x03\x01\x00"))
}

func TestHashedRekordForms(t *testing.T) {
	spki := "\x30\x03\x02\x01\x05"
	for name, e := range map[string]leaf.HashedRekord{
		"sha256":       {Digest: sum256("x"), Signature: []byte{1}, KeyDetails: "PKIX_X_1", Verifier: []byte(spki)},
		"sha512":       {Digest: sum512(1), Signature: []byte{1, 2}, KeyDetails: "X", Verifier: []byte(spki)},
		"certificate":  {Digest: sum256("x"), Signature: []byte{1, 2, 3}, KeyDetails: "X", Verifier: certificate(spki), Certificate: true},
		"long details": {Digest: sum256("x"), Signature: []byte{1}, KeyDetails: strings.Repeat("X", 64), Verifier: []byte(spki)},
	} {
		text, err := e.Marshal()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := leaf.ParseHashedRekord(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(&e, again); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		l, err := leaf.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := leaf.Fingerprint(leaf.SHA256([]byte(spki))); len(l.Keys) != 1 || l.Keys[0] != want || l.Subjects[0] != e.Digest {
			t.Errorf("%s: keys %v, want %s; subjects %v", name, l.Keys, want, l.Subjects)
		}
	}
}

func TestHashedRekordMarshalRefuses(t *testing.T) {
	for name, change := range map[string]func(*leaf.HashedRekord){
		"no digest":            func(e *leaf.HashedRekord) { e.Digest = "" },
		"a digest of sha1":     func(e *leaf.HashedRekord) { e.Digest = "sha1:00" },
		"no signature":         func(e *leaf.HashedRekord) { e.Signature = nil },
		"no verifier":          func(e *leaf.HashedRekord) { e.Verifier = nil },
		"no key details":       func(e *leaf.HashedRekord) { e.KeyDetails = "" },
		"too long key details": func(e *leaf.HashedRekord) { e.KeyDetails = strings.Repeat("X", 65) },
		"quoted key details":   func(e *leaf.HashedRekord) { e.KeyDetails = `X","y":"` },
		"over the size":        func(e *leaf.HashedRekord) { e.Signature = make([]byte, leaf.MaxSize) },
	} {
		e := leaf.HashedRekord{Digest: sum256("x"), Signature: []byte{1}, KeyDetails: "X", Verifier: []byte{0x30, 0}}
		change(&e)
		if text, err := e.Marshal(); err == nil {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// What is no key gives no leaf.
func TestParseRefusesVerifiers(t *testing.T) {
	spki := "\x30\x03\x02\x01\x05"
	cert := certificate(spki)
	for name, tt := range map[string]struct {
		der         []byte
		certificate bool
	}{
		"a key and a byte":         {[]byte(spki + "\x00"), false},
		"a key cut short":          {[]byte(spki[:4]), false},
		"a certificate and a byte": {append(bytes.Clone(cert), 0), true},
		"a certificate cut short":  {cert[:len(cert)-1], true},
		"a key for a certificate":  {[]byte(spki), true},
		"a certificate of nothing": {certificate(""), true},
	} {
		e := leaf.HashedRekord{Digest: sum256("x"), Signature: []byte{1}, KeyDetails: "X", Verifier: tt.der, Certificate: tt.certificate}
		text, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if l, err := leaf.Parse(text); err == nil {
			t.Errorf("%s: accepted as %+v", name, l)
		}
	}
}

// Each field of a leaf follows from the text, so none can be changed.
func TestMarshalRefusesOthersOfARekorEntry(t *testing.T) {
	text := leaftest.HashedRekord(t, "alice", "hello\n")
	for name, change := range map[string]func(*leaf.Leaf){
		"kind":     func(l *leaf.Leaf) { l.Kind = leaf.KindEnrol },
		"format":   func(l *leaf.Leaf) { l.Format = "dsse" },
		"envelope": func(l *leaf.Leaf) { l.Envelope = sum256("x") },
		"payload":  func(l *leaf.Leaf) { l.Payload = sum256("x") },
		"claim":    func(l *leaf.Leaf) { l.Claim = leaf.ClaimBuild },
		"result":   func(l *leaf.Leaf) { l.Result = leaf.Identical },
		"key":      func(l *leaf.Leaf) { l.Keys = fingerprints(1) },
		"names":    func(l *leaf.Leaf) { l.Names = digests256(1) },
		"subjects": func(l *leaf.Leaf) { l.Subjects = digests256(1) },
		"outputs":  func(l *leaf.Leaf) { l.Outputs = digests256(1) },
		"text":     func(l *leaf.Leaf) { l.Rekor = string(leaftest.HashedRekord(t, "bob", "hello\n")) },
		"no text":  func(l *leaf.Leaf) { l.Rekor = "" },
		"bad text": func(l *leaf.Leaf) { l.Rekor = "{}" },
	} {
		l, err := leaf.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		change(l)
		if b, err := l.Marshal(); err == nil {
			t.Errorf("with another %s it is marshalled as %s", name, b)
		}
	}
}

func TestParseRefusesRekorEntries(t *testing.T) {
	good := string(leaftest.HashedRekord(t, "alice", "hello\n"))
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	digest := base64.StdEncoding.EncodeToString(sum256("hello\n").Bytes())
	for _, tt := range []struct{ name, in, want string }{
		{"nothing in it", "{}", "want {"},
		{"a brace", "{", "want {"},
		{"the whole in spaces", "{ " + good[1:], "want {"},
		{"a newline behind", good + "\n", "1 bytes follow"},
		{"an entry behind", good + good, "bytes follow"},
		{"another version", replace("0.0.2", "0.0.1"), "want {"},
		{"another kind", replace(`"hashedrekord"`, `"dsse"`), "want {"},
		{"members in another order", replace(`"apiVersion":"0.0.2","kind":"hashedrekord"`, `"kind":"hashedrekord","apiVersion":"0.0.2"`), "want {"},
		{"an escape", replace("SHA2_256", `SHA2\u005f256`), "digest algorithm"},
		{"SHA-384", replace("SHA2_256", "SHA2_384"), `digest algorithm "SHA2_384"`},
		{"no algorithm", replace("SHA2_256", ""), "digest algorithm"},
		{"a digest of another algorithm", replace("SHA2_256", "SHA2_512"), "digest of 32 bytes"},
		{"no digest", replace(digest, ""), "digest is not the base64"},
		{"a digest in other base64", replace(digest, strings.NewReplacer("+", "-", "/", "_").Replace(digest)+"="), "digest is not the base64"},
		{"a digest without padding", replace(digest, strings.TrimRight(digest, "=")), "digest is not the base64"},
		{"a digest with a line break", replace(digest, digest[:4]+"\n"+digest[4:]), "digest is not the base64"},
		{"a digest with an escaped line break", replace(digest, digest[:4]+`\n`+digest[4:]), "digest is not the base64"},
		{"no signature", replace(`"signature":`, `"x":`), "is missing"},
		{"key details in lower case", replace("PKIX_ECDSA", "pkix_ecdsa"), "invalid keyDetails"},
		{"no key details", replace("PKIX_ECDSA_P256_SHA_256", ""), "keyDetails of 0 bytes"},
		{"neither key nor certificate", replace(`"publicKey"`, `"key"`), "is missing"},
		{"a key that is called a certificate", replace(`"publicKey"`, `"x509Certificate"`), "not DER of one X.509"},
		{"a key that is none", replace(`"rawBytes":"MFk`, `"rawBytes":"AFk`), "not DER of one SPKI"},
		{"a key and more", replace(`"}}}}}}`, `"},"x509Certificate":{"rawBytes":"AA=="}}}}}}`), "verifier is not the base64"},
		{"an unknown member", replace(`"}}}}}}`, `"},"x":"y"}}}}}`), "is missing"},
		{"cut short", good[:len(good)-1], "is missing"},
		{"over the size", "{" + strings.Repeat(" ", leaf.MaxSize), "over the limit"},
		{"its text as lines", "cairn.leaf/v1\nkind attestation\nformat hashedrekord\n" +
			strings.Join(strings.SplitAfter(string(mustMarshal(t, full())), "\n")[3:], ""), "invalid format"},
	} {
		l, err := leaf.Parse([]byte(tt.in))
		if err == nil {
			t.Errorf("%s: accepted as %+v", tt.name, l)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %q, want %q in it", tt.name, err, tt.want)
		}
	}
}

func TestIdentityOfRekorEntries(t *testing.T) {
	seen := make(map[[32]byte]string)
	for _, of := range [][2]string{{"alice", "hello"}, {"alice", "other"}, {"bob", "hello"}} {
		l, err := leaf.Parse(leaftest.HashedRekord(t, of[0], of[1]))
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[l.Identity()]; ok {
			t.Errorf("%v has the identity of %s", of, other)
		}
		seen[l.Identity()] = strings.Join(of[:], " ")
	}
}

// checkRekord checks that an accepted text is canonical JSON and is written from
// what was read.
func checkRekord(t *testing.T, text []byte) {
	t.Helper()
	canonical := jsontext.Value(bytes.Clone(text))
	if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, text) {
		t.Fatalf("%q is not as RFC 8785 says, %v: %s", text, err, canonical)
	}
	e, err := leaf.ParseHashedRekord(text)
	if err != nil {
		t.Fatalf("a leaf, but no entry: %v", err)
	}
	if again, err := e.Marshal(); err != nil || !bytes.Equal(again, text) {
		t.Fatalf("%q is written as %q, %v", text, again, err)
	}
}
