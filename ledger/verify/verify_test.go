package verify_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

// statuses returns the report's checks as one letter each: . for ok, F for
// failed, - for not done.
func statuses(r *verify.EntryReport) string {
	var b strings.Builder
	for _, c := range r.Checks {
		b.WriteByte(map[verify.Status]byte{verify.OK: '.', verify.Failed: 'F', verify.NotDone: '-'}[c.Status])
	}
	return b.String()
}

// entryCase differs from a good input in what one check looks at.
type entryCase struct {
	name    string
	change  func(t *testing.T, w *world)
	outcome verify.Outcome
	exit    int
	checks  string // proof, log-signature, witness-quorum, inclusion, attestation, keys, signatures
	why     string // substring of the reasons
}

func testEntries(t *testing.T, cases []entryCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(t, w)
			in := verify.EntryInput{Attestation: w.attestation, Proof: w.proof(t), Keys: w.keys}
			if w.policy != "" {
				in = w.input(t)
			}
			r := verify.Entry(in)
			if r.Outcome != tt.outcome || r.Exit() != tt.exit || statuses(r) != tt.checks {
				t.Errorf("got %s, exit %d, checks %s; want %s, %d, %s\nreasons: %q",
					r.Outcome, r.Exit(), statuses(r), tt.outcome, tt.exit, tt.checks, r.Reasons)
			}
			if (len(r.Reasons) == 0) != (tt.outcome == verify.Proven) {
				t.Errorf("%d reasons for outcome %s", len(r.Reasons), r.Outcome)
			}
			if !strings.Contains(strings.Join(r.Reasons, "; "), tt.why) {
				t.Errorf("reasons %q, want %q", r.Reasons, tt.why)
			}
			checkOnlyEstablished(t, r)
		})
	}
}

func TestEntry(t *testing.T) {
	testEntries(t, []entryCase{
		{"as it is", func(*testing.T, *world) {}, verify.Proven, 0, ".......", ""},
		{"keys given instead of brought", func(t *testing.T, w *world) {
			w.proofKeys = nil
			w.keys = []*attest.PublicKey{attestSigner(t, "bob").Public, nil, attestSigner(t, "eve").Public, attestSigner(t, "alice").Public}
		}, verify.Proven, 0, ".......", ""},
		{"a proof without hints", func(t *testing.T, w *world) {
			w.proofKeys, w.proofLeaf = nil, nil
			w.keys = []*attest.PublicKey{attestSigner(t, "alice").Public, attestSigner(t, "bob").Public, nil}
		}, verify.Proven, 0, ".......", ""},
		{"quorum none", func(t *testing.T, w *world) {
			w.policy = strings.Replace(w.policy, "quorum g", "quorum none", 1)
			w.signers = w.signers[:1]
		}, verify.Proven, 0, ".......", ""},
		{"further signatures of strangers", func(t *testing.T, w *world) {
			w.signers = append(w.signers, witnessSigner(t, "stranger"))
		}, verify.Proven, 0, ".......", ""},
	})
}

func TestEntryOfCheckpoints(t *testing.T) {
	testEntries(t, []entryCase{
		{"no policy", func(t *testing.T, w *world) { w.policy = "" }, verify.Unproven, 3, ".------", "no policy is given"},
		{"a log that the policy does not list", func(t *testing.T, w *world) {
			s, _ := logSigner(t, "other.example", "log")
			w.origin, w.signers[0] = "other.example", s
		}, verify.Unproven, 3, ".------", "of other.example, which is no log of the policy"},
		{"another log, and a witness with the log's name", func(t *testing.T, w *world) {
			namesake := witnessSigner(t, origin)
			w.policy = "witness n " + namesake.Verifier().String() + "\n" + w.policy
			w.origin, w.signers = "other.example", []note.Signer{namesake}
		}, verify.Unproven, 3, ".------", "of other.example, which is no log of the policy"},
		{"the log's name with another key", func(t *testing.T, w *world) {
			w.signers[0], _ = logSigner(t, origin, "forger")
		}, verify.Refuted, 1, ".F-----", "no key that the policy has for this log signed it"},
		{"the log's key under another origin", func(t *testing.T, w *world) { w.origin = "other.example" },
			verify.Refuted, 1, ".F-----", "but it says that it is of other.example"},
		{"witnesses without the log", func(t *testing.T, w *world) { w.signers = w.signers[1:] },
			verify.Refuted, 1, ".F-----", "no key that the policy has for this log signed it"},
		{"a bad signature of the log", func(t *testing.T, w *world) { w.signers[0] = badSigner{w.signers[0]} },
			verify.Refuted, 1, ".F-----", "invalid signature for key " + origin},
		{"a bad signature of a witness", func(t *testing.T, w *world) {
			w.signers = append(w.signers, badSigner{witnessSigner(t, "w2")})
		}, verify.Refuted, 1, ".F-----", "invalid signature for key w2"},
	})
}

