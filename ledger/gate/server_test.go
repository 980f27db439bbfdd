package gate

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func signatures(t *testing.T, f *fake) (*Signatures, string) {
	t.Helper()
	s := &Signatures{Config: config(f.gate()), Key: signingKey(t), Scopes: []Scope{"docker.io/stagex"}, Valid: time.Hour}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return s, server.URL
}

// get is safe for use by several goroutines.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

func TestServeSignatures(t *testing.T) {
	f := words()
	s, url := signatures(t, f)
	tests := []struct {
		name, path string
		code       int
		body       string
	}{
		{"an accepted image has a signature", signaturePath(image("good")) + "/signature-1", 200, ""},
		{"an accepted index has one", signaturePath(image("both")) + "/signature-1", 200, ""},
		{"an excepted image has one", signaturePath(image("excepted")) + "/signature-1", 200, ""},
		{"there is but one", signaturePath(image("good")) + "/signature-2", 404, "no such signature"},
		{"a refused image has none", signaturePath(image("lacking")) + "/signature-1", 404, "is not signed: unproven: [1 of 2 operators obtained it]"},
		{"dissent leaves none", signaturePath(image("bad")) + "/signature-1", 404, "is not signed: differs"},
		{"an index with a refused manifest has none", signaturePath(image("half")) + "/signature-1", 404, "is not signed"},
		{"no answer is no answer", signaturePath(image("down")) + "/signature-1", 503, errNoAnswer.Error()},
		{"outside the scopes nothing is looked up", signaturePath(Image{"quay.io/stagex/good", digestOf("elsewhere")}) + "/signature-1", 404, "no such signature"},
		{"a repository has one spelling", "stagex/good@sha256=" + digestOf("good").Hex() + "/signature-1", 404, "no such signature"},
		{"a name alone is nothing", "docker.io/stagex/good", 404, "no such signature"},
		{"upper-case hex is no digest", "docker.io/stagex/good@sha256=" + strings.ToUpper(digestOf("good").Hex()) + "/signature-1", 404, "no such signature"},
		{"it says that it lives", "healthz", 200, "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, body := get(t, url+"/"+tt.path)
			if code != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q, want %d %q", code, body, tt.code, tt.body)
			}
			img, _, isSignature := parseSignaturePath(tt.path)
			if got, err := s.Key.Verify([]byte(body), now); isSignature && code == 200 && (err != nil || got != img) {
				t.Errorf("the signature is of %s, %v", got, err)
			}
			if code != 200 && s.Key.Made([]byte(body), now) {
				t.Error("the answer is a signature")
			}
		})
	}
	if n := f.times("elsewhere"); n != 0 {
		t.Errorf("%d look-ups outside the scopes", n)
	}
	_, metrics := get(t, url+"/metrics")
	for _, want := range []string{`cairn_gate_decisions_total{outcome="accepted"} 3`, `cairn_gate_decisions_total{outcome="error"} 1`, `cairn_gate_requests_total{code="503",handler="signature"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
}

func TestOnlyAcceptancesAreKept(t *testing.T) {
	f := words()
	_, url := signatures(t, f)
	for range 3 {
		get(t, url+"/"+signaturePath(image("good"))+"/signature-1")
		get(t, url+"/"+signaturePath(image("lacking"))+"/signature-1")
		get(t, url+"/"+signaturePath(image("down"))+"/signature-1")
	}
	if f.times("good") != 1 || f.times("lacking") != 3 || f.times("down") != 3 {
		t.Errorf("asked %d, %d and %d times, want 1, 3 and 3", f.times("good"), f.times("lacking"), f.times("down"))
	}
	// Another repository's image of the same digest is another image: the policy
	// may ask more of it.
	get(t, url+"/"+signaturePath(Image{"docker.io/stagex/other", digestOf("good")})+"/signature-1")
	if f.times("good") != 2 {
		t.Errorf("asked %d times, want 2", f.times("good"))
	}
}

func TestNothingIsKeptWithoutTTL(t *testing.T) {
	f := words()
	s := &Signatures{Config: config(f.gate()), Key: signingKey(t), Scopes: []Scope{"docker.io"}}
	s.TTL = 0
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	for range 2 {
		get(t, server.URL+"/"+signaturePath(image("good"))+"/signature-1")
	}
	if f.times("good") != 2 {
		t.Errorf("asked %d times, want 2", f.times("good"))
	}
}

func TestSharedDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := words()
		f.enter = make(chan struct{})
		cfg := config(f.gate())
		cfg.TTL = 0
		j := newJudge(cfg)
		gone, leave := context.WithCancel(t.Context())
		ask := func(ctx context.Context, accepted bool) {
			d, err := j.judge(ctx, image("good"))
			if (err == nil && d.Accepted) != accepted {
				t.Errorf("%+v, %v", d, err)
			}
		}
		go ask(gone, false)
		synctest.Wait()
		for range 7 {
			go ask(t.Context(), true)
		}
		synctest.Wait()
		leave() // who asked first does not wait any more; the others do
		synctest.Wait()
		close(f.enter)
		synctest.Wait()
		if got := f.times("good"); got != 1 {
			t.Errorf("%d decisions for 8 requests", got)
		}
	})
}

// TestManyDecisions has as many decisions under way as there may be.
func TestManyDecisions(t *testing.T) {
	f := words()
	f.enter = make(chan struct{})
	s := &Signatures{Config: config(f.gate()), Key: signingKey(t), Scopes: []Scope{"docker.io"}}
	s.Timeout = 24 * time.Hour // the answer does not wait for it
	h := s.Handler()
	for range maxConcurrent {
		s.judge.running <- struct{}{}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/"+signaturePath(image("good"))+"/signature-1", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	<-s.judge.running
	close(f.enter)
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/"+signaturePath(image("good"))+"/signature-1", nil))
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestDecisionTakesTooLong has a decision that would never end.
func TestDecisionTakesTooLong(t *testing.T) {
	f := words()
	f.enter = make(chan struct{})
	s := &Signatures{Config: config(f.gate()), Key: signingKey(t), Scopes: []Scope{"docker.io"}}
	s.Timeout = time.Millisecond
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/"+signaturePath(image("good"))+"/signature-1", nil))
	if w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
