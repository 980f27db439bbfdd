package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

func TestOpen(t *testing.T) {
	l := newLedger(t, "a", "b")
	both(l)
	l.add(claim{who: "a", result: leaf.Different, obtained: attest.Built, subject: "app", outputs: []string{"app.other"}, from: app})
	l.builds("a", "app", app...) // again
	ev := l.open(l.policy())
	if log := ev.Log(); log.Origin != origin || log.Size != 8 || !log.SignatureChecked || log.Time == nil || now.Sub(*log.Time).Abs() > time.Hour {
		t.Errorf("log %+v", log)
	}
	entries := func(list []verify.Claim) (ids []string) {
		for _, c := range list {
			ids = append(ids, strings.TrimPrefix(c.Entry, origin))
		}
		return ids
	}
	for name, tt := range map[string]struct {
		got  []verify.Claim
		want []string
	}{
		"all, each once":     {ev.Claims(), []string{"#2", "#3", "#4", "#5", "#6"}},
		"about the app":      {ev.About(digestOf("app")), []string{"#4", "#5", "#6"}},
		"about an output":    {ev.About(digestOf("app.other")), []string{"#6"}},
		"about the tool":     {ev.About(digestOf("tool")), []string{"#2", "#3"}},
		"about what is used": {ev.About(digestOf("hex0")), nil},
	} {
		if got := entries(tt.got); !slices.Equal(got, tt.want) {
			t.Errorf("%s: entries %v, want %v", name, got, tt.want)
		}
	}
	if o, ok := ev.Operator(attestSignerFingerprint("a")); o != "https://a.example" || !ok {
		t.Errorf("operator %q, %t", o, ok)
	}
	if _, ok := ev.Operator(attestSignerFingerprint("c")); ok {
		t.Error("a key that is not enrolled has an operator")
	}
	if ev := l.open(nil); ev.Log().SignatureChecked {
		t.Error("without a policy, the signature is said to be checked")
	}
}

// forge returns the log's checkpoint of another tree.
func (l *ledger) forge() *bundle.Bundle {
	l.t.Helper()
	other := &ledger{t: l.t, signers: l.signers, entries: slices.Clone(l.entries)}
	other.entries[0] = l.entries[len(l.entries)-1]
	return other.bundle()
}

// refusedBundles are what is wrong with a bundle, and what Open says of it.
var refusedBundles = []struct {
	name  string
	story func(l *ledger)
	spoil func(l *ledger, b *bundle.Bundle)
	entry string
	why   string
	exit  int
}{
	{"an attestation that was changed", nil, func(_ *ledger, b *bundle.Bundle) {
		b.Entries[3].Attestation = bytes.Replace(b.Entries[3].Attestation, []byte(`"sig":"`), []byte(`"sig": "`), 1)
	}, "#3", "the attestation hashes to", 1},
	{"an attestation of another entry", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[3].Attestation = b.Entries[4].Attestation },
		"#3", "the attestation hashes to", 1},
	{"no attestation", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[3].Attestation = nil }, "#3", "the attestation hashes to", 1},
	{"no proof", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[3].Proof = nil }, "entry 3", "the proof is not given", 3},
	{"a proof that is none", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[3].Proof = []byte("x") }, "entry 3", "the proof is malformed", 1},
	{"another index than the proof's", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[5].Index = 6 }, "#6", "the proof is of entry 5", 1},
	{"an entry twice", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[3] = b.Entries[2] }, "#2", "entries must ascend", 1},
	{"entries out of order", nil, func(_ *ledger, b *bundle.Bundle) { b.Entries[3], b.Entries[2] = b.Entries[2], b.Entries[3] },
		"#2", "it follows entry 3", 1},
	{"a key that the policy does not have", func(l *ledger) {
		l.signers[0], _ = logSigner(l.t, "other.example", "other")
		l.logVKey = vkeyOf(l, origin, "log")
	}, nil,
		"entry 0", "no key that the policy has for this log signed it", 1},
	{"a log that the policy does not name", func(l *ledger) { l.logVKey = vkeyOf(l, "other.example", "other") }, nil,
		"entry 0", "which is no log of the policy", 3},
	{"too few witnesses", func(l *ledger) { l.signers = l.signers[:1] }, nil, "#0", "the witness quorum is not met", 3},
	{"a key that was enrolled later", func(l *ledger) { l.builds("c", "app", app...); l.enrol("c") }, nil,
		"#6", "which was enrolled later, in entry 7", 1},
	{"a key that was revoked before", func(l *ledger) {
		env, err := attest.Revoke(l.signer("a"), "lost")
		if err != nil {
			l.t.Fatal(err)
		}
		l.log(env, l.signer("a"))
		l.builds("a", "app.other", app...)
	}, nil, "#7", "entry log.example/cairn#6 revoked key", 1},
	{"a log with two histories", nil, func(l *ledger, b *bundle.Bundle) { b.Entries[4] = l.forge().Entries[4] },
		"#4", "its checkpoint of size 6 contradicts another of the same size", 5},
	{"two wrong entries: the first is named", nil, func(_ *ledger, b *bundle.Bundle) {
		b.Entries[1].Attestation, b.Entries[4].Attestation = []byte("{}"), []byte("{}")
	}, "#1", "the attestation hashes to", 1},
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range refusedBundles {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "b")
			both(l)
			if tt.story != nil {
				tt.story(l)
			}
			b := l.bundle()
			if tt.spoil != nil {
				tt.spoil(l, b)
			}
			ev, err := verify.Open(b, l.policy(), now)
			var refused *verify.OpenError
			if !errors.As(err, &refused) || ev != nil {
				t.Fatalf("opened: %v", err)
			}
			if !strings.HasSuffix(refused.Entry, tt.entry) || !strings.Contains(err.Error(), tt.why) || refused.Exit() != tt.exit {
				t.Errorf("%v, exit code %d; want entry %s, %q, %d", err, refused.Exit(), tt.entry, tt.why, tt.exit)
			}
			if (refused.Fork != nil) != (tt.exit == 5) {
				t.Errorf("fork %q", refused.Fork)
			}
		})
	}
	if _, err := verify.Open(nil, nil, now); err == nil {
		t.Error("no bundle was opened")
	}
}

