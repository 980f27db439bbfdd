package attest

import (
	"bytes"
	"regexp"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/reason"
)

// detachedAt returns where the armor of the first signature begins, at the
// beginning of a line; -1 if none does.
func detachedAt(raw []byte) int {
	head := []byte(armorHead(armorSignature))
	if bytes.HasPrefix(raw, head) {
		return 0
	}
	if i := bytes.Index(raw, append([]byte("\n"), head...)); i >= 0 {
		return i + 1
	}
	return -1
}

// readDetached reads a document that is followed by armored signatures. Every byte
// before the first of them is the document's.
func readDetached(raw []byte) (*signed, error) {
	document, armored, err := cutDetached(raw)
	if err != nil {
		return nil, err
	}
	s := &signed{document: document}
	return s, s.addArmored(armored)
}

func cutDetached(raw []byte) (document, armored []byte, err error) {
	at := detachedAt(raw)
	switch {
	case at < 0:
		return nil, nil, reason.Errorf(reason.SignatureMissing, "no OpenPGP signature found")
	case onlyBlank(raw[:at]):
		return nil, nil, errAlone()
	}
	for rest := raw[:at]; len(rest) > 0; {
		var line []byte
		if line, rest = nextLine(rest); bytes.HasPrefix(line, []byte("-----BEGIN PGP ")) {
			return nil, nil, reason.Errorf(reason.EnvelopeMalformed, "text goes before %.60q: what is signed there must stand alone", line)
		}
	}
	return raw[:at], raw[at:], nil
}

func errAlone() error {
	return reason.Errorf(reason.EnvelopeMalformed, "an OpenPGP signature without what it is of: put the document before it, and it in ASCII armor, as in `cat FILE FILE.asc`")
}

// addArmored adds the signatures of one or more blocks of armor, and nothing else.
func (s *signed) addArmored(text []byte) error {
	packets, err := signaturePackets(text)
	if err != nil {
		return err
	}
	return s.add(packets)
}

// signaturePackets returns the packets of one or more blocks of armor.
func signaturePackets(text []byte) ([]*packet.OpaquePacket, error) {
	var all []*packet.OpaquePacket
	for !onlyBlank(text) {
		body, rest, err := cutArmor(bytes.TrimLeft(text, blanks), armorSignature)
		if err != nil {
			return nil, err
		}
		packets, err := splitPackets(body, MaxKeys)
		if err != nil {
			return nil, err
		}
		if len(packets) == 0 {
			return nil, reason.Errorf(reason.SignatureMissing, "an OpenPGP signature block without a signature")
		}
		if all = append(all, packets...); len(all) > MaxKeys {
			return nil, reason.Errorf(reason.TooManyKeys, "a document with more than %d signatures", MaxKeys)
		}
		text = rest
	}
	return all, nil
}

// hashHeader is the one header of a cleartext signature (RFC 9580, section 7.1).
var hashHeader = regexp.MustCompile(`^Hash: ?(MD5|SHA1|RIPEMD160|SHA224|SHA256|SHA384|SHA512|SHA3-256|SHA3-512)(, ?(MD5|SHA1|RIPEMD160|SHA224|SHA256|SHA384|SHA512|SHA3-256|SHA3-512))*$`)

// readCleartext reads a cleartext signature (RFC 9580, section 7). Whatever two
// programs might read differently, or show otherwise than they verify it, is
// refused: other headers, unescaped dashes, control characters, bare carriage
// returns, and text around it.
func readCleartext(text []byte) (*signed, error) {
	head, rest := nextLine(text)
	if string(head) != armorHead(armorCleartext) {
		return nil, errCleartext("its first line is %.60q", head)
	}
	var line []byte
	for {
		if len(rest) == 0 {
			return nil, errCleartext("it ends in its headers: an empty line must follow them")
		}
		if line, rest = nextLine(rest); len(line) == 0 {
			break
		}
		if !hashHeader.Match(line) {
			return nil, errCleartext("%.60q is neither a Hash header nor the empty line that must follow them", line)
		}
	}
	var lines [][]byte
	for {
		if len(rest) == 0 {
			return nil, errCleartext("no signature follows the text")
		}
		armored := rest
		if line, rest = nextLine(rest); string(line) == armorHead(armorSignature) {
			rest = armored
			break
		}
		plain, err := cleartextLine(line)
		if err != nil {
			return nil, err
		}
		lines = append(lines, plain)
	}
	// The end of the last line is not part of what is signed.
	s := &signed{document: bytes.Join(lines, []byte("\n")), cleartext: true}
	return s, s.addArmored(rest)
}

// cleartextLine returns a line without its escape, and without the blanks at its
// end, which are not signed.
func cleartextLine(line []byte) ([]byte, error) {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, errCleartext("control character %#02x in the line %.60q", c, line)
		}
	}
	if plain, ok := bytes.CutPrefix(line, []byte("- ")); ok {
		line = plain
	} else if bytes.HasPrefix(line, []byte("-")) {
		return nil, errCleartext("the line %.60q begins with a dash that is not escaped", line)
	}
	return bytes.TrimRight(line, " \t"), nil
}

func errCleartext(format string, args ...any) error {
	return reason.Errorf(reason.EnvelopeMalformed, "malformed cleartext signature: "+format, args...)
}
