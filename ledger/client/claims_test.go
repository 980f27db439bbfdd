package client_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

var aboutX = &cairnv1.ListAttestationsRequest{Digest: "sha256:" + strings.Repeat("ab", 32)}

func TestClaims(t *testing.T) {
	f := newFixture(t)
	got, err := f.client.Claims(t.Context(), aboutX, f.policy)
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin != "log.example/test" || got.Size != 7 || len(got.Logged) != 6 {
		t.Fatalf("claims of %s up to %d: %d of them", got.Origin, got.Size, len(got.Logged))
	}
	for i, l := range got.Logged {
		if l.Index != int64(i+1) || l.Statement == nil {
			t.Errorf("claim %d: index %d, statement %v", i, l.Index, l.Statement)
		}
		if diff := cmp.Diff([]string{"https://alice.example"}, l.Operators); diff != "" {
			t.Errorf("operators of claim %d (-want +got):\n%s", i, diff)
		}
	}
	none := &cairnv1.ListAttestationsRequest{Digest: "sha256:" + strings.Repeat("cd", 32)}
	if got, err := f.client.Claims(t.Context(), none, f.policy); err != nil || len(got.Logged) != 0 {
		t.Errorf("claims about nothing: %v, %v", got, err)
	}
	if _, err := f.client.Claims(t.Context(), &cairnv1.ListAttestationsRequest{Name: "pkg:"}, f.policy); err == nil {
		t.Error("a name that is no purl is asked for")
	}
}

// lie is how a ledger changes an answer, and what the client says of it.
type lie struct {
	name   string
	tamper func(rpc string, m proto.Message)
	want   string // nothing if nobody believes the lie
}

// lies are one for each answer that a claim rests on.
func lies(mallory *attest.PublicKey) []lie {
	return []lie{
		{"an entry that is not in the tree", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetInclusionProofResponse); ok {
				r.InclusionProof[0][0] ^= 1
			}
		}, "does not lead to the root"},
		{"an entry at another index", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.ListAttestationsResponse); ok {
				r.Entries = r.Entries[1:]
				r.Entries[0].Index--
			}
		}, "does not lead to the root"},
		{"a leaf of its own", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.ListAttestationsResponse); ok {
				r.Entries[0].Leaf = r.Entries[1].GetLeaf()
			}
		}, "different leaves"},
		{"another attestation", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetAttestationResponse); ok && r.GetEntry().GetIndex() == 1 {
				r.Attestation = append(r.GetAttestation(), ' ')
			}
		}, "another leaf"},
		{"an operator who is another's", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetAttestationResponse); ok && r.GetEntry().GetIndex() > 0 {
				r.Keys[0].Operator = "https://mallory.example" // nobody believes it
			}
		}, ""},
		{"an enrolment that is none", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetAttestationResponse); ok && r.GetEntry().GetIndex() > 0 {
				r.Keys[0].EnrolledIndex = 2
			}
		}, "is not the enrolment of key"},
		{"a key that did not sign", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetAttestationResponse); ok && r.GetEntry().GetIndex() > 0 {
				r.Keys[0] = &cairnv1.Key{Fingerprint: string(mallory.Fingerprint), PublicKey: mallory.PEM}
			}
		}, "does not open"},
		{"a checkpoint of another log", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetCheckpointResponse); ok {
				r.Checkpoint = strings.Replace(r.GetCheckpoint(), "log.example/test", "log.example/other", 1)
			}
		}, "does not satisfy the policy"},
	}
}

func TestClaimsOfALiar(t *testing.T) {
	mallory, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range lies(mallory.Public) {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.log.Tamper = tt.tamper
			got, err := f.client.Claims(t.Context(), aboutX, f.policy)
			if tt.want != "" {
				wantMisbehaviour(t, err, tt.want)
				return
			}
			if err != nil || got.Logged[0].Operators[0] != "https://alice.example" {
				t.Errorf("claims %v, %v", got, err)
			}
		})
	}
}