// Without a policy, all is verified but the checkpoint's signatures.
func TestOpenWithoutAPolicy(t *testing.T) {
	l := newLedger(t, "a", "b")
	both(l)
	for name, spoil := range map[string]func(b *bundle.Bundle){
		"another attestation": func(b *bundle.Bundle) { b.Entries[3].Attestation = b.Entries[4].Attestation },
		"another entry's proof": func(b *bundle.Bundle) {
			b.Entries[3].Proof = bytes.Replace(b.Entries[4].Proof, []byte("index 4"), []byte("index 3"), 1)
		},
		"no proof": func(b *bundle.Bundle) { b.Entries[3].Proof = nil },
		"no keys": func(b *bundle.Bundle) {
			p, err := tlogproof.Parse(b.Entries[3].Proof)
			if err != nil {
				t.Fatal(err)
			}
			p.Keys = nil
			if b.Entries[3].Proof, err = p.Marshal(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		b := l.bundle()
		spoil(b)
		if _, err := verify.Open(b, nil, now); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	l.signers = l.signers[1:] // a witness alone
	if _, err := verify.Open(l.bundle(), nil, now); err != nil {
		t.Errorf("unsigned: %v", err)
	}
}

// Another signer says it again, not another time; a second enrolment says
// nothing.
func TestOpenOfRepetitions(t *testing.T) {
	l := newLedger(t, "a", "b")
	l.builds("a", "app", app...)
	var env struct{ Payload []byte }
	if err := json.Unmarshal(l.entries[2].Raw, &env); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"a", "b"} {
		raw, err := l.signer(who).SignPayload(attest.TypeStatement, env.Payload)
		if err != nil {
			t.Fatal(err)
		}
		l.log(append(raw, '\n'), l.signer(who))
	}
	again, err := attest.Enrol(l.signer("a"), "https://other.example", "")
	if err != nil {
		t.Fatal(err)
	}
	l.log(again, l.signer("a"))
	ev := l.open(l.policy())
	var got []int64
	for _, c := range ev.Claims() {
		got = append(got, c.Index)
	}
	if want := []int64{2, 4}; !slices.Equal(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	if o, _ := ev.Operator(attestSignerFingerprint("a")); o != "https://a.example" {
		t.Errorf("operator %s", o)
	}
}

func vkeyOf(l *ledger, name, key string) string {
	_, vkey := logSigner(l.t, name, key)
	return vkey
}

// Two logs of a policy are two logs: a bundle is of one.
func TestOpenOfTwoLogs(t *testing.T) {
	l := newLedger(t, "a", "b")
	both(l)
	mixed := l.bundle()
	other, vkey := logSigner(t, "other.example", "other")
	signed, err := note.Sign(&note.Note{Text: strings.Replace(checkpointOf(t, mixed.Entries[2].Proof), origin, "other.example", 1)}, other, witnessSigner(t, "w1"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(mixed.Entries[2].Proof, []byte("\n\n"))
	mixed.Entries[2].Proof = append(append(head, "\n\n"...), signed...)
	_, err = verify.Open(mixed, l.policy("log "+vkey), now)
	if err == nil || !strings.Contains(err.Error(), "other.example#2: it is of another log than log.example/cairn#0") {
		t.Errorf("two logs: %v", err)
	}
}

func checkpointOf(t *testing.T, proof []byte) string {
	t.Helper()
	_, signed, _ := bytes.Cut(proof, []byte("\n\n"))
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok {
		t.Fatalf("no checkpoint in %q", proof)
	}
	return string(text) + "\n"
}

// The age of cosignatures is judged at the time that is asked about.
func TestOpenAtATime(t *testing.T) {
	l := newLedger(t, "a", "b")
	both(l)
	b, pol := l.bundle(), l.quorum(2, "max-age 24h")
	if _, err := verify.Open(b, pol, now.Add(23*time.Hour)); err != nil {
		t.Errorf("within the age: %v", err)
	}
	_, err := verify.Open(b, pol, now.Add(25*time.Hour))
	var refused *verify.OpenError
	if !errors.As(err, &refused) || refused.Exit() != 3 || !strings.Contains(err.Error(), "the witness quorum is not met") {
		t.Errorf("beyond the age: %v", err)
	}
}

// Bundles whose checkpoints differ in size, or in who cosigned, are one log's.
func TestOpenOfSeveralCheckpoints(t *testing.T) {
	l := newLedger(t, "a", "b")
	toolOf(l)
	first := l.bundle()
	l.builds("a", "app", app...)
	l.builds("b", "app", app...)
	b := l.bundle()
	copy(b.Entries, first.Entries)
	ev, err := verify.Open(b, l.quorum(2), now)
	if err != nil {
		t.Fatal(err)
	}
	r := verify.Artifact(verify.Question{Artifact: digestOf("app"), Policy: l.quorum(2), At: now}, ev)
	if !r.Accepted || r.Log.Size != 6 {
		t.Errorf("%s, checkpoint %d", r.Verdict, r.Log.Size)
	}
}

// What evidence was not verified by, it does not answer to.
func TestArtifactHoldsEvidenceToThePolicy(t *testing.T) {
	l := newLedger(t, "a", "b")
	both(l)
	pol := l.quorum(2)
	ev := l.open(pol)
	d := digestOf("app")
	for _, tt := range []struct {
		name string
		q    verify.Question
		ev   *verify.Evidence
		why  string
	}{
		{"as it was opened", verify.Question{Artifact: d, Policy: pol, At: now}, ev, ""},
		{"an equal policy", verify.Question{Artifact: d, Policy: l.quorum(2), At: now}, ev, ""},
		{"simple rules above the policy", verify.Question{Artifact: d, Policy: pol, Rules: &verify.Rules{Quorum: 2}, At: now}, ev, ""},
		{"simple rules and no policy", verify.Question{Artifact: d, Rules: &verify.Rules{Quorum: 2}, At: now}, l.open(nil), ""},
		{"no evidence", verify.Question{Artifact: d, Policy: pol, At: now}, nil, "there is no evidence"},
		{"no policy", verify.Question{Artifact: d, At: now}, ev, "no policy says whom to believe"},
		{"a quorum of nobody", verify.Question{Artifact: d, Rules: &verify.Rules{}, At: now}, ev, "a quorum of 0 operators proves nothing"},
		{"another policy", verify.Question{Artifact: d, Policy: l.quorum(1), At: now}, ev, "verified by another policy"},
		{"evidence without a policy", verify.Question{Artifact: d, Policy: pol, At: now}, l.open(nil), "opened without the policy"},
		{"another time", verify.Question{Artifact: d, Policy: pol, At: now.Add(time.Second)}, ev, "the evidence was verified as of"},
		{"a policy without rebuilders", verify.Question{Artifact: d, Policy: l.policy(), At: now}, l.open(l.policy()), "missing: a rebuild-quorum line"},
		{"evidence of nothing", verify.Question{Artifact: d, Rules: &verify.Rules{Quorum: 1}}, new(verify.Evidence), "nothing that counts is logged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := verify.Artifact(tt.q, tt.ev)
			if r.Accepted != (tt.why == "") || !strings.Contains(strings.Join(r.Reasons, "\n"), tt.why) {
				t.Errorf("%s, %q; want %q", r.Verdict, r.Reasons, tt.why)
			}
			if tt.why != "" && r.Exit() != 3 {
				t.Errorf("exit code %d", r.Exit())
			}
			if tt.why != "" && r.Ancestry.Accepted {
				t.Error("the root is accepted")
			}
		})
	}
}
