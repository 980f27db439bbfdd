package mirror_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// askers are the ways of asking for the same log: a ledger, over REST, and its
// mirror: in a directory, and at a web server.
type askers struct {
	ledger, dir, web *client.Client
	keys             []*attest.Signer // enrolled; the last is revoked
	stranger         *attest.Signer   // not enrolled
	raws             [][]byte
	rekor            int // index of a Rekor entry; the next is of an enrolled key
}

func newAskers(t *testing.T) *askers {
	t.Helper()
	l, err := clienttest.New("log.example/contract")
	must(t, err)
	a := &askers{}
	add := func(raw []byte, err error) {
		t.Helper()
		must(t, err)
		_, _, err = l.Add(raw)
		must(t, err)
		a.raws = append(a.raws, raw)
	}
	for i := range 3 {
		s, _, err := attest.GenerateEd25519()
		must(t, err)
		a.keys = append(a.keys, s)
		add(attest.Enrol(s, fmt.Sprintf("https://operator%d.example", i), ""))
	}
	a.stranger, _, err = attest.GenerateEd25519()
	must(t, err)
	for i := range 260 { // more than a tile
		add(a.keys[i%3].Sign(a.statement(t, i)))
	}
	a.rekor = len(a.raws)
	enrolled, err := attest.NewSigner(leaftest.P256(t, "alice"))
	must(t, err)
	add(leaftest.HashedRekord(t, "bob", "released"), nil)
	add(leaftest.HashedRekord(t, "alice", "released"), nil)
	add(attest.Enrol(enrolled, "https://operator.example", ""))
	add(attest.Revoke(a.keys[2], "lost"))
	add(a.keys[0].Sign(a.statement(t, 1000)))

	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	pol, err := torchwood.ParsePolicy([]byte("log " + l.VKey() + "\nquorum none\n"))
	must(t, err)
	src, err := mirror.OpenSource(t.Context(), srv.URL, client.Options{})
	must(t, err)
	dir := t.TempDir()
	r, err := mirror.Copy(t.Context(), src, dir, pol, mirror.Options{})
	if err != nil || r.Withheld != 0 || r.Tree.N != int64(len(a.raws)) {
		t.Fatalf("%+v, %v", r, err)
	}
	a.ledger, err = client.New(srv.URL, client.Options{})
	must(t, err)
	answer, err := mirror.Open(t.Context(), mirror.Dir(dir))
	must(t, err)
	a.dir = client.NewLocal(dir, answer)
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(web.Close)
	opened := func(ctx context.Context) (client.Answer, error) {
		return mirror.Open(ctx, mirror.Web(web.URL, client.Options{}))
	}
	a.web, err = client.New(web.URL, client.Options{Mirror: opened})
	must(t, err)
	return a
}

// statement is about one of seven artifacts, under one of two names.
func (a *askers) statement(t *testing.T, n int) *attest.Statement {
	t.Helper()
	artifact := attest.ResourceDescriptor{
		Name: fmt.Sprintf("pkg:generic/thing%d@1", n%2), Digest: map[string]string{"sha256": contractDigest(n % 7)},
	}
	predicate := &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{BuildType: "https://example.org/build", ResolvedDependencies: []attest.ResourceDescriptor{
			{Name: fmt.Sprint("source ", n), Digest: map[string]string{"sha256": contractDigest(n)}, Annotations: map[string]any{"role": "source"}},
		}},
		RunDetails: attest.RunDetails{Builder: attest.Builder{ID: "https://builder.example"}},
	}
	st, err := attest.NewStatement(attest.PredicateProvenance, predicate, artifact)
	must(t, err)
	return st
}

func contractDigest(n int) string { return leaf.SHA256(fmt.Append(nil, "content ", n)).Hex() }

