package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/certification"
	"github.com/cairnlog/cairn/ledger/certification/export"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/policy"
)

// repository is a ledger that is asked as a repository of certifications.
type repository struct {
	*testing.T
	url  string
	vkey string
	key  *attest.Signer
}

func newRepository(t *testing.T) *repository {
	cfg, in, pub := benchParts(t)
	addr := benchServe(t, cfg, in, pub).http
	r := &repository{T: t, url: "http://" + addr, vkey: cfg.VKey, key: newSigner(t)}
	env, err := attest.Enrol(r.key, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	if resp, body := r.send(http.MethodPost, "/v1/attestations", env); resp.StatusCode != http.StatusCreated {
		t.Fatalf("enrolling: %s %s", resp.Status, body)
	}
	return r
}

func newSigner(t *testing.T) *attest.Signer {
	t.Helper()
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send makes a request with the path and query exactly as they are given.
func (r *repository) send(method, target string, body []byte, header ...string) (*http.Response, string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url, bytes.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	req.URL.Opaque = "//" + req.URL.Host + target
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return resp, string(b)
}

// statement returns a signed statement about packages.
func statement(t *testing.T, key *attest.Signer, what string, purls ...string) []byte {
	t.Helper()
	var subjects []attest.ResourceDescriptor
	for _, p := range purls {
		subjects = append(subjects, attest.ResourceDescriptor{URI: p, Digest: map[string]string{"sha256": leaf.SHA256([]byte(p)).Hex()}})
	}
	if len(purls) == 0 {
		subjects = []attest.ResourceDescriptor{{Name: "nameless", Digest: map[string]string{"sha256": leaf.SHA256(nil).Hex()}}}
	}
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]string{"what": what}, subjects...)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const attrPurl = "pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64"

// spellings are those in which the package attr stands in a URL.
var spellings = map[string]string{
	"as it is":             attrPurl,
	"as a path's element":  url.PathEscape(attrPurl),
	"as a query":           url.QueryEscape(attrPurl),
	"as a path":            "pkg%3Adeb/debian/attr%401%3A2.4.47-2%252Bb1%3Farch%3Damd64",
	"with its marks":       "pkg:deb/debian/attr@1:2.4.47-2%252Bb1%3Farch=amd64",
	"as its directory":     certification.Dir(attrPurl),
	"with a slash":         certification.Dir(attrPurl) + "/",
	"as it is not written": "pkg:DEB/Debian/attr@1:2.4.47-2%2bb1?arch=amd64",
}

func TestCertificationsArePutAndFound(t *testing.T) {
	r := newRepository(t)
	raw := statement(t, r.key, "a", attrPurl)
	file := "/certifications/pkg~3adeb~2fdebian~2fattr~401~3a2.4.47-2~252~42b1~3farch~3damd64/" + leaf.SHA256(raw).Hex() + ".dsse.json"
	status := http.StatusCreated
	for name, spelling := range spellings {
		resp, body := r.send(http.MethodPut, "/certifications/"+spelling, raw)
		if resp.StatusCode != status || resp.Header.Get("Location") != file {
			t.Errorf("put %s: %s, Location %q, want %d and %q\n%s", name, resp.Status, resp.Header.Get("Location"), status, file, body)
		}
		status = http.StatusOK // it is known from now on
	}
	if resp, _ := r.send(http.MethodPost, "/certifications/"+attrPurl, raw); resp.StatusCode != http.StatusOK {
		t.Errorf("posted again: %s", resp.Status)
	}
	var first string
	for name, spelling := range spellings {
		resp, body := r.send(http.MethodGet, "/certifications/"+spelling, nil)
		if first == "" {
			first = body
		}
		if resp.StatusCode != http.StatusOK || body != first || resp.Header.Get("Cairn-Complete-Up-To") != "2" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("list %s: %s %v\n%s", name, resp.Status, resp.Header, body)
		}
	}
	var list []struct{ URL, Path, Name, Type, SHA256, Format, Proof string }
	if err := json.Unmarshal([]byte(first), &list); err != nil || len(list) != 1 || list[0].URL != file || list[0].Path != file[1:] || list[0].Type != "object" {
		t.Fatalf("the list is %v, %v\n%s", list, err, first)
	}
	resp, body := r.send(http.MethodGet, list[0].URL, nil)
	if body != string(raw) {
		t.Errorf("the file is not what was put: %s", body)
	}
	checkFileHeaders(t, resp)
	if resp, body = r.send(http.MethodHead, list[0].URL, nil); resp.StatusCode != http.StatusOK || body != "" || resp.ContentLength != int64(len(raw)) {
		t.Errorf("HEAD: %s, %d bytes, %q", resp.Status, resp.ContentLength, body)
	}
	if resp, _ = r.send(http.MethodGet, list[0].URL, nil, "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("what is known is sent again: %s", resp.Status)
	}
	if resp, _ = r.send(http.MethodGet, "/certifications/"+attrPurl[:strings.IndexByte(attrPurl, '?')]+"/"+list[0].Name+"?arch=amd64", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("the file below the package URL: %s", resp.Status)
	}
}

