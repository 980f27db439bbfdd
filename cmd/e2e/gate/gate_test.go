package gate

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hello is what the images print.
const hello = "hello from an accepted image\n"

// unsigned is what containers/image says of an image without a signature.
const unsigned = "A signature was required, but no signature exists"

// TestPodmanRunsWhatThePolicyAccepts has the gate decide when podman asks: two
// operators of three are enough, and one is not.
func TestPodmanRunsWhatThePolicyAccepts(t *testing.T) {
	w := newWorld(t)
	gate, url := w.serveGate(t)
	p := newPodman(t, newRuntime(t, w.export(t, "--lookaside", url)))
	accepted, refused := w.push(t, "accepted", newImage(t, "a")), w.push(t, "refused", newImage(t, "b"))
	w.rebuilt(t, accepted, "alice", "carol")
	w.rebuilt(t, refused, "bob")
	p.probe(t, w.push(t, "probe", newImage(t, "probe")))

	wantRun := func(image string) {
		t.Helper()
		if stdout, stderr, err := p.runImage(t, p.policy, image); err != nil || stdout != hello {
			t.Errorf("%s: %v, %q\n%s", image, err, stdout, stderr)
		}
	}
	wantRefused := func(image string) {
		t.Helper()
		if stdout, stderr, err := p.runImage(t, p.policy, image); err == nil || stdout != "" || !strings.Contains(stderr, unsigned) {
			t.Errorf("%s: %v, %q\n%s", image, err, stdout, stderr)
		}
	}
	wantRun(accepted)
	wantRefused(refused)
	// By tag, what the tag names now is what counts.
	wantRefused(w.registry + "/app/refused:1")
	wantRun(w.registry + "/app/accepted:1")
	// The second operator makes it so.
	w.rebuilt(t, refused, "carol")
	wantRun(refused)
	// Of an index, podman asks for the signature of the manifest that it runs.
	here, other := newImage(t, "here"), newImage(t, "other")
	index, hereRef, _ := w.pushIndex(t, "index", here, other)
	wantRefused(index)
	w.rebuilt(t, hereRef, "alice", "bob")
	wantRun(index)
	// Another registry is not in the policy's scopes. The image is one that is not
	// in podman's storage: podman asks no policy about those that are.
	elsewhere := w.push(t, "elsewhere", newImage(t, "elsewhere"))
	w.rebuilt(t, elsewhere, "alice", "bob")
	if _, stderr, err := p.runImage(t, p.policy, strings.Replace(elsewhere, "127.0.0.1", "localhost", 1)); err == nil || !strings.Contains(stderr, "rejected by policy") {
		t.Errorf("outside the scopes: %v\n%s", err, stderr)
	}
	gate.Stop(t)
	if _, stderr, err := p.runImage(t, p.policy, w.push(t, "later", newImage(t, "later"))); err == nil || strings.Contains(stderr, unsigned) {
		t.Errorf("without the gate: %v\n%s", err, stderr)
	}
}

