package web

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// stripWidth is how many packages a row of the overview has.
const stripWidth = 500

// stripPalette has the colours of style.css's fills, which are good on light and on dark.
// Its last colour is that of no package.
var stripPalette = color.Palette{
	verify.VerdictUnproven:    color.NRGBA{0x56, 0xb4, 0xe9, 0xff},
	verify.VerdictReproduced:  color.NRGBA{0x00, 0x9e, 0x73, 0xff},
	verify.VerdictDiffers:     color.NRGBA{0xd5, 0x5e, 0x00, 0xff},
	verify.VerdictFailed:      color.NRGBA{0xe6, 0x9f, 0x00, 0xff},
	verify.VerdictUntried:     color.NRGBA{0xb6, 0xbc, 0xc2, 0xff},
	verify.VerdictUntried + 1: color.NRGBA{},
}

func stripRows(packages int) int { return max(1, (packages+stripWidth-1)/stripWidth) }

// stripHeight is how high the overview is shown.
func stripHeight(packages int) int { return max(16, 2*stripRows(packages)) }

// strip answers with the overview of all packages: a pixel for each, by name.
func (s *Site) strip(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Survey == nil {
		s.serve(func(*http.Request) (*page, error) { return noTable(), nil }, html).ServeHTTP(w, r)
		return
	}
	verdicts, err := s.cfg.Survey.Strip(r.Context())
	if err != nil {
		s.serve(func(*http.Request) (*page, error) { return nil, err }, html).ServeHTTP(w, r)
		return
	}
	body, err := drawStrip(verdicts)
	if err != nil {
		s.serve(func(*http.Request) (*page, error) { return nil, err }, html).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", `"`+leaf.SHA256(body).Hex()[:32]+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func drawStrip(verdicts []verify.Verdict) ([]byte, error) {
	img := image.NewPaletted(image.Rect(0, 0, stripWidth, stripRows(len(verdicts))), stripPalette)
	for i := range img.Pix {
		img.Pix[i] = uint8(verify.VerdictUntried) + 1
		if i < len(verdicts) {
			img.Pix[i] = uint8(verdicts[i])
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}
