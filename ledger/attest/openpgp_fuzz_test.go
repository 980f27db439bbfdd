package attest_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
)

// FuzzOpenPGPKey reads arbitrary bytes as a key, and signs arbitrary subpackets
// into one, so that all that is behind its self-signatures is reached.
func FuzzOpenPGPKey(f *testing.F) {
	for _, c := range keyCases {
		f.Add(c.key, byte(0x13), []byte(maySign), []byte{})
	}
	for _, c := range badKeys {
		if len(c.packets) < 10000 {
			f.Add(c.packets, byte(0x1f), []byte(maySign), alice4.back(laptop4))
		}
	}
	for _, packets := range dropped {
		f.Add(append(bytes.Clone(alicesKey), packets...), byte(0x18), []byte(maySign), alice4.back(laptop4))
	}
	blocks, err := filepath.Glob(filepath.Join(goldenDir, "key-*.asc"))
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range blocks {
		f.Add(mustRead(f, b), byte(0x28), sub(29, 1, 'x'), []byte{})
	}
	f.Fuzz(func(t *testing.T, raw []byte, kind byte, hashed, unhashed []byte) {
		if len(hashed)+len(unhashed) > 1000 {
			t.Skip("too long for its lengths")
		}
		checkKey(t, raw)
		s := sigOf{kind: kind, hashed: [][]byte{hashed}, unhashed: [][]byte{unhashed}}
		var more []byte
		switch kind {
		case 0x18, 0x28:
			more = alice4.subkey(laptop4, s)
		case 0x1f, 0x20:
			more = alice4.primary(s)[len(alice4.primary()):]
		default:
			more = alice4.user("b", s)
		}
		checkKey(t, append(alice4.primary(), append(more, alice4.user("a", certifies(0))...)...))
	})
}

// checkKey checks what holds of everything that is read as a key.
func checkKey(t *testing.T, raw []byte) {
	t.Helper()
	a, err := attest.Open(raw, attest.NewKeyring())
	if err != nil {
		checkRefused(t, a, err)
		return
	}
	if a.Claim.Format != attest.FormatOpenPGPKey {
		t.Fatalf("opened as %s without a key", a.Claim.Format)
	}
	checkOpened(t, raw, a)
	checkMerges(t, "fuzzed", a.Keys[0])
	if len(a.Keys[0].KeyIDs()) < 2 || (a.Revocation != nil) != a.Keys[0].Revoked() {
		t.Fatalf("key ids %q, revocation %v", a.Keys[0].KeyIDs(), a.Revocation)
	}
}

// FuzzOpenPGP reads arbitrary bytes as a signed document. The signatures that
// there are all are of one text, so that whatever else is read is forged.
func FuzzOpenPGP(f *testing.F) {
	for _, c := range goodContainers {
		f.Add(c.raw)
	}
	for _, c := range badContainers {
		f.Add(c.raw)
	}
	for _, c := range badCleartexts {
		f.Add(c.raw)
	}
	attest.AddDocument(f, "odd", "Odd: 1.0\n")
	ring := someKeys(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, sigs, err := attest.OpenSigned(raw, ring)
		if err != nil {
			checkRefused(t, nil, err)
			return
		}
		if got := strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"); got+"\n" != plainText && got != oddSigned {
			t.Fatalf("%d signatures of %q, which nobody signed", len(sigs), text)
		}
		if a, err := attest.Open(raw, ring); err != nil {
			checkRefused(t, a, err)
		} else if a.Claim.Format == "odd" {
			checkOpened(t, raw, a)
		}
	})
}

// oddSigned is the other text of which a seed holds a signature.
const oddSigned = "Odd: 1.0\r"