func TestEntryOfQuorums(t *testing.T) {
	testEntries(t, []entryCase{
		{"one witness too few", func(t *testing.T, w *world) { w.signers = w.signers[:2] },
			verify.Unproven, 3, "..-....", "the witness quorum is not met: 1 more of w2, w3 for group g"},
		{"one witness twice", func(t *testing.T, w *world) { w.signers[2] = w.signers[1] },
			verify.Unproven, 3, "..-....", "the witness quorum is not met: 1 more of w2, w3 for group g"},
		{"strangers for witnesses", func(t *testing.T, w *world) {
			w.signers = []note.Signer{w.signers[0], witnessSigner(t, "s1"), witnessSigner(t, "s2")}
		}, verify.Unproven, 3, "..-....", "2 more of w1, w2, w3"},
	})
}

func TestEntryOfInclusions(t *testing.T) {
	testEntries(t, []entryCase{
		{"another index", func(t *testing.T, w *world) { w.index-- }, verify.Refuted, 1, "...F---", "not at index 2 of the tree of size 5"},
		{"an index beyond the tree", func(t *testing.T, w *world) { w.index = size }, verify.Refuted, 1, "...F---", "index 5 is not in a tree of size 5"},
		{"a wrong hash", func(t *testing.T, w *world) {
			w.path = func(p tlog.RecordProof) tlog.RecordProof { p[0][0] ^= 1; return p }
		}, verify.Refuted, 1, "...F---", "does not prove its entry"},
		{"a hash less", func(t *testing.T, w *world) {
			w.path = func(p tlog.RecordProof) tlog.RecordProof { return p[1:] }
		}, verify.Refuted, 1, "...F---", "wrong proof size"},
		{"a leaf that is not in the log", func(t *testing.T, w *world) {
			w.proofLeaf = bytes.Replace(w.proofLeaf, []byte("DIFFERENT"), []byte("IDENTICAL"), 1)
		}, verify.Refuted, 1, "...F---", "does not prove its entry"},
		{"an entry that is no leaf", func(t *testing.T, w *world) {
			w.text, w.proofLeaf = []byte("something else\n"), []byte("something else\n")
		}, verify.Refuted, 1, "...F---", "the proof's leaf is malformed"},
	})
}

func TestEntryOfAttestations(t *testing.T) {
	testEntries(t, []entryCase{
		{"no attestation", func(t *testing.T, w *world) { w.attestation = nil }, verify.Unproven, 3, "....-.-", "the attestation is not given"},
		{"an empty attestation", func(t *testing.T, w *world) { w.attestation = []byte{} }, verify.Refuted, 1, "....F.-", "the attestation hashes to"},
		{"the attestation with a space more", func(t *testing.T, w *world) { w.attestation = append(w.attestation, ' ') },
			verify.Refuted, 1, "....F.-", "the attestation hashes to"},
	})
}

func TestEntryOfKeys(t *testing.T) {
	testEntries(t, []entryCase{
		{"a key missing", func(t *testing.T, w *world) { w.proofKeys = w.proofKeys[1:] },
			verify.Unproven, 3, ".....--", "no public key is given for " + string(attestSignerFingerprint("alice"))},
		{"another key in its place", func(t *testing.T, w *world) { w.proofKeys[0] = attestSigner(t, "eve").Public.PEM },
			verify.Unproven, 3, ".....--", "no public key is given for " + string(attestSignerFingerprint("alice"))},
		{"a key that is none", func(t *testing.T, w *world) { w.proofKeys[0] = "-----BEGIN" },
			verify.Unproven, 3, ".....--", "no public key is given for " + string(attestSignerFingerprint("alice"))},
	})
}

