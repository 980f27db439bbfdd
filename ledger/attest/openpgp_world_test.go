package attest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// What follows is signed and judged by Debian's gpg, too.

const oddText = "Odd: 1.0\n-dash\n- dash space\n-----BEGIN dashes\nFrom here\n \ntrailing \t\n--\n\nend\n"

// signs are the ways of signing a text, and what of it is read again.
var signs = []struct {
	name     string
	args     []string
	detached bool
	text     string
}{
	{"inline", []string{"--sign"}, false, oddText},
	{"inline zlib", []string{"--compress-algo", "zlib", "--sign"}, false, oddText},
	{"inline zip", []string{"--compress-algo", "zip", "--sign"}, false, oddText},
	{"inline bzip2", []string{"--compress-algo", "bzip2", "--sign"}, false, oddText},
	{"inline, not compressed", []string{"--compress-algo", "none", "--sign"}, false, oddText},
	{"inline, armored", []string{"--armor", "--sign"}, false, oddText},
	{"inline, text", []string{"--textmode", "--sign"}, false, oddText},
	{"cleartext", []string{"--clear-sign"}, false, strings.ReplaceAll(strings.ReplaceAll(oddText, "trailing \t", "trailing"), "\n \n", "\n\n")},
	{"detached", []string{"--armor", "--detach-sign"}, true, oddText},
	{"detached, text", []string{"--textmode", "--armor", "--detach-sign"}, true, oddText},
}

// sign signs oddText in one of these ways.
func (g *gpg) sign(i int, who ...string) []byte {
	g.t.Helper()
	var args []string
	for _, w := range who {
		args = append(args, "-u", w)
	}
	out := g.run([]byte(oddText), append(args, signs[i].args...)...)
	if signs[i].detached {
		out = append([]byte(oddText), out...)
	}
	return out
}

// reads returns what gpg makes of a signed document: its text, and an error unless
// all of its signatures are good.
func (g *gpg) reads(raw []byte) (text, status string, err error) {
	g.t.Helper()
	var out []byte
	if at := bytes.Index(raw, []byte("\n-----BEGIN PGP SIGNATURE")); at >= 0 && !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("-----BEGIN PGP SIGNED")) {
		out = raw[:at+1]
		file := filepath.Join(g.home, "signature")
		if err := os.WriteFile(file, raw[at+1:], 0o600); err != nil {
			g.t.Fatal(err)
		}
		_, status, err = g.try(out, "--verify", file, "-")
	} else {
		out, status, err = g.try(raw, "--decrypt")
	}
	if err == nil && (!strings.Contains(status, "[GNUPG:] GOODSIG") || strings.Contains(status, "BADSIG") || strings.Contains(status, "ERRSIG")) {
		err = fmt.Errorf("no good signature: %s", status)
	}
	return string(out), status, err
}

func TestGPGContainers(t *testing.T) {
	g := newGPG(t)
	attest.AddDocument(t, "odd", "Odd: 1.0\n")
	alice, bob := g.generate("alice", "ed25519", "sign", "1y"), g.generate("bob", "rsa3072", "sign", "0")
	ring := attest.NewKeyring(g.key(alice), g.key(bob))
	for i, s := range signs {
		for _, who := range [][]string{{alice}, {bob, alice}} {
			raw := g.sign(i, who...)
			if _, status, err := g.reads(raw); err != nil {
				t.Fatalf("%s: gpg: %v\n%s", s.name, err, status)
			}
			text, sigs, err := attest.OpenSigned(raw, ring)
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
				continue
			}
			if string(text) != s.text || len(sigs) != len(who) {
				t.Errorf("%s: %d signatures of %q", s.name, len(sigs), text)
			}
			a := mustOpen(t, raw, ring)
			checkOpened(t, raw, a)
			if d := cmp.Diff(sigs, a.Signatures); d != "" || len(a.Keys) != len(who) || a.Leaf.Format != "odd" {
				t.Errorf("%s: %d keys, format %s: %s", s.name, len(a.Keys), a.Leaf.Format, d)
			}
			for _, sig := range sigs {
				if !sig.Made.Equal(day) || !sig.Expires.IsZero() || !slices.Contains(who, strings.ToUpper(strings.TrimPrefix(string(sig.Key), "openpgp:"))) {
					t.Errorf("%s: %+v", s.name, sig)
				}
			}
			if s.name == "cleartext" {
				want := strings.ReplaceAll(strings.TrimSuffix(s.text, "\n"), "\n", "\r\n")
				if a.Leaf.Payload != leaf.SHA256([]byte(want)) {
					t.Errorf("%s: the payload is not what was signed", s.name)
				}
			} else if !strings.Contains(s.name, "text") && a.Leaf.Payload != leaf.SHA256([]byte(oddText)) {
				t.Errorf("%s: the payload is not what was signed", s.name)
			}
		}
	}
}

