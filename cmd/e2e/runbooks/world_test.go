package runbooks

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// entries is how many a log begins with: a full bundle, and some.
const entries = 260

// world is an installation, and what was submitted to it.
type world struct {
	t     *testing.T
	dir   string            // of the test's own files
	env   map[string]string // the variables of the document
	data  string            // the directory that is audited
	start func()            // starts all processes that are not running
	stop  func()            // stops all that are, and wants exit code 0

	asked     chan request
	signer    *attest.Signer
	submitted int
	proofs    []string // attestations that have a proof beside them
}

// request is one of a script's, for the test to do something.
type request struct {
	what string
	done chan struct{}
}

// newWorld returns a world without an installation, whose scripts' requests are heard.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), asked: make(chan request)}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		q := request{r.URL.Path, make(chan struct{})}
		select {
		case w.asked <- q:
			<-q.done
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	w.env = map[string]string{
		"PATH": bin + ":" + os.Getenv("PATH"), "HOME": w.dir, "XDG_STATE_HOME": w.path("state"), "LC_ALL": "C.UTF-8",
		"BACKUP": w.path("backup"),
		"STOP":   "curl -fsS -X POST " + server.URL + "/stop", "START": "curl -fsS -X POST " + server.URL + "/start",
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir = w.dir
	for k, v := range w.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// run runs the commands of a section, which must succeed.
func (w *world) run(title string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), e2etest.Patience)
	defer cancel()
	var out strings.Builder
	cmd := w.command("bash", "-euo", "pipefail", "-xc", script(w.t, title))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case q := <-w.asked:
			map[string]func(){"/stop": w.stop, "/start": w.start}[q.what]()
			close(q.done)
		case err := <-ended:
			if err != nil {
				w.t.Fatalf("%s: %v\n%s", title, err, &out)
			}
			return
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			w.t.Fatalf("%s does not end:\n%s", title, &out)
		}
	}
}

// cairn runs the user's command line.
func (w *world) cairn(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	return e2etest.Run(w.t, w.command(filepath.Join(bin, "cairn"), append(args, "--policy", w.env["POLICY"])...))
}

func (w *world) mustCairn(args ...string) {
	w.t.Helper()
	if code, out, errs := w.cairn(args...); code != 0 {
		w.t.Fatalf("cairn %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
}

// fill submits as many attestations as a log begins with, and keeps the proofs of
// some.
func (w *world) fill() {
	w.t.Helper()
	var err error
	if w.signer, _, err = attest.GenerateEd25519(); err != nil {
		w.t.Fatal(err)
	}
	enrolment, err := attest.Enrol(w.signer, "https://alice.example", "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.prove("enrolment", enrolment)
	w.submit(entries)
	w.prove("first", w.attestation())
}

// attestation returns one that was never submitted.
func (w *world) attestation() []byte {
	w.t.Helper()
	w.submitted++
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]int{"n": w.submitted}, attest.ResourceDescriptor{
		Name: "artifact", Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, w.submitted)))}})
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := w.signer.Sign(st)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// submit submits new attestations, and waits until they are published.
func (w *world) submit(n int) {
	w.t.Helper()
	if err := w.begin(n, 64).Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// begin submits new attestations, some at a time, until Wait returns.
func (w *world) begin(n, atOnce int) *errgroup.Group {
	w.t.Helper()
	c, err := client.New(w.env["LEDGER"], client.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	list := make(chan []byte, n)
	for range n {
		list <- w.attestation()
	}
	close(list)
	var g errgroup.Group
	for range atOnce {
		g.Go(func() error {
			for raw := range list {
				if _, err := c.SubmitAttestation(w.t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw, Wait: "published"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return &g
}

// runUnderLoad runs the commands of a section while the log grows.
func (w *world) runUnderLoad(title string) {
	w.t.Helper()
	load := w.begin(200, 4)
	w.run(title)
	if err := load.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// prove submits an attestation, and keeps its proof.
func (w *world) prove(name string, raw []byte) {
	w.t.Helper()
	file := w.path(fmt.Sprintf("%s-%d", name, len(w.proofs)))
	w.write(file, string(raw))
	w.mustCairn("submit", file, "--proof", file+".tlog-proof", "--ledger", w.env["LEDGER"])
	w.proofs = append(w.proofs, file)
}

// verifies wants every proof to be good, offline.
func (w *world) verifies() {
	w.t.Helper()
	for _, file := range w.proofs {
		w.mustCairn("verify", file, "--proof", file+".tlog-proof")
	}
}

// lives wants the log to be the one it was, whole, and to grow. What the command line
// remembers of it must agree.
func (w *world) lives() {
	w.t.Helper()
	if len(w.proofs) > 2 {
		w.proofs = w.proofs[:2] // the oldest
	}
	w.prove("after", w.attestation())
	w.verifies()
	w.audited()
}

// audited wants a flawless log with all that was submitted. The archive of checkpoints
// in a bucket is a moment behind.
func (w *world) audited() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), e2etest.Patience)
	defer cancel()
	for {
		code, out, errs := w.cairn("audit", w.data, "-o", "json")
		var report struct {
			Clean      bool
			Found      map[string]int
			Checkpoint struct{ Size int }
		}
		err := json.Unmarshal([]byte(out), &report)
		if err == nil && code == 0 && report.Clean {
			if want := w.submitted + 1; report.Checkpoint.Size != want {
				w.t.Errorf("the log has %d entries, want %d", report.Checkpoint.Size, want)
			}
			return
		}
		if err != nil || code != 3 || len(report.Found) != 1 || ctx.Err() != nil {
			w.t.Fatalf("auditing: exit code %d, %v\n%s%s", code, err, out, errs)
		}
	}
}

// refused wants cairn-ledger to end with an exit code, and to say something.
func (w *world) refused(want int, says string, args ...string) {
	w.t.Helper()
	code, stdout, stderr := e2etest.Run(w.t, w.command(filepath.Join(bin, "cairn-ledger"), append(args, "-config", w.env["CONFIG"])...))
	if code != want || !strings.Contains(stderr, says) {
		w.t.Fatalf("cairn-ledger %s: exit code %d, want %d, and that it says %q:\n%s%s", strings.Join(args, " "), code, want, says, stdout, stderr)
	}
}

// damage overwrites a file.
func (w *world) damage(path string) {
	w.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		w.t.Fatalf("%s: %d bytes, %v", path, len(text), err)
	}
	text[len(text)/2] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, text, 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// remove empties a directory.
func (w *world) remove(dir string) {
	w.t.Helper()
	list, err := os.ReadDir(dir)
	for _, f := range list {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, f.Name())))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
