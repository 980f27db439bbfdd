package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// OpenPGP's packets that are told apart here (RFC 9580, section 5).
const (
	tagSignature = 2
	tagSecretKey = 5
	tagPublicKey = 6
)

const (
	beginArmor     = "-----BEGIN PGP "
	beginSignature = "-----BEGIN PGP SIGNATURE-----"
)

// Join returns a document with the detached signatures of it, as an attestation
// has them: its bytes, and directly after them the signatures in ASCII armor.
// Armor is kept as it is; binary signatures are armored, the same every time.
func Join(document, signatures []byte) ([]byte, error) {
	if err := joinable(document); err != nil {
		return nil, err
	}
	if bytes.Contains(signatures, []byte(beginSignature)) {
		i := bytes.Index(signatures, []byte(beginSignature))
		return append(bytes.Clone(document), signatures[i:]...), nil
	}
	sigs, err := signaturePackets(signatures)
	if err != nil {
		return nil, err
	}
	joined := bytes.Clone(document)
	for _, sig := range sigs {
		if joined, err = appendArmored(joined, sig); err != nil {
			return nil, err
		}
	}
	return joined, nil
}

// JoinEach is Join with one attestation for each signature, so that one whose key
// is unknown does not keep the others out.
func JoinEach(document, signatures []byte) ([][]byte, error) {
	if err := joinable(document); err != nil {
		return nil, err
	}
	sigs, err := signaturePackets(signatures)
	if err != nil {
		return nil, err
	}
	each := make([][]byte, len(sigs))
	for i, sig := range sigs {
		if each[i], err = appendArmored(bytes.Clone(document), sig); err != nil {
			return nil, err
		}
	}
	return each, nil
}

func joinable(document []byte) error {
	if !bytes.HasSuffix(document, []byte("\n")) {
		return reason.Errorf(reason.EnvelopeMalformed, "the document does not end in a newline: a signature after it could not be told from it")
	}
	if bytes.HasPrefix(document, []byte(beginSignature)) || bytes.Contains(document, []byte("\n"+beginSignature)) {
		return reason.Errorf(reason.EnvelopeMalformed, "the document holds a line %q: a signature after it could not be told from it", beginSignature)
	}
	return nil
}

// Split returns the parts of an attestation that is a document followed by
// detached signatures, and false if it is none, or has one signature alone.
func Split(joined []byte) ([][]byte, bool) {
	i := bytes.Index(joined, []byte("\n"+beginSignature))
	if i < 0 || bytes.HasPrefix(bytes.TrimLeft(joined, " \t\r\n"), []byte(beginArmor)) {
		return nil, false // which a cleartext signature begins with
	}
	each, err := JoinEach(joined[:i+1], joined[i+1:])
	return each, err == nil && len(each) > 1
}

// signaturePackets returns the signatures of a detached signature, in ASCII armor
// or not. There may be several blocks, and several signatures in each.
func signaturePackets(b []byte) ([]*packet.OpaquePacket, error) {
	packets, err := packetsOf(b)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "reading the detached signature: %w", err)
	}
	for _, p := range packets {
		if p.Tag != tagSignature {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "the detached signature holds a packet of type %d, which is no signature", p.Tag)
		}
	}
	if len(packets) == 0 {
		return nil, reason.Errorf(reason.SignatureMissing, "the detached signature is empty")
	}
	return packets, nil
}

// packetsOf returns the packets of ASCII armor, of several blocks of it, or of
// neither.
func packetsOf(b []byte) ([]*packet.OpaquePacket, error) {
	if !bytes.Contains(b, []byte(beginArmor)) {
		return rawPackets(b)
	}
	var all []*packet.OpaquePacket
	for rest := b; ; {
		i := bytes.Index(rest, []byte(beginArmor))
		if i < 0 {
			return all, nil
		}
		rest = rest[i:]
		next := bytes.Index(rest[1:], []byte(beginArmor))
		one := rest
		if next >= 0 {
			one = rest[:next+1]
		}
		block, err := armor.Decode(bytes.NewReader(one))
		if err != nil {
			return nil, fmt.Errorf("in ASCII armor: %w", err)
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, fmt.Errorf("in ASCII armor: %w", err)
		}
		packets, err := rawPackets(body)
		if err != nil {
			return nil, err
		}
		all = append(all, packets...)
		rest = rest[len(one):]
	}
}

func rawPackets(b []byte) ([]*packet.OpaquePacket, error) {
	var all []*packet.OpaquePacket
	for r := packet.NewOpaqueReader(bytes.NewReader(b)); ; {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

func appendArmored(b []byte, packets ...*packet.OpaquePacket) ([]byte, error) {
	kind := "PGP PUBLIC KEY BLOCK"
	if packets[0].Tag == tagSignature {
		kind = "PGP SIGNATURE"
	}
	buf := bytes.NewBuffer(b)
	w, err := armor.Encode(buf, kind, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range packets {
		if err := p.Serialize(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return append(buf.Bytes(), '\n'), nil
}

// SplitKeys returns each key of a keyring, in ASCII armor or not, as a block of
// its own.
func SplitKeys(keyring []byte) ([][]byte, error) {
	packets, err := packetsOf(keyring)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "reading the keyring: %w", err)
	}
	var blocks [][]byte
	for start := 0; start < len(packets); {
		switch packets[start].Tag {
		case tagPublicKey:
		case tagSecretKey:
			return nil, reason.Errorf(reason.KeyUnsupported, "the keyring holds a private key: export the public one alone")
		default:
			return nil, reason.Errorf(reason.EnvelopeMalformed, "the keyring does not begin with a public key, but with a packet of type %d", packets[start].Tag)
		}
		end := start + 1
		for end < len(packets) && packets[end].Tag != tagPublicKey && packets[end].Tag != tagSecretKey {
			end++
		}
		block, err := appendArmored(nil, packets[start:end]...)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, block)
		start = end
	}
	if len(blocks) == 0 {
		return nil, reason.Errorf(reason.KeyUnsupported, "the keyring holds no key")
	}
	return blocks, nil
}

// Inline is a message that is signed inline, as far as it can be read without
// keys. Nothing of it is verified.
type Inline struct {
	Document []byte
	Issuers  []string // key ids of who is to have signed, 16 lower-case hex digits
}

// ReadInline reads a message that is signed inline, compressed or not, in ASCII
// armor or not.
func ReadInline(raw []byte) (*Inline, error) {
	if bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte(beginArmor)) {
		block, err := armor.Decode(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("in ASCII armor: %w", err)
		}
		if raw, err = readUpTo(block.Body, attest.MaxEnvelope); err != nil {
			return nil, err
		}
	}
	in := new(Inline)
	var onePass []string
	for r := packet.NewReader(bytes.NewReader(raw)); ; {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch p := p.(type) {
		case *packet.Compressed:
			if err := r.Push(p.Body); err != nil {
				return nil, err
			}
		case *packet.LiteralData:
			if in.Document, err = readUpTo(p.Body, attest.MaxEnvelope); err != nil {
				return nil, err
			}
		case *packet.OnePassSignature:
			onePass = append(onePass, keyID(p.KeyId))
		case *packet.Signature:
			if p.IssuerKeyId != nil {
				in.Issuers = append(in.Issuers, keyID(*p.IssuerKeyId))
			}
		}
	}
	if in.Document == nil {
		return nil, errors.New("it holds no document")
	}
	if len(in.Issuers) == 0 {
		in.Issuers = onePass
	}
	return in, nil
}

func keyID(id uint64) string { return fmt.Sprintf("%016x", id) }
