package web

import (
	"strings"
	"testing"
	"unicode"

	"github.com/cairnlog/cairn/ledger/attest"
)

// FuzzDecoded: whatever an attestation's bytes are, what is shown of them is text.
func FuzzDecoded(f *testing.F) {
	f.Add(attest.FormatDSSE, []byte(`{"payload":"eyJhIjoiXHUyMDJlIn0="}`))
	f.Add(attest.FormatDSSE, []byte(`{"payload":"/w=="}`))
	f.Add("openpgp", []byte{0, 0xff})
	f.Add("text", []byte(wicked))
	f.Fuzz(func(t *testing.T, format string, raw []byte) {
		what, text := decoded(format, raw)
		a := attestationView{What: what, Text: text}
		if what == "" {
			t.Error("what is shown is not said")
		}
		if i := strings.IndexFunc(a.Shown(), func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("%q is shown", a.Shown()[i:])
		}
	})
}

// FuzzNumber63: an entry has one URL.
func FuzzNumber63(f *testing.F) {
	for _, text := range []string{"0", "7", "07", "-1", "+1", "", "9223372036854775808", "٣"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		index, err := number63("index", text)
		if err == nil && (index < 0 || strings.TrimLeft(text, "0123456789") != "" || len(text) > 1 && text[0] == '0') {
			t.Errorf("%q is %d", text, index)
		}
	})
}
