package gate

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// world is a ledger, three operators, a policy that wants two of them, a gate's
// key and a registry.
type world struct {
	dir      string // of policy, keys and files
	ledger   string // URL
	registry string // HOST:PORT
}

var operators = []string{"alice", "bob", "carol"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	ledger := e2etest.Start(t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", filepath.Join(w.dir, "ledger"), "-http", "127.0.0.1:0", "-grpc", "127.0.0.1:0"))
	var ready struct{ VKey, HTTP string }
	ledger.Ready(t, &ready)
	w.ledger = ready.HTTP
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	w.registry = strings.TrimPrefix(server.URL, "http://")

	policy := fmt.Sprintf("log %s\nquorum none\n", ready.VKey)
	for _, o := range operators {
		fingerprint := w.cairn(t, "keygen", "-o", w.file(o+".key"))
		w.cairn(t, "enrol", "--key", w.file(o+".key"), "--operator", "https://"+o+".example")
		policy += fmt.Sprintf("rebuilder %s %s operator=https://%s.example\n", o, fingerprint, o)
	}
	policy += "rebuild-group two 2 " + strings.Join(operators, " ") + "\nrebuild-quorum two\n"
	if err := os.WriteFile(w.file("policy"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cairn(t, "gate", "keygen", w.file("gate.key"))
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "cairn"), args...)
	cmd.Env = append(os.Environ(), "CAIRN_LEDGER="+w.ledger, "CAIRN_POLICY="+w.file("policy"), "XDG_STATE_HOME="+w.file("state"))
	if _, err := os.Stat(w.file("policy")); err != nil {
		cmd.Env = append(cmd.Env, "CAIRN_POLICY=")
	}
	return cmd
}

// cairn runs cairn, wants exit code 0, and returns what it answered.
func (w *world) cairn(t *testing.T, args ...string) string {
	t.Helper()
	stdout, code := w.cairnExit(t, args...)
	if code != 0 {
		t.Fatalf("cairn %s: exit code %d", strings.Join(args, " "), code)
	}
	return strings.TrimSpace(stdout)
}

func (w *world) cairnExit(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	code, stdout, stderr := e2etest.Run(t, w.command(args...))
	if stderr != "" {
		t.Logf("cairn %s: %s", strings.Join(args, " "), stderr)
	}
	return stdout, code
}

// rebuilt has operators log that they built an image from a pinned source.
func (w *world) rebuilt(t *testing.T, image string, by ...string) {
	t.Helper()
	repository, digest, _ := strings.Cut(image, "@")
	for _, o := range by {
		file := w.file(fmt.Sprintf("%s-%s.attestation", o, strings.TrimPrefix(digest, "sha256:")))
		w.cairn(t, "attest", "build", "--key", w.file(o+".key"), "--builder-id", "https://"+o+".example/ci", "-O", file,
			"--purl", "pkg:oci/"+repository[strings.LastIndexByte(repository, '/')+1:]+"@"+digest+"?repository_url="+strings.NewReplacer("/", "%2F").Replace(repository),
			"--material", "name=hello.go,digest=sha256:"+strings.Repeat("5e", 32)+",role=source")
		w.cairn(t, "submit", file)
	}
}

// newImage makes an image of one platform that says hello; the mark makes it
// another.
func newImage(t *testing.T, mark string) v1.Image {
	t.Helper()
	hello, err := os.ReadFile(filepath.Join(bin, "e2e/gate/testdata/hello"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"hello", hello}, {"mark", []byte(mark)}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	oci := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err := mutate.ConfigFile(oci, &v1.ConfigFile{OS: "linux", Architecture: goruntime.GOARCH, Config: v1.Config{Entrypoint: []string{"/hello"}}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// push puts an image into the registry as app/NAME:1, and returns its reference
// by digest.
func (w *world) push(t *testing.T, repository string, img v1.Image) string {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(w.tag(t, repository), img); err != nil {
		t.Fatal(err)
	}
	return w.registry + "/app/" + repository + "@" + digest.String()
}

func (w *world) tag(t *testing.T, repository string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(w.registry + "/app/" + repository + ":1")
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// pushIndex is push for an index: of this machine's platform, and another's.
func (w *world) pushIndex(t *testing.T, repository string, here, other v1.Image) (index, hereRef, otherRef string) {
	t.Helper()
	x := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: here, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: goruntime.GOARCH}}},
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
	if err := remote.WriteIndex(w.tag(t, repository), x); err != nil {
		t.Fatal(err)
	}
	refs := make([]string, 3)
	for i, of := range []interface{ Digest() (v1.Hash, error) }{x, here, other} {
		d, err := of.Digest()
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = w.registry + "/app/" + repository + "@" + d.String()
	}
	return refs[0], refs[1], refs[2]
}

// serveGate starts `cairn gate serve` and returns its URL.
func (w *world) serveGate(t *testing.T, more ...string) (*e2etest.Process, string) {
	t.Helper()
	p := e2etest.Start(t, w.command(append([]string{"gate", "serve", "--gate-key", w.file("gate.key"), "--scope", w.registry}, more...)...))
	var ready struct{ HTTP, Key string }
	p.Ready(t, &ready)
	return p, ready.HTTP
}

// export writes the configuration that has podman ask a lookaside store.
func (w *world) export(t *testing.T, more ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "exported")
	w.cairn(t, append([]string{"export", "oci-policy", dir, "--gate-key", w.file("gate.key.pub"), "--scope", w.registry}, more...)...)
	return dir
}

// signatures runs `cairn export signatures`, and returns its answer's images by
// their digests, and the exit code.
func (w *world) signatures(t *testing.T, dir string, images ...string) (map[string]bool, int) {
	t.Helper()
	stdout, code := w.cairnExit(t, append([]string{"export", "signatures", filepath.Join(dir, "lookaside"), "--gate-key", w.file("gate.key"), "-o", "json"}, images...)...)
	var answer struct {
		Images []struct {
			Image    string
			Accepted bool
		}
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatalf("%v:\n%s", err, stdout)
	}
	accepted := make(map[string]bool)
	for _, i := range answer.Images {
		accepted[i.Image] = i.Accepted
	}
	return accepted, code
}
