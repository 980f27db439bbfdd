package gate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answer is an AdmissionReview as the API server reads it.
type answer struct {
	APIVersion, Kind string
	Response         struct {
		UID     string
		Allowed bool
		Status  struct {
			Code            int
			Reason, Message string
		}
		Warnings []string
	}
}

func reviewBody(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/review", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func uidOf(t testing.TB, body []byte) string {
	t.Helper()
	var r struct{ Request struct{ UID string } }
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	return r.Request.UID
}

func post(h http.Handler, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/validate?timeout=10s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var reviews = []struct {
	name, file string
	allowed    bool
	code       int
	messages   []string // that the answer has, in any order
}{
	{"an accepted image is allowed", "pod", true, 0, nil},
	{"every container is looked at", "pod-every-place", false, 403, []string{
		`initContainers "init": image ` + image("bad").String() + " is differs", `ephemeralContainers "debug": image ` + image("broke").String() + " is failed",
		`containers "side": image ` + image("lacking").String() + " is unproven: 1 of 2 operators obtained it"}},
	{"a volume's image is looked at", "pod-image-volume", false, 403, []string{`volumes "model": image ` + image("lacking").String()}},
	{"a tag is denied with a hint", "pod-tag", false, 403, []string{"stagex/good:1.2 is not pinned: name it as docker.io/stagex/good@sha256:…"}},
	{"what a pod had stays", "pod-relabelled", true, 0, nil},
	{"what is added to a pod is looked at", "pod-debugged", false, 403, []string{`ephemeralContainers "debugger"`}},
	{"a pod may go", "pod-deleted", true, 0, nil},
	{"other operations are denied", "pod-exec", false, 422, []string{"register the webhook for pods"}},
	{"no answer denies", "pod-unanswered", false, 503, []string{"the gate could not decide", errNoAnswer.Error()}},
	{"an exception warns", "pod-warned", true, 0, []string{"accepted: by an exception of the policy"}},
	{"deployments have images", "deployment", false, 403, []string{image("lacking").String()}},
	{"replica sets have images", "replicaset", false, 403, []string{image("lacking").String()}},
	{"stateful sets have images", "statefulset", false, 403, []string{image("lacking").String()}},
	{"daemon sets have images", "daemonset", false, 403, []string{image("lacking").String()}},
	{"jobs have images", "job", false, 403, []string{image("lacking").String()}},
	{"cron jobs have images", "cronjob", false, 403, []string{image("lacking").String()}},
	{"replication controllers have images", "replicationcontroller", false, 403, []string{image("lacking").String()}},
	{"pod templates have images", "podtemplate", false, 403, []string{image("lacking").String()}},
	{"unknown kinds are denied", "configmap", false, 422, []string{"does not know where a v1 ConfigMap has its images"}},
}

func checkReview(t *testing.T, i int, body []byte, resp []byte) {
	t.Helper()
	tt := reviews[i]
	var a answer
	d := json.NewDecoder(bytes.NewReader(resp))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("%v:\n%s", err, resp)
	}
	r := a.Response
	if a.APIVersion != "admission.k8s.io/v1" || a.Kind != "AdmissionReview" || r.UID != uidOf(t, body) {
		t.Errorf("answer %+v", a)
	}
	if r.Allowed != tt.allowed || r.Status.Code != tt.code {
		t.Errorf("allowed %v, status %+v", r.Allowed, r.Status)
	}
	said := r.Status.Message + strings.Join(r.Warnings, "\n")
	for _, m := range tt.messages {
		if !strings.Contains(said, m) {
			t.Errorf("it says %q, not %q", said, m)
		}
	}
	for _, w := range r.Warnings {
		if len(w) > 256 {
			t.Errorf("warning of %d bytes", len(w))
		}
	}
}

func TestReviews(t *testing.T) {
	h := (&Webhook{Config: config(words().gate())}).Handler()
	for i, tt := range reviews {
		t.Run(tt.name, func(t *testing.T) {
			body := reviewBody(t, tt.file)
			w := post(h, body)
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			checkReview(t, i, body, w.Body.Bytes())
		})
	}
	files, err := os.ReadDir("testdata/review")
	if err != nil || len(files) != len(reviews) {
		t.Errorf("%d files for %d tests, %v", len(files), len(reviews), err)
	}
}

