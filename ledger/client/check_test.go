package client_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// fixture is a log of a few entries, its client, and a policy that trusts it.
type fixture struct {
	log    *clienttest.Ledger
	client *client.Client
	policy torchwood.Policy
	signer *attest.Signer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	l, err := clienttest.New("log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	signer, _, err := attest.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{log: l, client: c, policy: trusting(t, l), signer: signer}
	raw, err := attest.Enrol(signer, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	f.add(t, raw)
	for i := range 6 {
		f.add(t, f.attestation(t, i))
	}
	return f
}

func trusting(t *testing.T, l *clienttest.Ledger) torchwood.Policy {
	t.Helper()
	pol, err := torchwood.ParsePolicy([]byte("log " + l.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

func (f *fixture) add(t *testing.T, raw []byte) {
	t.Helper()
	if _, _, err := f.log.Add(raw); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) attestation(t *testing.T, n int) []byte {
	t.Helper()
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]int{"n": n},
		attest.ResourceDescriptor{Name: "x", Digest: map[string]string{"sha256": strings.Repeat("ab", 32)}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.signer.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestVerifySubmission(t *testing.T) {
	otherLog, err := clienttest.New("log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		tamper func(*cairnv1.SubmitAttestationResponse)
		policy torchwood.Policy // instead of the log's own
		want   string           // in the error; none if empty
	}{
		{name: "as answered", tamper: func(*cairnv1.SubmitAttestationResponse) {}},
		{"another index", func(r *cairnv1.SubmitAttestationResponse) { r.Index-- }, nil, "inclusion proof of entry 6"},
		{"a negative index", func(r *cairnv1.SubmitAttestationResponse) { r.Index = -1 }, nil, "inclusion proof of entry -1"},
		{"an index beyond the tree", func(r *cairnv1.SubmitAttestationResponse) { r.Index++ }, nil, "inclusion proof of entry 8"},
		{"another leaf", func(r *cairnv1.SubmitAttestationResponse) {
			r.Leaf = strings.Replace(r.GetLeaf(), "claim other", "claim build", 1)
		}, nil, "does not lead to the root"},
		{"no leaf", func(r *cairnv1.SubmitAttestationResponse) { r.Leaf = "" }, nil, "the leaf does not parse"},
		{"a shorter proof", func(r *cairnv1.SubmitAttestationResponse) { r.InclusionProof = r.InclusionProof[1:] }, nil, "is not one for size 8"},
		{"a short hash", func(r *cairnv1.SubmitAttestationResponse) { r.InclusionProof[0] = []byte("x") }, nil, "a hash of 1 bytes"},
		{"a flipped bit", func(r *cairnv1.SubmitAttestationResponse) { r.InclusionProof[0][3] ^= 1 }, nil, "does not lead to the root"},
		{"no checkpoint", func(r *cairnv1.SubmitAttestationResponse) { r.Checkpoint = "" }, nil, "checkpoint"},
		{"a changed checkpoint", func(r *cairnv1.SubmitAttestationResponse) {
			r.Checkpoint = strings.Replace(r.GetCheckpoint(), "\n8\n", "\n9\n", 1)
		}, nil, "does not satisfy the policy"},
		{"a policy for another key", func(*cairnv1.SubmitAttestationResponse) {}, trusting(t, otherLog), "does not satisfy the policy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			resp, err := f.client.SubmitAttestation(t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: f.attestation(t, 99)})
			if err != nil {
				t.Fatal(err)
			}
			tt.tamper(resp)
			pol := f.policy
			if tt.policy != nil {
				pol = tt.policy
			}
			c, err := client.VerifySubmission(resp, pol)
			if tt.want == "" && err == nil && c.N == 8 && c.Origin == "log.example/test" {
				return
			}
			wantMisbehaviour(t, err, tt.want)
		})
	}
}

func wantMisbehaviour(t *testing.T, err error, want string) {
	t.Helper()
	var m *client.MisbehaviourError
	if !errors.As(err, &m) || want == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want a *MisbehaviourError with %q", err, want)
	}
}

func TestCheckpointWithoutPolicyIsOnlyRead(t *testing.T) {
	f := newFixture(t)
	forged, err := f.log.Sign(tlog.Tree{N: 7})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.VerifyCheckpoint(forged, nil)
	if err != nil || c.N != 7 {
		t.Errorf("read %+v, %v", c, err)
	}
	for _, s := range []string{"", "x", forged[:20], strings.Replace(forged, "\n7\n", "\n-7\n", 1)} {
		_, err := client.VerifyCheckpoint(s, nil)
		wantMisbehaviour(t, err, "checkpoint does not parse")
	}
}

func TestVerifyEntry(t *testing.T) {
	f := newFixture(t)
	tests := []struct {
		name   string
		tamper func(*cairnv1.GetEntryResponse)
		want   string
	}{
		{"another entry", func(r *cairnv1.GetEntryResponse) { r.Entry.Index = 4 }, "asked for entry 3, the answer is entry 4"},
		{"another envelope", func(r *cairnv1.GetEntryResponse) { r.Entry.Envelope = strings.Repeat("00", 32) }, "is not the leaf's"},
		{"no entry", func(r *cairnv1.GetEntryResponse) { r.Entry = &cairnv1.Entry{Index: 3} }, "the leaf does not parse"},
		{"another leaf", func(r *cairnv1.GetEntryResponse) {
			r.Entry.Leaf = strings.Replace(r.GetEntry().GetLeaf(), "claim other", "claim build", 1)
		}, "does not lead to the root"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := f.client.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: 3})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.VerifyEntry(resp, 3, f.policy); err != nil {
				t.Fatalf("as answered: %v", err)
			}
			tt.tamper(resp)
			_, err = client.VerifyEntry(resp, 3, f.policy)
			wantMisbehaviour(t, err, tt.want)
		})
	}
}

// TestConsistency checks every pair of sizes of a small log, and that no other
// root passes.
func TestConsistency(t *testing.T) {
	f := newFixture(t)
	for from := int64(0); from <= 7; from++ {
		for to := max(from, 1); to <= 7; to++ {
			t.Run(fmt.Sprintf("%d to %d", from, to), func(t *testing.T) {
				resp, err := f.client.GetConsistencyProof(t.Context(), &cairnv1.GetConsistencyProofRequest{From: from, To: to})
				if err != nil {
					t.Fatal(err)
				}
				old, err := f.log.Tree(from)
				if err != nil {
					t.Fatal(err)
				}
				next, err := f.log.Tree(to)
				if err != nil {
					t.Fatal(err)
				}
				path := resp.GetConsistencyProof()
				if err := client.VerifyConsistency(old, next, path); err != nil {
					t.Fatal(err)
				}
				forged := old
				forged.Hash[5] ^= 1
				wantMisbehaviour(t, client.VerifyConsistency(forged, next, path), "does not extend")
				if from > 0 { // every tree extends the empty one
					forged = next
					forged.Hash[5] ^= 1
					wantMisbehaviour(t, client.VerifyConsistency(old, forged, path), "does not extend")
				}
				wantMisbehaviour(t, client.VerifyConsistency(old, next, append(path, make([]byte, 32))), "does not extend")
				if from < to {
					wantMisbehaviour(t, client.VerifyConsistency(next, old, path), "shrank")
				}
			})
		}
	}
}

func TestRootAt(t *testing.T) {
	f := newFixture(t)
	for size := int64(0); size <= 7; size++ {
		want, err := f.log.Tree(size)
		if err != nil {
			t.Fatal(err)
		}
		var last string
		var path [][]byte
		if size > 0 {
			entry, err := f.client.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: size - 1})
			if err != nil {
				t.Fatal(err)
			}
			index := size - 1
			p, err := f.client.GetInclusionProof(t.Context(), &cairnv1.GetInclusionProofRequest{Index: &index, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			last, path = entry.GetEntry().GetLeaf(), p.GetInclusionProof()
		}
		got, err := client.RootAt(size, []byte(last), path)
		if err != nil || got != want {
			t.Errorf("RootAt(%d) = %v, %v, want %v", size, got, err, want)
		}
	}
	_, err := client.RootAt(5, []byte("x"), nil)
	wantMisbehaviour(t, err, "is not one for size 5")
}

func TestVerifyAttestation(t *testing.T) {
	f := newFixture(t)
	raw := f.attestation(t, 50)
	f.add(t, raw)
	other, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		tamper func(*cairnv1.GetAttestationResponse)
		want   string
	}{
		{"other bytes", func(r *cairnv1.GetAttestationResponse) { r.Attestation = f.attestation(t, 51) }, "yields another leaf"},
		{"bytes that are no attestation", func(r *cairnv1.GetAttestationResponse) { r.Attestation = []byte("{}") }, "does not open"},
		{"another leaf", func(r *cairnv1.GetAttestationResponse) {
			r.Entry.Leaf = strings.Replace(r.GetEntry().GetLeaf(), "claim other", "claim build", 1)
		}, "yields another leaf"},
		{"no keys", func(r *cairnv1.GetAttestationResponse) { r.Keys = nil }, "does not open"},
		{"another key", func(r *cairnv1.GetAttestationResponse) { r.Keys[0].PublicKey = other.Public.PEM }, "the answer calls key"},
		{"no key", func(r *cairnv1.GetAttestationResponse) { r.Keys[0].PublicKey = "x" }, "does not parse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := f.client.GetAttestation(t.Context(), &cairnv1.GetAttestationRequest{Envelope: leaf.SHA256(raw).Hex()})
			if err != nil {
				t.Fatal(err)
			}
			a, err := client.VerifyAttestation(resp)
			if err != nil || a.Claim.Claim != leaf.ClaimOther {
				t.Fatalf("as answered: %v", err)
			}
			tt.tamper(resp)
			_, err = client.VerifyAttestation(resp)
			wantMisbehaviour(t, err, tt.want)
		})
	}
}