// The same signature twice, or by two subkeys of one key, is one vote.
func TestGPGOneVote(t *testing.T) {
	g := newGPG(t)
	attest.AddDocument(t, "odd", "Odd: 1.0\n")
	alice := g.generate("alice", "ed25519", "cert", "0")
	for range 2 {
		g.run(nil, "--quick-add-key", alice, "ed25519", "sign", "0")
	}
	g.run(nil, "--quick-add-key", alice, "cv25519", "encr", "0")
	key := g.key(alice)
	ids := key.KeyIDs()
	if len(ids) != 6 || ids[0] != strings.ToLower(alice) || ids[1] != ids[0][24:] {
		t.Fatalf("key ids %q, want those of a primary key and of two subkeys that sign", ids)
	}
	if n := len(key.SPKIs()); n != 3 {
		t.Errorf("%d SPKIs, want 3", n)
	}
	ring := attest.NewKeyring(key)
	const detached = 8
	once := g.sign(detached, ids[2]+"!")
	signature := once[len(oddText):]
	twice := append(bytes.Clone(once), signature...)
	for name, raw := range map[string][]byte{
		"the same signature twice": twice,
		"two subkeys":              g.sign(detached, ids[2]+"!", ids[4]+"!"),
		"two subkeys inline":       g.sign(0, ids[2]+"!", ids[4]+"!"),
	} {
		a := mustOpen(t, raw, ring)
		if len(a.Signatures) != 2 || len(a.Keys) != 1 || len(a.Leaf.Keys) != 1 || a.Leaf.Keys[0] != key.Fingerprint {
			t.Errorf("%s: %d signatures by %s", name, len(a.Signatures), a.Leaf.Keys)
		}
		for _, s := range a.Signatures {
			if s.Key != key.Fingerprint || s.Subkey == s.Key {
				t.Errorf("%s: %+v, want a subkey", name, s)
			}
		}
	}
	each, err := attest.SplitDetached(twice)
	if err != nil || len(each) != 2 || !bytes.Equal(each[0], each[1]) {
		t.Fatalf("split into %d: %v", len(each), err)
	}
	mustOpen(t, each[0], ring)
	refused(t, append([]byte(oddText), bytes.Repeat(signature, leaf.MaxKeys+1)...), ring, reason.TooManyKeys, "16")
	// gpg, too, reads no message that follows another.
	inline := g.sign(4, alice)
	if _, _, err := g.reads(append(bytes.Clone(inline), inline...)); err == nil {
		t.Error("gpg reads two messages as one")
	}
	refused(t, append(bytes.Clone(inline), inline...), ring, reason.EnvelopeMalformed, "an OpenPGP message")
}

