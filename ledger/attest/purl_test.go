package attest_test

import (
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

func TestPurl(t *testing.T) {
	const sha512 = "sha512:" + hexA + hexB
	for _, tt := range []struct{ in, canonical, name string }{
		{purlA, purlA, "pkg:oci/core-go?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"},
		{"pkg:oci/core-go@sha256:" + hexA + "?repository_url=docker.io/stagex/core-go&arch=amd64", purlA,
			"pkg:oci/core-go?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"},
		{"pkg:oci/core-go@sha256%3A" + hexA + "?Arch=amd64&repository_url=docker.io%2fstagex%2fcore-go", purlA,
			"pkg:oci/core-go?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"},
		{"PKG:oci/Core-Go@" + sha512, "pkg:oci/core-go@" + sha512, "pkg:oci/core-go"},
		{"pkg:OCI/core-go@" + sha512, "pkg:oci/core-go@" + sha512, "pkg:oci/core-go"},
		{"pkg://deb/debian/hello@2.12-1?arch=amd64", "pkg:deb/debian/hello@2.12-1?arch=amd64", "pkg:deb/debian/hello@2.12-1?arch=amd64"},
		{"pkg:deb/Debian/Hello@2.12-1?arch=", "pkg:deb/debian/hello@2.12-1", "pkg:deb/debian/hello@2.12-1"},
		{"pkg:pypi/Foo_Bar@1", "pkg:pypi/foo-bar@1", "pkg:pypi/foo-bar@1"},
		{"pkg:generic/x@sha256:abc", "pkg:generic/x@sha256:abc", "pkg:generic/x@sha256:abc"},
		{"pkg:generic/x", "pkg:generic/x", "pkg:generic/x"},
	} {
		canonical, err := attest.CanonicalPurl(tt.in)
		if err != nil || canonical != tt.canonical {
			t.Errorf("CanonicalPurl(%s) = %s, %v\nwant %s", tt.in, canonical, err, tt.canonical)
		}
		name, err := attest.LookupName(tt.in)
		if err != nil || name != tt.name {
			t.Errorf("LookupName(%s) = %s, %v\nwant %s", tt.in, name, err, tt.name)
		}
	}
	for _, in := range []string{
		"", "oci/x", "pkg:", "pkg:oci", "pkg:oci/", "pkg:o ci/x", "pkg:generic/x?a=%zz", "pkg:generic/x?a=1&a=2",
		"pkg:generic/x#a/../b", " pkg:oci/x", "pkg:generic/" + strings.Repeat("x", 4096),
	} {
		for _, f := range []func(string) (string, error){attest.CanonicalPurl, attest.LookupName} {
			got, err := f(in)
			if e, ok := reason.Of(err); !ok || e.Reason != reason.PurlInvalid {
				t.Errorf("%.40q is %q, %v, want %s", in, got, err, reason.PurlInvalid)
			}
		}
	}
}
