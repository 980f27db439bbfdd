package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn/internal/oci"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
)

const hash = "9f2c5a1b0c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7"

func TestParseName(t *testing.T) {
	tests := []struct {
		in   string
		want name
	}{
		{"7", name{kind: byIndex, index: 7}},
		{"0", name{kind: byIndex}},
		{"log.example/2026#184223", name{kind: byIndex, origin: "log.example/2026", index: 184223}},
		{"a#b#3", name{kind: byIndex, origin: "a#b", index: 3}},
		{"sha256:" + hash, name{kind: byDigest, digest: "sha256:" + hash}},
		{"sha512:" + hash + hash, name{kind: byDigest, digest: "sha512:" + hash + hash}},
		{"openpgp:" + hash[:40], name{kind: byFingerprint, key: leaf.Fingerprint("openpgp:" + hash[:40])}},
		{"pkg:deb/Debian/hello@1?b=2&a=1", name{kind: byPurl, purl: "pkg:deb/debian/hello@1?a=1&b=2"}},
		{"hello.deb", name{kind: byFile, path: "hello.deb"}},
		{"./7", name{kind: byFile, path: "./7"}},
		{"../sha256:x", name{kind: byFile, path: "../sha256:x"}},
		{"/a#3", name{kind: byFile, path: "/a#3"}},
		{"07", name{kind: byFile, path: "07"}},
		{"-7", name{kind: byFile, path: "-7"}},
		{"#7", name{kind: byFile, path: "#7"}},
		{"log.example#", name{kind: byFile, path: "log.example#"}},
		{"log.example#-1", name{kind: byFile, path: "log.example#-1"}},
		{"9223372036854775808", name{kind: byFile, path: "9223372036854775808"}},
		{hash, name{kind: byFile, path: hash}},
		{"oci:out/core-go", name{kind: byLayout, path: "out/core-go"}},
		{"registry.example/a/core-go:1@sha256:" + hash, name{
			kind: byReference, path: "registry.example/a/core-go:1@sha256:" + hash,
			image: oci.Reference{Repository: "registry.example/a/core-go", Tag: "1", Digest: "sha256:" + hash},
		}},
		{"a/core-go:1", name{kind: byFile, path: "a/core-go:1"}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := parseName(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(name{})); diff != "" {
				t.Errorf("name (-want +got):\n%s", diff)
			}
		})
	}
	for _, in := range []string{"", "sha256:", "sha256:" + strings.ToUpper(hash), "sha512:" + hash, "openpgp:" + hash[:39], "pkg:", "http://x/", "https://x/", "registry.example/a@sha256:1"} {
		if got, err := parseName(in); err == nil {
			t.Errorf("parseName(%q) = %+v, want an error", in, got)
		}
	}
}

func TestBareHashGetsAHint(t *testing.T) {
	_, err := readNamed(hash)
	if p := cmdline.Classify(err); p.Reason != cmdline.FileUnreadable || p.Hint != "to name a digest, write sha256:"+hash {
		t.Errorf("problem %+v", p)
	}
}

func TestReadNamed(t *testing.T) {
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, content string
		want          fileKind
	}{
		{"an artifact", "hello\n", artifactFile},
		{"nothing", "", artifactFile},
		{"a public key", signer.Public.PEM, publicKeyFile},
		{"an envelope", ` {"payloadType":"x","payload":"","signatures":[]}`, attestationFile},
		{"a Rekor entry", string(leaftest.HashedRekord(t, "alice", "hello")), attestationFile},
		{"a bad envelope", `{"payloadType":"","signatures":7}`, attestationFile},
		{"other JSON", `{"payloadType":"x"}`, artifactFile},
		{"a large artifact", strings.Repeat("x", attest.MaxEnvelope+5), artifactFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := readNamed(path)
			if err != nil {
				t.Fatal(err)
			}
			if f.kind != tt.want || f.sha256Digest() != leaf.SHA256([]byte(tt.content)) {
				t.Errorf("kind %d, digest %s, want kind %d, digest %s", f.kind, f.sha256Digest(), tt.want, leaf.SHA256([]byte(tt.content)))
			}
		})
	}
	if _, err := readNamed(t.TempDir()); cmdline.Classify(err).Reason != cmdline.FileUnreadable {
		t.Errorf("a directory: %v", err)
	}
}

