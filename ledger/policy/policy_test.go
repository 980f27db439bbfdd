package policy_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Keys are functions of their names, so that a failure can be repeated.
func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func vkeyOf(alg byte, name string, pub []byte) string {
	key := append([]byte{alg}, pub...)
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return fmt.Sprintf("%s+%08x+%s", name, binary.BigEndian.Uint32(sum[:]), base64.StdEncoding.EncodeToString(key))
}

func pubOf(name string) []byte { return testKey(name).Public().(ed25519.PublicKey) }

func logVKey(name string) string     { return vkeyOf(1, name, pubOf("log "+name)) }
func witnessVKey(name string) string { return vkeyOf(4, name, pubOf("witness "+name)) }

func logSigner(t testing.TB, name string) note.Signer {
	t.Helper()
	key := testKey("log " + name)
	vkey := strings.SplitN(logVKey(name), "+", 3)
	skey := base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...))
	s, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + vkey[1] + "+" + skey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func witnessSigner(t testing.TB, name string) note.Signer {
	t.Helper()
	s, err := torchwood.NewCosignatureSigner(name, testKey("witness "+name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rebuilderKey is the fingerprint of rebuilder x.
func rebuilderKey(x string) string { return fingerprintOf(pubOf("rebuilder " + x)) }

func fingerprintOf(pub []byte) string {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(pub))
	if err != nil {
		panic(err)
	}
	return string(leaf.SHA256(der))
}

func seedOf(x string) string { return string(leaf.SHA256([]byte(x))) }

// expand replaces L(x) by the vkey of log x, W(x) by that of witness x, and K(x)
// by the fingerprint of rebuilder x.
func expand(text string) string {
	for _, kind := range []struct {
		open string
		key  func(string) string
	}{{"L(", logVKey}, {"W(", witnessVKey}, {"K(", rebuilderKey}} {
		for {
			before, rest, ok := strings.Cut(text, kind.open)
			if !ok {
				break
			}
			name, after, _ := strings.Cut(rest, ")")
			text = before + kind.key(name) + after
		}
	}
	return text
}

func mustParse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(expand(text)))
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return p
}

func checkpointText(origin string) string {
	return torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: 1, Hash: tlog.RecordHash([]byte("x"))}}.String()
}

