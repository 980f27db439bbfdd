package attest

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// signed is a document with its signatures, before they are verified.
type signed struct {
	document  []byte // as it is there; of a cleartext signature, unescaped, with LF
	cleartext bool
	sigs      []*pgpSignature
}

// readSigned reads any of the three containers.
func readSigned(raw []byte) (*signed, error) {
	trimmed := bytes.TrimLeft(raw, blanks)
	var s *signed
	var err error
	switch _, binary := firstTag(raw); {
	case beginsArmor(trimmed, armorCleartext):
		s, err = readCleartext(trimmed)
	case beginsArmor(trimmed, armorMessage):
		s, err = readArmoredMessage(trimmed)
	case binary && detachedAt(raw) < 0:
		s, err = readMessage(raw)
	default:
		s, err = readDetached(raw)
	}
	if err != nil {
		return nil, err
	}
	return s, s.check()
}

// check looks at the signatures before a key is at hand.
func (s *signed) check() error {
	if n := len(s.sigs); n == 0 {
		return reason.Errorf(reason.SignatureMissing, "the OpenPGP message is not signed")
	} else if n > MaxKeys {
		return reason.Errorf(reason.TooManyKeys, "document with %d signatures is over the limit of %d", n, MaxKeys)
	}
	text := false
	for _, sig := range s.sigs {
		switch {
		case sig.SigType == packet.SigTypeText:
			text = true
		case sig.SigType != packet.SigTypeBinary:
			return reason.Errorf(reason.SignatureInvalid, "OpenPGP signature of type %#02x is not of a document", byte(sig.SigType))
		case s.cleartext:
			return reason.Errorf(reason.EnvelopeMalformed, "malformed cleartext signature: it must be a signature of text")
		}
	}
	if text && bareCR(s.document) {
		// Programs do not agree on whether it ends a line.
		return reason.Errorf(reason.EnvelopeMalformed, "the signed text has a carriage return that does not end a line with a line feed")
	}
	return nil
}

func bareCR(text []byte) bool {
	return bytes.Count(text, []byte("\r")) != bytes.Count(text, []byte("\r\n"))
}

// isText reports whether all signatures are of the text, whatever its ends of
// lines are.
func (s *signed) isText() bool {
	return !slices.ContainsFunc(s.sigs, func(sig *pgpSignature) bool { return sig.SigType != packet.SigTypeText })
}

// text is the document as it is to be read.
func (s *signed) text() []byte {
	switch {
	case s.cleartext:
		return append(bytes.Clone(s.document), '\n') // which is there, but not signed
	case s.isText():
		return bytes.ReplaceAll(s.document, []byte("\r\n"), []byte("\n"))
	}
	return s.document
}

// payload is what was signed.
func (s *signed) payload() []byte {
	if s.isText() {
		return s.canonical()
	}
	return s.document
}

