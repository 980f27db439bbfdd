package importer_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/cairn/internal/importer/rebuilderdtest"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

var packages = []rebuilderdtest.Package{
	{Name: "attested", Version: "1.0-1", Architecture: "amd64", Status: "GOOD", Build: "GOOD", Attested: true, Content: "a"},
	{Name: "good", Version: "2.0-1", Architecture: "amd64", Status: "GOOD", Build: "GOOD", Content: "b"},
	{Name: "bad", Version: "3.0-1", Architecture: "arm64", Status: "BAD", Build: "BAD", Content: "c"},
	{Name: "failed", Version: "4.0-1", Architecture: "amd64", Build: "FAIL", Content: "d"},
	{Name: "untried", Version: "5.0-1", Architecture: "amd64", Content: "e"},
	{Name: "unknown", Version: "6.0-1", Architecture: "amd64", Status: "UNKWN", Build: "UNKWN", Content: "f"},
	{Name: "gone", Version: "7.0-1", Architecture: "amd64", Status: "BAD", Build: "BAD", Content: "g", Gone: true},
}

// serve serves a daemon, one request at a time, and returns what asks it.
func serve(t *testing.T, d *rebuilderdtest.Daemon) *importer.Rebuilderd {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		d.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return &importer.Rebuilderd{URL: server.URL, Web: testWeb(server.Client())}
}

func testWeb(c *http.Client) *importer.Web {
	return &importer.Web{Client: c, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// items reads a source to its end.
func items(t *testing.T, src importer.Source, done func(string) bool) []importer.Item {
	t.Helper()
	var all []importer.Item
	for item, err := range src.Items(t.Context(), done) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

func none(string) bool { return false }

// outcome says in a line what an item is.
func outcome(base string, item *importer.Item, ring attest.Keyring) string {
	line := strings.TrimPrefix(item.Name, base) + " [" + item.Group + "] "
	if item.Err != nil {
		return line + strings.ReplaceAll(item.Err.Error(), base, "")
	}
	att, err := attest.Open(item.Raw, ring)
	if err != nil {
		return line + err.Error()
	}
	r := string(att.Claim.Result) + " " + string(att.Claim.Obtained) + " " + att.Claim.Subjects[0].URI
	if att.Leaf.Subjects[0] != "" && len(att.Keys) > 0 {
		r += " " + string(att.Leaf.Subjects[0])[:14]
	}
	return line + r
}

func TestRebuilderdResultsAreClaimedOnlyWithADigest(t *testing.T) {
	src := serve(t, rebuilderdtest.New(packages...))
	var got []string
	for _, item := range items(t, src, none) {
		got = append(got, outcome(src.URL, &item, attest.NewKeyring()))
	}
	const refused = "without an attestation, and without a digest: to claim it yourself, give --key FILE and --fetch"
	want := []string{
		"/api/v1/builds/1/artifacts/1/attestation [GOOD with attestation] " + got[0][strings.Index(got[0], "no enrolled"):],
		"/api/v1/builds/2#good [GOOD without attestation] rebuilderd says GOOD " + refused,
		"/api/v1/builds/3#bad [BAD without attestation] rebuilderd says BAD " + refused,
		"/api/v1/builds/4#failed [FAIL without attestation] rebuilderd says FAIL " + refused,
		"/api/v1/builds/7#gone [BAD without attestation] rebuilderd says BAD " + refused,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestRebuilderdClaims(t *testing.T) {
	d := rebuilderdtest.New(packages...)
	src := serve(t, d)
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	src.Signer = signer
	worker := publicKey(t, d.Worker)
	daemon := publicKey(t, d.Key)
	ring := attest.NewKeyring(signer.Public, worker, daemon)
	var got []string
	for _, item := range items(t, src, none) {
		got = append(got, outcome(src.URL, &item, ring))
	}
	want := []string{
		"/api/v1/builds/1/artifacts/1/attestation [GOOD with attestation] IDENTICAL BUILT pkg:deb/debian/attested@1.0-1?arch=amd64 sha256:ca97811",
		"/api/v1/builds/2#good [GOOD without attestation] IDENTICAL  pkg:deb/debian/good@2.0-1?arch=amd64 sha256:3e23e81",
		"/api/v1/builds/3#bad [BAD without attestation] DIFFERENT  pkg:deb/debian/bad@3.0-1?arch=arm64 sha256:2e7d2c0",
		"/api/v1/builds/4#failed [FAIL without attestation] BUILD_FAILED  pkg:deb/debian/failed@4.0-1?arch=amd64 sha256:18ac3e7",
		"/api/v1/builds/7#gone [BAD without attestation] rebuilderd says BAD without a digest, and the artifact is not at /pool/gone_7.0-1_amd64.deb any more",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	again := items(t, src, none)
	first := items(t, src, none)
	if diff := cmp.Diff(first, again, cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })); diff != "" {
		t.Errorf("a claim is not the same every time (-first +again):\n%s", diff)
	}
}

func publicKey(t *testing.T, key ed25519.PrivateKey) *attest.PublicKey {
	t.Helper()
	k, err := attest.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRebuilderdKeysAreReadAsItWritesThem(t *testing.T) {
	d := rebuilderdtest.New()
	src := serve(t, d)
	texts, err := src.PublicKeys(t.Context())
	if err != nil || len(texts) != 1 {
		t.Fatal(texts, err)
	}
	key, err := attest.ParsePublicKey([]byte(texts[0]))
	if err != nil || key.Fingerprint != publicKey(t, d.Key).Fingerprint {
		t.Errorf("key %v, %v", key, err)
	}
}

func TestRebuilderdSplit(t *testing.T) {
	d := rebuilderdtest.New(packages[0])
	src := serve(t, d)
	src.Split = true
	ring := attest.NewKeyring(publicKey(t, d.Key))
	var keys []leaf.Fingerprint
	all := items(t, src, none)
	for _, item := range all {
		if att, err := attest.Open(item.Raw, ring); err == nil {
			keys = append(keys, att.Leaf.Keys...)
		}
	}
	if len(all) != 2 || len(keys) != 1 || keys[0] != publicKey(t, d.Key).Fingerprint {
		t.Errorf("%d items, by %v", len(all), keys)
	}
}

func TestRebuilderdPages(t *testing.T) {
	var many []rebuilderdtest.Package
	for range 1234 {
		many = append(many, packages[0])
	}
	d := rebuilderdtest.New(many...)
	src := serve(t, d)
	known := func(name string) bool { return !strings.HasSuffix(name, "/1200/attestation") }
	all := items(t, src, known)
	if len(all) != len(many) || d.Requests["/api/v1/packages/binary"] != 4 {
		t.Errorf("%d items in %d requests", len(all), d.Requests["/api/v1/packages/binary"])
	}
	if n := len(d.Requests); n != 2 {
		t.Errorf("%d paths were asked for, though all but one are done", n)
	}
	src.Filter.Architecture = "riscv64"
	if all := items(t, src, known); len(all) != 0 {
		t.Errorf("%d items of another architecture", len(all))
	}
}

func TestARebuilderdThatDoesNotEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"total":1,"records":[{"id":7,"name":"a","build_id":null}]}`))
	}))
	defer server.Close()
	src := &importer.Rebuilderd{URL: server.URL, Web: testWeb(server.Client())}
	var err error
	for _, ierr := range src.Items(t.Context(), none) {
		err = ierr
	}
	if err == nil || !strings.Contains(err.Error(), "pages do not end") {
		t.Errorf("the error is %v", err)
	}
}