// signed returns the verified signatures of a checkpoint by the named signers,
// "L:x" for log x and "W:x" for witness x.
func signed(t testing.TB, p *policy.Policy, origin string, by ...string) []note.Signature {
	t.Helper()
	var signers []note.Signer
	for _, b := range by {
		if name, ok := strings.CutPrefix(b, "L:"); ok {
			signers = append(signers, logSigner(t, name))
		} else {
			signers = append(signers, witnessSigner(t, strings.TrimPrefix(b, "W:")))
		}
	}
	msg, err := note.Sign(&note.Note{Text: checkpointText(origin)}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(msg, p)
	if err != nil {
		t.Fatalf("opening the note: %v", err)
	}
	return n.Sigs
}

// nested has both kinds of thresholds, two logs of one origin (a rotation), a
// log of another, and a witness that the quorum does not ask for.
const nested = `# a comment with a # in it
log L(log.example/a) https://log.example/a/
	log	L(log.example/b)
witness x1 W(x1.example)
witness x2 W(x2.example) https://x2.example
witness x3 W(x3.example)
group xs 2 x1 x2 x3

  # indented
witness y1 W(y1.example)
witness y2 W(y2.example)
group ys any y1 y2
witness spare W(spare.example)
group both all xs ys
quorum both
`

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, policy, origin string
		by                   []string
		want                 string // substring of the error, empty if valid
	}{
		{"quorum none needs the log alone", "log L(a)\nquorum none\n", "a", []string{"L:a"}, ""},
		{"quorum none with a witness line", "log L(a)\nwitness w W(w)\nquorum none\n", "a", []string{"L:a"}, ""},
		{"no log signed", "log L(a)\nwitness w W(w)\nquorum none\n", "a", []string{"W:w"}, "no log"},
		{"another log's origin", "log L(a)\nlog L(b)\nquorum none\n", "b", []string{"L:a"}, "no log"},
		{"an origin of no log", "log L(a)\nquorum none\n", "c", []string{"L:a"}, "no log"},
		{"the second log", "log L(a)\nlog L(b)\nquorum none\n", "b", []string{"L:b"}, ""},
		{"both logs, as one of them", "log L(a)\nlog L(b)\nquorum none\n", "b", []string{"L:a", "L:b"}, ""},
		{"one witness is the quorum", "log L(a)\nwitness w W(w)\nquorum w\n", "a", []string{"L:a", "W:w"}, ""},
		{"the one witness is missing", "log L(a)\nwitness w W(w)\nquorum w\n", "a", []string{"L:a"}, "witness w"},
		{"witnesses without the log", "log L(a)\nwitness w W(w)\nquorum w\n", "a", []string{"W:w"}, "no log"},
		{"nested, exactly enough", nested, "log.example/a", []string{"L:log.example/a", "W:x1.example", "W:x3.example", "W:y2.example"}, ""},
		{"nested, one x too few", nested, "log.example/a", []string{"L:log.example/a", "W:x1.example", "W:y1.example", "W:y2.example"}, "1 more of x2, x3 for group xs"},
		{"nested, no y", nested, "log.example/a", []string{"L:log.example/a", "W:x1.example", "W:x2.example", "W:x3.example"}, "1 more of y1, y2 for group ys"},
		{"nested, the spare does not count", nested, "log.example/a", []string{"L:log.example/a", "W:x1.example", "W:y1.example", "W:spare.example"}, "1 more of x2, x3"},
		{"nested, nobody", nested, "log.example/b", []string{"L:log.example/b"}, "2 more of xs, ys for group both; 2 more of x1, x2, x3 for group xs; 1 more of y1, y2 for group ys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, tt.policy)
			sigs := signed(t, p, tt.origin, tt.by...)
			err := p.Check(tt.origin, sigs)
			if tt.want == "" && err != nil {
				t.Fatalf("Check: %v, want nil", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("Check: %v, want an error with %q", err, tt.want)
			}
			if e := p.Explain(tt.origin, sigs); e.Satisfied != (err == nil) || (len(e.Missing) == 0) != (err == nil) {
				t.Errorf("Explain says %t with %q missing, Check says %v", e.Satisfied, e.Missing, err)
			}
		})
	}
}

// TestCheckEverySubset compares Check with an evaluation written out by hand,
// for every subset of the signers of the nested policy.
func TestCheckEverySubset(t *testing.T) {
	p := mustParse(t, nested)
	names := []string{"x1", "x2", "x3", "y1", "y2", "spare"}
	sigOf := func(v note.Verifier) note.Signature {
		return note.Signature{Name: v.Name(), Hash: v.KeyHash()}
	}
	for set := range 1 << (len(names) + 1) {
		has := func(i int) int { return set >> i & 1 }
		var sigs []note.Signature
		for i := range names {
			if has(i) == 1 {
				sigs = append(sigs, sigOf(p.Witnesses()[i].Verifier))
			}
		}
		if has(6) == 1 {
			sigs = append(sigs, sigOf(p.Logs()[0].Verifier))
		}
		want := has(6) == 1 && has(0)+has(1)+has(2) >= 2 && has(3)+has(4) >= 1
		if got := p.Check("log.example/a", sigs) == nil; got != want {
			t.Errorf("signers %07b: got %t, want %t", set, got, want)
		}
		e := p.Explain("log.example/a", sigs)
		cosigned, total := e.Witnesses()
		if wantCosigned := has(0) + has(1) + has(2) + has(3) + has(4); cosigned != wantCosigned || total != 5 {
			t.Errorf("signers %07b: %d of %d witnesses, want %d of 5", set, cosigned, total, wantCosigned)
		}
		if e.Satisfied != want {
			t.Errorf("signers %07b: Explain says %t, want %t", set, e.Satisfied, want)
		}
	}
}

func TestRepeatedSignatureCountsOnce(t *testing.T) {
	p := mustParse(t, "log L(a)\nwitness v W(v)\nwitness w W(w)\ngroup g 2 v w\nquorum g\n")
	sigs := signed(t, p, "a", "L:a", "W:v")
	sigs = append(sigs, sigs[1], sigs[1])
	if err := p.Check("a", sigs); err == nil {
		t.Error("one witness that signed three times satisfied 2 of 2")
	}
}