func TestGPGExpiry(t *testing.T) {
	g := newGPG(t)
	alice := g.generate("alice", "nistp256", "sign", "30d")
	old := g.key(alice)
	g.at(20).run(nil, "--quick-set-expire", alice, "1y")
	extended := g.key(alice)
	merged, err := extended.Merge(old)
	if err != nil {
		t.Fatal(err)
	}
	other, err := old.Merge(extended)
	if err != nil || merged.PEM != other.PEM || merged.PEM == old.PEM {
		t.Fatalf("merged differently: %v", err)
	}
	early, before, late := g.at(-1).run([]byte(oddText), "--ignore-time-conflict", "--clear-sign"), g.at(29).sign(7, alice), g.at(40).sign(7, alice)
	for _, tt := range []struct {
		name string
		raw  []byte
		key  *attest.PublicKey
		want string // empty if it is good
	}{
		{"before the expiry", before, old, ""},
		{"after the expiry", late, old, "expired at 2026-01-31T12:00:00Z"},
		{"after the expiry that was extended", late, extended, ""},
		{"the extension is known beside the old key", late, merged, ""},
		{"before the expiry, extended", before, merged, ""},
		{"before the key was made", early, merged, "was made only at 2026-01-01T12:00:00Z"},
	} {
		_, _, err := attest.OpenSigned(tt.raw, attest.NewKeyring(tt.key))
		checkReason(t, tt.name, err, reason.KeyNotValid, tt.want)
	}
	// A signature's own expiry is told, not judged: there is no clock.
	raw := g.run([]byte(oddText), "--default-sig-expire", "7d", "--clear-sign")
	_, sigs, err := attest.OpenSigned(raw, attest.NewKeyring(old))
	if err != nil || !sigs[0].Expires.Equal(day.AddDate(0, 0, 7)) {
		t.Errorf("%v, %+v: want an expiry after 7 days", err, sigs)
	}
}

// checkReason checks for a refusal with a reason and words; for none if there are
// no words.
func checkReason(t *testing.T, name string, err error, want reason.Reason, words string) {
	t.Helper()
	if words == "" {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	if e, ok := reason.Of(err); !ok || e.Reason != want || !strings.Contains(e.Message, words) {
		t.Errorf("%s: %v, want %s with %q", name, err, want, words)
	}
}

// revocation is what gpg makes beside every key, without the colon that keeps it
// from being used by mistake.
func (g *gpg) revocation(fingerprint string) []byte {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.home, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		g.t.Fatal(err)
	}
	_, block, ok := bytes.Cut(text, []byte("\n:"))
	if !ok {
		g.t.Fatalf("%s", text)
	}
	return block
}

func TestGPGRevocation(t *testing.T) {
	g := newGPG(t)
	attest.AddDocument(t, "odd", "Odd: 1.0\n")
	alice := g.generate("alice", "ed25519", "sign", "0")
	good := g.key(alice)
	raw := g.sign(7, alice)
	mustOpen(t, raw, attest.NewKeyring(good))
	g.at(2).run(g.revocation(alice), "--import")
	block := g.export(alice)
	a := mustOpen(t, block, attest.NewKeyring())
	checkOpened(t, block, a)
	if a.Leaf.Kind != leaf.KindRevoke || a.Revocation == nil || a.Revocation.Key != good.Fingerprint || a.Enrolment != nil {
		t.Fatalf("a revoked key is %s, %+v", a.Leaf.Kind, a.Revocation)
	}
	if good.Revoked() || !a.Keys[0].Revoked() {
		t.Error("Revoked says something else")
	}
	refused(t, raw, attest.NewKeyring(a.Keys[0]), reason.KeyNotValid, "is revoked")
	if _, status, _ := g.reads(raw); !strings.Contains(status, "REVKEYSIG") {
		t.Errorf("gpg: %s", status)
	}
}

