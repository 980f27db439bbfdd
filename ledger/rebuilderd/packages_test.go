package rebuilderd

import (
	"testing"

	"github.com/cairnlog/cairn/ledger/verify"
)

func TestPackageOf(t *testing.T) {
	for uri, want := range map[string]pkg{
		"pkg:alpm/arch/pacman@6.0.1-1?arch=x86_64":                      {distro: "archlinux", name: "pacman", version: "6.0.1-1", architecture: "x86_64"},
		"pkg:alpm/arch/zlib@1:1.2.11-5?arch=x86_64":                     {distro: "archlinux", name: "zlib", version: "1:1.2.11-5", architecture: "x86_64"},
		"pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64":                {distro: "debian", name: "attr", version: "1:2.4.47-2+b1", architecture: "amd64"},
		"pkg:deb/debian/hello@2":                                        {distro: "debian", name: "hello", version: "2"},
		"pkg:deb/debian/hello@2?download_url=https:%2F%2Fa.example%2Fx": {distro: "debian", name: "hello", version: "2", url: "https://a.example/x"},
		"pkg:deb/debian/hello@2?download_url=javascript:alert%281%29":   {distro: "debian", name: "hello", version: "2"},
	} {
		got, ok := packageOf(uri)
		if !ok || got != want {
			t.Errorf("%s is %+v, %v, want %+v", uri, got, ok, want)
		}
	}
	for _, uri := range []string{
		"", "hello", "pkg:deb/ubuntu/hello@2", "pkg:deb/debian/hello", "pkg:deb/debian/hello@2?arch=source", "pkg:deb/debian/hello@2#usr/bin",
		"pkg:oci/debian@sha256:0000000000000000000000000000000000000000000000000000000000000000", "pkg:alpm/arch32/pacman@6",
	} {
		if got, ok := packageOf(uri); ok {
			t.Errorf("%s is taken for %+v", uri, got)
		}
	}
}

func FuzzPackageOf(f *testing.F) {
	f.Add("pkg:alpm/arch/pacman@6.0.1-1?arch=x86_64")
	f.Fuzz(func(t *testing.T, uri string) {
		if p, ok := packageOf(uri); ok && (p.distro == "" || p.name == "" || p.version == "") {
			t.Fatalf("%q is %+v", uri, p)
		}
	})
}

// TestOnlyReproducedIsGood: a verdict that is added some day is not good by itself.
func TestOnlyReproducedIsGood(t *testing.T) {
	for v := verify.Verdict(-1); v < 20; v++ {
		want := unknown
		switch v {
		case verify.VerdictReproduced:
			want = good
		case verify.VerdictDiffers, verify.VerdictFailed:
			want = bad
		}
		if got := statusOf(v); got != want {
			t.Errorf("%s is %s, want %s", v, statuses[got], statuses[want])
		}
	}
}