func TestVerifier(t *testing.T) {
	p := mustParse(t, nested)
	for _, l := range p.Logs() {
		if v, err := p.Verifier(l.Name, l.Verifier.KeyHash()); err != nil || v != l.Verifier {
			t.Errorf("Verifier of log %s: %v, %v", l.Name, v, err)
		}
	}
	w := p.Witnesses()[0].Verifier
	if v, err := p.Verifier(w.Name(), w.KeyHash()); err != nil || v != note.Verifier(w) {
		t.Errorf("Verifier of witness: %v, %v", v, err)
	}
	for _, k := range []struct {
		name string
		hash uint32
	}{{"x1", w.KeyHash()}, {w.Name(), w.KeyHash() + 1}} {
		_, err := p.Verifier(k.name, k.hash)
		// note.Open looks for this type without unwrapping.
		if _, ok := err.(*note.UnknownVerifierError); !ok {
			t.Errorf("Verifier(%s, %08x): %v, want *note.UnknownVerifierError", k.name, k.hash, err)
		}
	}
}

// TestVerifyCheckpoint runs the policy where it is used.
func TestVerifyCheckpoint(t *testing.T) {
	p := mustParse(t, nested)
	sign := func(by ...note.Signer) []byte {
		msg, err := note.Sign(&note.Note{Text: checkpointText("log.example/a")}, by...)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	good := sign(logSigner(t, "log.example/a"), witnessSigner(t, "x1.example"), witnessSigner(t, "x2.example"),
		witnessSigner(t, "y1.example"), witnessSigner(t, "stranger.example"))
	if _, _, err := torchwood.VerifyCheckpoint(good, p); err != nil {
		t.Errorf("VerifyCheckpoint: %v", err)
	}
	few := sign(logSigner(t, "log.example/a"), witnessSigner(t, "x1.example"))
	if _, _, err := torchwood.VerifyCheckpoint(few, p); err == nil {
		t.Error("VerifyCheckpoint accepted a checkpoint below its quorum")
	}
	// A bad signature of a known key condemns the whole note.
	other, err := note.Sign(&note.Note{Text: checkpointText("log.example/b")}, witnessSigner(t, "spare.example"))
	if err != nil {
		t.Fatal(err)
	}
	bad := append(good, other[strings.Index(string(other), "— "):]...)
	if _, _, err := torchwood.VerifyCheckpoint(bad, p); err == nil {
		t.Error("VerifyCheckpoint accepted a note with a bad signature of a witness of the policy")
	}
}

func TestLists(t *testing.T) {
	p := mustParse(t, nested)
	var got []string
	for _, l := range p.Logs() {
		got = append(got, "log "+l.Name+" "+l.VKey+" "+l.URL)
	}
	for _, w := range p.Witnesses() {
		got = append(got, "witness "+w.Name+" "+w.Verifier.Name()+" "+w.VKey+" "+w.URL)
	}
	want := []string{
		"log log.example/a " + logVKey("log.example/a") + " https://log.example/a/",
		"log log.example/b " + logVKey("log.example/b") + " ",
		"witness x1 x1.example " + witnessVKey("x1.example") + " ",
		"witness x2 x2.example " + witnessVKey("x2.example") + " https://x2.example",
		"witness x3 x3.example " + witnessVKey("x3.example") + " ",
		"witness y1 y1.example " + witnessVKey("y1.example") + " ",
		"witness y2 y2.example " + witnessVKey("y2.example") + " ",
		"witness spare spare.example " + witnessVKey("spare.example") + " ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	p.Logs()[0].Name = "changed"
	p.Witnesses()[0].Name = "changed"
	if p.Logs()[0].Name == "changed" || p.Witnesses()[0].Name == "changed" {
		t.Error("a caller can change the policy through its lists")
	}
}

func TestString(t *testing.T) {
	want := expand(`log L(log.example/a) https://log.example/a/
log L(log.example/b)
witness x1 W(x1.example)
witness x2 W(x2.example) https://x2.example
witness x3 W(x3.example)
witness y1 W(y1.example)
witness y2 W(y2.example)
witness spare W(spare.example)
group xs 2 x1 x2 x3
group ys any y1 y2
group both all xs ys
quorum both
`)
	if d := cmp.Diff(want, mustParse(t, nested).String()); d != "" {
		t.Error(d)
	}
	for in, want := range map[string]string{
		"1 v w": "any v w", "2 v w": "all v w", "any v": "all v", "1 v": "all v",
	} {
		p := mustParse(t, "log L(a)\nwitness v W(v)\nwitness w W(w)\ngroup g "+in+"\nquorum g\n")
		if got := p.String(); !strings.Contains(got, "group g "+want+"\n") {
			t.Errorf("group g %s is written as %q, want group g %s", in, got, want)
		}
	}
	upper := mustParse(t, "log "+strings.Replace(logVKey("a"), strings.Split(logVKey("a"), "+")[1], strings.ToUpper(strings.Split(logVKey("a"), "+")[1]), 1)+"\nquorum none\n")
	if want := "log " + logVKey("a") + "\nquorum none\n"; upper.String() != want {
		t.Errorf("a key id in capitals is written as %q, want %q", upper.String(), want)
	}
}

func TestQuorum(t *testing.T) {
	for text, want := range map[string]string{
		nested:                                       "all of (2 of (x1, x2, x3), any of (y1, y2))",
		"log L(a)\nquorum none\n":                    "none",
		"log L(a)\nwitness w W(w)\nquorum w\n":       "w",
		"log L(a)\nwitness \x80 W(w)\nquorum \x80\n": `"\x80"`,
	} {
		if got := mustParse(t, text).Quorum(); got != want {
			t.Errorf("Quorum() = %q, want %q", got, want)
		}
	}
}

func TestZeroPolicy(t *testing.T) {
	var p policy.Policy
	v, err := note.NewVerifier(logVKey("a"))
	if err != nil {
		t.Fatal(err)
	}
	sigs := []note.Signature{{Name: v.Name(), Hash: v.KeyHash()}}
	if p.Check("a", sigs) == nil || p.Check("", nil) == nil {
		t.Error("the zero Policy accepts a checkpoint")
	}
	e := p.Explain("a", sigs)
	if e.Satisfied || e.LogSigned || e.QuorumMet || len(e.Missing) == 0 {
		t.Errorf("the zero Policy explains itself as %+v", e)
	}
	if _, err := p.Verifier(v.Name(), v.KeyHash()); err == nil {
		t.Error("the zero Policy knows a key")
	}
	if s := p.String(); s != "" {
		t.Errorf("the zero Policy has the text %q", s)
	}
}

func TestExplain(t *testing.T) {
	p := mustParse(t, nested)
	sigs := signed(t, p, "log.example/a", "L:log.example/a", "W:x1.example", "W:y2.example")
	e := p.Explain("log.example/a", sigs)
	id := strings.Join(strings.Split(logVKey("log.example/a"), "+")[:2], "+")
	want := "✓ log " + id + `: signed
✗ group both: 1 of 2 members, needs 2
  ✗ group xs: 1 of 3 members, needs 2
    ✓ witness x1: signed
    ✗ witness x2: not signed
    ✗ witness x3: not signed
  ✓ group ys: 1 of 2 members, needs 1
    · witness y1: not signed
    ✓ witness y2: signed
missing: 1 more of xs for group both
missing: 1 more of x2, x3 for group xs
`
	if d := cmp.Diff(want, e.String()); d != "" {
		t.Error(d)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back policy.Explanation
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, back); d != "" {
		t.Errorf("JSON does not carry all of it: %s", d)
	}
}

func TestExplainOfOtherOrigins(t *testing.T) {
	p := mustParse(t, "log L(a)\nquorum none\n")
	e := p.Explain("evil\u202e\"", nil)
	want := "✗ no log line for origin \"evil\\u202e\\\"\"\n✓ quorum none: no witnesses asked for\nmissing: a log line for origin \"evil\\u202e\\\"\"\n"
	if d := cmp.Diff(want, e.String()); d != "" {
		t.Error(d)
	}
	if e := p.Explain("", nil); e.Origin != `""` {
		t.Errorf("no origin is shown as %s", e.Origin)
	}
	e = p.Explain("a", nil)
	if d := cmp.Diff([]string{"a signature of log a"}, e.Missing); d != "" {
		t.Error(d)
	}
}