func TestVerifyLogged(t *testing.T) {
	f := newFixture(t)
	raw := f.attestation(t, 60)
	f.add(t, raw)
	resp, err := f.client.GetAttestation(t.Context(), &cairnv1.GetAttestationRequest{Envelope: leaf.SHA256(raw).Hex()})
	if err != nil {
		t.Fatal(err)
	}
	logged := resp.GetEntry().GetLeaf()
	// P-256 signatures differ each time, so this is the same attestation in
	// other bytes.
	for name, same := range map[string][]byte{"same bytes": raw, "signed again": f.attestation(t, 60)} {
		if _, err := client.VerifyLogged(same, resp.GetKeys(), logged); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = client.VerifyLogged(f.attestation(t, 61), resp.GetKeys(), logged)
	wantMisbehaviour(t, err, "something else")
	_, err = client.VerifyLogged(f.attestation(t, 60), resp.GetKeys(), strings.Replace(logged, "claim other", "claim build", 1))
	wantMisbehaviour(t, err, "does not follow")
	_, err = client.VerifyLogged(raw, resp.GetKeys(), "x")
	wantMisbehaviour(t, err, "does not parse")
}

// TestTamperIsSeen holds the fake itself: it must be able to lie.
func TestTamperIsSeen(t *testing.T) {
	f := newFixture(t)
	f.log.Tamper = func(rpc string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetCheckpointResponse); ok && rpc == "GetCheckpoint" {
			r.Size = 3
		}
	}
	resp, err := f.client.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
	if err != nil || resp.GetSize() != 3 {
		t.Errorf("answer %v, %v", resp, err)
	}
}