// TestClaimsAboutSomethingElse has the ledger answer with entries that were not
// asked for.
func TestClaimsAboutSomethingElse(t *testing.T) {
	f := newFixture(t)
	other := &cairnv1.ListAttestationsRequest{Digest: "sha256:" + strings.Repeat("cd", 32)}
	entry, err := f.client.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: 1})
	if err != nil {
		t.Fatal(err)
	}
	f.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.ListAttestationsResponse); ok {
			r.Entries = []*cairnv1.Entry{entry.GetEntry()}
		}
	}
	_, err = f.client.Claims(t.Context(), other, f.policy)
	wantMisbehaviour(t, err, "is not about what was asked")
}

// TestClaimsWithoutEnd has the ledger answer with page after page.
func TestClaimsWithoutEnd(t *testing.T) {
	next := map[string]string{"": "1", "1": "2", "2": "1"}
	for _, tt := range []struct {
		name  string
		page  func(r *cairnv1.ListAttestationsResponse, token string)
		want  string // nothing if there is an answer
		pages int
	}{
		{"the same token", func(r *cairnv1.ListAttestationsResponse, _ string) { r.NextPageToken = "1" }, "not in log order", 3},
		{"two tokens in turn", func(r *cairnv1.ListAttestationsResponse, token string) { r.NextPageToken = next[token] }, "not in log order", 3},
		{"empty pages", func(r *cairnv1.ListAttestationsResponse, token string) { r.Entries, r.NextPageToken = nil, next[token] }, "has no entry", 1},
		{"one entry twice", func(r *cairnv1.ListAttestationsResponse, _ string) { r.Entries[1] = r.Entries[0] }, "not in log order", 1},
		{"entries beyond the checkpoint", func(r *cairnv1.ListAttestationsResponse, token string) {
			r.NextPageToken = next[token]
			for i, e := range r.GetEntries() {
				e.Index = int64(1000 + i)
			}
		}, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			pages, token := 0, ""
			f.log.Tamper = func(_ string, m proto.Message) {
				r, ok := m.(*cairnv1.ListAttestationsResponse)
				if !ok {
					return
				}
				if pages++; pages > 10 {
					r.NextPageToken = ""
					return
				}
				tt.page(r, token)
				token = r.GetNextPageToken()
			}
			got, err := f.client.Claims(t.Context(), aboutX, f.policy)
			if tt.want != "" {
				wantMisbehaviour(t, err, tt.want)
			} else if err != nil || len(got.Logged) != 0 {
				t.Errorf("claims %v, %v", got, err)
			}
			if pages > tt.pages {
				t.Errorf("%d pages were asked for, want at most %d", pages, tt.pages)
			}
		})
	}
}

// TestClaimsWithAnothersEnrolment has the ledger name another key's enrolment.
func TestClaimsWithAnothersEnrolment(t *testing.T) {
	f := newFixture(t)
	mallory, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := attest.Enrol(mallory, "https://mallory.example", "")
	if err != nil {
		t.Fatal(err)
	}
	index, _, err := f.log.Add(raw)
	if err != nil {
		t.Fatal(err)
	}
	f.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetAttestationResponse); ok && r.GetEntry().GetIndex() != 0 {
			for _, k := range r.GetKeys() {
				k.EnrolledIndex = int64(index)
			}
		}
	}
	_, err = f.client.Claims(t.Context(), aboutX, f.policy)
	wantMisbehaviour(t, err, "is not the enrolment of key")
}

// TestClaimsWithAnEnrolmentThatIsNotLogged has the proof of the enrolment be
// none.
func TestClaimsWithAnEnrolmentThatIsNotLogged(t *testing.T) {
	f := newFixture(t)
	f.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetInclusionProofResponse); ok && r.GetIndex() == 0 {
			r.InclusionProof[0][0] ^= 1
		}
	}
	_, err := f.client.Claims(t.Context(), aboutX, f.policy)
	wantMisbehaviour(t, err, "does not lead to the root")
}
