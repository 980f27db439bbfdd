package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	commonv1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekorv1 "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// maxRekorRequest leaves room for an entry of the largest size, in other JSON.
const maxRekorRequest = leaf.MaxSize + 24<<10

// CheckRekorHostname reports why Rekor's clients could not know a log by name, or
// nil. They take the host of the log's URL, without a port, for its origin; and
// what ends in " - " and digits for the origin of a log of Rekor v1.
func CheckRekorHostname(name string) error {
	host := name
	if strings.Contains(name, ":") {
		host = "[" + name + "]"
	}
	u, err := url.Parse("https://" + host)
	switch {
	case err != nil || name == "" || u.Host != host || strings.ToLower(name) != name:
		return fmt.Errorf("%.200q is not the host name of a URL, in lower case and without a port", name)
	case strings.Contains(name, ":") && net.ParseIP(name) == nil:
		return fmt.Errorf("%.200q is a host name with a port, or no IPv6 address", name)
	case strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == '+' || c > '~' }):
		return fmt.Errorf("%.200q holds characters that the name of a key may not", name)
	}
	return nil
}

// rekor implements rekorpb.RekorServer as far as Rekor's clients use it: what they
// read are the log's files.
type rekor struct {
	rekorpb.UnimplementedRekorServer
	alias   *checkpoint.Alias
	service *service
}

// noRekor is the service of a ledger that is no Rekor log.
type noRekor struct {
	rekorpb.UnimplementedRekorServer
}

// CreateEntry implements rekorpb.RekorServer.
func (noRekor) CreateEntry(context.Context, *rekorpb.CreateEntryRequest) (*rekorv1.TransparencyLogEntry, error) {
	return nil, errNoRekor
}

var errNoRekor = &reason.Error{Reason: reason.RekorAbsent, Message: "this ledger is no Rekor log: it has no hostname for one"}

func newRekor(alias *checkpoint.Alias, svc *service) rekorpb.RekorServer {
	if alias == nil {
		return noRekor{}
	}
	return &rekor{alias: alias, service: svc}
}

// CreateEntry implements rekorpb.RekorServer. Unlike Rekor's own server, it answers
// a retry as it did the first time.
func (r *rekor) CreateEntry(ctx context.Context, req *rekorpb.CreateEntryRequest) (*rekorv1.TransparencyLogEntry, error) {
	text, err := rekorEntry(req)
	if err != nil {
		return nil, err
	}
	logged, err := r.service.intake.Submit(ctx, text, remoteAddress(ctx))
	if err != nil {
		return nil, err
	}
	published, err := r.service.awaitPublication(ctx, logged.Index)
	if err != nil {
		return nil, err
	}
	path, err := r.service.Prover.Inclusion(ctx, logged.Index, uint64(published.N), uint64(published.N))
	if err != nil {
		return nil, err
	}
	signed, err := r.alias.Checkpoint(published)
	if err != nil {
		return nil, err
	}
	return &rekorv1.TransparencyLogEntry{
		LogIndex:    int64(logged.Index),
		LogId:       &commonv1.LogId{KeyId: r.alias.LogID()},
		KindVersion: &rekorv1.KindVersion{Kind: "hashedrekord", Version: "0.0.2"},
		InclusionProof: &rekorv1.InclusionProof{
			LogIndex: int64(logged.Index), TreeSize: published.N, RootHash: published.Hash[:], Hashes: path,
			Checkpoint: &rekorv1.Checkpoint{Envelope: string(signed)},
		},
		CanonicalizedBody: logged.Leaf,
	}, nil
}

// rekorEntry returns the text of the entry that a request asks for. That what is
// in it belongs together is for the intake to check.
func rekorEntry(req *rekorpb.CreateEntryRequest) ([]byte, error) {
	h := req.GetHashedRekordRequestV002()
	if h == nil {
		return nil, reason.Errorf(reason.FormatUnknown, "the request has no hashedRekordRequestV002, which is the only kind of entry that is taken")
	}
	verifier := h.GetSignature().GetVerifier()
	digest, err := attest.RekorDigest(verifier.GetKeyDetails().String(), h.GetDigest())
	if err != nil {
		return nil, err
	}
	e := &leaf.HashedRekord{
		Digest: digest, Signature: h.GetSignature().GetContent(),
		KeyDetails: verifier.GetKeyDetails().String(), Verifier: verifier.GetPublicKey().GetRawBytes(),
	}
	if cert := verifier.GetX509Certificate(); cert != nil {
		e.Verifier, e.Certificate = cert.GetRawBytes(), true
	}
	text, err := e.Marshal()
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "making an entry of the request: %w", err)
	}
	return text, nil
}

// serveRekor hands requests on to the gateway once they are known to be small and
// to be one JSON value: the gateway would overlook what follows it.
func (s *Server) serveRekor(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Rekor == nil {
		writeRefusal(w, r, errNoRekor)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRekorRequest+1))
	var refusal *reason.Error
	switch {
	case err != nil:
		refusal = &reason.Error{Reason: reason.DeadlinePassed, Message: "the request's body did not arrive", Cause: err}
	case len(body) > maxRekorRequest:
		refusal = &reason.Error{Reason: reason.EnvelopeTooLarge, Message: fmt.Sprintf("the request is over the limit of %d bytes", maxRekorRequest)}
	case r.Method == http.MethodPost && !json.Valid(body):
		refusal = &reason.Error{Reason: reason.EnvelopeMalformed, Message: "the request is not JSON"}
	}
	if refusal != nil {
		writeRefusal(w, r, refusal)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.gateway.ServeHTTP(w, r)
}

// writeRefusal answers as the gateway does.
func writeRefusal(w http.ResponseWriter, r *http.Request, e *reason.Error) {
	w.Header().Set("Cache-Control", "no-store")
	writeStatus(w, statusOf(r.Context(), e), reason.Lookup(e.Reason).HTTP)
}