func TestGPGRefused(t *testing.T) {
	g := newGPG(t)
	alice, eve := g.generate("alice", "rsa2048", "sign", "0"), g.generate("eve", "ed25519", "sign", "0")
	ring := attest.NewKeyring(g.key(alice))
	weak := func(digest string) []byte {
		return g.run([]byte(oddText), "-u", alice, "--digest-algo", digest, "--clear-sign")
	}
	forged := bytes.Replace(g.sign(7, alice), []byte("here"), []byte("hERE"), 1)
	for _, tt := range []struct {
		name  string
		raw   []byte
		want  reason.Reason
		words string
	}{
		{"a wrong key", g.sign(7, eve), reason.KeyNotEnrolled, "OpenPGP key " + eve + " is not enrolled: export it with `gpg --armor --export " + eve + " > KEY.asc`, and enrol it with `cairn enrol KEY.asc`"},
		{"one of two keys is wrong", g.sign(0, alice, eve), reason.KeyNotEnrolled, eve},
		{"SHA-1", weak("SHA1"), reason.SignatureTooWeak, "SHA-1"},
		{"RIPEMD-160", weak("RIPEMD160"), reason.SignatureTooWeak, "RIPEMD-160"},
		{"another text", forged, reason.SignatureInvalid, "does not verify"},
		{"encrypted", g.run([]byte(oddText), "--passphrase", "x", "--symmetric"), reason.EnvelopeMalformed, "encrypted"},
		{"encrypted in armor", g.run([]byte(oddText), "--armor", "--passphrase", "x", "--symmetric"), reason.EnvelopeMalformed, "encrypted"},
		{"not signed", g.run([]byte(oddText), "--store"), reason.SignatureMissing, "not signed"},
		{"a signature alone", g.sign(8, alice)[len(oddText):], reason.EnvelopeMalformed, "without what it is of"},
		{"a binary signature alone", g.run([]byte(oddText), "-u", alice, "--detach-sign"), reason.EnvelopeMalformed, "without what it is of"},
		{"a bomb", g.run(make([]byte, attest.MaxEnvelope), "-u", alice, "--sign"), reason.EnvelopeTooLarge, "1048576"},
		{"a notation that is critical", g.run([]byte(oddText), "-u", alice, "--set-notation", "!x@example.org=1", "--clear-sign"), reason.SignatureInvalid, "critical subpacket"},
		{"a document of no known kind", g.run([]byte("Hello\n"), "-u", alice, "--clear-sign"), reason.FormatUnknown, "buildinfo, "},
	} {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.raw, ring, tt.want, tt.words) })
	}
	// Notations that may be ignored are.
	if _, _, err := attest.OpenSigned(g.run([]byte(oddText), "-u", alice, "--set-notation", "x@example.org=1", "--clear-sign"), ring); err != nil {
		t.Error(err)
	}
}

func TestGPGKeysRefused(t *testing.T) {
	g := newGPG(t)
	for _, tt := range []struct{ algorithm, usage, want string }{
		{"dsa2048", "sign", "too weak"},
		{"rsa1024", "sign", "RSA of 1024 bits, want 2048 to 8192"},
		{"brainpoolP256r1", "sign", "ECDSA over BrainpoolP256"},
		{"secp256k1", "sign", "ECDSA over SecP256k1"},
		{"ed25519", "cert", "neither it nor a subkey may sign"},
	} {
		fp := g.generate(tt.algorithm, tt.algorithm, tt.usage, "0")
		_, err := attest.ParsePublicKey(g.export(fp))
		checkReason(t, tt.algorithm, err, reason.KeyUnsupported, tt.want)
	}
	fp := g.generate("old", "rsa2048", "sign", "0")
	for name, export := range map[string][]string{"armored": {"--armor"}, "binary": nil} {
		block := g.run(nil, append(export, "--export-secret-keys", fp)...)
		a, err := attest.Open(block, attest.NewKeyring())
		checkReason(t, name, err, reason.KeyUnsupported, "must not leave its owner")
		if a != nil || bytes.Contains(block, []byte(err.Error())) {
			t.Error("the secret key was kept")
		}
	}
	other := g.generate("other", "ed25519", "sign", "0")
	all := g.run(nil, "--armor", "--export", fp, other)
	_, err := attest.ParsePublicKey(all)
	checkReason(t, "two keys", err, reason.KeyUnsupported, "more than one OpenPGP key")
	keys, err := attest.SplitOpenPGPKeys(all)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys: %v", len(keys), err)
	}
	for i, fp := range []string{fp, other} {
		if k, err := attest.ParsePublicKey(keys[i]); err != nil || k.PEM != g.key(fp).PEM {
			t.Errorf("%s: %v", fp, err)
		}
	}
}

