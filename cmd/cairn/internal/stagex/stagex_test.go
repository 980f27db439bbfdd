package stagex

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex/stagextest"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

var hexA = strings.Repeat("a", 64)

var signaturePaths = []struct {
	path, name string // no name: the path says nothing
}{
	{"stagex/core-musl@sha256=" + hexA + "/signature-1", "core-musl"},
	{"signatures/stagex/user-gtk+3@sha256=" + hexA + "/signature-12", "user-gtk+3"},
	{"host/stagex/core-musl@sha256=" + hexA + "/signature-1", "core-musl"},
	{"stagex/core-musl@sha256=" + hexA + "/signature-0", ""},
	{"stagex/core-musl@sha256=" + hexA + "/signature-01", ""},
	{"stagex/core-musl@sha256=" + hexA + "/signature-1.asc", ""},
	{"stagex/core-musl@sha256=" + strings.ToUpper(hexA) + "/signature-1", ""},
	{"stagex/core-musl@sha256=/signature-1", ""},
	{"core-musl@sha256=" + hexA + "/signature-1", ""},
	{"stagex/core-musl@sha256=" + hexA + "/sub/signature-1", ""},
}

func TestSignaturePaths(t *testing.T) {
	for _, tc := range signaturePaths {
		i, ok := imageOf(tc.path)
		if i.Name != tc.name || ok != (tc.name != "") || ok && i.Digest.Hex() != hexA {
			t.Errorf("%s is of %+v, %v", tc.path, i, ok)
		}
	}
}

func TestInspect(t *testing.T) {
	s := stagextest.New(t, 1, 0)
	fp := string(s.Fingerprint())
	id := fp[len(fp)-16:]
	image := Image{stagextest.Name(1), stagextest.Digest(1)}
	for _, tc := range []struct {
		name   string
		file   File
		group  string
		refuse bool
	}{
		{"as it should be", File{Image: image, Raw: s.Sign(t, stagextest.Payload(image.Name, image.Digest), stagextest.Made)}, "atomic container signature by " + id, false},
		{"of former times", File{Image: image, Raw: s.Sign(t, stagextest.OlderPayload(image.Name, image.Digest), stagextest.Made)}, "pgp container image signature by " + id, false},
		{"over another digest", File{Image: image, Raw: s.Sign(t, stagextest.Payload(image.Name, stagextest.Digest(2)), stagextest.Made)}, "atomic container signature by " + id, true},
		{"at a path that says nothing", File{Raw: s.Sign(t, stagextest.Payload(image.Name, image.Digest), stagextest.Made)}, "", true},
		{"no signature", File{Image: image, Raw: []byte("hello")}, "unreadable", false},
		{"no image signature", File{Image: image, Raw: s.Sign(t, []byte("hello"), stagextest.Made)}, "unreadable", false},
	} {
		group, err := inspect(&tc.file)
		refusal, ok := reason.Of(err)
		if group != tc.group || ok != tc.refuse || ok && refusal.Reason != cmdline.SignatureMisplaced {
			t.Errorf("%s: group %q, %v", tc.name, group, err)
		}
	}
}

// Whoever can write to a store of signatures chooses what a signature packet claims.
func TestInspectHostile(t *testing.T) {
	literal := []byte{0xcb, 7, 'b', 0, 0, 0, 0, 0, 'x'}
	for name, body := range map[string][]byte{
		"an empty subpacket": {4, 0, 1, 8, 0, 2, 1, 4, 0, 0, 0, 0},
		"an area of 1 GiB":   {6, 0, 1, 8, 0x40, 0, 0, 0},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f := &File{Image: Image{"a", stagextest.Digest(1)}, Raw: slices.Concat([]byte{0xc2, byte(len(body))}, body, literal)}
		if group, err := inspect(f); group != "unreadable" || err != nil {
			t.Errorf("%s: group %q, %v", name, group, err)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
			t.Errorf("%s: took %d MiB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

func FuzzInspect(f *testing.F) {
	s := stagextest.New(f, 1, 0)
	image := Image{stagextest.Name(1), stagextest.Digest(1)}
	f.Add(s.Sign(f, stagextest.Payload(image.Name, image.Digest), stagextest.Made))
	f.Add([]byte("-----BEGIN PGP MESSAGE-----\n\nowE=\n-----END PGP MESSAGE-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if group, err := inspect(&File{Image: image, Raw: raw}); group == "" || len(group) > 4*len(raw)+100 {
			t.Errorf("group %q, %v", group, err)
		}
	})
}

func FuzzReadSigned(f *testing.F) {
	f.Add(stagextest.Payload("core-musl", leaf.SHA256(nil)))
	f.Add(stagextest.OlderPayload("core-musl", leaf.SHA256(nil)))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, document []byte) {
		if _, d, err := readSigned(document); err == nil && !d.Valid() {
			t.Errorf("digest %q", d)
		}
	})
}

func FuzzParseMaintainers(f *testing.F) {
	f.Add("[keys.alice.personal]\nid = \"" + strings.Repeat("A", 40) + "\"\n")
	f.Add("[people]\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMaintainers([]byte(text))
		if err != nil {
			return
		}
		for fp := range m {
			if !fp.Valid() {
				t.Errorf("fingerprint %q", fp)
			}
		}
	})
}
