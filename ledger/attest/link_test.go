package attest_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// What rebuilderd signs, in the order in which it writes the members.
const (
	debianLink = `{"_type":"link","name":"rebuild attr_2.5.2-1+b1_amd64.deb",` +
		`"materials":{"attr_2.5.2-1+b1_amd64.buildinfo":{"sha512":"` + hexB + hexB + `","sha256":"` + hexB + `"}},` +
		`"products":{"attr_2.5.2-1+b1_amd64.deb":{"sha512":"` + hexA + hexA + `","sha256":"` + hexA + `"}},` +
		`"environment":null,"byproducts":{},"command":[]}`
	archLink = `{"_type":"link","name":"rebuild xz-1:5.8.1-1-x86_64.pkg.tar.zst",` +
		`"materials":{"xz-1:5.8.1-1-x86_64.pkg.tar.zst":{"sha256":"` + hexA + `"}},` +
		`"products":{"xz-1:5.8.1-1-x86_64.pkg.tar.zst":{"sha256":"` + hexA + `"}},` +
		`"environment":null,"byproducts":{},"command":[]}`
	// A step of somebody else's supply chain.
	stepLink = `{"_type":"link","name":"rebuild","materials":{},"products":{"a":{"sha256":"` + hexA + `"},"b":{"sha256":"` + hexB + `"}},` +
		`"environment":{"workdir":"/"},"byproducts":{"return-value":0,"stdout":"<&>\u00e9\u2028 \"\\"},"command":["make","a"]}`
)

func ed25519Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// canonical is in-toto's canonical JSON of what the tests sign: sorted, and without
// what is escaped in encoding/json alone.
func canonical(t testing.TB, text string) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), `\u2028`, "\u2028"))
}

// inTotoKeyID is the key id that in-toto-rs gives an Ed25519 key.
func inTotoKeyID(key ed25519.PrivateKey) string {
	sum := sha256.Sum256([]byte(`{"keyid_hash_algorithms":["sha256","sha512"],"keytype":"ed25519","keyval":{"public":"` +
		hex.EncodeToString(key.Public().(ed25519.PublicKey)) + `"},"scheme":"ed25519"}`))
	return hex.EncodeToString(sum[:])
}

// signLink signs as in-toto-rs does.
func signLink(t testing.TB, signed string, signers ...string) []byte {
	t.Helper()
	var sigs []string
	for _, name := range signers {
		key := ed25519Key(name)
		sigs = append(sigs, `{"keyid":"`+inTotoKeyID(key)+`","sig":"`+hex.EncodeToString(ed25519.Sign(key, canonical(t, signed)))+`"}`)
	}
	return []byte(`{"signatures":[` + strings.Join(sigs, ",") + `],"signed":` + signed + `}`)
}

func TestOpenLink(t *testing.T) {
	worker, daemon := ed25519Signer(t, "worker"), ed25519Signer(t, "daemon")
	ring := ringOf(worker, daemon)
	a, err := attest.Open(signLink(t, debianLink, "worker", "daemon", "worker"), ring)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Keys) != 2 || a.Leaf.Payload != leaf.SHA256(canonical(t, debianLink)) {
		t.Errorf("%d keys, payload %s", len(a.Keys), a.Leaf.Payload)
	}
	deb := attest.Resource{
		Name: "attr_2.5.2-1+b1_amd64.deb", URI: "pkg:deb/debian/attr@2.5.2-1%2Bb1?arch=amd64",
		Digests: map[string]string{"sha256": hexA, "sha512": hexA + hexA},
	}
	want := attest.Claim{
		Kind: leaf.KindAttestation, Format: attest.FormatLink, Claim: leaf.ClaimReproduction, Result: leaf.Identical,
		Obtained: attest.Built, PredicateType: "link", Subjects: []attest.Resource{deb}, Outputs: []attest.Resource{deb},
	}
	if d := cmp.Diff(want, a.Claim); d != "" {
		t.Errorf("claim (-want +got):\n%s", d)
	}
	name, err := attest.LookupName(deb.URI)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(a.Leaf.Names, leaf.NameHash(name)) {
		t.Error("the leaf is not found by the package's name")
	}
	if !a.Claim.Obtains("sha256:" + hexA) {
		t.Error("it was not obtained by building it")
	}
}

