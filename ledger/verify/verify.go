// Package verify decides offline whether evidence proves what it claims.
//
// Entry takes one entry of a log: the attestation's bytes, a proof file, a
// policy and public keys. It answers with an EntryReport, whatever the input is.
// Proven says that the attestation was logged and who signed it. It does not say
// that what it states is true, that its signer is who it claims to be, or that
// the key was not revoked before or after: these need more of the log.
//
// Open takes a bundle of entries, and Artifact decides by what is in it whether
// an artifact was rebuilt by enough operators, and all that it is made from. It
// answers with a Report.
//
// Invariants:
//   - The zero Outcome is Unproven, and so is the zero Verdict. Proven needs
//     every check of the list to be ok: a check that was not done, or that is
//     missing, is never a success.
//   - One failed check refutes, whatever else is lacking. Of a bundle with one
//     wrong entry, nothing is believed.
//   - An EntryReport shows only what a check established. What the proof or the
//     attestation says about itself stays out until then.
//   - The signed bytes are the authority: the leaf that is shown is in the log
//     and is the one that the attestation yields again here.
//   - Operators count, never keys, signatures or claims. What counts is the least
//     that must: nothing is reproduced because it is assumed to be.
//   - Evidence answers only to the policy and the time that it was verified by.
//
// The package does no I/O and reads no clock; its answer is a function of its
// input.
package verify

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// EntryInput is the evidence for one entry. Any of it may be absent.
type EntryInput struct {
	Attestation []byte // as it was submitted; nil if not at hand
	Proof       []byte // a tlog-proof file
	Policy      *policy.Policy
	// At is when the age of cosignatures is judged, for a policy with max-age.
	At   time.Time
	Keys []*attest.PublicKey // beside those in the proof
	// Certificate refuses an attestation whose key comes with a certificate that is
	// not trusted. If it is nil, nobody asks who issued the certificate, and the
	// report says so.
	Certificate func(*attest.Attestation) error
}

// Entry verifies one entry of a log.
func Entry(in EntryInput) *EntryReport {
	v := entry{in: in, r: newEntryReport(), openHead: openHead}
	v.run()
	v.r.decide()
	return v.r
}

func (v *entry) run() {
	v.proof()
	v.logSignature()
	v.quorum()
	v.inclusion()
	v.attestation()
	v.keys()
	v.signatures()
}

// entry holds what the checks have established so far. Each field is set by the
// check that it is named for, and only if that is ok.
type entry struct {
	in EntryInput
	r  *EntryReport
	// openHead may know the checkpoint already.
	openHead func(signed []byte, pol *policy.Policy, at time.Time) *head
	// unsignedToo goes on without a policy, on a checkpoint that nobody vouches
	// for. The log's signature and the quorum stay not done.
	unsignedToo bool

	parsed     *tlogproof.Proof    // CheckProof
	head       *head               // CheckLogSignature
	leaf       *leaf.Leaf          // CheckInclusion
	text       []byte              // CheckInclusion: of leaf
	attested   bool                // CheckAttestation
	haveKeys   bool                // CheckKeys
	publicKeys []*attest.PublicKey // CheckKeys: exactly those of leaf
	opened     *attest.Attestation // CheckSignatures
}

func (v *entry) proof() {
	if v.in.Proof == nil {
		v.r.lacking(CheckProof, "the proof is not given")
		return
	}
	p, err := tlogproof.Parse(v.in.Proof)
	if err != nil {
		v.r.failed(CheckProof, "the proof is malformed: %v", err)
		return
	}
	v.parsed = p
	v.r.ok(CheckProof, "the proof is well-formed")
}

func (v *entry) logSignature() {
	const check = CheckLogSignature
	switch {
	case v.parsed == nil:
		v.r.notDone(check, CheckProof)
		return
	case v.in.Policy == nil:
		v.r.lacking(check, "no policy is given that says which log to believe")
		if v.unsignedToo {
			v.head = openHead(v.parsed.Checkpoint, nil, v.in.At)
		}
		return
	}
	h := v.openHead(v.parsed.Checkpoint, v.in.Policy, v.in.At)
	switch {
	case h.err != nil:
		v.r.failed(check, "opening the checkpoint: %v", h.err)
		return
	case !h.explained.LogSigned:
		v.unsigned(h)
		return
	}
	v.head = h
	v.r.Origin, v.r.CheckpointSize = h.Origin, h.N
	v.r.ok(check, "log %s signed the checkpoint of size %d", h.explained.Origin, h.N)
}