// TestEveryKindAdmitsWhatIsAccepted has the reviews that are denied for their
// images' sake, with images that are accepted.
func TestEveryKindAdmitsWhatIsAccepted(t *testing.T) {
	h := (&Webhook{Config: config(words().gate())}).Handler()
	for _, tt := range reviews {
		if tt.code != 403 || tt.file == "pod-tag" {
			continue
		}
		body := string(reviewBody(t, tt.file))
		for _, word := range []string{"lacking", "bad", "broke"} {
			body = strings.ReplaceAll(body, image(word).String(), image("fine").String())
		}
		var a answer
		if err := json.Unmarshal(post(h, []byte(body)).Body.Bytes(), &a); err != nil || !a.Response.Allowed {
			t.Errorf("%s: %+v, %v", tt.file, a, err)
		}
	}
}

func TestReviewsThatAreNotTaken(t *testing.T) {
	h := (&Webhook{Config: config(words().gate())}).Handler()
	pod := string(reviewBody(t, "pod"))
	change := func(from, to string) string { return strings.Replace(pod, from, to, 1) }
	for name, tt := range map[string]struct {
		body string
		code int
		want string
	}{
		"an older version":                  {change("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), 400, "admissionReviewVersions: [v1]"},
		"another kind":                      {change("AdmissionReview", "ConversionReview"), 400, "want AdmissionReview"},
		"no uid":                            {change(`"uid": "0df28fbd-5f5f-11e8-bc74-36e6bb280001",`, ""), 400, "no uid"},
		"no request":                        {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, 400, "no request"},
		"no JSON":                           {"x", 400, "parsing the AdmissionReview"},
		"two objects in one":                {change(`"object": {`, `"object": {}, "object": {`), 400, "parsing the AdmissionReview"},
		"more than is read":                 {pod + strings.Repeat(" ", maxReview), 413, "over the limit of 8388608 bytes"},
		"a pod without a spec":              {change(`"spec": {`, `"Spec": {`), 200, "it has no spec"},
		"no containers":                     {change(`"containers": [`, `"Containers": [`), 200, "has no containers"},
		"containers that are null":          {change(`"containers": [`, `"containers": null, "Containers": [`), 200, "has no containers"},
		"a container without an image":      {change(`"image": "`+image("good").String()+`",`, ""), 200, `containers \"app\" names no image`},
		"an image that is none":             {change(image("good").String(), "UPPER"), 200, "parsing image reference"},
		"an image that is a number":         {change(`"`+image("good").String()+`"`, "1"), 200, "reading the image of containers"},
		"two images in one":                 {change(`"image": "`+image("good").String()+`",`, `"image":"a","image":"b",`), 400, "parsing the AdmissionReview"},
		"a list to come":                    {change(`"containers": [`, `"otherContainers": [{"name": "x", "image": "`+image("bad").String()+`"}], "containers": [`), 200, `otherContainers \"x\": image`},
		"an operation that is none of ours": {change(`"operation": "CREATE"`, `"operation": "CONNECT"`), 200, "the gate decides about CREATE and UPDATE"},
		"too many images":                   {change(`"containers": [`, `"containers": [`+manyContainers()), 200, "201 images are over the limit of 200"},
	} {
		w := post(h, []byte(tt.body))
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), `"allowed":true`) {
			t.Errorf("%s: allowed", name)
		}
	}
	r := httptest.NewRequest("POST", "/validate", strings.NewReader(pod))
	r.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 415 {
		t.Errorf("plain text: %d", w.Code)
	}
}

func manyContainers() string {
	var b strings.Builder
	for i := range maxImages {
		b.WriteString(`{"name":"x","image":"docker.io/a/b` + strings.Repeat("x", i) + `"},`)
	}
	return b.String()
}

