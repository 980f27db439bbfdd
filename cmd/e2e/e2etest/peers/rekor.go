package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// Rekor is a running Rekor v1 log, which keeps the payloads of intoto entries.
type Rekor struct {
	URL       string
	PublicKey string // PEM file: it is known before the server starts

	home string // of its command line
}

// StartRekor starts rekor-server on a new tree. Its search index is in db.
func StartRekor(t testing.TB, tr *Trillian, db *MariaDB) *Rekor {
	t.Helper()
	dir := t.TempDir()
	r := &Rekor{PublicKey: filepath.Join(dir, "rekor.pub"), home: filepath.Join(dir, "home")}
	private := filepath.Join(dir, "rekor.key")
	writeKey(t, private, r.PublicKey)
	payloads := filepath.Join(dir, "attestations")
	for _, d := range []string{payloads, r.home} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	addr := e2etest.FreeAddr(t)
	host, port := hostPort(t, addr)
	trillianHost, trillianPort := hostPort(t, tr.Addr)
	cmd := exec.Command(e2etest.Tool(t, "bin/rekor-server"), "serve",
		"--rekor_server.address="+host, "--port="+port, "--rekor_server.hostname=rekor.test", "--rekor_server.signer="+private,
		"--trillian_log_server.address="+trillianHost, "--trillian_log_server.port="+trillianPort,
		"--trillian_log_server.tlog_id="+tr.CreateTree(t),
		"--search_index.storage_provider=mysql", "--search_index.mysql.dsn="+db.Create(t, "rekor", ""),
		"--enable_attestation_storage", "--attestation_storage_bucket=file://"+payloads)
	cmd.Env = append(os.Environ(), "HOME="+r.home)
	r.URL = "http://" + addr
	e2etest.StartAt(t, "tcp", addr, cmd).Poll(t, func(ctx context.Context) error {
		return ping(ctx, r.URL+"/api/v1/log")
	})
	return r
}

func ping(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with %s", url, resp.Status)
	}
	return nil
}

func writeKey(t testing.TB, private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		private: {Type: "PRIVATE KEY", Bytes: pkcs8},
		public:  {Type: "PUBLIC KEY", Bytes: pkix},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// CLI runs rekor-cli, which must succeed, and returns what it wrote.
func (r *Rekor) CLI(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(e2etest.Tool(t, "bin/rekor-cli"), append(args, "--rekor_server="+r.URL, "--format=json")...)
	cmd.Env = append(os.Environ(), "HOME="+r.home)
	return run(t, cmd)
}