// head is a signed checkpoint and what a policy says of it.
type head struct {
	tlogproof.Checkpoint
	signed    []byte
	sigs      []note.Signature // that verify under the policy's keys
	explained policy.Explanation
	err       error
}

// openHead opens a checkpoint, as of a time. Without a policy, nothing of it is
// verified.
func openHead(signed []byte, pol *policy.Policy, at time.Time) *head {
	h := &head{signed: signed}
	var known note.Verifiers
	if pol != nil {
		known = pol
	}
	if h.Checkpoint, h.sigs, h.err = tlogproof.Open(signed, known); h.err != nil || pol == nil {
		return h
	}
	h.explained = pol.ExplainAt(h.Origin, h.sigs, at)
	return h
}

// unsigned decides what a checkpoint without its log's signature is. One that
// names a log of the policy is refuted: that log did not sign it. One of another
// log proves nothing either way.
func (v *entry) unsigned(h *head) {
	const check = CheckLogSignature
	e := &h.explained
	for _, l := range v.in.Policy.Logs() {
		for _, s := range h.sigs {
			if by, _ := v.in.Policy.Verifier(s.Name, s.Hash); by == l.Verifier {
				v.r.failed(check, "log %s signed the checkpoint, but it says that it is of %s", l.Name, e.Origin)
				return
			}
		}
	}
	if len(e.Logs) > 0 {
		v.r.failed(check, "the checkpoint says that it is of %s, but no key that the policy has for this log signed it", e.Origin)
		return
	}
	v.r.lacking(check, "the checkpoint is of %s, which is no log of the policy", e.Origin)
}

func (v *entry) quorum() {
	const check = CheckQuorum
	if v.head == nil || v.in.Policy == nil {
		v.r.notDone(check, CheckLogSignature)
		return
	}
	w := &v.r.Witnesses
	*w = v.head.witnesses(v.in.Policy)
	switch {
	case !w.Satisfied:
		// The log's signature is good, so what is missing is the quorum's.
		v.r.lacking(check, "the witness quorum is not met: %s", strings.Join(v.head.explained.Missing, "; "))
	case w.Total == 0:
		v.r.ok(check, "the policy asks for no witnesses")
	default:
		v.r.ok(check, "%d of %d witnesses cosigned, the policy asks for %s", w.Cosigned, w.Total, w.Quorum)
	}
}

func (h *head) witnesses(pol *policy.Policy) Witnesses {
	w := Witnesses{Satisfied: h.explained.QuorumMet, Quorum: pol.Quorum()}
	w.Cosigned, w.Total = h.explained.Witnesses()
	return w
}

func (v *entry) inclusion() {
	const check = CheckInclusion
	if v.head == nil {
		v.r.notDone(check, CheckLogSignature)
		return
	}
	text := v.parsed.Leaf
	if text == nil {
		if text = v.deriveLeaf(); text == nil {
			return
		}
	}
	l, err := leaf.Parse(text)
	if err != nil {
		v.r.failed(check, "the proof's leaf is malformed: %v", err)
		return
	}
	if err := v.parsed.VerifyInclusion(v.head.Tree, text); err != nil {
		v.r.failed(check, "the proof does not prove its entry: %v", err)
		return
	}
	v.leaf, v.text = l, text
	v.r.setLeaf(l, text, v.parsed.Index)
	v.r.ok(check, "the leaf is at index %d of the tree of size %d", v.parsed.Index, v.head.N)
}

// deriveLeaf returns the leaf that the attestation yields, for a proof that
// brings none, or nil after it has recorded why there is none.
func (v *entry) deriveLeaf() []byte {
	const check = CheckInclusion
	if v.in.Attestation == nil {
		v.r.lacking(check, "the proof brings no leaf, and there is no attestation to derive it from")
		return nil
	}
	a, err := attest.Open(v.in.Attestation, attest.NewKeyring(v.knownKeys()...))
	if err == nil {
		return a.Text
	}
	// Without the leaf nobody knows whose the signature should be, so one of an
	// unknown key is not a wrong one.
	if isReason(err, reason.KeyNotEnrolled) || unsupported(err) {
		v.r.lacking(check, "the proof brings no leaf, and it cannot be derived from the attestation: %v", err)
	} else {
		v.r.failed(check, "the attestation is not valid: %v", err)
	}
	return nil
}