func TestResolvedTags(t *testing.T) {
	resolve := func(word string, err error) func(context.Context, string, string) (Image, error) {
		return func(_ context.Context, repository, tag string) (Image, error) {
			if repository != "docker.io/stagex/good" || tag != "1.2" {
				t.Errorf("resolving %s:%s", repository, tag)
			}
			return image(word), err
		}
	}
	for _, tt := range []struct {
		word    string
		err     error
		allowed bool
		want    string
	}{{"good", nil, true, ""}, {"bad", nil, false, "is differs"}, {"good", errors.New("no route"), false, "resolving image stagex/good:1.2: no route"}} {
		h := (&Webhook{Config: config(words().gate()), Resolve: resolve(tt.word, tt.err)}).Handler()
		var a answer
		if err := json.Unmarshal(post(h, reviewBody(t, "pod-tag")).Body.Bytes(), &a); err != nil || a.Response.Allowed != tt.allowed || !strings.Contains(a.Response.Status.Message, tt.want) {
			t.Errorf("%s: %+v, %v", tt.word, a, err)
		}
	}
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "cairn-gate.cairn.svc"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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
	certFile, keyFile, pool = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(certPEM)
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pool
}

// TestWebhookOverTLS sends every review as the API server does, then renews the
// certificate, and then stops the server.
func TestWebhookOverTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, pool := selfSigned(t, dir)
	tlsConfig, err := Certificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(words().gate())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, (&Webhook{Config: cfg}).Handler(), tlsConfig, cfg.Logger, time.Minute) }()
	client := func(pool *x509.CertPool) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	}
	send := func(c *http.Client, body []byte) ([]byte, error) {
		resp, err := c.Post("https://"+l.Addr().String()+"/validate?timeout=10s", "application/json", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	first := client(pool)
	for i, tt := range reviews {
		body := reviewBody(t, tt.file)
		resp, err := send(first, body)
		if err != nil {
			t.Fatal(err)
		}
		checkReview(t, i, body, resp)
	}
	_, _, renewed := selfSigned(t, dir)
	if err := os.Chtimes(certFile, now, now); err != nil { // whatever the clock's resolution is
		t.Fatal(err)
	}
	if _, err := send(client(renewed), reviewBody(t, "pod")); err != nil {
		t.Errorf("with the renewed certificate: %v", err)
	}
	if err := os.WriteFile(keyFile, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := send(client(renewed), reviewBody(t, "pod")); err != nil {
		t.Errorf("with a key that cannot be read: %v", err)
	}
	if _, err := Certificate(certFile, keyFile); err == nil {
		t.Error("a key that cannot be read is taken at the start")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestPatience(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"": 9500 * time.Millisecond, "?timeout=5s": 4500 * time.Millisecond, "?timeout=x": 9500 * time.Millisecond, "?timeout=1h": 9500 * time.Millisecond, "?timeout=100ms": 9500 * time.Millisecond,
	} {
		if got := patience(httptest.NewRequest("POST", "/validate"+query, nil)); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
}

func TestCut(t *testing.T) {
	if got := cut("aäöü", 6); got != "aä…" || len(got) > 6 {
		t.Errorf("%q", got)
	}
	if got := cut("a\xffb", 9); got != "a?b" {
		t.Errorf("%q", got)
	}
}

func FuzzReview(f *testing.F) {
	files, err := os.ReadDir("testdata/review")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(reviewBody(f, strings.TrimSuffix(file.Name(), ".json")))
	}
	h := (&Webhook{Config: config((&fake{}).gate())}).Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		w := post(h, body)
		var a answer
		if w.Code == 200 {
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
		}
		if !a.Response.Allowed {
			return
		}
		// Nothing is accepted: so nothing new can have an image.
		r, err := parseReview(body)
		if err != nil {
			t.Fatal(err)
		}
		if images, err := newImages(r); err != nil || len(images) > 0 {
			t.Errorf("allowed with images %v, %v", images, err)
		}
	})
}

func TestNoImageIsNoReasonToAllow(t *testing.T) {
	for _, spec := range []string{`{"containers":[]}`, `{"containers":[],"initContainers":null}`, `{"containers":null}`, `{"containers":{}}`} {
		if images, err := imagesOf([]byte(spec), nil); err == nil {
			t.Errorf("%s: %v", spec, images)
		}
	}
}
