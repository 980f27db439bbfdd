// Package sigstoretest is a Sigstore instance for tests, without any network: it
// issues certificates, and signs with them as clients of Sigstore do.
package sigstoretest

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
)

// The identity in the certificates.
const (
	Mail   = "builder@example.com"
	Issuer = "https://issuer.example"
)

// Instance is a Sigstore instance.
type Instance struct{ ca *ca.VirtualSigstore }

// New returns an instance with keys of its own.
func New(t testing.TB) *Instance {
	t.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return &Instance{v}
}

// Root returns the trusted root of the instance, with its certificate transparency
// log if ctlog is set: its certificates have no timestamp of that.
func (s *Instance) Root(t testing.TB, ctlog bool) []byte {
	t.Helper()
	var cts map[string]*root.TransparencyLog
	if ctlog {
		cts = withIDs(t, s.ca.CTLogs())
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, s.ca.FulcioCertificateAuthorities(), cts,
		s.ca.TimestampingAuthorities(), withIDs(t, s.ca.RekorLogs()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// withIDs gives logs their ids in binary, as the file has them.
func withIDs(t testing.TB, logs map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	t.Helper()
	for id, l := range logs {
		raw, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		l.ID, l.SignatureHashFunc = raw, crypto.SHA256
	}
	return logs
}

// Attest returns the bundle of a statement that is signed and logged now.
func (s *Instance) Attest(t testing.TB, statement string) []byte {
	t.Helper()
	return s.AttestAt(t, statement, time.Now().Add(time.Minute))
}

// AttestAt returns the bundle of a statement with a certificate that is issued now, and
// which the transparency log claims to have logged at a time.
func (s *Instance) AttestAt(t testing.TB, statement string, logged time.Time) []byte {
	t.Helper()
	e, err := s.ca.AttestAtTime(Mail, Issuer, []byte(statement), logged, true)
	if err != nil {
		t.Fatal(err)
	}
	return s.encode(t, e)
}

// Sign returns the bundle of a signature of an artifact.
func (s *Instance) Sign(t testing.TB, artifact []byte) []byte {
	t.Helper()
	e, err := s.ca.SignAtTimeWithVersion(Mail, Issuer, artifact, time.Now().Add(time.Minute), "v0.1")
	if err != nil {
		t.Fatal(err)
	}
	return s.encode(t, e)
}

// encode makes a bundle of the parts that were signed. Entries without inclusion
// proof are only in version 0.1.
func (s *Instance) encode(t testing.TB, e *ca.TestEntity) []byte {
	t.Helper()
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	m := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: content.Certificate().Raw}},
		}},
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	stamps, err := e.Timestamps()
	if err != nil {
		t.Fatal(err)
	}
	for _, stamp := range stamps {
		m.TimestampVerificationData.Rfc3161Timestamps = append(m.TimestampVerificationData.Rfc3161Timestamps,
			&protocommon.RFC3161SignedTimestamp{SignedTimestamp: stamp})
	}
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range entries {
		m.TlogEntries = append(m.TlogEntries, s.complete(t, x))
	}
	b := &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1", VerificationMaterial: m}
	setContent(t, b, e)
	text, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// complete returns an entry with what bundles have of it, and its constructor leaves
// out: its kind and the promise to include it.
func (s *Instance) complete(t testing.TB, x *tlog.Entry) *protorekor.TransparencyLogEntry {
	t.Helper()
	e := x.TransparencyLogEntry()
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(e.CanonicalizedBody, &kind); err != nil {
		t.Fatal(err)
	}
	e.KindVersion = &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion}
	promise, err := s.ca.RekorSignPayload(tlog.RekorPayload{
		Body: x.Body(), IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId),
	})
	if err != nil {
		t.Fatal(err)
	}
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	return e
}

func setContent(t testing.TB, b *protobundle.Bundle, e *ca.TestEntity) {
	t.Helper()
	sig, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	if m := sig.MessageSignatureContent(); m != nil {
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: m.Digest()},
			Signature:     m.Signature(),
		}}
		return
	}
	env := sig.EnvelopeContent().RawEnvelope()
	payload, err := env.DecodeB64Payload()
	if err != nil {
		t.Fatal(err)
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: payload, PayloadType: env.PayloadType,
		Signatures: []*protodsse.Signature{{Sig: sig.Signature()}},
	}}
}
