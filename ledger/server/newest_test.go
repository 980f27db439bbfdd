package server_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// late is the reads of a front end that has heard of nothing that another one
// published since, until it asks.
type late struct {
	*query.Service
	board   *checkpoint.Board
	newest  *checkpoint.Board
	ring    keys.History
	refresh int
	err     error // of asking
}

func newLate(t *testing.T, cfg *benchConfig, old *checkpoint.Published) *late {
	t.Helper()
	newest := cfg.Board
	l := &late{
		Service: &query.Service{Prover: cfg.Prover, Blobs: cfg.Blobs, Index: cfg.Index},
		board:   checkpoint.NewBoard(), newest: newest,
	}
	if old != nil {
		if err := l.board.Show(old); err != nil {
			t.Fatal(err)
		}
	}
	l.Latest = query.LatestOf(l.board)
	l.Refresh = func(context.Context) error {
		l.refresh++
		if l.err != nil {
			return l.err
		}
		return l.board.Show(newest.Latest())
	}
	l.Keys = &l.ring
	l.Learn = func(ctx context.Context) error {
		list, standing, err := l.Index.Keys(ctx)
		if err != nil {
			return err
		}
		return l.ring.Reset(uint64(newest.Latest().N), list, standing)
	}
	return l
}

// TestWhatAnotherFrontEndPublished asks a front end for what its clients were told
// by another.
func TestWhatAnotherFrontEndPublished(t *testing.T) {
	cfg, in, pub := benchParts(t)
	r := &repository{T: t, url: "http://" + benchServe(t, cfg, in, pub).http, vkey: cfg.VKey, key: newSigner(t)}
	enrolment, err := attest.Enrol(r.key, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	logged := statement(t, r.key, "one", attrPurl)
	old := cfg.Board.Latest()
	for _, raw := range [][]byte{enrolment, logged} {
		if resp, body := r.send(http.MethodPost, "/v1/attestations", raw); resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s", resp.Status, body)
		}
	}
	size := cfg.Board.Latest().N
	index := size - 1
	for name, ask := range asksFor(t, r, logged, index, size) {
		for before, shown := range map[string]*checkpoint.Published{"a smaller one": old, "none": nil} {
			l := newLate(t, cfg, shown)
			if err := ask(l); err != nil || l.refresh != 1 {
				t.Errorf("%s, while it shows %s: %v after %d looks", name, before, err, l.refresh)
			}
			if err := ask(l); err != nil || l.refresh != 1 {
				t.Errorf("%s, once more: %v after %d looks", name, err, l.refresh)
			}
			l = newLate(t, cfg, shown)
			l.err = errors.New("the database is away")
			if err := ask(l); err == nil {
				t.Errorf("%s, while it cannot ask: no error", name)
			}
		}
	}
	l := newLate(t, cfg, old)
	_, err = l.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: size})
	if e, ok := reason.Of(err); !ok || e.Reason != reason.EntryNotFound {
		t.Errorf("an entry that nobody published: %v", err)
	}
}

// asksFor returns what asks for an entry, by all that it can be found by.
func asksFor(t *testing.T, r *repository, logged []byte, index, size int64) map[string]func(*late) error {
	attestation := &cairnv1.GetAttestationRequest{Envelope: string(leaf.SHA256(logged))}
	return map[string]func(*late) error{
		"an entry": func(l *late) error {
			_, err := l.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: index})
			return err
		},
		"an inclusion proof": func(l *late) error {
			_, err := l.GetInclusionProof(t.Context(), &cairnv1.GetInclusionProofRequest{Index: &index, Size: size})
			return err
		},
		"a consistency proof": func(l *late) error {
			_, err := l.GetConsistencyProof(t.Context(), &cairnv1.GetConsistencyProofRequest{From: 1, To: size})
			return err
		},
		"an attestation": func(l *late) error {
			_, err := l.GetAttestation(t.Context(), attestation)
			return err
		},
		"a key": func(l *late) error {
			_, err := l.GetKey(t.Context(), &cairnv1.GetKeyRequest{Fingerprint: string(r.key.Public.Fingerprint)})
			return err
		},
		"an artifact": func(l *late) error {
			resp, err := l.GetArtifact(t.Context(), &cairnv1.GetArtifactRequest{Digest: string(leaf.SHA256([]byte(attrPurl)))})
			if err == nil && (len(resp.GetGroups()) != 1 || resp.GetCompleteUpTo() != size) {
				t.Errorf("an artifact: %v", resp)
			}
			return err
		},
		"a list": func(l *late) error {
			resp, err := l.ListAttestations(t.Context(), &cairnv1.ListAttestationsRequest{Key: string(r.key.Public.Fingerprint)})
			if err == nil && (len(resp.GetEntries()) != 2 || resp.GetCompleteUpTo() != size) {
				t.Errorf("a list: %v", resp)
			}
			return err
		},
	}
}
