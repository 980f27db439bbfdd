package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// ledger is a running ledger and a client of it.
type ledger struct {
	*e2etest.Process
	readyLine
	cairnv1.LedgerServiceClient
	dir      string
	verifier note.Verifier
}

// startLedger starts a ledger on a directory.
func startLedger(t *testing.T, dir string, args ...string) *ledger {
	t.Helper()
	l := &ledger{dir: dir}
	l.Process, l.readyLine = start(t, "cairn-ledger", append([]string{"-dev", dir}, args...)...)
	conn, err := grpc.NewClient(l.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	l.LedgerServiceClient = cairnv1.NewLedgerServiceClient(conn)
	if l.verifier, err = note.NewVerifier(l.VKey); err != nil {
		t.Fatalf("reading the ledger's key: %v", err)
	}
	return l
}

// newLedger starts a new ledger without a policy: its key has to be known before
// there can be witnesses for it.
func newLedger(t *testing.T) *ledger {
	t.Helper()
	return startLedger(t, filepath.Join(t.TempDir(), "ledger"))
}

// restart starts a ledger again, with a policy.
func (l *ledger) restart(t *testing.T, policy string) *ledger {
	t.Helper()
	l.Stop(t)
	return startLedger(t, l.dir, "-policy", policy)
}

// tree returns the tree of a checkpoint that the log signed.
func (l *ledger) tree(t *testing.T, signed string) tlog.Tree {
	t.Helper()
	n, err := note.Open([]byte(signed), note.VerifierList(l.verifier))
	if err != nil {
		t.Fatalf("opening checkpoint %q: %v", signed, err)
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || c.Origin != l.Origin {
		t.Fatalf("checkpoint %q is not one of %s: %v", n.Text, l.Origin, err)
	}
	return c.Tree
}

// published returns the checkpoint that the ledger serves.
func (l *ledger) published(t *testing.T) string {
	t.Helper()
	c, err := l.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
	if err != nil {
		t.Fatalf("getting the checkpoint: %v", err)
	}
	return c.Checkpoint
}

// author makes signed attestations that nobody made before.
type author struct {
	signer *attest.Signer
	name   string
	next   atomic.Int64
}

// enrol returns an author whose key the ledger knows.
func (l *ledger) enrol(t *testing.T) *author {
	t.Helper()
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	a := &author{signer: signer, name: string(signer.Public.Fingerprint)[7:19]}
	raw, err := attest.Enrol(signer, "https://"+a.name+".example", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.SubmitAttestation(t.Context(), &cairnv1.SubmitAttestationRequest{Attestation: raw}); err != nil {
		t.Fatalf("enrolling: %v\n%s", err, l.Stderr)
	}
	return a
}

// attestation returns an attestation that is about something new.
func (a *author) attestation() []byte {
	subject := fmt.Sprintf("%s-%d", a.name, a.next.Add(1))
	sum := sha256.Sum256([]byte(subject))
	raw, err := a.signer.SignPayload(attest.TypeStatement, fmt.Appendf(nil,
		`{"_type":%q,"subject":[{"name":%q,"digest":{"sha256":%q}}],"predicateType":"https://example.com/test/v1","predicate":{}}`,
		attest.StatementV1, subject, hex.EncodeToString(sum[:])))
	if err != nil {
		panic(err) // Ed25519 in memory does not fail
	}
	return raw
}

// submit logs something new, and verifies that the answer proves it.
func (l *ledger) submit(t *testing.T, by *author) *cairnv1.SubmitAttestationResponse {
	t.Helper()
	r, err := l.trySubmit(t.Context(), by.attestation())
	if err != nil {
		t.Fatalf("submitting: %v\n%s", err, l.Stderr)
	}
	l.verify(t, r)
	return r
}

func (l *ledger) trySubmit(ctx context.Context, raw []byte) (*cairnv1.SubmitAttestationResponse, error) {
	return l.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw})
}

func (l *ledger) verify(t *testing.T, r *cairnv1.SubmitAttestationResponse) {
	t.Helper()
	tree := l.tree(t, r.Checkpoint)
	path := make(tlog.RecordProof, len(r.InclusionProof))
	for i, b := range r.InclusionProof {
		path[i] = tlog.Hash(b)
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, r.Index, tlog.RecordHash([]byte(r.Leaf))); err != nil {
		t.Fatalf("the proof of entry %d in size %d: %v", r.Index, tree.N, err)
	}
}

// copyDir copies a directory that no process uses, with its files' modes.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copying %s: %v\n%s", from, err, out)
	}
}