// TestBuildinfoByCurl: a .buildinfo that gpg signed is put as it is, by whoever
// enrolled the key with a request, too.
func TestBuildinfoByCurl(t *testing.T) {
	r := newRepository(t)
	var raws [2][]byte
	for i, name := range []string{"foreign.asc", "foreign.buildinfo"} {
		var err error
		if raws[i], err = os.ReadFile(filepath.Join("testdata", name)); err != nil {
			t.Fatal(err)
		}
	}
	if resp, body := r.send(http.MethodPost, "/v1/attestations", raws[0]); resp.StatusCode != http.StatusCreated {
		t.Fatalf("enrolling: %s %s", resp.Status, body)
	}
	resp, body := r.send(http.MethodPut, "/certifications/pkg:deb/debian/cairn-sample-bin@1:1.0?arch=amd64", raws[1])
	location := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || !strings.HasSuffix(location, "/"+leaf.SHA256(raws[1]).Hex()+".buildinfo") {
		t.Fatalf("%s %q %s", resp.Status, location, body)
	}
	if resp, body = r.send(http.MethodGet, location, nil); body != string(raws[1]) || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%s %v %s", resp.Status, resp.Header, body)
	}
	// It is about another package, too.
	if resp, body = r.send(http.MethodGet, "/certifications/pkg:deb/debian/cairn-sample@1:1.0?arch=all", nil); !strings.Contains(body, leaf.SHA256(raws[1]).Hex()) {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func checkFileHeaders(t *testing.T, resp *http.Response) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "public, max-age=31536000, immutable",
		"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox", "Access-Control-Allow-Origin": "*",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestCertificationsRefuse(t *testing.T) {
	r := newRepository(t)
	about := statement(t, r.key, "a", attrPurl, "pkg:deb/debian/acl@2")
	if resp, body := r.send(http.MethodPut, "/certifications/pkg:deb/debian/acl@2", about); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", resp.Status, body)
	}
	sum := leaf.SHA256(about).Hex()
	acl := certification.Dir("pkg:deb/debian/acl@2")
	stranger := statement(t, newSigner(t), "a", attrPurl)
	foreign, err := os.ReadFile(filepath.Join("testdata", "foreign.buildinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, method, target string
		body                 []byte
		status               int
		says                 string
	}{
		{"another package", "PUT", "pkg:deb/debian/zlib@1", statement(t, r.key, "b", attrPurl), 400, "which is " + attrPurl},
		{"no package", "PUT", "pkg:deb/debian/zlib@1", statement(t, r.key, "b"), 400, "POST it to /v1/attestations"},
		{"a key that is not enrolled", "PUT", attrPurl, stranger, 400, "cairn enrol"},
		{"an OpenPGP key that is not enrolled", "PUT", attrPurl, foreign, 400,
			"gpg --armor --export 612AB5BF4236E7C3C7C9A2D98B2A057FF2F1E2A7 | curl --data-binary @- " + r.url + "/v1/attestations`"},
		{"nothing", "PUT", attrPurl, nil, 400, "empty"},
		{"too much", "PUT", attrPurl, make([]byte, attest.MaxEnvelope+1), 413, "over the limit"},
		{"under the name of another file", "PUT", acl + "/" + strings.Repeat("0", 64) + ".dsse.json", about, 400, "the file would be " + sum + ".dsse.json"},
		{"to no package", "PUT", "", about, 400, "name a package"},
		{"no package URL", "GET", "hello", nil, 400, "package URL"},
		{"nothing is logged", "GET", "pkg:deb/debian/zlib@1", nil, 404, "none from 0 on is about pkg:deb/debian/zlib@1"},
		{"the file of another package", "GET", certification.Dir("pkg:deb/debian/zlib@1") + "/" + sum + ".dsse.json", nil, 404, "is not about"},
		{"the file in another format", "GET", acl + "/" + sum + ".buildinfo", nil, 404, "in the format dsse"},
		{"a file that is not there", "GET", acl + "/" + strings.Repeat("0", 64) + ".dsse.json", nil, 404, "no attestation"},
		{"a page that is not there", "GET", acl + "/from-9.json", nil, 404, "none from 9 on"},
		{"another method", "DELETE", acl, nil, 405, "none of GET"},
	} {
		resp, body := r.send(test.method, "/certifications/"+test.target, test.body)
		if resp.StatusCode != test.status || !strings.Contains(body, test.says) || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %s\nwant %d and %q", test.name, resp.Status, body, test.status, test.says)
		}
	}
	if resp, body := r.send(http.MethodGet, "/checkpoint", nil); resp.StatusCode != 200 || strings.Split(body, "\n")[1] != "2" {
		t.Errorf("something refused was logged:\n%s", body)
	}
}

