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

// copies has skopeo copy an image, and wants it to be taken or refused for lack of
// a signature.
func (r *runtime) copies(t *testing.T, what, image string, want bool, more ...string) {
	t.Helper()
	args := append([]string{"--policy", r.policy, "copy", "--src-tls-verify=false"}, more...)
	_, stderr, err := r.run(t, "skopeo", append(args, "docker://"+image, "dir:"+t.TempDir())...)
	if (err == nil) != want || !want && !strings.Contains(stderr, unsigned) {
		t.Errorf("%s: %s: %v\n%s", what, image, err, stderr)
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
	r.copies(t, "before anything is signed", accepted, false)
	signed, code := w.signatures(t, exported, accepted, w.registry+"/app/refused:1")
	if diff := cmp.Diff(map[string]bool{accepted: true, refused: false}, signed); diff != "" || code != 3 {
		t.Errorf("exit code %d; accepted (-want +got):\n%s", code, diff)
	}
	r.copies(t, "two of three operators", accepted, true)
	r.copies(t, "by tag", w.registry+"/app/accepted:1", true)
	r.copies(t, "one of three operators", refused, false)

	// The accepted image under another's name has no signature, and one that is
	// moved there is for another repository.
	stray := w.push(t, "stray", newImage(t, "a"))
	r.copies(t, "under another name", stray, false)
	app, suffix := filepath.Join(exported, "lookaside", w.registry, "app"), "@sha256="+accepted[strings.LastIndexByte(accepted, ':')+1:]
	if err := os.CopyFS(filepath.Join(app, "stray"+suffix), os.DirFS(filepath.Join(app, "accepted"+suffix))); err != nil {
		t.Fatal(err)
	}
	_, stderr, err := r.run(t, "skopeo", "--policy", r.policy, "copy", "--src-tls-verify=false", "docker://"+stray, "dir:"+t.TempDir())
	if err == nil || !strings.Contains(stderr, "is not accepted") {
		t.Errorf("with another's signature: %v\n%s", err, stderr)
	}

	w.dissents(t, accepted, "carol")
	if signed, code = w.signatures(t, exported, accepted); code != 1 || signed[accepted] {
		t.Errorf("exit code %d, accepted %v", code, signed)
	}
	r.copies(t, "after a dissent", accepted, false)
}

// TestSkopeoTakesIndexes: each manifest of an index has a signature of its own.
func TestSkopeoTakesIndexes(t *testing.T) {
	need(t, "skopeo")
	w := newWorld(t)
	exported := w.export(t)
	r := newRuntime(t, exported)
	index, here, other := w.pushIndex(t, "index", newImage(t, "here"), newImage(t, "other"))
	w.rebuilt(t, here, "alice", "bob")
	r.copies(t, "before anything is signed", index, false)
	signed, code := w.signatures(t, exported, index)
	if diff := cmp.Diff(map[string]bool{index: false, here: true, other: false}, signed); diff != "" || code != 3 {
		t.Errorf("exit code %d; accepted (-want +got):\n%s", code, diff)
	}
	if n := countFiles(t, filepath.Join(exported, "lookaside")); n != 1 {
		t.Errorf("%d signatures, want 1", n)
	}
	r.copies(t, "this platform's manifest", index, true)
	r.copies(t, "all manifests, one of them unsigned", index, false, "--all")
	w.rebuilt(t, other, "carol", "bob")
	if signed, code = w.signatures(t, exported, index); code != 0 || !signed[index] {
		t.Errorf("exit code %d, accepted %v", code, signed)
	}
	r.copies(t, "all manifests", index, true, "--all", "--remove-signatures")
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
