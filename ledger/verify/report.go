package verify

import (
	"fmt"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// The schemas name the forms of reports in JSON.
const (
	Schema      = "cairn/verify/v1"       // Report
	EntrySchema = "cairn/verify-entry/v1" // EntryReport
)

// Outcome is what a verification comes to. Its zero value is Unproven.
type Outcome int

// The outcomes.
const (
	Unproven Outcome = iota // nothing is wrong, but evidence is lacking
	Proven                  // every check is ok
	Refuted                 // a check failed
)

// String returns the word that JSON has.
func (o Outcome) String() string {
	switch o {
	case Proven:
		return "proven"
	case Refuted:
		return "refuted"
	}
	return "unproven"
}

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(b []byte) error {
	for _, known := range []Outcome{Unproven, Proven, Refuted} {
		if known.String() == string(b) {
			*o = known
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %.40q", b)
}

// The checks of Entry, in their order.
const (
	CheckProof        = "proof"          // the proof file parses
	CheckLogSignature = "log-signature"  // a log of the policy signed the checkpoint
	CheckQuorum       = "witness-quorum" // the witnesses that cosigned satisfy the policy
	CheckInclusion    = "inclusion"      // the leaf is in the checkpoint's tree at the index
	CheckAttestation  = "attestation"    // the attestation hashes to the leaf's envelope
	CheckKeys         = "keys"           // each key of the leaf has its public key
	CheckSignatures   = "signatures"     // the signatures verify and the leaf is derived again
)

var entryChecks = []string{
	CheckProof, CheckLogSignature, CheckQuorum, CheckInclusion, CheckAttestation, CheckKeys, CheckSignatures,
}

// Status is what came of a check. Its zero value is NotDone.
type Status int

// The statuses.
const (
	NotDone Status = iota // could not be established, for the reason in Detail
	OK
	Failed
)

// String returns the word that JSON has.
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Failed:
		return "failed"
	}
	return "not-done"
}

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Status) UnmarshalText(b []byte) error {
	for _, known := range []Status{NotDone, OK, Failed} {
		if known.String() == string(b) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown status %.40q", b)
}

// Check is one check of a Report.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"` // a sentence
}

// EntryReport is the answer of Entry, for programs and, by Text, for people. A field
// is empty until the check in its comment is ok.
type EntryReport struct {
	Schema  string  `json:"schema"` // cairn/verify-entry/v1
	Outcome Outcome `json:"outcome"`
	// Reasons are why the outcome is not Proven: the details of the failed
	// checks or, if there are none, of what is lacking.
	Reasons []string `json:"reasons"`

	ID             string    `json:"id,omitempty"`             // inclusion: origin#index
	Origin         string    `json:"origin,omitempty"`         // log-signature
	Index          *int64    `json:"index,omitempty"`          // inclusion
	CheckpointSize int64     `json:"checkpointSize,omitempty"` // log-signature
	Witnesses      Witnesses `json:"witnesses"`                // log-signature

	Leaf     string             `json:"leaf,omitempty"`   // inclusion: its text
	Kind     leaf.Kind          `json:"kind,omitempty"`   // inclusion
	Claim    leaf.Claim         `json:"claim,omitempty"`  // inclusion
	Result   leaf.Result        `json:"result,omitempty"` // inclusion
	Keys     []leaf.Fingerprint `json:"keys"`             // inclusion
	Subjects []NamedArtifact    `json:"subjects"`         // inclusion; names: signatures
	Outputs  []NamedArtifact    `json:"outputs"`          // inclusion; names: signatures

	BuilderID string `json:"builderId,omitempty"` // signatures
	// Operator is whom the signer claims to act for. What to believe of it is
	// the policy's decision, and this report's outcome does not rest on it.
	Operator string `json:"operatorClaimed,omitempty"` // signatures

	// Certificate is set if the key is that of a certificate.
	Certificate *Certificate `json:"certificate,omitempty"` // signatures

	Checks []Check `json:"checks"`
}

