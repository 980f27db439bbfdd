package web

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// wicked is text that must stay text.
const wicked = "<script>alert(1)</script>\u202e</pre><img src=x onerror=alert(1)>"

// fakeLog answers Reads from a small log.
type fakeLog struct {
	Reads
	leaves       []string
	attestations map[string][]byte // by envelope, in hex
	claim        *cairnv1.Claim
	checkpoint   string
	tree         *testTree
}

func (f *fakeLog) GetEntry(_ context.Context, r *cairnv1.GetEntryRequest) (*cairnv1.GetEntryResponse, error) {
	if r.GetIndex() >= int64(len(f.leaves)) {
		return nil, reason.Errorf(reason.EntryNotFound, "entry %d is not in the published log", r.GetIndex())
	}
	path, err := tlog.ProveRecord(int64(len(f.leaves)), r.GetIndex(), f.tree)
	if err != nil {
		return nil, err
	}
	return &cairnv1.GetEntryResponse{
		Entry:      &cairnv1.Entry{Index: r.GetIndex(), Leaf: f.leaves[r.GetIndex()]},
		Checkpoint: f.checkpoint, InclusionProof: pathOfHashes(path),
	}, nil
}

func (f *fakeLog) GetAttestation(_ context.Context, r *cairnv1.GetAttestationRequest) (*cairnv1.GetAttestationResponse, error) {
	raw, ok := f.attestations[r.GetEnvelope()]
	if !ok {
		return nil, reason.Errorf(reason.AttestationNotFound, "the bytes of attestation %s are not held here", r.GetEnvelope())
	}
	return &cairnv1.GetAttestationResponse{Attestation: raw, Claim: f.claim}, nil
}

func (f *fakeLog) add(t *testing.T, l *leaf.Leaf, raw []byte) {
	t.Helper()
	if l.Rekor == "" {
		l.Envelope, l.Payload = leaf.SHA256(raw), leaf.SHA256([]byte("payload"))
		l.Keys = []leaf.Fingerprint{leaf.Fingerprint(leaf.SHA256([]byte("key")))}
		l.Subjects = []leaf.Digest{leaf.SHA256([]byte("artifact"))}
		f.attestations[l.Envelope.Hex()] = raw
	}
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.StoredHashes(int64(len(f.leaves)), text, f.tree)
	if err != nil {
		t.Fatal(err)
	}
	f.leaves, f.tree.hashes = append(f.leaves, string(text)), append(f.tree.hashes, hashes...)
}

func rekorLeaf(t *testing.T) *leaf.Leaf {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(make(ed25519.PrivateKey, ed25519.PrivateKeySize).Public())
	if err != nil {
		t.Fatal(err)
	}
	e := leaf.HashedRekord{Digest: leaf.SHA256([]byte("artifact")), Signature: []byte("signature"), KeyDetails: "PKIX_ED25519_PH", Verifier: spki}
	text, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := leaf.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newLogSite returns a Site over a log with an entry of each kind: an enrolment, a
// claim full of wicked text, a binary one, one that was withdrawn, and one of Rekor.
func newLogSite(t *testing.T) (*Site, *fakeLog) {
	t.Helper()
	name := "pkg:oci/core-go"
	f := &fakeLog{attestations: make(map[string][]byte), tree: &testTree{}, claim: &cairnv1.Claim{Subjects: []*cairnv1.Resource{
		{Uri: name}, {Uri: "pkg:oci/not-in-the-leaf"}, {Name: wicked},
	}}}
	payload := []byte(`{"name":"` + wicked + `","long":"` + strings.Repeat("w", 10_000) + `"}`)
	envelope := []byte(`{"payloadType":"x","payload":"` + base64.StdEncoding.EncodeToString(payload) + `","signatures":[]}`)
	f.add(t, &leaf.Leaf{Kind: leaf.KindEnrol, Format: "dsse", Claim: leaf.ClaimOther, Result: leaf.NoResult}, []byte(`{"payload":"e30="}`))
	f.add(t, &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Claim: leaf.ClaimReproduction, Result: leaf.Different, Names: []leaf.Digest{leaf.NameHash(name)},
	}, envelope)
	f.add(t, &leaf.Leaf{Kind: leaf.KindAttestation, Format: "openpgp", Claim: leaf.ClaimBuild, Result: leaf.NoResult}, []byte{0, 1, 2, 0xff})
	f.add(t, &leaf.Leaf{Kind: leaf.KindAttestation, Format: "text", Claim: leaf.ClaimReview, Result: leaf.NoResult}, []byte("to be withdrawn"))
	delete(f.attestations, leaf.SHA256([]byte("to be withdrawn")).Hex())
	f.add(t, rekorLeaf(t), nil)
	w := newWorld(t)
	tree := tlog.Tree{N: int64(len(f.leaves)), Hash: tlog.Hash(f.tree.root(t, int64(len(f.leaves))))}
	c := torchwood.Checkpoint{Origin: "log.example/test", Tree: tree}
	f.checkpoint = w.sign(c.String(), w.log, w.witnesses[0])
	pol, err := policy.Parse([]byte(w.policyOf("group g any w0 w1", "quorum g")))
	if err != nil {
		t.Fatal(err)
	}
	board := checkpoint.NewBoard()
	if err := board.Show(&checkpoint.Published{Checkpoint: c, Signed: []byte(f.checkpoint), At: now}); err != nil {
		t.Fatal(err)
	}
	return newSite(t, &fakeSurvey{}, func(c *Config) { c.Reads, c.Policy, c.VKey, c.Board = f, pol, w.logKey, board }), f
}