func TestEntryOfLeaves(t *testing.T) {
	testEntries(t, []entryCase{
		{"a leaf that the log made up", func(t *testing.T, w *world) {
			w.text = bytes.Replace(w.text, []byte("DIFFERENT"), []byte("IDENTICAL"), 1)
			w.proofLeaf = w.text
		}, verify.Refuted, 1, "......F", "not the one that the attestation yields"},
		{"a leaf with a key too many", func(t *testing.T, w *world) {
			relabel(t, w, func(l *leaf.Leaf) { l.Keys = sorted(append(l.Keys, attestSignerFingerprint("eve"))) })
			w.keys = []*attest.PublicKey{attestSigner(t, "eve").Public}
		}, verify.Refuted, 1, "......F", "not the one that the attestation yields"},
		{"a leaf with a key too few", func(t *testing.T, w *world) {
			relabel(t, w, func(l *leaf.Leaf) { l.Keys = l.Keys[:1] })
		}, verify.Refuted, 1, "......F", "not valid under the entry's keys"},
		{"a logged attestation with a bad signature", func(t *testing.T, w *world) {
			w.attestation = spoilSignature(t, w.attestation)
			relabel(t, w, func(l *leaf.Leaf) { l.Envelope = leaf.SHA256(w.attestation) })
		}, verify.Refuted, 1, "......F", "not valid under the entry's keys"},
		{"a logged attestation in a later format", func(t *testing.T, w *world) {
			w.attestation = []byte("Format: 1.0\n")
			relabel(t, w, func(l *leaf.Leaf) { l.Envelope, l.Format = leaf.SHA256(w.attestation), "buildinfo" })
		}, verify.Unproven, 3, "......-", "cannot be verified by this version"},
	})
}

func TestEntryWithoutLeaf(t *testing.T) {
	testEntries(t, []entryCase{
		{"no leaf and no attestation", func(t *testing.T, w *world) { w.attestation, w.proofLeaf = nil, nil },
			verify.Unproven, 3, "...----", "the proof brings no leaf, and there is no attestation to derive it from; the attestation is not given"},
		{"no leaf and a key missing", func(t *testing.T, w *world) { w.proofLeaf, w.proofKeys = nil, w.proofKeys[1:] },
			verify.Unproven, 3, "...----", "cannot be derived from the attestation: key"},
		{"no leaf and another format", func(t *testing.T, w *world) { w.proofLeaf, w.attestation = nil, []byte("Format: 1.0\n") },
			verify.Unproven, 3, "...----", "cannot be derived from the attestation"},
		{"no leaf and a bad signature", func(t *testing.T, w *world) {
			w.proofLeaf, w.attestation = nil, spoilSignature(t, w.attestation)
		}, verify.Refuted, 1, "...F---", "the attestation is not valid"},
		{"no leaf and another attestation of the same keys", func(t *testing.T, w *world) {
			w.proofLeaf, w.attestation = nil, reproduction(t, attestSigner(t, "alice"))
		}, verify.Refuted, 1, "...F---", "does not prove its entry"},
	})
}

// checkOnlyEstablished checks that a report says nothing that its checks did not
// establish.
func checkOnlyEstablished(t *testing.T, r *verify.EntryReport) {
	t.Helper()
	ok := make(map[string]bool)
	for _, c := range r.Checks {
		ok[c.Name] = c.Status == verify.OK
	}
	if !ok[verify.CheckLogSignature] && (r.Origin != "" || r.CheckpointSize != 0 || r.Witnesses != verify.Witnesses{}) {
		t.Errorf("the checkpoint is shown without its log's signature: %+v", r)
	}
	if !ok[verify.CheckInclusion] && (r.ID != "" || r.Index != nil || r.Leaf != "" || r.Kind != "" || r.Claim != "" ||
		r.Result != "" || len(r.Keys)+len(r.Subjects)+len(r.Outputs) > 0) {
		t.Errorf("the leaf is shown without its inclusion: %+v", r)
	}
	if !ok[verify.CheckSignatures] && (r.BuilderID != "" || r.Operator != "") {
		t.Errorf("the claim is shown without its signatures: %+v", r)
	}
}