// canonical is the document as signatures of text hash it (RFC 9580, section
// 5.2.1.2): with lines that end in CR LF.
func (s *signed) canonical() []byte {
	lf := bytes.ReplaceAll(s.document, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n"))
}

// verify attributes every signature to a key, and returns the keys by
// fingerprint, each once.
func (s *signed) verify(ring Keyring) ([]*PublicKey, []SignatureInfo, error) {
	var keys []*PublicKey
	var infos []SignatureInfo
	var canonical []byte
	for _, sig := range s.sigs {
		data := s.document
		if sig.SigType == packet.SigTypeText {
			if canonical == nil {
				canonical = s.canonical()
			}
			data = canonical
		}
		key, info, err := attributePGP(sig, data, ring)
		if err != nil {
			return nil, nil, err
		}
		keys, infos = append(keys, key), append(infos, *info)
	}
	return distinct(keys), infos, nil
}

// maxNamesakes bounds how many keys are tried that have the same key id.
const maxNamesakes = 8

// attributePGP finds the key that made sig over data, among those that have the
// fingerprint or key id that it names.
func attributePGP(sig *pgpSignature, data []byte, ring Keyring) (*PublicKey, *SignatureInfo, error) {
	var keys []*PublicKey
	if sig.fingerprint != "" {
		if k, ok := ring.Lookup(leaf.Fingerprint("openpgp:" + sig.fingerprint)); ok {
			keys = append(keys, k)
		}
		keys = append(keys, ring.Hinted(sig.fingerprint)...)
	} else {
		keys = ring.Hinted(sig.keyID)
	}
	var first error
	for i, k := range distinct(keys) {
		if i == maxNamesakes {
			break
		}
		pgp, ok := k.key.(*pgpKey)
		if !ok {
			continue
		}
		info, err := pgp.verify(sig, data)
		if err == nil {
			return k, info, nil
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return nil, nil, first
	}
	return nil, nil, reason.Errorf(reason.KeyNotEnrolled, "OpenPGP key %[1]s is not enrolled: "+
		"export it with `gpg --armor --export %[1]s > KEY.asc`, and enrol it with `cairn enrol KEY.asc`", sig.issuer())
}

// distinct returns keys by fingerprint, each once.
func distinct(keys []*PublicKey) []*PublicKey {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b *PublicKey) int {
		return strings.Compare(string(a.Fingerprint), string(b.Fingerprint))
	})
	return slices.CompactFunc(keys, func(a, b *PublicKey) bool { return a.Fingerprint == b.Fingerprint })
}

func readArmoredMessage(text []byte) (*signed, error) {
	packets, rest, err := cutArmor(text, armorMessage)
	if err != nil {
		return nil, err
	}
	if !onlyBlank(rest) {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "text follows the OpenPGP message")
	}
	return readMessage(packets)
}

// readMessage reads a message that is signed inline: its packets, or one
// compressed packet with them.
func readMessage(packets []byte) (*signed, error) {
	list, err := splitPackets(packets, maxPackets)
	if err != nil {
		return nil, err
	}
	if len(list) == 1 && list[0].Tag == tagCompressed {
		if packets, err = decompress(list[0].Contents); err != nil {
			return nil, err
		}
		if list, err = splitPackets(packets, maxPackets); err != nil {
			return nil, err
		}
	}
	return signedMessage(list)
}

// maxPackets bounds those of a message: one-pass and other signatures, and what
// they are of.
const maxPackets = 2*MaxKeys + 2

// splitPackets returns packets, of which there may be no more than most.
func splitPackets(packets []byte, most int) ([]*packet.OpaquePacket, error) {
	var list []*packet.OpaquePacket
	in := packet.NewOpaqueReader(bytes.NewReader(packets))
	for {
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "reading OpenPGP packets: %w", err)
		}
		if len(list) == most {
			return nil, reason.Errorf(reason.TooManyKeys, "more than %d OpenPGP packets: at most %d signatures are taken", most, MaxKeys)
		}
		list = append(list, p)
	}
}

// decompress unpacks a compressed packet (RFC 9580, section 5.6), at most as much
// as an attestation may have.
func decompress(contents []byte) ([]byte, error) {
	if len(contents) == 0 {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "an empty compressed packet")
	}
	in := bytes.NewReader(contents[1:])
	var out io.Reader
	var err error
	switch contents[0] {
	case 0:
		out = in
	case 1:
		out = flate.NewReader(in)
	case 2:
		out, err = zlib.NewReader(in)
	case 3:
		out = bzip2.NewReader(in)
	default:
		return nil, reason.Errorf(reason.EnvelopeMalformed, "unknown compression algorithm %d", contents[0])
	}
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decompressing an OpenPGP message: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(out, MaxEnvelope+1))
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decompressing an OpenPGP message: %w", err)
	}
	if len(b) > MaxEnvelope {
		return nil, reason.Errorf(reason.EnvelopeTooLarge, "the OpenPGP message decompresses to more than the limit of %d bytes", MaxEnvelope)
	}
	if in.Len() > 0 {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "%d bytes follow the compressed message", in.Len())
	}
	return b, nil
}