// A link that is not one of rebuilderd's kind says nothing about what was rebuilt.
func TestLinksOfOthers(t *testing.T) {
	ring := ringOf(ed25519Signer(t, "daemon"))
	for _, name := range []string{"build", "rebuild", "rebuild ", "rebuild other.deb", "Rebuild attr_2.5.2-1+b1_amd64.deb"} {
		a, err := attest.Open(signLink(t, strings.Replace(debianLink, "rebuild attr_2.5.2-1+b1_amd64.deb", name, 1), "daemon"), ring)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.Claim.Claim != leaf.ClaimOther || a.Claim.Result != leaf.NoResult || a.Claim.Obtains("sha256:"+hexA) {
			t.Errorf("a link named %q claims %s %s", name, a.Claim.Claim, a.Claim.Result)
		}
	}
	two := strings.Replace(debianLink, `"products":{`, `"products":{"other":{"sha256":"`+hexB+`"},`, 1)
	a, err := attest.Open(signLink(t, two, "daemon"), ring)
	if err != nil {
		t.Fatal(err)
	}
	if a.Claim.Claim != leaf.ClaimOther {
		t.Error("a link with a product that it does not name is a reproduction")
	}
}

func TestOpenRefusesLinks(t *testing.T) {
	good := string(signLink(t, debianLink, "worker", "daemon"))
	ring := ringOf(ed25519Signer(t, "worker"), ed25519Signer(t, "daemon"))
	swap := func(old, new string) []byte {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return []byte(strings.Replace(good, old, new, 1))
	}
	signed := func(old, new string) []byte {
		return signLink(t, strings.Replace(debianLink, old, new, 1), "daemon")
	}
	many := make([]string, attest.MaxKeys+1)
	for i := range many {
		many[i] = "daemon"
	}
	for _, tt := range []badEnvelope{
		{"a signature by nobody known", signLink(t, debianLink, "daemon", "eve"), reason.KeyNotEnrolled, inTotoKeyID(ed25519Key("eve"))},
		{"a changed product", swap(`"sha256":"`+hexA, `"sha256":"`+hexB), reason.SignatureInvalid, "does not verify"},
		{"a changed name", swap("rebuild attr", "rebuild attl"), reason.SignatureInvalid, "does not verify"},
		{"no signature", signLink(t, debianLink), reason.SignatureMissing, "no signature"},
		{"too many", signLink(t, debianLink, many...), reason.TooManyKeys, "17"},
		{"no signed", []byte(`{"signatures":[],"signed":`), reason.EnvelopeMalformed, ""},
		{"nothing signed", []byte(`{"signed":null}`), reason.SignatureMissing, ""},
		{"base64 for hex", swap(`"sig":"`, `"sig":"=`), reason.EnvelopeMalformed, "signature 0"},
		{"unknown member", swap(`{"signatures"`, `{"x":1,"signatures"`), reason.EnvelopeMalformed, "unknown"},
		{"unknown member of a signature", swap(`{"keyid"`, `{"method":"openpgp","keyid"`), reason.EnvelopeMalformed, "unknown"},
		{"duplicate member", swap(`"signed":`, `"signed":{},"signed":`), reason.EnvelopeMalformed, "duplicate"},
		{"duplicate product", signed(`"products":{`, `"products":{"attr_2.5.2-1+b1_amd64.deb":{},`), reason.EnvelopeMalformed, "duplicate"},
		{"twin", signed(`"name"`, `"Name":"x","name"`), reason.EnvelopeMalformed, "differ only in case"},
		{"unknown member signed", signed(`"name"`, `"x":"y","name"`), reason.PredicateInvalid, "unknown"},
		{"fraction", signed(`"byproducts":{}`, `"byproducts":{"n":1.5}`), reason.EnvelopeMalformed, "1.5"},
		{"exponent", signed(`"byproducts":{}`, `"byproducts":{"n":1e3}`), reason.EnvelopeMalformed, "1e3"},
		{"control character", signed(`"byproducts":{}`, `"byproducts":{"stdout":"a\nb"}`), reason.EnvelopeMalformed, "control character"},
		{"layout", signed(`"_type":"link"`, `"_type":"layout"`), reason.PayloadTypeUnknown, "layout"},
		{"no product", signLink(t, strings.Replace(archLink, `"products":{"xz-1:5.8.1-1-x86_64.pkg.tar.zst":{"sha256":"`+hexA+`"}}`, `"products":{}`, 1), "daemon"), reason.SubjectMissing, ""},
		{"weak digest", signLink(t, strings.ReplaceAll(archLink, "sha256", "sha1"), "daemon"), reason.SubjectWithoutDigest, "product 0"},
		{"digest in capitals", signLink(t, strings.ReplaceAll(archLink, hexA, strings.ToUpper(hexA)), "daemon"), reason.DigestInvalid, "product 0"},
		{"material's digest", signed(`"sha256":"`+hexB, `"sha256":"`+hexB[1:]), reason.DigestInvalid, "material 0"},
		{"too many products", signLink(t, strings.Replace(archLink, `"products":{`, `"products":{`+files(attest.MaxSubjects), 1), "daemon"), reason.TooManySubjects, "65"},
		{"too many materials", signLink(t, strings.Replace(archLink, `"materials":{`, `"materials":{`+files(attest.MaxMaterials), 1), "daemon"), reason.TooManyMaterials, "4097"},
	} {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.raw, ring, tt.want, tt.message) })
	}
}

