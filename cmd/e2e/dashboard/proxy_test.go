package dashboard

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// alteration is what a server does to its answers.
type alteration func(path string, body []byte) []byte

// liar hands on what a ledger answers, altered.
type liar struct {
	*httptest.Server
	testing.TB
	mu      sync.Mutex
	alter   alteration
	altered bool
}

func newLiar(t testing.TB, w *world) *liar {
	t.Helper()
	target, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{TB: t}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: l.modify,
	}
	l.Server = httptest.NewServer(proxy)
	t.Cleanup(l.Server.Close)
	return l
}

// lies has the server alter its answers from now on; nil has it tell the truth.
func (l *liar) lies(alter alteration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alter, l.altered = alter, false
}

// lied reports whether an answer was altered since then.
func (l *liar) lied() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.altered
}

// modify alters an answer. An alteration that does not know the answer panics, which
// fails the test.
func (l *liar) modify(resp *http.Response) error {
	defer func() {
		if p := recover(); p != nil {
			l.Errorf("altering the answer to %s: %v", resp.Request.URL, p)
		}
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alter == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	truth := bytes.Clone(body)
	body = l.alter(resp.Request.URL.Path, body)
	l.altered = l.altered || !bytes.Equal(body, truth)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// inData alters the JSON that a page has for its scripts, in the element with an id.
func inData(id string, change func(data map[string]any)) alteration {
	element := regexp.MustCompile(`(?s)(<script type="application/json" id="` + id + `">)(.*?)(</script>)`)
	return func(_ string, body []byte) []byte {
		return element.ReplaceAllFunc(body, func(found []byte) []byte {
			parts := element.FindSubmatch(found)
			var data map[string]any
			if err := json.Unmarshal(parts[2], &data); err != nil {
				panic(err) // the page is not what the test knows
			}
			change(data)
			text, err := json.Marshal(data)
			if err != nil {
				panic(err)
			}
			return bytes.Join([][]byte{parts[1], text, parts[3]}, nil)
		})
	}
}

// below alters only the answers whose paths begin with a prefix.
func below(prefix string, alter alteration) alteration {
	return func(path string, body []byte) []byte {
		if !strings.HasPrefix(path, prefix) {
			return body
		}
		return alter(path, body)
	}
}

// conspiracy has the keys of the log and of both witnesses, and signs anything.
type conspiracy struct {
	origin  string
	signers []note.Signer
}

func (w *world) conspiracy(t testing.TB) *conspiracy {
	t.Helper()
	log, err := note.NewSigner(readLine(t, w.path("ledger/ledger.key")))
	if err != nil {
		t.Fatal(err)
	}
	c := &conspiracy{origin: log.Name(), signers: []note.Signer{log}}
	for _, name := range []string{"w1", "w2"} {
		fields := strings.SplitN(readLine(t, w.path(name+"/witness.key")), "+", 5)
		seed, err := base64.StdEncoding.DecodeString(fields[4])
		if err != nil {
			t.Fatal(err)
		}
		s, err := torchwood.NewCosignatureSigner(fields[2], ed25519.NewKeyFromSeed(seed[1:]))
		if err != nil {
			t.Fatal(err)
		}
		c.signers = append(c.signers, s)
	}
	return c
}

func readLine(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// signs returns a checkpoint of a tree, signed by all.
func (c *conspiracy) signs(t testing.TB, size int64, root tlog.Hash) string {
	t.Helper()
	text := torchwood.Checkpoint{Origin: c.origin, Tree: tlog.Tree{N: size, Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, c.signers...)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// checkpoint returns what the ledger publishes.
func (w *world) checkpoint(t testing.TB) (signed string, tree tlog.Tree) {
	t.Helper()
	status, body, err := w.get(t.Context(), "/checkpoint")
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET /checkpoint: %d, %v", status, err)
	}
	c, err := torchwood.ParseCheckpoint(strings.SplitAfter(string(body), "\n\n")[0][:bytes.Index(body, []byte("\n\n"))+1])
	if err != nil {
		t.Fatal(fmt.Errorf("%w\n%s", err, body))
	}
	return string(body), c.Tree
}

// usurper is the same with another key for the log, of the same name.
func (c *conspiracy) usurper(t testing.TB) (u *conspiracy, vkey string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, c.origin)
	if err != nil {
		t.Fatal(err)
	}
	log, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &conspiracy{c.origin, append([]note.Signer{log}, c.signers[1:]...)}, vkey
}