func TestEntry(t *testing.T) {
	site, _ := newLogSite(t)
	tests := []struct {
		path string
		want []string
	}{
		{"/e/0", []string{"A key was enrolled", `<a href="/rebuilders/sha256:`}},
		{"/e/1", []string{"something else came out", `<a href="/p/pkg:oci/core-go"`, "&lt;script&gt;", `\u202e`, "DIFFERENT", "Logged by"}},
		{"/e/2", []string{"claims to have built", "which is no text, in hex", "00 01 02 ff"}},
		{"/e/3", []string{"does not hold the bytes", "claims to have reviewed"}},
		{"/e/4", []string{"An entry of Rekor&#39;s format", "hashedRekordV002", "This entry is its own leaf"}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			status, body := get(t, site, tt.path)
			if status != http.StatusOK {
				t.Fatalf("status %d: %s", status, body)
			}
			for _, want := range append(tt.want, "What this page cannot prove", "cairn show 'log.example/test#", `id="checked" class="check" data-state="unknown"`) {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in %.20000s", want, body)
				}
			}
			for _, not := range []string{"<script>alert", "\u202e", "<img", "not-in-the-leaf</code>"} {
				if strings.Contains(body, not) {
					t.Errorf("%q is in the page", not)
				}
			}
			if strings.Contains(body, `data-state="ok"`) {
				t.Error("something looks checked before it was")
			}
		})
	}
}

func TestEntryTwin(t *testing.T) {
	site, f := newLogSite(t)
	_, body := get(t, site, "/e/1.json")
	var got struct {
		Schema string
		View   entryView
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	v := &got.View
	if got.Schema != "cairn/web/entry/v1" || v.Leaf != f.leaves[1] || len(v.Proof.Path) != 3 || v.Names[0].Name != "pkg:oci/core-go" || len(v.Names) != 1 {
		t.Errorf("the twin is %s", body)
	}
	if last := v.Proof.Path[2]; last.Hash != v.Proof.Root {
		t.Errorf("the path leads to %s, want %s", last.Hash, v.Proof.Root)
	}
	if !strings.Contains(v.Attestation.Text, wicked) {
		t.Errorf("the twin's text is %.200s", v.Attestation.Text)
	}
}

func TestEntryRefused(t *testing.T) {
	site, _ := newLogSite(t)
	for path, want := range map[string]int{
		"/e/x": 400, "/e/007": 400, "/e/-1": 400, "/e/+1": 400, "/e/99999999999999999999": 400,
		"/e/5": 404, "/e/5.json": 404, "/e/5.html": 404, "/e/1.svg": 404,
	} {
		if status, body := get(t, site, path); status != want {
			t.Errorf("%s: status %d, want %d: %s", path, status, want, body)
		}
	}
}

var inlined = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

func TestSavedEntry(t *testing.T) {
	site, f := newLogSite(t)
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/e/1.html", nil))
	body := w.Body.String()
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="entry-1.html"` {
		t.Errorf("Content-Disposition is %q", got)
	}
	parts := inlined.FindAllStringSubmatch(body, -1)
	if len(parts) != 3 {
		t.Fatalf("%d styles and scripts, want 3", len(parts))
	}
	meta := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(body)
	if meta == nil {
		t.Fatal("the page has no policy")
	}
	policyText := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(meta[1])
	for i, name := range []string{"style.css", "verify.js", "page.js"} {
		if parts[i][2] != string(site.static["/static/"+name].body) {
			t.Errorf("%s is not in the page as it is", name)
		}
		if hash := sourceHash([]byte(parts[i][2])); !strings.Contains(policyText, hash) {
			t.Errorf("the policy %q does not have %s of %s", policyText, hash, name)
		}
	}
	if !strings.HasPrefix(policyText, "default-src 'none'; script-src 'sha256-") {
		t.Errorf("the policy is %q", policyText)
	}
	loads := regexp.MustCompile(`<[^>]*\s(src|href)=|<link|url\(`)
	if found := loads.FindString(inlined.ReplaceAllString(body, "")); found != "" {
		t.Errorf("the saved page has %q", found)
	}
	data := regexp.MustCompile(`id="entry-data">(.*)</script>`).FindStringSubmatch(body)
	var got entryData
	if data == nil || json.Unmarshal([]byte(data[1]), &got) != nil {
		t.Fatalf("the page has no data of the entry: %q", data)
	}
	raw, err := base64.StdEncoding.DecodeString(got.Attestation)
	if err != nil || f.attestations[leaf.SHA256(raw).Hex()] == nil || got.Checkpoint != f.checkpoint || !bytes.Contains(got.Entry, []byte("inclusionProof")) {
		t.Errorf("the data is %s", data[1])
	}
	if _, body := get(t, site, "/e/1"); strings.Contains(body, got.Attestation) {
		t.Error("the page that can ask has the attestation, too")
	}
}