// TestSkopeoTakesExportedSignatures has the signatures in files.
func TestSkopeoTakesExportedSignatures(t *testing.T) {
	need(t, "skopeo")
	w := newWorld(t)
	exported := w.export(t)
	r := newRuntime(t, exported)
	accepted, refused := w.push(t, "accepted", newImage(t, "a")), w.push(t, "refused", newImage(t, "b"))
	w.rebuilt(t, accepted, "alice", "bob")
	w.rebuilt(t, refused, "bob")
	here, other := newImage(t, "here"), newImage(t, "other")
	index, hereRef, otherRef := w.pushIndex(t, "index", here, other)
	w.rebuilt(t, hereRef, "alice", "bob")

	copied := func(image string, more ...string) (bool, string) {
		t.Helper()
		args := append([]string{"--policy", r.policy, "copy", "--src-tls-verify=false"}, more...)
		_, stderr, err := r.run(t, "skopeo", append(args, "docker://"+image, "dir:"+t.TempDir())...)
		return err == nil, stderr
	}
	for _, image := range []string{accepted, refused, index} {
		if ok, stderr := copied(image); ok || !strings.Contains(stderr, unsigned) {
			t.Errorf("before anything is signed: %s: %v\n%s", image, ok, stderr)
		}
	}
	signed, code := w.signatures(t, exported, accepted, w.registry+"/app/refused:1", index)
	want := map[string]bool{accepted: true, refused: false, index: false, hereRef: true, otherRef: false}
	if diff := cmp.Diff(want, signed); diff != "" || code != 3 {
		t.Errorf("exit code %d; accepted (-want +got):\n%s", code, diff)
	}
	if n := countFiles(t, filepath.Join(exported, "lookaside")); n != 2 {
		t.Errorf("%d signatures, want 2", n)
	}
	for image, want := range map[string]bool{accepted: true, w.registry + "/app/accepted:1": true, refused: false, index: true} {
		if ok, stderr := copied(image); ok != want || !ok && !strings.Contains(stderr, unsigned) {
			t.Errorf("%s: %v\n%s", image, ok, stderr)
		}
	}
	if ok, stderr := copied(index, "--all"); ok || !strings.Contains(stderr, unsigned) {
		t.Errorf("all manifests of an index, one of them unsigned: %v\n%s", ok, stderr)
	}
	w.rebuilt(t, otherRef, "carol", "bob")
	if signed, code = w.signatures(t, exported, index); code != 0 || !signed[index] {
		t.Errorf("exit code %d, accepted %v", code, signed)
	}
	if ok, stderr := copied(index, "--all", "--remove-signatures"); !ok {
		t.Errorf("all manifests of an index:\n%s", stderr)
	}
	// Another's image under the name of the accepted one has another digest, and
	// the accepted one under another's name no signature.
	stray := w.push(t, "stray", newImage(t, "a"))
	if ok, stderr := copied(stray); ok || !strings.Contains(stderr, unsigned) {
		t.Errorf("under another name: %v\n%s", ok, stderr)
	}
	// A signature that is moved there is for another repository.
	from, to := filepath.Join(exported, "lookaside", w.registry, "app", "accepted"), filepath.Join(exported, "lookaside", w.registry, "app", "stray")
	suffix := "@sha256=" + accepted[strings.LastIndexByte(accepted, ':')+1:]
	if err := os.CopyFS(to+suffix, os.DirFS(from+suffix)); err != nil {
		t.Fatal(err)
	}
	if ok, stderr := copied(stray); ok || !strings.Contains(stderr, "is not accepted") {
		t.Errorf("with another's signature: %v\n%s", ok, stderr)
	}
	// Dissent takes the signature away again.
	w.dissents(t, accepted, "carol")
	if signed, code = w.signatures(t, exported, accepted); code != 1 || signed[accepted] {
		t.Errorf("exit code %d, accepted %v", code, signed)
	}
	if ok, stderr := copied(accepted); ok || !strings.Contains(stderr, unsigned) {
		t.Errorf("after a dissent: %v\n%s", ok, stderr)
	}
	digestsOnly(t, w, index)
}

// digestsOnly has a configuration that takes nothing by tag.
func digestsOnly(t *testing.T, w *world, image string) {
	t.Helper()
	exported := w.export(t, "--digests-only")
	r := newRuntime(t, exported)
	w.signatures(t, exported, image)
	for from, want := range map[string]bool{image: true, w.registry + "/app/index:1": false} {
		_, stderr, err := r.run(t, "skopeo", "--policy", r.policy, "copy", "--src-tls-verify=false", "docker://"+from, "dir:"+t.TempDir())
		if (err == nil) != want || !want && !strings.Contains(stderr, "is not accepted") {
			t.Errorf("%s: %v\n%s", from, err, stderr)
		}
	}
}

// dissents has an operator log that a rebuild differs.
func (w *world) dissents(t *testing.T, image, operator string) {
	t.Helper()
	_, digest, _ := strings.Cut(image, "@")
	file := w.file(operator + "-dissent")
	w.cairn(t, "attest", "reproduction", "--of", digest, "--result", "DIFFERENT", "--output", "sha256:"+strings.Repeat("ab", 32),
		"--rebuilder-id", "https://"+operator+".example/ci", "--key", w.file(operator+".key"), "-O", file)
	w.cairn(t, "submit", file)
}

func countFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGateFailsClosed stops the ledger under the gate.
func TestGateFailsClosed(t *testing.T) {
	w := newWorld(t)
	image := w.push(t, "accepted", newImage(t, "a"))
	w.rebuilt(t, image, "alice", "bob")
	ledger := w.ledger
	w.ledger = "http://127.0.0.1:1" // nobody is there
	gate, url := w.serveGate(t)
	w.ledger = ledger
	repository, digest, _ := strings.Cut(image, "@sha256:")
	for path, want := range map[string]int{
		"/" + repository + "@sha256=" + digest + "/signature-1": http.StatusServiceUnavailable,
		"/healthz": http.StatusOK,
	} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	gate.Stop(t)
}