// Certificate is who a certificate says the key belongs to, and whether a trusted root
// vouches for it.
type Certificate struct {
	Names   []string `json:"names"`
	Issuer  string   `json:"issuer"`
	Trusted bool     `json:"trusted"`
}

// Witnesses says how the policy's quorum stands.
type Witnesses struct {
	Satisfied bool   `json:"satisfied"`
	Cosigned  int    `json:"cosigned"`
	Total     int    `json:"total"` // that the quorum can draw on
	Quorum    string `json:"quorum,omitempty"`
}

// NamedArtifact is a subject or an output.
type NamedArtifact struct {
	Digests []leaf.Digest `json:"digests"`
	Name    string        `json:"name,omitempty"` // in the signer's words
	URI     string        `json:"uri,omitempty"`
}

func newEntryReport() *EntryReport {
	return &EntryReport{
		Schema: EntrySchema, Reasons: []string{}, Keys: []leaf.Fingerprint{},
		Subjects: []NamedArtifact{}, Outputs: []NamedArtifact{}, Checks: []Check{},
	}
}

// Exit returns the exit code for the outcome.
func (r *EntryReport) Exit() int {
	switch r.Outcome {
	case Proven:
		return reason.ExitYes
	case Refuted:
		return reason.ExitNo
	}
	return reason.ExitUnproven
}

func (r *EntryReport) add(name string, s Status, format string, args []any) {
	r.Checks = append(r.Checks, Check{Name: name, Status: s, Detail: fmt.Sprintf(format, args...)})
}

func (r *EntryReport) ok(name, format string, args ...any) { r.add(name, OK, format, args) }

func (r *EntryReport) failed(name, format string, args ...any) { r.add(name, Failed, format, args) }

// lacking records a check whose evidence is not there.
func (r *EntryReport) lacking(name, format string, args ...any) {
	r.add(name, NotDone, format, args)
	r.Reasons = append(r.Reasons, r.Checks[len(r.Checks)-1].Detail)
}

// notDone records a check that could not begin because an earlier one is not
// ok. It is no reason of its own.
func (r *EntryReport) notDone(name, needs string) {
	r.add(name, NotDone, "not done: it needs %s", []any{needs})
}

// decide sets the outcome. Proven takes the checks of the list, in its order and
// each ok, so that one that was forgotten cannot be taken for a success.
func (r *EntryReport) decide() {
	var failures []string
	proven := len(r.Checks) == len(entryChecks)
	for i, c := range r.Checks {
		if c.Status == Failed {
			failures = append(failures, c.Detail)
		}
		proven = proven && c.Name == entryChecks[i] && c.Status == OK
	}
	switch {
	case failures != nil:
		r.Outcome, r.Reasons = Refuted, failures
	case proven:
		r.Outcome = Proven
	default:
		r.Outcome = Unproven
	}
}

func (r *EntryReport) setLeaf(l *leaf.Leaf, text []byte, index int64) {
	r.ID, r.Index = fmt.Sprintf("%s#%d", r.Origin, index), &index
	r.Leaf, r.Kind, r.Claim, r.Result = string(text), l.Kind, l.Claim, l.Result
	r.Keys = append(r.Keys, l.Keys...)
	for _, d := range l.Subjects {
		r.Subjects = append(r.Subjects, NamedArtifact{Digests: []leaf.Digest{d}})
	}
	for _, d := range l.Outputs {
		r.Outputs = append(r.Outputs, NamedArtifact{Digests: []leaf.Digest{d}})
	}
}

func (r *EntryReport) setClaim(a *attest.Attestation) {
	r.BuilderID, r.Operator = a.Claim.BuilderID, a.Claim.Operator
	r.Subjects, r.Outputs = artifacts(a.Claim.Subjects), artifacts(a.Claim.Outputs)
}

func artifacts(rs []attest.Resource) []NamedArtifact {
	as := make([]NamedArtifact, 0, len(rs))
	for _, r := range rs {
		as = append(as, NamedArtifact{Digests: r.Strong(), Name: r.Name, URI: r.URI})
	}
	return as
}
