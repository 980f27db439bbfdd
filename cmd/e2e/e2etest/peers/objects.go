package peers

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// S3 is a Versity gateway, an S3 server that keeps objects as files. It can be
// killed and started again.
type S3 struct {
	Addr string
	// Env is what a process needs to write to it. The test has it set.
	Env []string

	*e2etest.Process
	dir string
}

// StartS3 starts a server without buckets.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	s := &S3{Addr: e2etest.FreeAddr(t), dir: t.TempDir(), Env: []string{"AWS_ACCESS_KEY_ID=cairn", "AWS_SECRET_ACCESS_KEY=no-secret-at-all"}}
	t.Setenv("AWS_ACCESS_KEY_ID", "cairn")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "no-secret-at-all")
	// What the user who runs the test has for AWS is of no concern.
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	s.Start(t)
	return s
}

// Start starts the server, again after it was killed.
func (s *S3) Start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(e2etest.Tool(t, "bin/versitygw"), "--port", s.Addr, "--quiet", "posix", s.dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=cairn", "ROOT_SECRET_KEY=no-secret-at-all")
	s.Process = e2etest.StartAt(t, "tcp", s.Addr, cmd)
}

// Bucket makes a bucket and returns its URL, and the directory that holds its
// objects as files.
func (s *S3) Bucket(t testing.TB, name string) (bucketURL, dir string) {
	t.Helper()
	dir = filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return S3URL(name, s.Addr), dir
}

// S3URL returns the URL of a bucket of the S3 server at an address.
func S3URL(name, addr string) string {
	q := url.Values{"region": {"us-east-1"}, "endpoint": {"http://" + addr}, "use_path_style": {"true"}}
	return (&url.URL{Scheme: "s3", Host: name, RawQuery: q.Encode()}).String()
}

// GCS is a server with the API of Google Cloud Storage that keeps objects in
// memory.
type GCS struct{ url string }

// StartGCS starts a server without buckets, and tells the process of it.
func StartGCS(t testing.TB) *GCS {
	t.Helper()
	addr := e2etest.FreeAddr(t)
	host, port := hostPort(t, addr)
	g := &GCS{"http://" + addr}
	e2etest.StartAt(t, "tcp", addr, exec.Command(e2etest.Tool(t, "bin/fake-gcs-server"), "-backend=memory", "-scheme=http",
		"-host="+host, "-port="+port, "-external-url="+g.url, "-public-host="+addr, "-log-level=error"))
	t.Setenv("STORAGE_EMULATOR_HOST", addr)
	return g
}

// Bucket makes a bucket and returns its URL.
func (g *GCS) Bucket(t testing.TB, name string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, g.url+"/storage/v1/b",
		bytes.NewReader([]byte(`{"name":"`+name+`"}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("making bucket %s: %s", name, resp.Status)
	}
	return "gs://" + name
}