func (v *entry) attestation() {
	const check = CheckAttestation
	switch {
	case v.in.Attestation == nil && v.leaf != nil && v.leaf.Rekor != "":
		v.in.Attestation, v.attested = v.text, true
		v.r.ok(check, "the entry is itself the attestation: %s", v.leaf.Envelope)
	case v.in.Attestation == nil:
		v.r.lacking(check, "the attestation is not given")
	case v.leaf == nil:
		v.r.notDone(check, CheckInclusion)
	case leaf.SHA256(v.in.Attestation) != v.leaf.Envelope:
		v.r.failed(check, "the attestation hashes to %s, but the entry is of %s", leaf.SHA256(v.in.Attestation), v.leaf.Envelope)
	default:
		v.attested = true
		v.r.ok(check, "the attestation is the one that was logged: %s", v.leaf.Envelope)
	}
}

// knownKeys returns the given keys and those that the proof brings. A key of
// the proof that does not parse is none: it is only a hint.
func (v *entry) knownKeys() []*attest.PublicKey {
	keys := slices.DeleteFunc(slices.Clone(v.in.Keys), func(k *attest.PublicKey) bool { return k == nil })
	for _, pem := range v.parsed.Keys {
		if k, err := attest.ParsePublicKey([]byte(pem)); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

func (v *entry) keys() {
	const check = CheckKeys
	if v.leaf == nil {
		v.r.notDone(check, CheckInclusion)
		return
	}
	known := v.knownKeys()
	var missing []string
	for _, fp := range v.leaf.Keys {
		i := slices.IndexFunc(known, func(k *attest.PublicKey) bool { return k.Fingerprint == fp })
		if i < 0 {
			missing = append(missing, string(fp))
			continue
		}
		v.publicKeys = append(v.publicKeys, known[i])
	}
	switch {
	case len(missing) == 0:
		v.haveKeys = true
		v.r.ok(check, "the public keys of the entry are known: %d of %d", len(v.publicKeys), len(v.leaf.Keys))
	case v.leaf.BringsKeys() && v.attested:
		v.haveKeys = true
		v.r.ok(check, "the attestation brings the key that signed it")
	case v.leaf.Kind == leaf.KindEnrol && v.attested:
		// attest.Open takes the key from the enrolment; that it is the leaf's
		// follows from the leaf being derived again.
		v.haveKeys = true
		v.r.ok(check, "the enrolment brings the key that it enrols")
	default:
		v.r.lacking(check, "no public key is given for %s", strings.Join(missing, ", "))
	}
}

func (v *entry) signatures() {
	const check = CheckSignatures
	switch {
	case !v.attested:
		v.r.notDone(check, CheckAttestation)
		return
	case !v.haveKeys:
		v.r.notDone(check, CheckKeys)
		return
	}
	a, err := attest.Open(v.in.Attestation, attest.NewKeyring(v.publicKeys...))
	switch {
	case err != nil && unsupported(err):
		v.r.lacking(check, "the attestation cannot be verified by this version: %v", err)
	case err != nil:
		v.r.failed(check, "the attestation is not valid under the entry's keys: %v", err)
	case !bytes.Equal(a.Text, v.text):
		v.r.failed(check, "the entry's leaf is not the one that the attestation yields")
	default:
		v.trusted(a)
	}
}

// trusted asks who issued the certificate of an attestation that brings one.
func (v *entry) trusted(a *attest.Attestation) {
	const check, all = CheckSignatures, "every signature verifies, and the attestation yields the entry's leaf"
	trusted := a.Certified() && v.in.Certificate != nil
	if trusted {
		if err := v.in.Certificate(a); err != nil {
			v.r.failed(check, "%v", err)
			return
		}
	}
	v.opened = a
	v.r.setClaim(a)
	if id := a.Identity; id != nil {
		v.r.Certificate = &Certificate{Names: id.Names, Issuer: id.Issuer, Trusted: trusted}
	}
	switch {
	case a.Identity == nil:
		v.r.ok(check, all)
	case trusted:
		v.r.ok(check, all+", and the trusted root vouches for the certificate")
	default:
		v.r.ok(check, all+"; who issued the certificate was not checked, as no trusted root is given")
	}
}

// unsupported reports whether err says that this version does not know the
// attestation's format: it can neither confirm nor refute it.
func unsupported(err error) bool {
	return isReason(err, reason.FormatUnknown) || isReason(err, reason.PayloadTypeUnknown) || isReason(err, reason.KeyUnsupported)
}

func isReason(err error, r reason.Reason) bool {
	e, ok := reason.Of(err)
	return ok && e.Reason == r
}
