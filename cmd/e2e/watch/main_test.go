// Package watch checks what an operator watches a ledger and its witnesses with: the
// traces, ids of requests and metrics of the real daemons, and the alert rules,
// dashboard and systemd units of deployments/, which must speak of what there is.
package watch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
)

// bin is the directory with the binaries that TestMain built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn-ledger", "cairn-witness", "cairn-builder")
	}))
}

// deployments is where the files are that are checked.
const deployments = "../../../deployments"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// readyLine is what a daemon prints once it takes requests.
type readyLine struct {
	VKey string `json:"vkey"`
	HTTP string `json:"http"`
	GRPC string `json:"grpc"`
}

// daemon is a running daemon.
type daemon struct {
	*e2etest.Process
	readyLine
}

func start(t *testing.T, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{Process: e2etest.Start(t, cmd)}
	d.Ready(t, &d.readyLine)
	return d
}

// world is a ledger whose checkpoints a witness must cosign.
type world struct {
	ledger, witness *daemon
	dir             string
	author          *attest.Signer
	submitted       int
}

// newWorld starts a ledger from a configuration with some more lines, and a witness
// with more of an environment.
func newWorld(t *testing.T, lines string, env ...string) *world {
	t.Helper()
	return newWorldOf(t, func(command string, args ...string) *exec.Cmd {
		return exec.Command(filepath.Join(bin, command), args...)
	}, lines, env...)
}

// newWorldOf is newWorld of daemons that run as commands.
func newWorldOf(t *testing.T, command func(name string, args ...string) *exec.Cmd, lines string, env ...string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	dir := filepath.Join(w.dir, "ledger")
	first := start(t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", dir))
	first.Stop(t)
	witness := command("cairn-witness", "-dev", filepath.Join(w.dir, "witness"),
		"-name", "w.example", "-log", first.VKey, "-debug", "127.0.0.1:0")
	witness.Env = append(os.Environ(), env...)
	w.witness = start(t, witness)
	write(t, filepath.Join(dir, "policy"), fmt.Sprintf("log %s\nwitness w %s %s\nquorum w\n", first.VKey, w.witness.VKey, w.witness.HTTP))
	write(t, filepath.Join(dir, "config"), strings.ReplaceAll(`key: DIR/ledger.key
state: DIR/signed
log: DIR/log
blobs: DIR/blobs.db
index: DIR/index.db
policy: DIR/policy
http: 127.0.0.1:0
grpc: 127.0.0.1:0
refreshInterval: 0s
`, "DIR", dir)+lines)
	w.ledger = start(t, command("cairn-ledger", "-config", filepath.Join(dir, "config")))
	var err error
	if w.author, _, err = attest.GenerateEd25519(); err != nil {
		t.Fatal(err)
	}
	enrolment, err := attest.Enrol(w.author, "https://operator.example", "")
	if err != nil {
		t.Fatal(err)
	}
	w.post(t, enrolment, nil, http.StatusCreated)
	return w
}

// subject is the name in an attestation.
const subject = "what-is-attested"

// attestation returns one about something new.
func (w *world) attestation(t *testing.T) []byte {
	t.Helper()
	w.submitted++
	sum := sha256.Sum256(fmt.Append(nil, w.submitted))
	raw, err := w.author.SignPayload(attest.TypeStatement, fmt.Appendf(nil,
		`{"_type":%q,"subject":[{"name":"%s-%d","digest":{"sha256":%q}}],"predicateType":"https://example.com/test/v1","predicate":{}}`,
		attest.StatementV1, subject, w.submitted, hex.EncodeToString(sum[:])))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// post submits bytes, and returns the answer.
func (w *world) post(t *testing.T, raw []byte, header http.Header, want int) (http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.ledger.HTTP+"/v1/attestations", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	return do(t, req, want)
}

func do(t *testing.T, req *http.Request, want int) (http.Header, []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d: %v\n%s", req.Method, req.URL, resp.Status, want, err, body)
	}
	return resp.Header, body
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, body := do(t, req, http.StatusOK)
	return string(body)
}

// reasonOf returns the reason of a refusal, and the id of the request in it.
func reasonOf(t *testing.T, body []byte) (reason, id string) {
	t.Helper()
	var st struct {
		Details []struct {
			Reason   string
			Metadata map[string]string
		}
	}
	if err := json.Unmarshal(body, &st); err != nil || len(st.Details) == 0 {
		t.Fatalf("no reason in %s: %v", body, err)
	}
	return st.Details[0].Reason, st.Details[0].Metadata["requestId"]
}
