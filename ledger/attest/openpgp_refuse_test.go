package attest_test

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

const plainText = "Odd: 1.0\nline\n"

// plainSig is alice's signature of plainText, that of text of its lines.
var (
	plainSig = alice4.sign(sigOf{}, []byte(plainText))
	textSig  = alice4.sign(sigOf{kind: 1}, []byte("Odd: 1.0\r\nline"))
	block    = armored("PGP SIGNATURE", pgpPacket(2, textSig))
	clear    = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOdd: 1.0\nline\n" + block
)

// swap returns s with one occurrence of a text replaced.
func swap(s, before, after string) []byte {
	if strings.Count(s, before) != 1 {
		panic("not once: " + before)
	}
	return []byte(strings.Replace(s, before, after, 1))
}

func literal(kind byte, text string) []byte {
	return pgpPacket(11, append([]byte{kind, 1, 'x', 1, 2, 3, 4}, text...))
}

// onePass announces a signature.
func (m *pgpMaker) onePass(sig []byte, last byte) []byte {
	b := []byte{3, sig[1], sig[3], sig[2]}
	if m.version == 6 {
		b[0] = 6
		b = append(append(b, 32), bytes.Repeat([]byte{7}, 32)...)
		b = append(b, m.fingerprint()...)
	} else {
		b = append(b, m.keyID()...)
	}
	return pgpPacket(4, append(b, last))
}

