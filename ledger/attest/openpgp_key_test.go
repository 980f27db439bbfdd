package attest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
)

// retold are ways to write an RSA signature otherwise, which anybody can.
var retold = map[string]func(body []byte) []byte{
	"as it was": bytes.Clone,
	"a longer number": func(body []byte) []byte {
		at := len(body) - 2 - 3072/8
		n := append(binary.BigEndian.AppendUint16(nil, 3072+8), 0)
		return append(append(bytes.Clone(body[:at]), n...), body[at+2:]...)
	},
	"more that is not hashed": func(body []byte) []byte {
		at := 6 + int(binary.BigEndian.Uint16(body[4:]))
		n := binary.BigEndian.Uint16(body[at:])
		more := append(binary.BigEndian.AppendUint16(nil, n+3), sub(99, 'x')...)
		return append(append(bytes.Clone(body[:at]), more...), body[at+2:]...)
	},
}

// However its signatures are written, and whichever copies of them there are, a key
// has one form.
func TestOpenPGPCanonical(t *testing.T) {
	text := mustRead(t, filepath.Join(goldenDir, "key-rsa3072.asc"))
	want, err := attest.ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	packets, err := io.ReadAll(block.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, retell := range retold {
		var again, both []byte
		in := packet.NewOpaqueReader(bytes.NewReader(packets))
		for {
			p, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, pgpPacket(p.Tag, p.Contents)...)
			if p.Tag == 2 {
				p.Contents = retell(p.Contents)
				both = append(both, pgpPacket(p.Tag, p.Contents)...)
			}
			again = append(again, pgpPacket(p.Tag, p.Contents)...)
		}
		for _, b := range [][]byte{again, both} {
			if got, err := attest.ParsePublicKey(makeKey(t, b)); err != nil || got.PEM != want.PEM {
				t.Errorf("%s: another key: %v", name, err)
			}
		}
	}
}
