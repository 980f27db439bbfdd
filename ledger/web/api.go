package web

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// maxExample is how much of an answer is shown.
const maxExample = 2 << 10

// apiView is the reference of what this ledger answers.
type apiView struct {
	Base    string      `json:"base"` // URL of this ledger, as it was asked for
	Methods []apiMethod `json:"methods"`
	Others  []otherPath `json:"others"`
}

// apiExample is the answer to a method's curl, now.
type apiExample struct {
	Path string `json:"path"`
	Body string `json:"body"`
	Cut  bool   `json:"cut"` // there is more of it
}

// otherPath is one that the OpenAPI document does not have.
type otherPath struct {
	Path    string `json:"path"`
	Meaning string `json:"meaning"`
	Try     string `json:"try,omitempty"` // a path that answers, if it can be told
}

var otherPaths = []otherPath{
	{"/checkpoint", "The latest published checkpoint as a signed note, C2SP tlog-checkpoint.", "/checkpoint"},
	{"/tile/{level}/{index}", "The tree's hashes, 256 to a tile, C2SP tlog-tiles. Full tiles never change.", ""},
	{"/tile/entries/{index}", "The leaves, 256 to a bundle.", ""},
	{"/checkpoints/{segment}", "The archive of all published checkpoints, in segments that are numbered from 000000000.", "/checkpoints/000000000"},
	{"/certifications/{purl}", "Signed documents about a package: listed, fetched and put with curl alone.", "/certifications/"},
	{"/api/v2/log/entries", "Rekor v2, for Sigstore's clients: POST logs a signature and answers with its proof.", ""},
	{"/api/v2/checkpoint, /api/v2/tile/…", "The log under the origin that Rekor's clients expect, if the operator configured one.", ""},
	{"/api/v0/pkgs/list", "rebuilderd's list of packages with the ledger's verdicts, if the operator configured a policy.", "/api/v0/pkgs/list"},
	{"{page}.json", "Each page's twin: what it shows, as JSON; of / it is /index.json. A name that ends with .json itself is followed by a slash.", "/index.json"},
	{"/p/{package}.svg", "A badge with the verdict of a package, or of an artifact's digest.", ""},
	{"/packages/strip.png", "All packages, a dot each, in the colours of their verdicts.", "/packages/strip.png"},
	{"/feed.atom", "The latest disagreements as an Atom feed.", "/feed.atom"},
	{"/search?q={text}", "Goes to what a digest, package URL, entry, key or part of a name means.", "/search"},
	{"/healthz, /readyz, /metrics", "For operators: whether the process runs, whether it takes submissions, and Prometheus' metrics.", "/readyz"},
	{"/api/openapi.json", "The reference above, as OpenAPI 2.0.", "/api/openapi.json"},
}

func (s *Site) api(r *http.Request) (*page, error) {
	base := baseURL(r)
	v := &apiView{Base: base, Methods: slices.Clone(s.reference), Others: otherPaths}
	values := s.exampleValues(r.Context())
	for i := range v.Methods {
		m := &v.Methods[i]
		path := m.Path
		for name, value := range values {
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
		}
		path += exampleQuery(m.ID, values)
		m.Curl = curl(m, base+path)
		if !strings.Contains(path, "{") {
			m.Example = s.example(r.Context(), m.ID, path, values)
		}
	}
	return &page{name: "api", title: "API", view: v}, nil
}

// exampleValues are this log's own values of parameters, as far as there are any.
func (s *Site) exampleValues(ctx context.Context) map[string]string {
	values := make(map[string]string)
	if latest := s.cfg.Board.Latest(); latest != nil && latest.N > 0 && s.cfg.Reads != nil {
		values["index"], values["size"] = strconv.FormatInt(latest.N-1, 10), strconv.FormatInt(latest.N, 10)
		e, err := s.cfg.Reads.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: latest.N - 1})
		l, parseErr := leaf.Parse([]byte(e.GetEntry().GetLeaf()))
		if err == nil && parseErr == nil {
			values["envelope"] = l.Envelope.Hex()
			if len(l.Keys) > 0 {
				values["fingerprint"] = string(l.Keys[0])
			}
			if len(l.Subjects) > 0 {
				values["digest"] = string(l.Subjects[0])
			}
		}
	}
	if s.cfg.Builds != nil {
		if list, err := s.cfg.Builds.ListBuilds(ctx, &cairnv1.ListBuildsRequest{PageSize: 1}); err == nil && len(list.GetBuilds()) > 0 {
			values["id"] = strconv.FormatInt(list.GetBuilds()[0].GetId(), 10)
		}
	}
	return values
}