// files is the text of n members that are files.
func files(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"f%d":{"sha256":"%s"},`, i, hexA)
	}
	return b.String()
}

// The key ids are those of in-toto-rs for the long-term key of the rebuilder of
// reproducible-archlinux, as it signs, with and without the NULL that is in its PEM.
func TestInTotoKeyIDs(t *testing.T) {
	const id = "1ae6d32cb5bb8a98312106de28e50af7e09a9b294d51df459537908ac1288b8f"
	var fingerprints []leaf.Fingerprint
	for _, der := range []string{
		"MCwwBwYDK2VwBQADIQBLNcEcgErQ1rZz9oIkUnzc3fPuqJEALr22rNbrBK7iqQ==",
		"MCowBQYDK2VwAyEASzXBHIBK0Na2c/aCJFJ83N3z7qiRAC69tqzW6wSu4qk=",
	} {
		k, err := attest.ParsePublicKey([]byte("-----BEGIN PUBLIC KEY-----\n" + der + "\n-----END PUBLIC KEY-----\n"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(k.KeyIDs(), id) || !slices.Contains(k.Prepare().KeyIDs(), id) {
			t.Errorf("%s has the key ids %q", k.Fingerprint, k.KeyIDs())
		}
		if got := attest.NewKeyring(k).Hinted(id); len(got) != 1 {
			t.Errorf("hinted at: %v", got)
		}
		fingerprints = append(fingerprints, k.Fingerprint)
	}
	if fingerprints[0] != fingerprints[1] {
		t.Errorf("one key has the fingerprints %q", fingerprints)
	}
	// With a longer or shorter key behind the parameter it is none.
	for _, der := range []string{"MCwwBwYDK2VwBQADIQBLNcEcgErQ1rZz9oIkUnzc3fPuqJEALr22rNbrBK7i", "MCwwBwYDK2VwBQADIQA="} {
		if _, err := attest.ParsePublicKey([]byte("-----BEGIN PUBLIC KEY-----\n" + der + "\n-----END PUBLIC KEY-----\n")); err == nil {
			t.Errorf("%s is a key", der)
		}
	}
}

// go-securesystemslib's key id of a P-256 key, with keyid_hash_algorithms, and
// python-securesystemslib's, without.
func TestInTotoKeyIDsP256(t *testing.T) {
	k := p256Signer(t, "bob").Public
	for _, text := range []string{
		`{"keyid_hash_algorithms":["sha256","sha512"],"keytype":"ecdsa","keyval":{"public":"` + strings.TrimSpace(k.PEM) + `"},"scheme":"ecdsa-sha2-nistp256"}`,
		`{"keytype":"ecdsa","keyval":{"public":"` + k.PEM + `"},"scheme":"ecdsa-sha2-nistp256"}`,
	} {
		sum := sha256.Sum256([]byte(text))
		if id := hex.EncodeToString(sum[:]); !slices.Contains(k.KeyIDs(), id) {
			t.Errorf("%s is not among %q", id, k.KeyIDs())
		}
	}
}

// FuzzLink signs arbitrary text, so that all that is behind the signatures is
// reached, and opens arbitrary text as it is.
func FuzzLink(f *testing.F) {
	ring := ringOf(ed25519Signer(f, "daemon"))
	for _, text := range []string{debianLink, archLink, stepLink, `{"_type":"link","name":"rebuild a","products":{"a":{"sha256":"` + hexA + `"}}}`} {
		f.Add(canonical(f, text), true)
		f.Add(signLink(f, text, "daemon"), false)
	}
	key := ed25519Key("daemon")
	f.Fuzz(func(t *testing.T, raw []byte, sign bool) {
		if sign {
			// What is signed is what attest makes of it: of text that is canonical
			// already, the text itself.
			sig := hex.EncodeToString(ed25519.Sign(key, raw))
			raw = []byte(`{"signatures":[{"keyid":"` + inTotoKeyID(key) + `","sig":"` + sig + `"}],"signed":` + string(raw) + `}`)
		}
		a, err := attest.Open(raw, ring)
		if err != nil {
			checkRefused(t, a, err)
			return
		}
		checkOpened(t, raw, a)
	})
}