func TestParseDescriptor(t *testing.T) {
	tests := []struct {
		in   string
		want attest.ResourceDescriptor
	}{
		{"sha256:" + hash, attest.ResourceDescriptor{Digest: map[string]string{"sha256": hash}}},
		{"name=a,digest=sha256:" + hash, attest.ResourceDescriptor{Name: "a", Digest: map[string]string{"sha256": hash}}},
		{"uri=https://x.example/a,b?c=d,e,digest=gitCommit:abc,digest=sha256:" + hash + ",role=source", attest.ResourceDescriptor{
			URI:    "https://x.example/a,b?c=d,e",
			Digest: map[string]string{"gitCommit": "abc", "sha256": hash}, Annotations: map[string]any{"role": "source"},
		}},
		{"uri=pkg:deb/Debian/Hello@1", attest.ResourceDescriptor{URI: "pkg:deb/debian/hello@1", Digest: map[string]string{}}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := parseDescriptor(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("descriptor (-want +got):\n%s", diff)
			}
		})
	}
	for _, in := range []string{
		"", "a", "name", "name=", "bogus=x", "name=a,name=b", "digest=sha256", "digest=sha256:", "digest=:x",
		"digest=sha256:xyz", "digest=sha256:" + hash + ",digest=sha256:" + hash, "role=friend", "uri=pkg:",
	} {
		if got, err := parseDescriptor(in); err == nil {
			t.Errorf("parseDescriptor(%q) = %+v, want an error", in, got)
		}
	}
}

func TestSetPurl(t *testing.T) {
	d := attest.ResourceDescriptor{Digest: map[string]string{"sha256": hash}}
	if err := setPurl(&d, "pkg:oci/a@sha256:"+hash); err != nil || d.URI != "pkg:oci/a@sha256:"+hash {
		t.Errorf("same digest: %v, %+v", err, d)
	}
	d = attest.ResourceDescriptor{}
	if err := setPurl(&d, "pkg:oci/a@sha256:"+hash); err != nil || d.Digest["sha256"] != hash {
		t.Errorf("digest of the purl: %v, %+v", err, d)
	}
	d = attest.ResourceDescriptor{Digest: map[string]string{"sha256": strings.Repeat("0", 64)}}
	if err := setPurl(&d, "pkg:oci/a@sha256:"+hash); err == nil {
		t.Error("a purl of another digest is taken")
	}
}

func TestCompare(t *testing.T) {
	a, b := map[string]string{"sha256": "1", "sha512": "2"}, map[string]string{"sha256": "1"}
	tests := []struct {
		name            string
		subject, output map[string]string
		want            leaf.Result
	}{
		{"equal", a, a, leaf.Identical},
		{"equal in what both have", a, b, leaf.Identical},
		{"another sha256", a, map[string]string{"sha256": "3", "sha512": "2"}, leaf.Different},
		{"another sha512", a, map[string]string{"sha256": "1", "sha512": "3"}, leaf.Different},
		{"nothing in common", b, map[string]string{"sha512": "2"}, ""},
		{"nothing", nil, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := compare(tt.subject, tt.output)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	files := map[string]string{
		"/proc/sys/kernel/osrelease": "6.12.1\n",
		"/proc/cpuinfo":              "processor\t: 0\nvendor_id\t: GenuineIntel\nvendor_id\t: Other\n",
	}
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	f := reproductionFlags{environment: []string{"os=debian", "engine=buildkit", "kernel="}}
	got, err := f.environmentOf(read)
	if err != nil {
		t.Fatal(err)
	}
	if got["os"] != "debian" || got["engine"] != "buildkit" || got["cpuVendor"] != "GenuineIntel" || got["arch"] == "" {
		t.Errorf("environment %v", got)
	}
	if _, ok := got["kernel"]; ok {
		t.Errorf("the kernel is stated in %v", got)
	}
	f = reproductionFlags{noEnvironment: true}
	if got, err := f.environmentOf(read); err != nil || got != nil {
		t.Errorf("--no-env: %v, %v", got, err)
	}
	f = reproductionFlags{environment: []string{"=x"}}
	if _, err := f.environmentOf(read); err == nil {
		t.Error("an environment without a name is taken")
	}
	delete(files, "/proc/sys/kernel/osrelease")
	delete(files, "/proc/cpuinfo")
	f = reproductionFlags{}
	if got, err := f.environmentOf(read); err != nil || len(got) != 2 {
		t.Errorf("elsewhere than on Linux: %v, %v", got, err)
	}
}

func TestProofFiles(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name  string
		s     submission
		files []string
		want  []string // nil for an error
	}{
		{"none", submission{}, []string{"a", "b"}, []string{"", ""}},
		{"one", submission{proof: dir + "/p"}, []string{"x/a"}, []string{dir + "/p"}},
		{"one into a directory", submission{proof: dir}, []string{"x/a"}, []string{dir + "/a.tlog-proof"}},
		{"several", submission{proof: dir + "/new/"}, []string{"x/a", "-"}, []string{dir + "/new/a.tlog-proof", dir + "/new/stdin.tlog-proof"}},
		{"several of one name", submission{proof: dir}, []string{"x/a", "y/a"}, nil},
		{"several into a file", submission{proof: os.Args[0]}, []string{"a", "b"}, nil},
		{"sequenced", submission{proof: dir, wait: "sequenced"}, []string{"a"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.s.proofFiles(tt.files)
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != (tt.want == nil) {
				t.Errorf("error %v, files (-want +got):\n%s", err, diff)
			}
		})
	}
}
