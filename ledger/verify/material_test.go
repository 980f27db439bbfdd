package verify_test

import (
	"bytes"
	gocrypto "crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/ed25519"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// pgp logs a new OpenPGP key, and by it a .buildinfo about the artifact "app". It
// returns the key's fingerprint, and who signs with the same key in PEM.
func (l *ledger) pgp() (leaf.Fingerprint, *attest.Signer) {
	l.t.Helper()
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEd25519, Time: func() time.Time { return time.Unix(1700000000, 0) }}
	entity, err := openpgp.NewEntity("", "", "debian@example.com", config)
	must(err)
	var block bytes.Buffer
	must(entity.Serialize(&block))
	enrolment := mustOpen(l.t, block.Bytes())
	l.entries = append(l.entries, enrolment)

	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, entity.PrivateKey, config)
	must(err)
	_, err = fmt.Fprintf(w, "Format: 1.0\nSource: app\nArchitecture: all\nVersion: 1\nChecksums-Sha256:\n %s 792 app_1_all.deb\n"+
		"Build-Origin: Debian\nBuild-Architecture: amd64\nInstalled-Build-Depends:\n dpkg (= 1)\n", digestOf("app").Hex())
	must(err)
	must(w.Close())
	l.entries = append(l.entries, mustOpen(l.t, signed.Bytes(), enrolment.Keys...))

	seed := entity.PrivateKey.PrivateKey.(*ed25519.PrivateKey).Seed()
	s, err := attest.NewSigner(gocrypto.NewKeyFromSeed(seed))
	must(err)
	return enrolment.Keys[0].Fingerprint, s
}

// A key counts once, also if it signs as an OpenPGP key and as one in PEM, and
// whatever a policy takes them for.
func TestOneKeyInTwoFormsIsOneRebuilder(t *testing.T) {
	for _, same := range []bool{false, true} {
		l := newLedger(t)
		fp, pem := l.pgp()
		if same {
			l.people["c"], l.order = pem, append(l.order, "c")
		}
		l.enrol("c")
		l.builds("c", "app")
		for _, lines := range []string{
			"rebuilder p %[1]s operator=https://p.example\nrebuilder s %[2]s operator=https://s.example",
			"rebuilder s %[2]s operator=https://a.example\nrebuilder p %[1]s operator=https://b.example",
		} {
			text := fmt.Sprintf(lines, fp, l.signer("c").Public.Fingerprint) + "\nrebuild-group both all p s\nrebuild-quorum both"
			r := l.ask(l.policy(strings.Split(text, "\n")...))
			if got, want := r.Verdict == verify.VerdictReproduced, !same; got != want {
				t.Errorf("one key in two forms: %v; verdict %v, %v, by the policy\n%s", same, r.Verdict, r.Reasons, text)
			}
			// Either is worth one.
			any := strings.Replace(text, "both all", "both any", 1)
			if r := l.ask(l.policy(strings.Split(any, "\n")...)); r.Verdict != verify.VerdictReproduced {
				t.Errorf("one of two: verdict %v, %v, by the policy\n%s", r.Verdict, r.Reasons, any)
			}
		}
		// Who is not heard as the one is not heard as the other.
		alone := []string{fmt.Sprintf("rebuilder p %s operator=https://p.example", fp), "rebuild-group one all p", "rebuild-quorum one"}
		l.entries = slices.Delete(l.entries, 1, 2)
		if r := l.ask(l.policy(alone...)); r.Verdict == verify.VerdictReproduced {
			t.Error("a key that the policy does not name was heard as one that it names")
		}
	}
}

func (l *ledger) endorse(by, whom string) {
	l.t.Helper()
	env, err := attest.Endorse(l.signer(by), l.signer(whom).Public, operators[whom], "")
	if err != nil {
		l.t.Fatal(err)
	}
	l.log(env, l.signer(by))
}

func (l *ledger) revoke(by, whom string) {
	l.t.Helper()
	env, err := attest.RevokeOf(l.signer(by), l.signer(whom).Public.Fingerprint, "")
	if err != nil {
		l.t.Fatal(err)
	}
	l.log(env, l.signer(by))
}

func TestOpenKnowsEndorsements(t *testing.T) {
	for _, test := range []struct {
		name     string
		story    func(l *ledger)
		why      string // empty if it opens
		operator string // of c
	}{
		{"an endorsed key", func(l *ledger) { l.endorse("a", "c"); l.builds("c", "app") }, "", operators["c"]},
		{"before it was endorsed", func(l *ledger) { l.builds("c", "app"); l.endorse("a", "c") }, "which was enrolled later, in entry 3", ""},
		{"after the withdrawal", func(l *ledger) { l.endorse("a", "c"); l.revoke("a", "c"); l.builds("c", "app") },
			"entry " + origin + "#3 withdrew the endorsement of key", ""},
		{"before the withdrawal", func(l *ledger) { l.endorse("a", "c"); l.builds("c", "app"); l.revoke("a", "c") }, "", operators["c"]},
		{"while another endorsement stands", func(l *ledger) {
			l.endorse("a", "c")
			l.endorse("b", "c")
			l.revoke("a", "c")
			l.builds("c", "app")
		}, "", operators["c"]},
		{"a withdrawal by nobody's right", func(l *ledger) { l.endorse("a", "c"); l.revoke("b", "c"); l.builds("c", "app") }, "", operators["c"]},
		{"a withdrawal once it enrolled itself", func(l *ledger) {
			l.endorse("a", "c")
			l.enrol("c")
			l.revoke("a", "c")
			l.builds("c", "app")
		}, "", operators["c"]},
		{"an endorsement by who did not enrol itself", func(l *ledger) { l.endorse("d", "c"); l.builds("c", "app") }, "", ""},
		{"it revoked itself", func(l *ledger) { l.endorse("a", "c"); l.revoke("c", "c"); l.endorse("b", "c"); l.builds("c", "app") },
			"entry " + origin + "#3 revoked key", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLedger(t, "a", "b")
			test.story(l)
			ev, err := verify.Open(l.bundle(), l.policy(), now)
			if test.why != "" {
				if err == nil || !strings.Contains(err.Error(), test.why) {
					t.Errorf("%v, want %q", err, test.why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := ev.Operator(l.signer("c").Public.Fingerprint); got != test.operator || ok != (test.operator != "") {
				t.Errorf("the operator is %q, want %q", got, test.operator)
			}
		})
	}
}
