package attest

import (
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/reason"
)

// NewStatement returns the Statement of a predicate about subjects. predicate
// is a *Provenance, a *Reproduction or any value that encodes as JSON.
func NewStatement(predicateType string, predicate any, subjects ...ResourceDescriptor) (*Statement, error) {
	p, err := json.Marshal(predicate, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding predicate: %w", err)
	}
	return &Statement{Type: StatementV1, Subject: subjects, PredicateType: predicateType, Predicate: jsontext.Value(p)}, nil
}

// Sign returns the DSSE envelope of a Statement. It refuses what Open would
// refuse, so that a bad attestation is found where it is made.
func (s *Signer) Sign(st *Statement) ([]byte, error) {
	env, err := s.signJSON(TypeStatement, st)
	if err != nil {
		return nil, err
	}
	if _, err := Open(env, NewKeyring(s.Public)); err != nil {
		return nil, fmt.Errorf("checking the new attestation: %w", err)
	}
	return env, nil
}

func (s *Signer) signJSON(payloadType string, v any) ([]byte, error) {
	payload, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding payload: %w", err)
	}
	return s.SignPayload(payloadType, payload)
}

// SignPayload returns the DSSE envelope of a payload as it is.
func (s *Signer) SignPayload(payloadType string, payload []byte) ([]byte, error) {
	sig, err := s.sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return json.Marshal(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures: []dsse.Signature{{
			KeyID: string(s.Public.Fingerprint),
			Sig:   base64.StdEncoding.EncodeToString(sig),
		}},
	})
}

// SignBytes returns the key's signature of content, in the form that
// PublicKey.Verify takes. It is for what is no attestation: an attestation has a
// payload type in what is signed.
func (s *Signer) SignBytes(content []byte) ([]byte, error) {
	sig, err := s.sign(content)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return sig, nil
}

// AddSignature returns env with another signature over the same payload.
func (s *Signer) AddSignature(envelope []byte) ([]byte, error) {
	var env dsse.Envelope
	if err := json.Unmarshal(envelope, &env); err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "parsing DSSE envelope: %w", err)
	}
	payload, err := env.DecodeB64Payload()
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding the envelope's payload: %w", err)
	}
	sig, err := s.sign(dsse.PAE(env.PayloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	env.Signatures = append(env.Signatures, dsse.Signature{
		KeyID: string(s.Public.Fingerprint),
		Sig:   base64.StdEncoding.EncodeToString(sig),
	})
	return json.Marshal(env)
}
