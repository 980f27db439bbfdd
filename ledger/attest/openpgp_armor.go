package attest

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/cairnlog/cairn/ledger/reason"
)

// The kinds of armor that are read (RFC 9580, section 6.2.1).
const (
	armorMessage   = "PGP MESSAGE"
	armorCleartext = "PGP SIGNED MESSAGE"
	armorSignature = "PGP SIGNATURE"
	armorPublicKey = "PGP PUBLIC KEY BLOCK"
	armorSecretKey = "PGP PRIVATE KEY BLOCK"
)

func armorHead(kind string) string { return "-----BEGIN " + kind + "-----" }
func armorTail(kind string) string { return "-----END " + kind + "-----" }

// blanks are what may be around an armor.
const blanks = " \t\r\n"

// nextLine cuts the first line, without its end of LF or CR LF.
func nextLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// beginsArmor reports whether text's first line is the head of an armor of a kind.
func beginsArmor(text []byte, kind string) bool {
	line, _ := nextLine(text)
	return string(bytes.TrimRight(line, " \t")) == armorHead(kind)
}

// cutArmor decodes the armor of a kind that text begins with. Unlike the
// library's decoder it skips nothing, neither before the armor nor in it: what is
// read here, every program reads. The checksum is not looked at, as RFC 9580,
// section 6.1, demands.
func cutArmor(text []byte, kind string) (body, rest []byte, err error) {
	if !beginsArmor(text, kind) {
		return nil, nil, reason.Errorf(reason.EnvelopeMalformed, "no %s where one should begin", armorHead(kind))
	}
	_, rest = nextLine(text)
	var line []byte
	for {
		if len(rest) == 0 {
			return nil, nil, errArmor(kind, "it ends in its headers: an empty line must follow them")
		}
		if line, rest = trimmedLine(rest); len(line) == 0 {
			break
		}
		if key, _, ok := bytes.Cut(line, []byte(":")); !ok || len(key) == 0 {
			return nil, nil, errArmor(kind, "%.80q is no header, and no empty line either", line)
		}
	}
	var encoded bytes.Buffer
	for checksum := false; ; {
		if len(rest) == 0 {
			return nil, nil, errArmor(kind, "it does not end")
		}
		line, rest = trimmedLine(rest)
		switch {
		case string(line) == armorTail(kind):
			body, err = base64.StdEncoding.Strict().DecodeString(encoded.String())
			if err != nil {
				return nil, nil, errArmor(kind, "%w", err)
			}
			return body, rest, nil
		case checksum || len(line) == 0 || line[0] == '-':
			return nil, nil, errArmor(kind, "%.80q is not its end", line)
		case line[0] == '=':
			checksum = true
		default:
			encoded.Write(line)
		}
	}
}

func trimmedLine(text []byte) (line, rest []byte) {
	line, rest = nextLine(text)
	return bytes.TrimRight(line, " \t"), rest
}

func errArmor(kind, format string, args ...any) error {
	return reason.Errorf(reason.EnvelopeMalformed, "malformed armor of a "+kind+": "+format, args...)
}

// onlyBlank reports whether nothing but empty lines is left.
func onlyBlank(rest []byte) bool { return len(bytes.Trim(rest, blanks)) == 0 }

// writeArmor returns the one armor that Cairn writes of packets: with no header,
// and with the checksum that old programs want.
func writeArmor(kind string, packets []byte) string {
	var b strings.Builder
	w, err := armor.Encode(&b, kind, nil)
	if err == nil {
		_, err = w.Write(packets)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("attest: writing to memory failed: " + err.Error())
	}
	return b.String() + "\n"
}
