package server_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/query"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// An answer about an artifact that takes too long to make says that it is cut off,
// and one that nobody waits for is none.
func TestArtifactInTime(t *testing.T) {
	cfg, in, pub := benchParts(t)
	r := &repository{T: t, url: "http://" + benchServe(t, cfg, in, pub).http, vkey: cfg.VKey, key: newSigner(t)}
	env, err := attest.Enrol(r.key, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{env, statement(t, r.key, "one", attrPurl), statement(t, r.key, "two", attrPurl)} {
		if resp, body := r.send(http.MethodPost, "/v1/attestations", raw); resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s", resp.Status, body)
		}
	}
	ask := func(ctx context.Context, s *query.Service) (*cairnv1.GetArtifactResponse, error) {
		s.Latest, s.Prover, s.Blobs, s.Index, s.Keys = query.LatestOf(cfg.Board), cfg.Prover, cfg.Blobs, cfg.Index, in.Keyring()
		return s.GetArtifact(ctx, &cairnv1.GetArtifactRequest{Digest: string(leaf.SHA256([]byte(attrPurl)))})
	}
	whole, err := ask(t.Context(), new(query.Service))
	if err != nil || whole.GetTruncated() || len(whole.GetGroups()) != 1 || len(whole.GetGroups()[0].GetClaims()) != 2 {
		t.Errorf("in time: %v, %v; want two claims", whole, err)
	}
	cut, err := ask(t.Context(), &query.Service{Patience: 1})
	if err != nil || !cut.GetTruncated() || len(cut.GetGroups()) != 0 {
		t.Errorf("out of patience: %v, %v; want it cut off", cut, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if resp, err := ask(gone, new(query.Service)); err == nil {
		t.Errorf("with nobody waiting, the answer is %v", resp)
	}
}
