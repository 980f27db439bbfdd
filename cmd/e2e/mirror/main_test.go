// Package mirror kills the real cairn while it copies a ledger that grows, and
// wants what is left to be a mirror.
//
// What every test relies on: whether a directory is a mirror is judged by `cairn
// audit` and `cairn list`, and in the end by the files of the ledger itself.
package mirror

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// bin is where TestMain put the commands.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn", "cairn-ledger")
	}))
}

// world is a ledger that grows, and someone who mirrors it.
type world struct {
	dir    string
	client *client.Client
	signer *attest.Signer
	size   int64 // of the ledger
	killed int   // copies
}

// newWorld starts a ledger, with one key enrolled.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	var ledger struct{ VKey, HTTP string }
	e2etest.Start(t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", w.path("ledger"))).Ready(t, &ledger)
	policy := "log " + ledger.VKey + "\nquorum none\n"
	if err := os.WriteFile(w.path("policy"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.client, err = client.New(ledger.HTTP, client.Options{}); err != nil {
		t.Fatal(err)
	}
	if w.signer, _, err = attest.GenerateEd25519(); err != nil {
		t.Fatal(err)
	}
	raw, err := attest.Enrol(w.signer, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.SubmitAttestation(t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw}); err != nil {
		t.Fatal(err)
	}
	w.size = 1
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// grow has the ledger publish n more entries.
func (w *world) grow(t *testing.T, n int64) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(32)
	for i := w.size; i < w.size+n; i++ {
		g.Go(func() error {
			name := fmt.Sprint("artifact ", i)
			st, err := attest.NewStatement("https://example.org/test/v1", map[string]int64{"n": i},
				attest.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(name)))}})
			if err != nil {
				return err
			}
			raw, err := w.signer.Sign(st)
			if err != nil {
				return err
			}
			_, err = w.client.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	w.size += n
}

// command is cairn, with nothing of the environment that the tests run in, behind
// what is to run it.
func (w *world) command(before []string, args ...string) *exec.Cmd {
	args = append(append(before, filepath.Join(bin, "cairn")), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "XDG_STATE_HOME=" + w.path("state"), "LC_ALL=C.UTF-8",
		"CAIRN_POLICY=" + w.path("policy"),
	}
	return cmd
}

// run runs cairn and returns its exit code, -1 if it was killed, and what it
// wrote.
func (w *world) run(t *testing.T, before []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return e2etest.Run(t, w.command(before, args...))
}

// copy mirrors the ledger, and wants the mirror to be complete.
func (w *world) copy(t *testing.T, dir string) {
	t.Helper()
	if code, out, errs := w.run(t, nil, "log", "mirror", w.client.URL(), dir); code != 0 {
		t.Fatalf("cairn log mirror: exit code %d\n%s%s", code, out, errs)
	}
	if size := w.sizeOf(t, dir); size != w.size {
		t.Fatalf("the mirror has %d of %d entries", size, w.size)
	}
}

// sizeOf audits a mirror, which must be whole, and returns its size.
func (w *world) sizeOf(t *testing.T, dir string) int64 {
	t.Helper()
	code, out, errs := w.run(t, nil, "audit", dir, "-o", "json")
	var report struct {
		Clean      bool
		Checkpoint struct{ Size int64 }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || !report.Clean {
		t.Fatalf("the mirror is damaged: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	return report.Checkpoint.Size
}