// TestExportedFilesAreWhatIsServed: a web server on the export's directory gives
// the same bytes as the ledger, and an export that is repeated changes nothing.
func TestExportedFilesAreWhatIsServed(t *testing.T) {
	r := newRepository(t)
	long := "pkg:generic/" + strings.Repeat("A", 300) + "@1"
	purls := []string{attrPurl, "pkg:alpm/arch/pacman@6.0.1-1?arch=x86_64", "pkg:generic/..%2F..%2Fetc@1", "pkg:npm/Foo@1", "pkg:npm/foo@1.", long}
	for i, p := range append(purls, attrPurl) {
		if resp, body := r.send(http.MethodPut, "/certifications/"+url.PathEscape(p), statement(t, r.key, fmt.Sprint(i), p)); resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s %s", p, resp.Status, body)
		}
	}
	dir := t.TempDir()
	if n := r.export(dir).Written; n != 7 {
		t.Errorf("%d attestations were written, want 7", n)
	}
	if n := r.export(dir).Written; n != 0 {
		t.Errorf("%d attestations were written again", n)
	}
	static := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer static.Close()
	files := &repository{T: t, url: static.URL}
	files.same(r, "/certifications/checkpoint")
	for _, p := range purls {
		dir := certification.Dir(must(t)(attest.LookupName(p)))
		list := files.same(r, "/certifications/"+dir+"/index.json")
		var members []struct{ URL, Proof string }
		if err := json.Unmarshal([]byte(list), &members); err != nil || len(members) == 0 {
			t.Errorf("%s: %v %s", p, err, list)
		}
		for _, m := range members {
			files.same(r, m.URL)
			files.same(r, m.Proof)
		}
	}
}

func must(t *testing.T) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// same compares a file with what the ledger answers, and returns it.
func (r *repository) same(ledger *repository, target string) string {
	r.Helper()
	resp, body := r.send(http.MethodGet, target, nil)
	live, want := ledger.send(http.MethodGet, target, nil)
	if resp.StatusCode != http.StatusOK || live.StatusCode != http.StatusOK || body != want {
		r.Errorf("%s: %s\n%s\nthe ledger answers %s\n%s", target, resp.Status, body, live.Status, want)
	}
	return body
}

func (r *repository) export(dir string, names ...string) *export.Report {
	r.Helper()
	pol, err := policy.Parse([]byte("log " + r.vkey + "\nquorum none\n"))
	if err != nil {
		r.Fatal(err)
	}
	src, err := mirror.OpenSource(r.Context(), r.url, client.Options{})
	if err != nil {
		r.Fatal(err)
	}
	c, err := client.New(r.url, client.Options{})
	if err != nil {
		r.Fatal(err)
	}
	report, err := export.Run(r.Context(), src, c, dir, pol, export.Options{Names: names, At: time.Now()})
	if err != nil {
		r.Fatal(err)
	}
	return report
}

// TestLongListsHavePages: who follows the pages has seen every certification.
func TestLongListsHavePages(t *testing.T) {
	cfg, in, pub := benchParts(t)
	addr := benchServe(t, cfg, in, pub).http
	r := &repository{T: t, url: "http://" + addr, vkey: cfg.VKey, key: newSigner(t)}
	env, err := attest.Enrol(r.key, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	r.send(http.MethodPost, "/v1/attestations", env)
	const n = certification.PageSize + 3
	var wg sync.WaitGroup
	for i := range n {
		raw := statement(t, r.key, fmt.Sprint(i), "pkg:generic/busy@1")
		wg.Go(func() {
			if _, err := in.Submit(t.Context(), raw, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := cfg.Board.Wait(t.Context(), n+1); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r.export(dir)
	static := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer static.Close()
	files := &repository{T: t, url: static.URL}
	seen := make(map[string]bool)
	next := "/" + certification.Path(certification.Dir("pkg:generic/busy@1"), certification.Index)
	for pages := 0; next != "" && pages < 3; pages++ {
		var members []struct{ URL, Type string }
		if err := json.Unmarshal([]byte(files.same(r, next)), &members); err != nil {
			t.Fatal(err)
		}
		resp, _ := r.send(http.MethodGet, next, nil)
		link := resp.Header.Get("Link")
		next = ""
		for _, m := range members {
			if m.Type == "collection" {
				next = m.URL
			} else {
				seen[m.URL] = true
			}
		}
		if want := "<" + next + `>; rel="next"`; (next != "") != (link == want) {
			t.Errorf("the Link is %q, want %q", link, want)
		}
	}
	if len(seen) != n {
		t.Errorf("the pages have %d certifications, want %d", len(seen), n)
	}
}
