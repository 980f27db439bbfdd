package attest

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cairnlog/cairn/ledger/reason"
)

// The formats, as leaves name them. A parser never changes what it makes of the
// same bytes; where that must change, the format gets a new name.
const (
	FormatOpenPGPKey    = "openpgp-key"    // a transferable public key
	FormatSimpleSigning = "simple-signing" // atomic container signature
	FormatBuildinfo     = "buildinfo"      // Debian's
	FormatSHA256Sums    = "sha256sums"     // of coreutils, signed by OpenPGP
	FormatArchBuildinfo = "arch-buildinfo" // Arch's .BUILDINFO
	FormatBuildcompare  = "buildcompare"   // of Reproducible Central
	FormatLink          = "link"           // in-toto's, before DSSE: rebuilderd
	FormatSigstore      = "sigstore"       // Sigstore bundle by a key; see leaf.FormatSigstoreCertificate
)

// format is one way in which attestations come.
type format struct {
	name string
	open func(raw []byte, ring Keyring) (*Attestation, error)
}

// jsonFormats are the formats that are one JSON object, by the member that gives
// each away.
var jsonFormats = map[string]format{
	"payloadType":          {FormatDSSE, openDSSE},
	"payload":              {FormatDSSE, openDSSE},
	"signed":               {FormatLink, openLink},
	"mediaType":            {FormatSigstore, openSigstore},
	"verificationMaterial": {FormatSigstore, openSigstore},
	"dsseEnvelope":         {FormatSigstore, openSigstore},
	"messageSignature":     {FormatSigstore, openSigstore},
	"kind":                 {FormatHashedRekord, openHashedRekord},
}

// formatOf tells the format of an attestation from how it begins.
func formatOf(raw []byte) (format, error) {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return format{}, reason.Errorf(reason.FormatUnknown, "the attestation is empty")
	case trimmed[0] == '{':
		return jsonFormat(trimmed), nil
	case isOpenPGPKey(trimmed):
		return format{FormatOpenPGPKey, openOpenPGPKey}, nil
	case isOpenPGP(trimmed):
		return format{"openpgp", openOpenPGP}, nil
	}
	return format{}, reason.Errorf(reason.FormatUnknown,
		"the attestation begins with %.16q, which is no known format", trimmed)
}

// jsonFormat returns the format of a JSON object. What has no member of the
// others is taken for DSSE, whose parser says what is wrong with it.
func jsonFormat(raw []byte) format {
	if bytes.HasPrefix(raw, []byte(`{"payloadType":`)) {
		return jsonFormats["payload"] // as most begin: it saves the decoder
	}
	// The decoder reads a Buffer in place, and copies any other reader.
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if _, err := d.ReadToken(); err != nil {
		return jsonFormats["payload"]
	}
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return jsonFormats["payload"]
		}
		if f, ok := jsonFormats[name.String()]; ok {
			return f
		}
		if err := d.SkipValue(); err != nil {
			return jsonFormats["payload"]
		}
	}
}