// signedMessage reads signatures and the one literal data packet that they are
// of. Either one-pass signatures go before it, and the signatures follow in
// opposite order, or the signatures go before it.
func signedMessage(list []*packet.OpaquePacket) (*signed, error) {
	at := slices.IndexFunc(list, func(p *packet.OpaquePacket) bool { return p.Tag == tagLiteral })
	if at < 0 {
		return nil, notSigned(list)
	}
	before, after := list[:at], list[at+1:]
	s := new(signed)
	var err error
	if s.document, err = literal(list[at].Contents); err != nil {
		return nil, err
	}
	if len(before) > 0 && before[0].Tag == tagOnePass {
		if len(before) != len(after) {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "an OpenPGP message announces %d signatures and has %d packets after its text", len(before), len(after))
		}
		for i, p := range before {
			if err := s.addOnePass(p, after[len(after)-1-i], i == len(before)-1); err != nil {
				return nil, err
			}
		}
		return s, nil
	}
	for _, p := range slices.Concat(before, after) {
		if p.Tag != tagSignature {
			return nil, notSigned(list)
		}
	}
	if len(after) > 0 {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "an OpenPGP message with signatures after its text does not announce them before it")
	}
	return s, s.add(before)
}

func notSigned(list []*packet.OpaquePacket) error {
	for _, p := range list {
		switch p.Tag {
		case 1, 3, 9, 18, 20:
			return reason.Errorf(reason.EnvelopeMalformed, "the OpenPGP message is encrypted: only what everybody can read is logged")
		case tagSecretKey, tagSecretSubkey:
			return errSecretKey()
		}
	}
	if len(list) > 0 && !slices.ContainsFunc(list, func(p *packet.OpaquePacket) bool { return p.Tag != tagSignature }) {
		return errAlone()
	}
	return reason.Errorf(reason.EnvelopeMalformed, "the OpenPGP message is not one text with its signatures, and nothing else")
}

func (s *signed) add(packets []*packet.OpaquePacket) error {
	for _, p := range packets {
		if p.Tag != tagSignature {
			return reason.Errorf(reason.EnvelopeMalformed, "a packet of type %d where an OpenPGP signature should be", p.Tag)
		}
		sig, err := parsePGPSignature(p.Contents)
		if err != nil {
			return err
		}
		s.sigs = append(s.sigs, sig)
	}
	return nil
}

// addOnePass adds a signature, which must be the one that was announced (RFC 9580,
// section 5.4).
func (s *signed) addOnePass(onePass, sig *packet.OpaquePacket, last bool) error {
	if err := s.add([]*packet.OpaquePacket{sig}); err != nil {
		return err
	}
	got, c := s.sigs[len(s.sigs)-1], onePass.Contents
	want := []byte{3, byte(got.SigType), got.body[3], got.body[2]}
	if got.Version == 6 {
		want[0] = 6
		want = append(want, byte(len(got.Salt())))
		want = append(want, got.Salt()...)
	}
	want = append(want, fromHex(got.onePassIssuer())...)
	if onePass.Tag != tagOnePass || len(c) != len(want)+1 || !bytes.HasPrefix(c, want) || (c[len(c)-1] != 0) != last {
		return reason.Errorf(reason.EnvelopeMalformed, "an OpenPGP message announces another signature than that of %s, which it has", got.issuer())
	}
	return nil
}

// literal returns the text of a literal data packet (RFC 9580, section 5.9). Its
// name and date are not signed, and not looked at.
func literal(contents []byte) ([]byte, error) {
	if len(contents) < 2 || len(contents) < 6+int(contents[1]) {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "an OpenPGP message's text is cut short")
	}
	if !bytes.Contains([]byte("btu"), contents[:1]) {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "an OpenPGP message's text is of the unknown kind %.1q", contents)
	}
	return contents[6+int(contents[1]):], nil
}
