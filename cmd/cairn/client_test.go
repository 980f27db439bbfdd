package main

import (
	"encoding/hex"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// startForClient runs the real ledger and returns a client of it and a policy
// that trusts it.
func startForClient(t *testing.T) (*client.Client, torchwood.Policy) {
	t.Helper()
	cmd, ready, err := runLedger(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the ledger's end: %v", err)
		}
	})
	c, err := client.New(ready.HTTP, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pol, err := torchwood.ParsePolicy([]byte("log " + ready.VKey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c, pol
}

// TestClientOfTheRealLedger makes every call of ledger/client to the real
// gateway, those too that no command makes.
func TestClientOfTheRealLedger(t *testing.T) {
	c, pol := startForClient(t)
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := attest.Enrol(signer, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	sub, err := c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.VerifySubmission(sub, pol); err != nil || !sub.GetCreated() {
		t.Errorf("submission %v: %v", sub, err)
	}
	att, err := c.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: string(leaf.SHA256(raw))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.VerifyAttestation(att); err != nil {
		t.Error(err)
	}
	entry, err := c.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: 0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.VerifyEntry(entry, 0, pol); err != nil {
		t.Error(err)
	}
	hash := hex.EncodeToString(leaf.Hash([]byte(sub.GetLeaf())))
	if p, err := c.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{LeafHash: hash}); err != nil || p.GetIndex() != 0 || p.GetSize() != 1 {
		t.Errorf("inclusion proof %v, %v", p, err)
	}
	if p, err := c.GetConsistencyProof(ctx, &cairnv1.GetConsistencyProofRequest{From: 0, To: 1}); err != nil || p.GetTo() != 1 {
		t.Errorf("consistency proof %v, %v", p, err)
	}
	if k, err := c.GetKey(ctx, &cairnv1.GetKeyRequest{Fingerprint: string(signer.Public.Fingerprint)}); err != nil || k.GetKey().GetOperator() != "https://alice.example" {
		t.Errorf("key %v, %v", k, err)
	}
	if a, err := c.GetArtifact(ctx, &cairnv1.GetArtifactRequest{Digest: "sha256:" + strings.Repeat("0", 64)}); err != nil || a.GetCompleteUpTo() != 1 {
		t.Errorf("artifact %v, %v", a, err)
	}
	if l, err := c.ListAttestations(ctx, &cairnv1.ListAttestationsRequest{Key: string(signer.Public.Fingerprint), PageSize: 1}); err != nil || len(l.GetEntries()) != 1 {
		t.Errorf("list %v, %v", l, err)
	}
	_, err = c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: []byte("x")})
	if e, ok := reason.Of(err); !ok || e.Reason != reason.FormatUnknown {
		t.Errorf("a refusal is %v", err)
	}
}

func TestWatchingTheRealLedger(t *testing.T) {
	c, pol := startForClient(t)
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := attest.Enrol(signer, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range c.WatchCheckpoints(t.Context(), &cairnv1.WatchCheckpointsRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		head, err := client.VerifyCheckpoint(m.GetCheckpoint(), pol)
		if err != nil || head.N != m.GetSize() {
			t.Fatalf("checkpoint %v: %v", m, err)
		}
		if m.GetSize() == 1 {
			return // what was submitted below
		}
		if _, err := c.SubmitAttestation(t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw}); err != nil {
			t.Fatal(err)
		}
	}
}
