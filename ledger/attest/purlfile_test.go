package attest

import "testing"

func TestPurlOfFile(t *testing.T) {
	for file, want := range map[string]string{
		"attr_2.5.2-1+b1_amd64.deb":                       "pkg:deb/debian/attr@2.5.2-1%2Bb1?arch=amd64",
		"g++-14_14.2.0~rc1-1_all.deb":                     "pkg:deb/debian/g%2B%2B-14@14.2.0~rc1-1?arch=all",
		"attr_2.5.2-1ubuntu1_amd64.deb":                   "",
		"attr_amd64.deb":                                  "",
		"dir/attr_2.5.2-1_amd64.deb":                      "",
		"attr_2.5.2-1_amd64.udeb":                         "",
		"Attr_2.5.2-1_amd64.deb":                          "",
		"attr_2.5.2-1_amd64.buildinfo":                    "",
		"xz-1:5.8.1-1-x86_64.pkg.tar.zst":                 "pkg:alpm/arch/xz@1:5.8.1-1?arch=x86_64",
		"python-foo-bar-2.0-1.1-any.pkg.tar.xz":           "pkg:alpm/arch/python-foo-bar@2.0-1.1?arch=any",
		"filesystem-2025.10.12-1-any.pkg.tar.zst":         "pkg:alpm/arch/filesystem@2025.10.12-1?arch=any",
		"lib32-a-5.8.1-x86_64.pkg.tar.zst":                "",
		"a.rpm":                                           "",
		"":                                                "",
		"filesystem-2025.10.12-1-any.pkg.tar.zst.sig":     "",
		"../filesystem-2025.10.12-1-any.pkg.tar.zst":      "",
		"filesystem-2025.10.12-1-any.pkg.tar.zst\x00.deb": "",
	} {
		if got := purlOfFile(file); got != want {
			t.Errorf("%q: %q, want %q", file, got, want)
		}
	}
}

func TestPurlOfTarget(t *testing.T) {
	for _, tt := range []struct{ target, file, want string }{
		{"https://a/b/absl_py-2.0.0-py3-none-any.whl", "absl_py-2.0.0-py3-none-any.whl", "pkg:pypi/absl-py@2.0.0"},
		{"https://a/b/Foo.Bar-1.0+x_1-1-cp3-abi3-linux.whl", "Foo.Bar-1.0+x_1-1-cp3-abi3-linux.whl", "pkg:pypi/foo-bar@1.0%2Bx-1"},
		{"https://a/sha-1-0.10.0.crate", "sha-1-0.10.0.crate", "pkg:cargo/sha-1@0.10.0"},
		{"https://a/bytes-1.0.0-alpha.1.crate", "bytes-1.0.0-alpha.1.crate", "pkg:cargo/bytes@1.0.0-alpha.1"},
		{"https://a/bytes-1.0.crate", "bytes-1.0.crate", ""},
		{"https://a/lodash/-/lodash-4.17.21.tgz", "lodash-4.17.21.tgz", "pkg:npm/lodash@4.17.21"},
		{"https://a/@babel/core/-/core-7.0.0.tgz", "core-7.0.0.tgz", "pkg:npm/%40babel/core@7.0.0"},
		{"https://a/@babel%2fcore/-/core-7.0.0.tgz", "core-7.0.0.tgz", "pkg:npm/%40babel/core@7.0.0"},
		{"https://a/lodash/-/other-4.17.21.tgz", "other-4.17.21.tgz", ""},
		{"https://a/lodash/-/lodash-4.17.21.tgz", "other.tgz", ""},
		{"https://a/lodash-4.17.21.tgz", "lodash-4.17.21.tgz", ""},
		{"https://a/b/absl-py-2.0.0.tar.gz", "absl-py-2.0.0.tar.gz", ""},
		{"://", "x.tgz", ""},
	} {
		if got := purlOfTarget(tt.target, tt.file); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.target, got, tt.want)
		}
	}
}

func TestPurlOfPackage(t *testing.T) {
	for _, tt := range []struct{ ecosystem, name, version, file, want string }{
		{"npm", "lodash", "4.17.21", "lodash-4.17.21.tgz", "pkg:npm/lodash@4.17.21"},
		{"npm", "@babel/core", "7.0.0", "babel-core-7.0.0.tgz", "pkg:npm/%40babel/core@7.0.0"},
		{"pypi", "Foo_Bar", "1.0", "x.whl", "pkg:pypi/foo-bar@1.0"},
		{"cratesio", "bytes", "1.0.0", "bytes-1.0.0.crate", "pkg:cargo/bytes@1.0.0"},
		{"rubygems", "rake", "13.0", "rake-13.0.gem", "pkg:gem/rake@13.0"},
		{"maven", "org.a:b", "1", "b-1.jar", "pkg:maven/org.a/b@1"},
		{"maven", "org.a:b", "1", "b-1-sources.jar", ""},
		{"maven", "b", "1", "b-1.jar", ""},
		{"debian", "main/xz-utils", "1:5.2.4-1+b1", "liblzma5_5.2.4-1+b1_amd64.deb", "pkg:deb/debian/liblzma5@1:5.2.4-1%2Bb1?arch=amd64"},
		{"debian", "main/xz-utils", "5.2.4", "xz.dsc", ""},
		{"oci", "x", "1", "x", ""},
		{"npm", "", "1", "x", ""},
		{"npm", "x", "", "x", ""},
	} {
		if got := purlOfPackage(tt.ecosystem, tt.name, tt.version, tt.file); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.ecosystem, tt.name, got, tt.want)
		}
	}
}
