package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// person has a key, and may be a rebuilder of the policy.
type person struct {
	name, operator string
	environment    map[string]string // of their builds
	signer         *attest.Signer
}

func newPerson(t testing.TB, name, operator, environment string) *person {
	t.Helper()
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	p := &person{name: name, operator: operator, environment: map[string]string{"os": "linux", "arch": "x86_64"}, signer: s}
	for _, f := range strings.Fields(environment) {
		k, v, _ := strings.Cut(f, "=")
		p.environment[k] = v
	}
	return p
}

func (p *person) key() leaf.Fingerprint { return p.signer.Public.Fingerprint }

// world is a ledger whose checkpoints two witnesses must cosign, and which tells
// verdicts by a policy.
type world struct {
	dir    string
	url    string
	vkey   string
	policy string // the policy's text
	client *client.Client
	ledger *e2etest.Process
}

// newWorld starts a ledger and its witnesses. more are the policy's lines about
// rebuilders.
func newWorld(t testing.TB, more string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	start := func(args ...string) (p *e2etest.Process, ready struct{ VKey, HTTP string }) {
		p = e2etest.Start(t, exec.Command(filepath.Join(bin, args[0]), args[1:]...))
		p.Ready(t, &ready)
		return p, ready
	}
	// Once alone, so that the policy and the witnesses can name its key.
	first, ledger := start("cairn-ledger", "-dev", w.path("ledger"))
	first.Stop(t)
	w.vkey = ledger.VKey
	w.policy = "log " + w.vkey + "\n"
	for _, name := range []string{"w1", "w2"} {
		_, witness := start("cairn-witness", "-dev", w.path(name), "-name", name+".example", "-log", w.vkey)
		w.policy += fmt.Sprintf("witness %s %s %s\n", name, witness.VKey, witness.HTTP)
	}
	w.policy += "group both all w1 w2\nquorum both\n"
	base := w.write(t, "base.policy", w.policy)
	w.policy += more
	verdicts := w.write(t, "verdicts.policy", w.policy)
	w.ledger, ledger = start("cairn-ledger", "-dev", w.path("ledger"), "-policy", base, "-verdicts", verdicts)
	w.url = ledger.HTTP
	w.client = w.newClient(t, client.Options{})
	return w
}

func (w *world) newClient(t testing.TB, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.New(w.url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return w.path(name)
}

// submit logs attestations, in no order, and returns their entries by their order.
func (w *world) submit(t testing.TB, raw ...[]byte) []int64 {
	t.Helper()
	entries := make([]int64, len(raw))
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(32)
	for i := range raw {
		g.Go(func() error {
			resp, err := w.client.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw[i]})
			if err != nil {
				return fmt.Errorf("submitting %.200s: %w", raw[i], err)
			}
			entries[i] = resp.GetIndex()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return entries
}

// enrol logs people's keys.
func (w *world) enrol(t testing.TB, people ...*person) {
	t.Helper()
	var raw [][]byte
	for _, p := range people {
		e, err := attest.Enrol(p.signer, p.operator, "https://"+p.name+".example/about")
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, e)
	}
	w.submit(t, raw...)
}

// get returns a page's status and body.
func (w *world) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// twin reads the struct of a page from its twin.
func (w *world) twin(ctx context.Context, path string, view any) error {
	status, body, err := w.get(ctx, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: status %d\n%.2000s", path, status, body)
	}
	return json.Unmarshal(body, &struct{ View any }{view})
}

// settled waits until a twin's struct says what follows from the log.
func (w *world) settled(t testing.TB, path string, ready func(view map[string]any) bool) {
	t.Helper()
	w.ledger.Poll(t, func(ctx context.Context) error {
		var view map[string]any
		if err := w.twin(ctx, path, &view); err != nil {
			return err
		}
		if !ready(view) {
			return fmt.Errorf("%s has not settled: %v", path, view)
		}
		return nil
	})
}
