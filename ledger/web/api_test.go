package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// apiSite is a site whose last entry is its example.
func apiSite(t *testing.T) *Site {
	t.Helper()
	reads := &logReads{key: leaf.Fingerprint(sumOf("key")), entries: []*cairnv1.Entry{entry(t, 1234566, leaf.Identical, "hello")}}
	return newSite(t, nil, func(c *Config) { c.Reads, c.Builds = reads, &fakeQueue{builds: someBuilds()} })
}

func apiTwin(t *testing.T, site *Site) map[string]apiMethod {
	t.Helper()
	_, text := get(t, site, "/api.json")
	var twin struct{ View apiView }
	if err := json.Unmarshal([]byte(text), &twin); err != nil {
		t.Fatal(err)
	}
	methods := make(map[string]apiMethod)
	for _, m := range twin.View.Methods {
		methods[m.ID] = m
	}
	return methods
}

func TestAPI(t *testing.T) {
	body := wantText(t, apiSite(t), "/api", http.StatusOK,
		"Numbers of 64 bits are strings in JSON", "GET /v1/log/entries/{index}", "GetEntry answers with the entry at an index and its inclusion proof.",
		"gRPC: cairn.v1.LedgerService/GetEntry", "index path int64, as a string yes Zero-based position in the log.", "200 GetEntryResponse:", "inclusionProof list of base64 RFC 6962 inclusion proof",
		"curl 'http://example.com/v1/log/entries/1234566'", `"index": "1234566"`, "one JSON object a line, each with result or error.",
		"/feed.atom The latest disagreements as an Atom feed.", "/tile/{level}/{index}")
	for _, want := range []string{`id="LedgerService_GetEntry"`, `href="#LedgerService_GetEntry"`, `href="/v1/log/entries/1234566"`, `id="others"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestAPIHasEveryMethod(t *testing.T) {
	methods := apiTwin(t, apiSite(t))
	for _, service := range []struct {
		name    string
		methods int
	}{{"LedgerService", len(cairnv1.LedgerService_ServiceDesc.Methods)}, {"BuildService", len(cairnv1.BuildService_ServiceDesc.Methods)}} {
		n := 0
		for _, m := range methods {
			if m.Service == "cairn.v1."+service.name {
				n++
			}
		}
		if n != service.methods+1 { // and the one that streams
			t.Errorf("%d methods of %s, want %d", n, service.name, service.methods+1)
		}
	}
	for id := range exampleBodies {
		if methods[id].Method != http.MethodPost {
			t.Errorf("there is no method %s that takes a body", id)
		}
	}
	for id, m := range methods {
		if m.Summary == "" || len(m.Responses) < 2 || m.Curl == "" {
			t.Errorf("%s lacks something: %+v", id, m)
		}
		for _, p := range m.Parameters {
			if p.Type == "" || p.Meaning == "" {
				t.Errorf("%s: parameter %s has no type or no meaning", id, p.Name)
			}
		}
	}
}

func TestAPIExamples(t *testing.T) {
	site := apiSite(t)
	methods := apiTwin(t, site)
	for id, path := range map[string]string{
		"LedgerService_GetCheckpoint":     "/v1/log/checkpoint",
		"LedgerService_GetEntry":          "/v1/log/entries/1234566",
		"LedgerService_GetAttestation":    "/v1/attestations/" + sumOf("envelope1234566").Hex(),
		"LedgerService_ListAttestations":  "/v1/attestations?pageSize=1&pageToken=ZnJvbSAxMjM0NTY2",
		"LedgerService_GetInclusionProof": "/v1/log/proofs/inclusion?index=1234566",
		"LedgerService_GetKey":            "/v1/keys/" + string(sumOf("key")),
		"BuildService_ListBuilds":         "/v1/builds?pageSize=1",
		"BuildService_GetBuild":           "/v1/builds/8",
	} {
		e := methods[id].Example
		if e == nil || e.Path != path || len(e.Body) > maxExample || !strings.HasPrefix(e.Body, "{\n  ") {
			t.Errorf("%s has the example %+v, want %s", id, e, path)
		}
	}
	if e := methods["LedgerService_SubmitAttestation"].Example; e != nil {
		t.Errorf("there is an example of what changes the log: %+v", e)
	}
	if got, want := methods["LedgerService_GetArtifact"].Curl, "curl 'http://example.com/v1/artifacts/"+string(sumOf("hello"))+"'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	_, first := get(t, site, "/api")
	if _, again := get(t, site, "/api"); first != again {
		t.Error("the page is another one each time")
	}
}

func TestAPIOfAnEmptyLedger(t *testing.T) {
	for id, m := range apiTwin(t, newSite(t, nil, nil)) {
		if m.Example != nil {
			t.Errorf("%s has an example: %+v", id, m.Example)
		}
	}
}

func TestAPIShowsHostileTextAsText(t *testing.T) {
	b := hostileBuild()
	site := newSite(t, nil, func(c *Config) { c.Builds = &fakeQueue{builds: []*cairnv1.Build{b}} })
	wantHarmless(t, "/api", wantText(t, site, "/api", http.StatusOK, `\u202e`, "The beginning of the answer."))
}
