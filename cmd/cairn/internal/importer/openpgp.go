package importer

import (
	"bytes"
	"errors"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// tagSignature is the type of OpenPGP's packets that are signatures (RFC 9580,
// section 5).
const tagSignature = 2

const beginSignature = "-----BEGIN PGP SIGNATURE-----"

// Join returns a document with the detached signatures of it, as an attestation
// has them: its bytes, and directly after them the signatures in ASCII armor.
// Armor is kept as it is; binary signatures are armored, the same every time.
func Join(document, signatures []byte) ([]byte, error) {
	if !bytes.HasSuffix(document, []byte("\n")) {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "the document does not end in a newline: a signature after it could not be told from it")
	}
	if bytes.HasPrefix(document, []byte(beginSignature)) || bytes.Contains(document, []byte("\n"+beginSignature)) {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "the document holds a line %q: a signature after it could not be told from it", beginSignature)
	}
	if i := bytes.Index(signatures, []byte(beginSignature)); i >= 0 {
		return append(bytes.Clone(document), signatures[i:]...), nil
	}
	joined := bytes.NewBuffer(bytes.Clone(document))
	for r := packet.NewOpaqueReader(bytes.NewReader(signatures)); ; {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "reading the detached signature: %w", err)
		}
		if p.Tag != tagSignature {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "the detached signature holds a packet of type %d, which is no signature", p.Tag)
		}
		if err := writeArmored(joined, p); err != nil {
			return nil, err
		}
	}
	if joined.Len() == len(document) {
		return nil, reason.Errorf(reason.SignatureMissing, "the detached signature is empty")
	}
	return joined.Bytes(), nil
}

func writeArmored(to *bytes.Buffer, p *packet.OpaquePacket) error {
	w, err := armor.Encode(to, "PGP SIGNATURE", nil)
	if err != nil {
		return err
	}
	if err := p.Serialize(w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return to.WriteByte('\n')
}

// JoinEach is Join with one attestation for each signature, so that one whose key
// is unknown does not keep the others out.
func JoinEach(document, signatures []byte) ([][]byte, error) {
	joined, err := Join(document, signatures)
	if err != nil {
		return nil, err
	}
	return attest.SplitDetached(joined)
}