// pages returns all pages of a list as one: how a token is written is the
// ledger's affair.
func pages(ctx context.Context, c *client.Client, req *cairnv1.ListAttestationsRequest) (proto.Message, error) {
	req = proto.CloneOf(req)
	all := &cairnv1.ListAttestationsResponse{}
	for {
		page, err := c.ListAttestations(ctx, req)
		if err != nil {
			return nil, err
		}
		if n := int(req.GetPageSize()); n > 0 && len(page.GetEntries()) > n {
			return nil, fmt.Errorf("a page of %d entries, asked for %d", len(page.GetEntries()), n)
		}
		all.Entries = append(all.Entries, page.GetEntries()...)
		all.Checkpoint, all.CompleteUpTo = page.GetCheckpoint(), page.GetCompleteUpTo()
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return all, nil
		}
	}
}

// TestEveryWayOfAskingAnswersTheSame asks a ledger and its mirrors everything
// that a reader can ask, for what is there and for what is not.
func TestEveryWayOfAskingAnswersTheSame(t *testing.T) {
	t.Parallel()
	a := newAskers(t)
	n := int64(len(a.raws))
	for _, q := range a.questions() {
		t.Run(q.name, func(t *testing.T) {
			want, err := q.ask(t.Context(), a.ledger)
			refused, _ := reason.Of(err)
			if (err == nil) != (q.refusal == "") || refused != nil && refused.Reason != q.refusal {
				t.Fatalf("the ledger's error is %v, want %q", err, q.refusal)
			}
			for name, c := range map[string]*client.Client{"directory": a.dir, "web": a.web} {
				got, err := q.ask(t.Context(), c)
				refused, _ := reason.Of(err)
				if (err == nil) != (q.refusal == "") || refused != nil && refused.Reason != q.refusal {
					t.Errorf("%s: error %v, the ledger's is %q", name, err, q.refusal)
				}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Errorf("%s answers (-ledger +%s):\n%.3000s", name, name, diff)
				}
			}
		})
	}
	for i := range n {
		for _, c := range []*client.Client{a.dir, a.web} {
			want, err := a.ledger.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: i})
			must(t, err)
			if got, err := c.GetEntry(t.Context(), &cairnv1.GetEntryRequest{Index: i}); err != nil || !proto.Equal(want, got) {
				t.Errorf("entry %d: %v", i, err)
			}
		}
	}
}

// question is one thing to ask, and the reason why it is refused, if it is.
type question struct {
	name    string
	refusal reason.Reason
	ask     func(ctx context.Context, c *client.Client) (proto.Message, error)
}

// asking makes a question of a method and its request.
func asking[Q, A proto.Message](name string, refusal reason.Reason, method func(*client.Client, context.Context, Q) (A, error), req Q) question {
	return question{name, refusal, func(ctx context.Context, c *client.Client) (proto.Message, error) {
		m, err := method(c, ctx, req)
		if err != nil {
			return nil, err
		}
		return m, nil
	}}
}

func listing(name string, refusal reason.Reason, req *cairnv1.ListAttestationsRequest) question {
	return question{name, refusal, func(ctx context.Context, c *client.Client) (proto.Message, error) { return pages(ctx, c, req) }}
}

func included(index, size int64) *cairnv1.GetInclusionProofRequest {
	return &cairnv1.GetInclusionProofRequest{Index: &index, Size: size}
}