// exampleQuery is the query of a method's example.
func exampleQuery(id string, values map[string]string) string {
	index, err := strconv.ParseUint(values["index"], 10, 64)
	if err != nil {
		return ""
	}
	switch id {
	case "LedgerService_ListAttestations":
		return "?pageSize=1&pageToken=" + query.PageToken(index)
	case "LedgerService_GetInclusionProof":
		return "?index=" + values["index"]
	case "LedgerService_GetConsistencyProof":
		return "?from=" + strconv.FormatUint(max(1, index/2), 10) + "&to=" + values["size"]
	case "BuildService_ListBuilds":
		return "?pageSize=1"
	}
	return ""
}

// exampleBodies are what is sent to methods that take a body.
var exampleBodies = map[string]string{
	"BuildService_QueueBuild":     `{"spec": {"kind": "build", "treeDigest": "sha256:…", "package": "core-go"}}`,
	"BuildService_CancelBuild":    `{}`,
	"BuildService_LeaseBuild":     `{"worker": "w1", "operator": "https://w.example", "key": "sha256:…", "platforms": ["linux/amd64"], "engines": ["buildkit"]}`,
	"BuildService_RenewLease":     `{"leaseToken": "…"}`,
	"BuildService_AppendBuildLog": `{"leaseToken": "…", "offset": "0", "data": "b25lCg=="}`,
	"BuildService_CompleteBuild":  `{"leaseToken": "…", "returned": true}`,
}

func curl(m *apiMethod, url string) string {
	switch body, found := exampleBodies[m.ID]; {
	case found:
		return `curl -H "Authorization: Bearer $TOKEN" -d '` + body + `' '` + url + `'`
	case m.Method == http.MethodPost:
		return `curl --data-binary @hello.attestation '` + url + `'`
	}
	return `curl '` + url + `'`
}

// example is the answer that a method gives now; nil if it is none that can be had in
// this process, or there is none.
func (s *Site) example(ctx context.Context, id, path string, values map[string]string) *apiExample {
	m, err := s.answer(ctx, id, values)
	if m == nil || err != nil {
		if _, refused := reason.Of(err); err != nil && !refused {
			s.cfg.Logger.ErrorContext(ctx, "making an example", slog.String("method", id), slog.Any("err", err))
		}
		return nil
	}
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil
	}
	// protojson varies the white space; json.Indent has one way.
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return nil
	}
	raw = bytes.Clone(text.Bytes())
	text.Reset()
	if err := json.Indent(&text, raw, "", "  "); err != nil {
		return nil
	}
	e := &apiExample{Path: path, Body: text.String()}
	if len(e.Body) > maxExample {
		e.Body, e.Cut = strings.ToValidUTF8(e.Body[:maxExample], ""), true
	}
	e.Body = plain.Lines(e.Body)
	return e
}

// answer asks a service for the answer to a method's example.
func (s *Site) answer(ctx context.Context, id string, values map[string]string) (proto.Message, error) {
	number := func(name string) int64 { n, _ := strconv.ParseInt(values[name], 10, 64); return n }
	index := number("index")
	latest := s.cfg.Board.Latest()
	switch service, _, _ := strings.Cut(id, "_"); {
	case service == "LedgerService" && values["index"] == "", service == "BuildService" && values["id"] == "":
		return nil, nil
	}
	switch id {
	case "LedgerService_GetCheckpoint":
		return &cairnv1.GetCheckpointResponse{Checkpoint: string(latest.Signed), Origin: latest.Origin, Size: latest.N, RootHash: latest.Hash[:]}, nil
	case "LedgerService_ListAttestations":
		return s.cfg.Reads.ListAttestations(ctx, &cairnv1.ListAttestationsRequest{PageSize: 1, PageToken: query.PageToken(uint64(index))})
	case "LedgerService_GetAttestation":
		return s.cfg.Reads.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: values["envelope"]})
	case "LedgerService_GetEntry":
		return s.cfg.Reads.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: index})
	case "LedgerService_GetInclusionProof":
		return s.cfg.Reads.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &index})
	case "LedgerService_GetKey":
		return s.cfg.Reads.GetKey(ctx, &cairnv1.GetKeyRequest{Fingerprint: values["fingerprint"]})
	case "BuildService_ListBuilds":
		return s.cfg.Builds.ListBuilds(ctx, &cairnv1.ListBuildsRequest{PageSize: 1})
	case "BuildService_GetBuild":
		return s.cfg.Builds.GetBuild(ctx, &cairnv1.GetBuildRequest{Id: number("id")})
	}
	return nil, nil
}
