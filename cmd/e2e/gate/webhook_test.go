package gate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// TestWebhookAdmitsWhatThePolicyAccepts sends the real webhook requests as an API
// server does.
func TestWebhookAdmitsWhatThePolicyAccepts(t *testing.T) {
	w := newWorld(t)
	accepted, refused := w.push(t, "accepted", newImage(t, "a")), w.push(t, "refused", newImage(t, "b"))
	w.rebuilt(t, accepted, "alice", "carol")
	w.rebuilt(t, refused, "bob")
	here, other := newImage(t, "here"), newImage(t, "other")
	index, hereRef, otherRef := w.pushIndex(t, "index", here, other)
	w.rebuilt(t, hereRef, "alice", "bob")
	pool := w.certificate(t)
	start := func(more ...string) (*e2etest.Process, func(image, file string) (bool, string)) {
		t.Helper()
		p := e2etest.Start(t, w.command(append([]string{"gate", "webhook", "--tls-cert", w.file("tls.crt"), "--tls-key", w.file("tls.key")}, more...)...))
		var ready struct{ HTTP string }
		p.Ready(t, &ready)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
		t.Cleanup(client.CloseIdleConnections)
		return p, func(image, file string) (bool, string) { t.Helper(); return review(t, client, ready.HTTP, image, file) }
	}

	webhook, ask := start()
	for _, file := range []string{"pod", "deployment", "cronjob"} {
		if ok, message := ask(accepted, file); !ok || message != "" {
			t.Errorf("%s of an accepted image: %v, %s", file, ok, message)
		}
		if ok, message := ask(refused, file); ok || !strings.Contains(message, refused+" is unproven") {
			t.Errorf("%s of a refused image: %v, %s", file, ok, message)
		}
	}
	if ok, message := ask(index, "pod"); ok || !strings.Contains(message, "its manifest "+otherRef[strings.Index(otherRef, "@")+1:]+" is untried") {
		t.Errorf("an index that is half accepted: %v, %s", ok, message)
	}
	w.rebuilt(t, otherRef, "alice", "bob")
	if ok, message := ask(index, "pod"); !ok {
		t.Errorf("an index: %s", message)
	}
	if ok, message := ask(w.registry+"/app/accepted:1", "pod"); ok || !strings.Contains(message, "is not pinned") {
		t.Errorf("a tag: %v, %s", ok, message)
	}
	webhook.Stop(t)
	webhook, ask = start("--resolve")
	if ok, message := ask(w.registry+"/app/accepted:1", "pod"); !ok {
		t.Errorf("a tag that is resolved: %s", message)
	}
	if ok, message := ask(w.registry+"/app/refused:1", "pod"); ok || !strings.Contains(message, refused+" is unproven") {
		t.Errorf("a tag of a refused image: %v, %s", ok, message)
	}
	webhook.Stop(t)
}

// review sends the request of a file with its image replaced.
func review(t *testing.T, client *http.Client, url, image, file string) (bool, string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../../ledger/gate/testdata/review", file+".json"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.SplitAfter(string(body), `"image": "`)
	for i := range fields[1:] {
		_, rest, _ := strings.Cut(fields[i+1], `"`)
		fields[i+1] = image + `"` + rest
	}
	resp, err := client.Post(url+"/validate?timeout=10s", "application/json", strings.NewReader(strings.Join(fields, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Response struct {
			UID     string
			Allowed bool
			Status  struct{ Message string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Response.UID == "" {
		t.Fatalf("%d, %+v, %v", resp.StatusCode, answer, err)
	}
	return answer.Response.Allowed, answer.Response.Status.Message
}

// certificate writes a certificate for 127.0.0.1 and its key, and returns what
// trusts it.
func (w *world) certificate(t *testing.T) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		var b bytes.Buffer
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(b.Bytes())
		if err := os.WriteFile(w.file(name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}