func (a *askers) questions() []question {
	n := int64(len(a.raws))
	envelope := func(i int) *cairnv1.GetAttestationRequest {
		return &cairnv1.GetAttestationRequest{Envelope: leaf.SHA256(a.raws[i]).Hex()}
	}
	key := func(s *attest.Signer) string { return string(s.Public.Fingerprint) }
	nowhere := "sha256:" + strings.Repeat("0", 64)
	return []question{
		asking("the checkpoint", "", (*client.Client).GetCheckpoint, &cairnv1.GetCheckpointRequest{}),
		asking("an enrolment", "", (*client.Client).GetAttestation, envelope(1)),
		asking("an attestation", "", (*client.Client).GetAttestation, envelope(100)),
		asking("a revocation", "", (*client.Client).GetAttestation, envelope(len(a.raws)-2)),
		asking("a Rekor entry", "", (*client.Client).GetAttestation, envelope(a.rekor)),
		asking("a Rekor entry of an enrolled key", "", (*client.Client).GetAttestation, envelope(a.rekor+1)),
		asking("an artifact of Rekor entries", "", (*client.Client).GetArtifact, &cairnv1.GetArtifactRequest{Digest: string(leaf.SHA256([]byte("released")))}),
		asking("an attestation that is not there", reason.AttestationNotFound, (*client.Client).GetAttestation,
			&cairnv1.GetAttestationRequest{Envelope: nowhere[7:]}),
		asking("a key", "", (*client.Client).GetKey, &cairnv1.GetKeyRequest{Fingerprint: key(a.keys[0])}),
		asking("a revoked key", "", (*client.Client).GetKey, &cairnv1.GetKeyRequest{Fingerprint: key(a.keys[2])}),
		asking("a key that is not there", reason.KeyNotFound, (*client.Client).GetKey, &cairnv1.GetKeyRequest{Fingerprint: key(a.stranger)}),
		listing("all entries", "", &cairnv1.ListAttestationsRequest{PageSize: 100}),
		listing("the entries about a digest", "", &cairnv1.ListAttestationsRequest{Digest: "sha256:" + contractDigest(3), PageSize: 7}),
		listing("the entries about a name", "", &cairnv1.ListAttestationsRequest{Name: "pkg:generic/thing1@1", PageSize: 50}),
		listing("the entries of a key", "", &cairnv1.ListAttestationsRequest{Key: key(a.keys[1]), PageSize: 1000}),
		listing("the entries about no digest", "", &cairnv1.ListAttestationsRequest{Digest: nowhere}),
		listing("the entries about no name", "", &cairnv1.ListAttestationsRequest{Name: "pkg:generic/nothing"}),
		listing("the entries of a stranger", "", &cairnv1.ListAttestationsRequest{Key: key(a.stranger)}),
		listing("entries about two things", reason.ArgumentInvalid, &cairnv1.ListAttestationsRequest{Digest: nowhere, Key: key(a.keys[0])}),
		listing("entries about what is no digest", reason.ArgumentInvalid, &cairnv1.ListAttestationsRequest{Digest: "sha256:7"}),
		listing("pages that are too long", reason.ArgumentInvalid, &cairnv1.ListAttestationsRequest{PageSize: 100_000}),
		asking("an artifact", "", (*client.Client).GetArtifact, &cairnv1.GetArtifactRequest{Digest: "sha256:" + contractDigest(3)}),
		asking("an artifact that is not there", "", (*client.Client).GetArtifact, &cairnv1.GetArtifactRequest{Digest: nowhere}),
		asking("the last entry", "", (*client.Client).GetEntry, &cairnv1.GetEntryRequest{Index: n - 1}),
		asking("an entry that is not there", reason.EntryNotFound, (*client.Client).GetEntry, &cairnv1.GetEntryRequest{Index: n}),
		asking("an inclusion proof", "", (*client.Client).GetInclusionProof, included(17, 0)),
		asking("an earlier inclusion proof", "", (*client.Client).GetInclusionProof, included(17, 256)),
		asking("an inclusion proof of a tree to come", reason.SizeOutOfRange, (*client.Client).GetInclusionProof, included(17, n+1)),
		asking("an inclusion proof of an earlier tree", reason.SizeOutOfRange, (*client.Client).GetInclusionProof, included(17, 17)),
		asking("the inclusion proof of no leaf", reason.EntryNotFound, (*client.Client).GetInclusionProof,
			&cairnv1.GetInclusionProofRequest{LeafHash: nowhere[7:]}),
		asking("a consistency proof", "", (*client.Client).GetConsistencyProof, &cairnv1.GetConsistencyProofRequest{From: 100, To: 257}),
		asking("a consistency proof of nothing", "", (*client.Client).GetConsistencyProof, &cairnv1.GetConsistencyProofRequest{From: 0, To: 257}),
		asking("a consistency proof backwards", reason.SizeOutOfRange, (*client.Client).GetConsistencyProof, &cairnv1.GetConsistencyProofRequest{From: 258, To: 257}),
		asking("a consistency proof of a tree to come", reason.SizeOutOfRange, (*client.Client).GetConsistencyProof, &cairnv1.GetConsistencyProofRequest{From: 1, To: n + 1}),
	}
}