func deflated(packets []byte) []byte {
	b := bytes.NewBuffer([]byte{1})
	w, err := flate.NewWriter(b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(packets)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

var (
	oneSig   = pgpPacket(2, plainSig)
	oneLit   = literal('b', plainText)
	inline   = slices.Concat(alice4.onePass(plainSig, 1), oneLit, oneSig)
	bob4     = newMaker("bob", 4)
	bobSig   = bob4.sign(sigOf{}, []byte(plainText))
	alice6sg = alice6.sign(sigOf{}, []byte(plainText))
)

// someKeys are those of alice and bob.
func someKeys(t testing.TB) attest.Keyring {
	t.Helper()
	var keys []*attest.PublicKey
	for _, b := range [][]byte{
		alicesKey,
		slices.Concat(bob4.primary(), bob4.user("bob", certifies(0))),
		alice6.primary(sigOf{kind: 0x1f, hashed: [][]byte{maySign}}),
	} {
		k, err := attest.ParsePublicKey(makeKey(t, b))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return attest.NewKeyring(keys...)
}

// goodContainers are read; each is plainText, and signed by so many.
var goodContainers = []struct {
	name string
	raw  []byte
	sigs int
}{
	{"one-pass", inline, 1},
	{"one-pass, version 6", slices.Concat(alice6.onePass(alice6sg, 1), oneLit, pgpPacket(2, alice6sg)), 1},
	{"before the text", slices.Concat(oneSig, oneLit), 1},
	{"before the text, twice", slices.Concat(oneSig, oneSig, oneLit), 2},
	{"two, in opposite order", slices.Concat(alice4.onePass(plainSig, 0), bob4.onePass(bobSig, 1), oneLit, pgpPacket(2, bobSig), oneSig), 2},
	{"deflated", pgpPacket(8, deflated(inline)), 1},
	{"packed, not compressed", pgpPacket(8, append([]byte{0}, inline...)), 1},
	{"text in UTF-8", slices.Concat(oneSig, literal('u', plainText)), 1},
	{"in armor", []byte(armored("PGP MESSAGE", inline)), 1},
	{"in armor after empty lines", []byte("\r\n \n" + armored("PGP MESSAGE", inline) + "\n\n"), 1},
	{"a text with other ends of lines", slices.Concat(pgpPacket(2, alice4.sign(sigOf{kind: 1}, []byte("Odd: 1.0\r\nline\r\n"))), literal('t', "Odd: 1.0\r\nline\r\n")), 1},
	{"cleartext", []byte(clear), 1},
	{"cleartext in lines with CR LF", []byte(strings.ReplaceAll(clear, "\n", "\r\n")), 1},
	{"cleartext without a header", swap(clear, "Hash: SHA512\n", ""), 1},
	{"cleartext with two headers", swap(clear, "Hash: SHA512\n", "Hash: SHA256, SHA384\nHash: SHA512\n"), 1},
	{"cleartext with blanks that are not signed", swap(clear, "line\n", "line \t \n"), 1},
	{"cleartext with a dash that escapes nothing", swap(clear, "line\n", "- line\n"), 1},
	{"cleartext with two blocks", []byte(clear + "\n" + block), 2},
	{"detached", detached(plainText, plainSig), 1},
	{"detached, by two", detached(plainText, plainSig, bobSig), 2},
	{"detached, two packets in a block", []byte(plainText + armored("PGP SIGNATURE", slices.Concat(oneSig, pgpPacket(2, bobSig)))), 2},
	{"detached, of text", detached(plainText, alice4.sign(sigOf{kind: 1}, []byte("Odd: 1.0\r\nline\r\n"))), 1},
	{"detached, of text and of bytes", detached(plainText, plainSig, alice4.sign(sigOf{kind: 1}, []byte("Odd: 1.0\r\nline\r\n"))), 2},
	{"the issuer of version 6 is only hinted at", slices.Concat(alice6.onePass(alice6sg, 1), oneLit, pgpPacket(2, alice6.sign(sigOf{bare: true, hashed: [][]byte{sub4(2, second)}, unhashed: [][]byte{alice6.issuer()}}, []byte(plainText)))), 1},
	{"the issuer is only hinted at", detached(plainText, alice4.sign(sigOf{bare: true, hashed: [][]byte{sub4(2, second)}, unhashed: [][]byte{sub(16, alice4.keyID()...)}}, []byte(plainText))), 1},
}

func TestOpenPGPContainers(t *testing.T) {
	attest.AddDocument(t, "odd", "Odd: 1.0\n")
	ring := someKeys(t)
	for _, tt := range goodContainers {
		text, sigs, err := attest.OpenSigned(tt.raw, ring)
		if err != nil || len(sigs) != tt.sigs || string(text) != plainText {
			t.Errorf("%s: %d signatures of %q: %v", tt.name, len(sigs), text, err)
			continue
		}
		checkOpened(t, tt.raw, mustOpen(t, tt.raw, ring))
	}
}

// badContainers are refused, whatever keys are known.
var badContainers = []struct {
	name  string
	raw   []byte
	want  reason.Reason
	words string
}{
	{"two texts", slices.Concat(oneSig, oneLit, oneLit), reason.EnvelopeMalformed, "not one text"},
	{"no signature", oneLit, reason.SignatureMissing, "not signed"},
	{"announced, and not there", slices.Concat(alice4.onePass(plainSig, 1), oneLit), reason.EnvelopeMalformed, "announces 1 signatures and has 0"},
	{"there, and not announced", slices.Concat(oneLit, oneSig), reason.EnvelopeMalformed, "does not announce"},
	{"announced and before", slices.Concat(alice4.onePass(plainSig, 1), oneSig, oneLit), reason.EnvelopeMalformed, "announces 2"},
	{"another is announced", slices.Concat(bob4.onePass(plainSig, 1), oneLit, oneSig), reason.EnvelopeMalformed, "announces another signature"},
	{"another kind is announced", slices.Concat(alice4.onePass(textSig, 1), oneLit, oneSig), reason.EnvelopeMalformed, "announces another signature"},
	{"announced in the wrong order", slices.Concat(bob4.onePass(bobSig, 0), alice4.onePass(plainSig, 1), oneLit, pgpPacket(2, bobSig), oneSig), reason.EnvelopeMalformed, "announces another"},
	{"announced as the last too early", slices.Concat(alice4.onePass(plainSig, 1), bob4.onePass(bobSig, 1), oneLit, pgpPacket(2, bobSig), oneSig), reason.EnvelopeMalformed, "announces another"},
	{"announced by another packet", slices.Concat(alice4.onePass(plainSig, 0), pgpPacket(10, alice4.onePass(plainSig, 1)[2:]), oneLit, oneSig, oneSig), reason.EnvelopeMalformed, "announces another"},
	{"not announced as the last", slices.Concat(alice4.onePass(plainSig, 0), oneLit, oneSig), reason.EnvelopeMalformed, "announces another"},
	{"a marker", slices.Concat(pgpPacket(10, []byte("PGP")), oneSig, oneLit), reason.FormatUnknown, "no known format"},
	{"a marker within", slices.Concat(oneSig, pgpPacket(10, []byte("PGP")), oneLit), reason.EnvelopeMalformed, "not one text"},
	{"blanks before", append([]byte("\n"), inline...), reason.SignatureMissing, "no OpenPGP signature found"},
	{"something after", append(bytes.Clone(inline), 0), reason.EnvelopeMalformed, "reading OpenPGP packets"},
	{"compressed twice", pgpPacket(8, deflated(pgpPacket(8, deflated(inline)))), reason.EnvelopeMalformed, "not one text"},
	{"something after it compressed", pgpPacket(8, append(deflated(inline), 0)), reason.EnvelopeMalformed, "1 bytes follow"},
	{"something after the compressed packet", append(pgpPacket(8, deflated(inline)), inline...), reason.EnvelopeMalformed, "not one text"},
	{"compressed by nothing known", pgpPacket(8, append([]byte{9}, inline...)), reason.EnvelopeMalformed, "compression algorithm 9"},
	{"nothing compressed", pgpPacket(8, nil), reason.EnvelopeMalformed, "empty compressed"},
	{"no zlib", pgpPacket(8, []byte("\x02xxxxx")), reason.EnvelopeMalformed, "decompressing"},
	{"compressed and cut short", pgpPacket(8, deflated(inline)[:40]), reason.EnvelopeMalformed, "decompressing"},
	{"a text of an unknown kind", slices.Concat(oneSig, literal('l', plainText)), reason.EnvelopeMalformed, "unknown kind"},
	{"a text cut short", slices.Concat(oneSig, pgpPacket(11, []byte("b\x05x\x00\x00\x00\x00"))), reason.EnvelopeMalformed, "cut short"},
	{"no text at all", slices.Concat(oneSig, pgpPacket(11, nil)), reason.EnvelopeMalformed, "cut short"},
	{"too many signatures", slices.Concat(bytes.Repeat(oneSig, 17), oneLit), reason.TooManyKeys, "17 signatures is over the limit of 16"},
	{"far too many packets", slices.Concat(bytes.Repeat(oneSig, 50), oneLit), reason.TooManyKeys, "more than 34"},
	{"too many in one block", []byte(plainText + armored("PGP SIGNATURE", bytes.Repeat(oneSig, 17))), reason.TooManyKeys, "more than 16"},
	{"too many blocks", []byte(plainText + strings.Repeat(armored("PGP SIGNATURE", oneSig), 17)), reason.TooManyKeys, "more than 16"},
	{"encrypted", pgpPacket(18, []byte("x")), reason.EnvelopeMalformed, "encrypted"},
	{"a secret key within", slices.Concat(oneSig, pgpPacket(5, []byte("x"))), reason.KeyUnsupported, "secret key"},
	{"a signature of a key", detached(plainText, alice4.sign(sigOf{kind: 0x13}, []byte(plainText))), reason.SignatureInvalid, "type 0x13"},
	{"a signature of version 3", detached(plainText, []byte("\x03xxxxxxxxxxxxxxxxxxxxxx")), reason.SignatureInvalid, "version 3"},
	{"a signature over SHA-1", detached(plainText, alice4.sign(sigOf{hash: 2}, []byte(plainText))), reason.SignatureTooWeak, "SHA-1"},
	{"a signature by DSA", detached(plainText, with(plainSig, 2, 17)), reason.SignatureTooWeak, "DSA"},
	{"a signature by ElGamal", detached(plainText, with(plainSig, 2, 16)), reason.SignatureTooWeak, "ElGamal"},
	{"a signature by nothing known", detached(plainText, with(plainSig, 2, 99)), reason.EnvelopeMalformed, "unknown key algorithm 99"},
	{"a signature over MD5", detached(plainText, with(plainSig, 3, 1)), reason.SignatureTooWeak, "MD5"},
	{"a signature over nothing known", detached(plainText, with(plainSig, 3, 99)), reason.EnvelopeMalformed, "unknown hash algorithm 99"},
	{"a signature by another algorithm", detached(plainText, with(plainSig, 2, 1)), reason.EnvelopeMalformed, "cut short"},
	{"four bytes of a signature", detached(plainText, plainSig[:4]), reason.EnvelopeMalformed, "cut short"},
	{"a signature that does not say when", detached(plainText, alice4.sign(sigOf{bare: true, hashed: [][]byte{alice4.issuer()}}, []byte(plainText))), reason.EnvelopeMalformed, "when it was made"},
	{"a signature that does not say who", detached(plainText, alice4.sign(sigOf{bare: true, hashed: [][]byte{sub4(2, second)}}, []byte(plainText))), reason.SignatureInvalid, "does not say which key"},
	{"a signature by two", detached(plainText, alice4.sign(sigOf{unhashed: [][]byte{bob4.issuer()}}, []byte(plainText))), reason.SignatureInvalid, "names two keys"},
	{"a critical subpacket", detached(plainText, alice4.sign(sigOf{hashed: [][]byte{sub(0x80 | 99)}}, []byte(plainText))), reason.SignatureInvalid, "critical"},
	{"a critical notation", detached(plainText, alice4.sign(sigOf{hashed: [][]byte{sub(0x80|20, 0, 0, 0, 0, 0, 1, 0, 1, 'a', 'b')}}, []byte(plainText))), reason.SignatureInvalid, "critical"},
	{"two times", detached(plainText, alice4.sign(sigOf{hashed: [][]byte{sub4(2, second)}}, []byte(plainText))), reason.EnvelopeMalformed, "two subpackets of type 2"},
	{"a limit without a value", detached(plainText, alice4.sign(sigOf{hashed: [][]byte{sub(4)}}, []byte(plainText))), reason.SignatureInvalid, "not exportable"},
	{"a signature within", detached(plainText, alice4.sign(sigOf{unhashed: [][]byte{longSub(32, plainSig)}}, []byte(plainText))), reason.EnvelopeMalformed, "embedded"},
	{"a back signature within", detached(plainText, alice4.sign(sigOf{unhashed: [][]byte{alice4.back(laptop4)}}, []byte(plainText))), reason.EnvelopeMalformed, "embedded"},
	{"subpackets that overlap", detached(plainText, alice4.sign(sigOf{hashed: [][]byte{{9, 3}}}, []byte(plainText))), reason.EnvelopeMalformed, "truncated"},
	{"a signature of version 4 by a key of version 6", detached(plainText, (&pgpMaker{4, second, alice6.private}).sign(sigOf{bare: true, hashed: [][]byte{sub4(2, second), alice6.issuer()}}, []byte(plainText))), reason.SignatureInvalid, "does not verify"},
	{"a length that lies", detached(plainText, []byte("\x06\x00\x1b\x0a\xff\xff\xff\xff")), reason.EnvelopeMalformed, "cut short"},
	{"bytes after the signature", detached(plainText, append(bytes.Clone(plainSig), 0)), reason.EnvelopeMalformed, "1 bytes follow"},
	{"first bytes of another digest", detached(plainText, flip(plainSig, len(plainSig)-65)), reason.SignatureInvalid, "does not verify"},
	{"a forged signature", detached(plainText, flip(plainSig, len(plainSig)-1)), reason.SignatureInvalid, "does not verify"},
	{"another text", detached("Odd: 1.0\nlIne\n", plainSig), reason.SignatureInvalid, "does not verify"},
	{"no end of the last line", []byte(strings.TrimSuffix(plainText, "\n") + armored("PGP SIGNATURE", oneSig)), reason.FormatUnknown, "no known format"},
	{"one of two is forged", detached(plainText, plainSig, flip(bobSig, len(bobSig)-1)), reason.SignatureInvalid, "does not verify"},
	{"one of two is unknown", detached(plainText, plainSig, mallory.sign(sigOf{}, []byte(plainText))), reason.KeyNotEnrolled, "cairn enrol"},
	{"a bare CR in text", detached("Odd: 1.0\r\r\n", alice4.sign(sigOf{kind: 1}, []byte("Odd: 1.0\r\r\n"))), reason.EnvelopeMalformed, "carriage return"},
	{"no document", []byte(block), reason.EnvelopeMalformed, "without what it is of"},
	{"an empty document", []byte("\n\n" + block), reason.EnvelopeMalformed, "without what it is of"},
	{"an empty signature", []byte(plainText + "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"), reason.SignatureMissing, "without a signature"},
	{"no signature but a text", []byte(plainText + armored("PGP SIGNATURE", oneLit)), reason.EnvelopeMalformed, "type 11"},
}

// with returns b with one byte replaced.
func with(b []byte, i int, c byte) []byte {
	b = bytes.Clone(b)
	b[i] = c
	return b
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// badCleartexts are what others may show otherwise than they verify it.
var badCleartexts = []struct {
	name  string
	raw   []byte
	words string
}{
	{"text before", append([]byte("Hello\n"), clear...), "text goes before"},
	{"text after", []byte(clear + "Hello\n"), "no -----BEGIN PGP SIGNATURE-----"},
	{"text between signatures", []byte(clear + "Hello\n" + block), "no -----BEGIN PGP SIGNATURE-----"},
	{"another header", swap(clear, "Hash: SHA512\n", "Comment: x\n"), "neither a Hash header"},
	{"a header that is not escaped", swap(clear, "Hash: SHA512\n", "NotDashEscaped: yes\n"), "neither a Hash header"},
	{"another hash", swap(clear, "SHA512", "SHA512\vx"), "neither a Hash header"},
	{"a header after blanks", swap(clear, "Hash:", " Hash:"), "neither a Hash header"},
	{"a form feed for an empty line", swap(clear, "SHA512\n\n", "SHA512\n\f\n"), "neither a Hash header"},
	{"blanks for an empty line", swap(clear, "SHA512\n\n", "SHA512\n \n"), "neither a Hash header"},
	{"no empty line", swap(clear, "SHA512\n\n", "SHA512\n"), "neither a Hash header"},
	{"nothing but headers", []byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n"), "ends in its headers"},
	{"no signature", []byte("-----BEGIN PGP SIGNED MESSAGE-----\n\ntext\n"), "no signature follows"},
	{"blanks after the head", swap(clear, "SIGNED MESSAGE-----", "SIGNED MESSAGE----- "), "its first line"},
	{"blanks before the signature", swap(clear, "-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE----- "), "not escaped"},
	{"a dash", swap(clear, "line\n", "-line\n"), "not escaped"},
	{"another beginning", swap(clear, "line\n", "-----BEGIN PGP SIGNED MESSAGE-----\nline\n"), "not escaped"},
	{"a form feed", swap(clear, "line\n", "line\f\n"), "control character 0x0c"},
	{"a NUL", swap(clear, "line\n", "line\x00\n"), "control character 0x00"},
	{"a vertical tab", swap(clear, "line\n", "line\v\n"), "control character 0x0b"},
	{"a bare CR", swap(clear, "line\n", "li\rne\n"), "control character 0x0d"},
	{"two CR", swap(clear, "line\n", "line\r\r\n"), "control character 0x0d"},
	{"a delete", swap(clear, "line\n", "line\x7f\n"), "control character 0x7f"},
	{"armor without a checksum and with another end", append(bytes.Clone(swap(clear, block, "")), "-----BEGIN PGP SIGNATURE-----\n\nwh==\n-----END PGP MESSAGE-----\n"...), "is not its end"},
	{"armor with bits to spare", append(bytes.Clone(swap(clear, block, "")), "-----BEGIN PGP SIGNATURE-----\n\nwh==\n-----END PGP SIGNATURE-----\n"...), "illegal base64"},
	{"an escape", swap(clear, "line\n", "\x1b[2Jline\n"), "control character 0x1b"},
	{"a signature of bytes", swap(clear, block, armored("PGP SIGNATURE", pgpPacket(2, alice4.sign(sigOf{}, []byte("Odd: 1.0\r\nline"))))), "signature of text"},
	{"armor with another end", swap(clear, "END PGP SIGNATURE", "END PGP MESSAGE"), "is not its end"},
	{"armor without an end", swap(clear, "-----END PGP SIGNATURE-----\n", ""), "does not end"},
	{"armor with text in it", swap(clear, "\n-----END", "\nHello\n-----END"), "is not its end"},
	{"armor with a bad header", swap(clear, "-----BEGIN PGP SIGNATURE-----\n\n", "-----BEGIN PGP SIGNATURE-----\nHello\n\n"), "is no header"},
	{"armor that is no base64", swap(clear, "-----BEGIN PGP SIGNATURE-----\n\n", "-----BEGIN PGP SIGNATURE-----\n\n!"), "illegal base64"},
}

func TestOpenPGPContainersRefused(t *testing.T) {
	attest.AddDocument(t, "odd", "Odd: 1.0\n")
	ring := someKeys(t)
	for _, tt := range badContainers {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.raw, ring, tt.want, tt.words) })
	}
	for _, tt := range badCleartexts {
		t.Run("cleartext/"+tt.name, func(t *testing.T) { refused(t, tt.raw, ring, reason.EnvelopeMalformed, tt.words) })
	}
	refused(t, swap(clear, "line\n", "lIne\n"), ring, reason.SignatureInvalid, "does not verify")
	// Both kinds of limits of OpenSigned itself.
	_, _, err := attest.OpenSigned(make([]byte, attest.MaxEnvelope+1), ring)
	checkReason(t, "too large", err, reason.EnvelopeTooLarge, "1048577")
	_, _, err = attest.OpenSigned([]byte("Hello\n"), ring)
	checkReason(t, "no signature", err, reason.SignatureMissing, "no OpenPGP signature")
}

// badKeys are blocks that are no one key.
var badKeys = []struct {
	name    string
	packets []byte
	words   string
}{
	{"only a marker", pgpPacket(10, []byte("PGP")), "no OpenPGP public key"},
	{"a revocation alone", pgpPacket(2, alice4.sign(revokes(0x20, 0), alice4.hashed())), "import it with `gpg --import`"},
	{"a user id first", slices.Concat(alice4.user("a"), alicesKey), "begins with a packet of type 13"},
	{"two keys", slices.Concat(alicesKey, bob4.primary(), bob4.user("bob", certifies(0))), "more than one"},
	{"a secret key", pgpPacket(5, alice4.body()), "must not leave its owner"},
	{"a secret subkey", slices.Concat(alicesKey, pgpPacket(7, laptop4.body())), "must not leave its owner"},
	{"a message", slices.Concat(alicesKey, oneLit), "packet of type 11"},
	{"a packet cut short", alicesKey[:len(alicesKey)-1], "reading an OpenPGP key"},
	{"a key of an unknown kind", pgpPacket(6, []byte{4, 0, 0, 0, 0, 99}), "reading an OpenPGP key"},
	{"bytes after the key", pgpPacket(6, append(alice4.body(), 0)), "not in its one encoding"},
	{"a key of version 3", pgpPacket(6, append([]byte{3}, alice4.body()[1:]...)), "reading an OpenPGP key"},
	{"a key that encrypts", pgpPacket(6, slices.Concat([]byte{4, 0, 0, 0, 0, 25}, make([]byte, 32))), "does not sign"},
	{"a bare key", alice4.primary(), "nothing says what it may do"},
	{"only SHA-1 of others", append(slices.Concat(alice4.primary(), alice4.user("a")), pgpPacket(2, mallory.sign(sigOf{kind: 0x13, hash: 2}, alice4.hashed(), userHashed("a")))...), "it has no signature by itself that verifies"},
	{"RSA that is too small", pgpPacket(6, rsaBody(1024)), "RSA of 1024 bits, want 2048 to 8192"},
	{"RSA that is too large", pgpPacket(6, rsaBody(8200)), "RSA of 8200 bits, want 2048 to 8192"},
	{"EdDSA over another curve", pgpPacket(6, slices.Concat([]byte{4, 0, 0, 0, 0, 22, 3, 0x2b, 0x65, 0x71, 0x01, 0xcf, 0x40}, make([]byte, 57))), "EdDSA over Curve448, want Ed25519"},
	{"nothing that may sign", slices.Concat(alice4.primary(), alice4.user("a", sigOf{kind: 0x13, hashed: [][]byte{mayCertify}})), "neither it nor a subkey may sign"},
	{"only SHA-1", slices.Concat(alice4.primary(), alice4.user("a", sigOf{kind: 0x13, hash: 2})), "SHA-1"},
	{"version 6 with a user id alone", slices.Concat(alice6.primary(), alice6.user("a", certifies(0))), "nothing says what it may do"},
	{"too many user ids", slices.Concat(alicesKey, bytes.Repeat(alice4.user("b"), 64)), "more than 64 user ids"},
	{"too many subkeys", slices.Concat(alicesKey, bytes.Repeat(alice4.subkey(laptop6), 65)), "more than 64 subkeys"},
	{"too many signatures", slices.Concat(alicesKey, bytes.Repeat(pgpPacket(2, []byte("x")), 1024)), "more than 1024 signatures"},
	{"too many of its own", slices.Concat(alicesKey, bytes.Repeat(pgpPacket(2, alice4.sign(certifies(0))), 256)), "more than 256 signatures that claim to be its own"},
	{"a user id that is too long", slices.Concat(alicesKey, alice4.user(strings.Repeat("a", 2049))), "2049 bytes is over the limit of 2048"},
	{"a key that is too large", slices.Concat(alicesKey, large()), "over the limit of 65536"},
}

// rsaBody is that of a key packet with some RSA number of so many bits.
func rsaBody(bits int) []byte {
	n := bytes.Repeat([]byte{0xff}, bits/8)
	return slices.Concat([]byte{4, 0, 0, 0, 0, 1, byte(bits >> 8), byte(bits)}, n, []byte{0, 17, 1, 0, 1})
}

// large is more than a key may have, within the other limits.
func large() []byte {
	var b []byte
	for i := range 10 {
		b = append(b, alice4.user("b", certifies(uint32(i), longSub(99, make([]byte, 60000))))...)
	}
	return b
}

func TestOpenPGPKeysRefused(t *testing.T) {
	for _, tt := range badKeys {
		_, err := attest.ParsePublicKey(makeKey(t, tt.packets))
		checkReason(t, tt.name, err, reason.KeyUnsupported, tt.words)
	}
	good := string(makeKey(t, alicesKey))
	for name, tt := range map[string]struct{ text, words string }{
		"text after":  {good + "Hello\n", "text follows"},
		"a key after": {good + good, "text follows"},
		"no end":      {strings.TrimSpace(good)[:100], "does not end"},
		"a secret":    {armored("PGP PRIVATE KEY BLOCK", alicesKey), "must not leave"},
	} {
		_, err := attest.ParsePublicKey([]byte(tt.text))
		if e, ok := reason.Of(err); !ok || !strings.Contains(e.Message, tt.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, packets := range map[string][]byte{"secret": slices.Concat(alicesKey, pgpPacket(5, nil)), "no key": oneSig, "cut": alicesKey[:9]} {
		if keys, err := attest.SplitOpenPGPKeys(packets); err == nil {
			t.Errorf("%s: split into %d", name, len(keys))
		}
	}
	_, err := attest.SplitOpenPGPKeys([]byte(armored("PGP PRIVATE KEY BLOCK", alicesKey)))
	checkReason(t, "a secret keyring", err, reason.KeyUnsupported, "must not leave")
	twice, err := attest.SplitOpenPGPKeys([]byte(good + "\n" + good))
	if err != nil || len(twice) != 2 || string(twice[0]) != good {
		t.Errorf("split two blocks into %d: %v", len(twice), err)
	}
}

// OpenPGP keys verify no DSSE.
func TestOpenPGPKeyNoDSSE(t *testing.T) {
	k, err := attest.ParsePublicKey(makeKey(t, alicesKey))
	if err != nil {
		t.Fatal(err)
	}
	if k.Verify([]byte(plainText), plainSig) || k.Verify([]byte(plainText), oneSig) || k.Prepare() != k {
		t.Error("it verifies what does not say when it was signed")
	}
	pem := ed25519Signer(t, "alice").Public
	if _, err := k.Merge(pem); err == nil {
		t.Error("merged with another key")
	}
	if same, err := pem.Merge(pem); err != nil || same != pem || pem.Revoked() || pem.Digest() != leaf.Digest(pem.Fingerprint) || !slices.Equal(pem.SPKIs(), []leaf.Fingerprint{pem.Fingerprint}) {
		t.Errorf("a key that is no OpenPGP key: %v", err)
	}
}

// Copies of a key with any of its parts, merged in any order, are the key.
func TestOpenPGPMerge(t *testing.T) {
	parts := [][]byte{
		alice4.user("alice", certifies(0)), alice4.user("alice", certifies(5)), alice4.user("a", certifies(1)),
		alice4.user("alice", revokes(0x30, 7, 32)), alice4.subkey(laptop4, alice4.binds(laptop4, 0)),
		alice4.subkey(laptop4, alice4.binds(laptop4, 9), sigOf{kind: 0x18, at: 3}), alice4.subkey(laptop4, revokes(0x28, 8, 2)),
		alice4.subkey(bob4, alice4.binds(bob4, 0)), alice4.user("alice", certifies(0)),
	}
	random := rand.New(rand.NewPCG(1, 2))
	whole, err := attest.ParsePublicKey(makeKey(t, alice4.primary(), slices.Concat(parts...)))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		shuffled, err := attest.ParsePublicKey(makeKey(t, alice4.primary(), slices.Concat(parts...)))
		if err != nil || shuffled.PEM != whole.PEM {
			t.Fatalf("the order of its parts is part of the key: %v", err)
		}
		keys := []*attest.PublicKey{whole}
		for range 3 {
			some := slices.DeleteFunc(slices.Clone(parts), func([]byte) bool { return random.IntN(3) == 0 })
			// Without a user id it is no key.
			k, err := attest.ParsePublicKey(makeKey(t, alice4.primary(), alice4.user("a", certifies(1)), slices.Concat(some...)))
			if err != nil {
				t.Fatal(err)
			}
			if m, err := whole.Merge(k); err != nil || m.PEM != whole.PEM {
				t.Fatalf("less of the key adds to it: %v", err)
			}
			keys = append(keys, k)
		}
		checkMerges(t, "copies", keys...)
	}
}