// badSigner makes signatures that have the right length and are wrong.
type badSigner struct{ note.Signer }

func (s badSigner) Sign(msg []byte) ([]byte, error) {
	sig, err := s.Signer.Sign(msg)
	if err == nil {
		sig[len(sig)-1] ^= 1
	}
	return sig, err
}

func attestSignerFingerprint(name string) leaf.Fingerprint {
	k, err := attest.NewPublicKey(testKey(name).Public())
	if err != nil {
		panic(err)
	}
	return k.Fingerprint
}

// relabel makes the log log another leaf for the attestation.
func relabel(t *testing.T, w *world, change func(*leaf.Leaf)) {
	t.Helper()
	l, err := leaf.Parse(w.text)
	if err != nil {
		t.Fatal(err)
	}
	change(l)
	if w.text, err = l.Marshal(); err != nil {
		t.Fatal(err)
	}
	w.proofLeaf = w.text
}

func sorted(fps []leaf.Fingerprint) []leaf.Fingerprint {
	for i := len(fps) - 1; i > 0 && fps[i] < fps[i-1]; i-- {
		fps[i], fps[i-1] = fps[i-1], fps[i]
	}
	return fps
}

// spoilSignature changes the first character of the first signature.
func spoilSignature(t *testing.T, env []byte) []byte {
	t.Helper()
	i := bytes.Index(env, []byte(`"sig":"`)) + len(`"sig":"`)
	env = bytes.Clone(env)
	if env[i]++; env[i] == '[' || env[i] == '{' || env[i] == ':' {
		env[i] = 'A'
	}
	return env
}

func TestEntryOfNothing(t *testing.T) {
	for name, in := range map[string]verify.EntryInput{
		"nothing":           {},
		"attestation alone": {Attestation: newWorld(t).attestation},
		"the zero policy":   {Attestation: newWorld(t).attestation, Proof: newWorld(t).proof(t), Policy: new(policy.Policy)},
	} {
		if r := verify.Entry(in); r.Outcome != verify.Unproven || r.Exit() != 3 {
			t.Errorf("%s is %s, exit %d", name, r.Outcome, r.Exit())
		}
	}
	var r verify.EntryReport
	if r.Outcome != verify.Unproven || r.Exit() != 3 {
		t.Errorf("the zero Report is %s, exit %d", r.Outcome, r.Exit())
	}
	r2 := verify.Entry(verify.EntryInput{Proof: []byte("x")})
	if r2.Outcome != verify.Refuted || statuses(r2) != "F------" {
		t.Errorf("a malformed proof is %s, checks %s", r2.Outcome, statuses(r2))
	}
}

// An enrolment brings its key, so that nothing else is needed.
func TestEnrolment(t *testing.T) {
	w := newWorld(t)
	s := attestSigner(t, "carol")
	env, err := attest.Enrol(s, "https://carol.example", "")
	if err != nil {
		t.Fatal(err)
	}
	w.attestation, w.text = env, mustOpen(t, env).Text
	w.proofLeaf, w.proofKeys = w.text, nil
	r := verify.Entry(w.input(t))
	if r.Outcome != verify.Proven || r.Kind != leaf.KindEnrol || r.Operator != "https://carol.example" {
		t.Errorf("%s, kind %s, operator %s: %q", r.Outcome, r.Kind, r.Operator, r.Reasons)
	}
	// Only where the attestation is the logged one.
	w.attestation = nil
	if r := verify.Entry(w.input(t)); r.Outcome != verify.Unproven || statuses(r) != "....---" {
		t.Errorf("without the attestation: %s, %s", r.Outcome, statuses(r))
	}
	// A log that attributes the enrolment to another key is found out.
	w.attestation = env
	relabel(t, w, func(l *leaf.Leaf) { l.Keys[0] = attestSignerFingerprint("eve") })
	if r := verify.Entry(w.input(t)); r.Outcome != verify.Refuted || statuses(r) != "......F" {
		t.Errorf("enrolment of another key: %s, %s", r.Outcome, statuses(r))
	}
}