// What others certify, and what the key is not for, changes nothing.
func TestGPGCanonicalKey(t *testing.T) {
	g := newGPG(t)
	alice, bob := g.generate("alice", "rsa3072", "sign,cert", "0"), g.generate("bob", "ed25519", "sign", "0")
	plain := g.key(alice)
	g.run(nil, "--local-user", bob, "--quick-sign-key", alice)
	g.run(nil, "--quick-add-key", alice, "cv25519", "encr", "0")
	block := g.export(alice)
	a := mustOpen(t, block, attest.NewKeyring())
	checkOpened(t, block, a)
	if a.Enrolment.Key.PEM != plain.PEM || a.Enrolment.Operator != "openpgp4fpr:"+alice {
		t.Errorf("operator %s of\n%s\nwant\n%s", a.Enrolment.Operator, a.Enrolment.Key.PEM, plain.PEM)
	}
	binary := mustOpen(t, g.run(nil, "--export", alice), attest.NewKeyring())
	if binary.Leaf.Payload != a.Leaf.Payload || !slices.Equal(binary.Leaf.Subjects, a.Leaf.Subjects) {
		t.Error("the armor is part of the key")
	}
	// gpg reads the canonical form.
	h := newGPG(t)
	h.run([]byte(plain.PEM), "--import")
	if _, status, err := h.reads(g.sign(7, alice)); err != nil {
		t.Errorf("%v: %s", err, status)
	}
	// More of the key is another form, with the same subject.
	g.at(1).run(nil, "--quick-add-uid", alice, "Alice <alice@example.com>")
	g.at(1).run(nil, "--quick-add-key", alice, "ed25519", "sign", "0")
	more := mustOpen(t, g.export(alice), attest.NewKeyring())
	if more.Leaf.Payload == a.Leaf.Payload || !slices.Equal(more.Leaf.Subjects, a.Leaf.Subjects) {
		t.Error("a user id and a subkey more make no difference, or another subject")
	}
	merged, err := plain.Merge(more.Keys[0])
	if err != nil || merged.PEM != more.Keys[0].PEM {
		t.Errorf("merged with less: %v", err)
	}
}

// TestGPGAgrees damages what gpg signed, byte by byte and line by line. Whatever is
// read all the same is what was signed, and gpg reads it, too.
func TestGPGAgrees(t *testing.T) {
	g := newGPG(t)
	alice := g.generate("alice", "ed25519", "sign", "0")
	ring := attest.NewKeyring(g.key(alice))
	accepted, refusals := 0, 0
	check := func(name, want string, raw []byte) {
		text, _, err := attest.OpenSigned(raw, ring)
		if err != nil {
			refusals++
			return
		}
		accepted++
		if normal(string(text)) != normal(want) {
			t.Errorf("%s: reads %q", name, text)
		}
		theirs, status, err := g.reads(raw)
		// What RFC 9580 forbids to look at, and gpg still does: the checksum of an
		// armor, and the hash in the header of a cleartext.
		if strings.Contains(status, "CRC") || strings.Contains(status, "digest conflict") {
			return
		}
		if err != nil {
			t.Errorf("%s: gpg refuses what is accepted: %v\n%s\n%q", name, err, status, raw)
		} else if normal(theirs) != normal(want) {
			t.Errorf("%s: gpg reads %q", name, theirs)
		}
	}
	for _, i := range []int{4, 7, 8} { // not compressed, cleartext, detached
		raw := g.sign(i, alice)
		check(signs[i].name, oddText, raw)
		for at := range raw {
			for _, c := range []byte{raw[at] ^ 1, raw[at] ^ 0x20, '\n', '\f'} {
				b := bytes.Clone(raw)
				if b[at] = c; c != raw[at] {
					check(fmt.Sprintf("%s with %q at %d", signs[i].name, c, at), oddText, b)
				}
			}
		}
		lines := bytes.SplitAfter(raw, []byte("\n"))
		for n := range lines {
			for _, insert := range []string{"", "\n", " \n", "-\n", "- \n", "Hash: SHA512\n", "x\n", "\r\n", "\x00\n", "-----BEGIN PGP SIGNED MESSAGE-----\n", "-----BEGIN PGP SIGNATURE-----\n"} {
				b := slices.Concat(bytes.Join(lines[:n], nil), []byte(insert), bytes.Join(lines[n:], nil))
				if insert == "" { // one line less
					b = slices.Concat(bytes.Join(lines[:n], nil), bytes.Join(lines[n+1:], nil))
				}
				check(fmt.Sprintf("%s with %q before line %d", signs[i].name, insert, n), oddText, b)
			}
		}
	}
	if accepted < 3 || refusals < 1000 {
		t.Errorf("%d accepted, %d refused", accepted, refusals)
	}
	t.Logf("%d accepted, %d refused", accepted, refusals)
}

// normal is a text as a cleartext signature has it: without blanks at the ends of
// lines.
func normal(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t\r")
	}
	return strings.Join(lines, "\n")
}
