package web

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

type noteVector struct {
	Name   string `json:"name"`
	Want   string `json:"want"`
	Signed string `json:"signed"`
	Policy string `json:"policy"`
}

// goVerdict is the ledger's own verdict of a signed checkpoint.
func goVerdict(signed, policyText string) error {
	p, err := policy.Parse([]byte(policyText))
	if err != nil {
		return err
	}
	// Of base64 the library also takes spellings that no encoder writes.
	for line := range strings.SplitSeq(signed, "\n") {
		if b64 := line[strings.LastIndex(line, " ")+1:]; strings.HasPrefix(line, "— ") {
			if raw, err := base64.StdEncoding.DecodeString(b64); err != nil || base64.StdEncoding.EncodeToString(raw) != b64 {
				return fmt.Errorf("signature %q is not canonical", line)
			}
		}
	}
	c, sigs, err := tlogproof.Open([]byte(signed), p)
	if err != nil {
		return err
	}
	return p.Check(c.Origin, sigs)
}

// world is a log, its witnesses, and strangers.
type world struct {
	t                *testing.T
	log, other       note.Signer
	logKey, otherKey string // verifier keys
	witnesses        []note.Signer
	witnessKeys      []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.log, w.logKey = w.logSigner("log.example/test")
	w.other, w.otherKey = w.logSigner("log.example/test")
	for i := range 4 {
		skey, vkey, err := note.GenerateKey(nil, fmt.Sprintf("w%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		s, err := formats.NewSignerForCosignatureV1(skey)
		if err != nil {
			t.Fatal(err)
		}
		if vkey, err = formats.VKeyToCosignatureV1(vkey); err != nil {
			t.Fatal(err)
		}
		w.witnesses, w.witnessKeys = append(w.witnesses, s), append(w.witnessKeys, vkey)
	}
	return w
}

func (w *world) logSigner(name string) (note.Signer, string) {
	skey, vkey, err := note.GenerateKey(nil, name)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, vkey
}

func (w *world) sign(text string, signers ...note.Signer) string {
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(signed)
}

// policyOf is the log, w0 to w3, and lines of groups and quorum.
func (w *world) policyOf(lines ...string) string {
	text := "log " + w.logKey + "\n"
	for i, k := range w.witnessKeys {
		text += fmt.Sprintf("witness w%d %s\n", i, k)
	}
	return text + strings.Join(lines, "\n") + "\n"
}

var goodText = torchwood.Checkpoint{Origin: "log.example/test", Tree: tlog.Tree{N: 70, Hash: tlog.Hash{1, 2}}}.String()

// noteVectors are signed checkpoints under policies, with the ledger's verdict.
func noteVectors(t *testing.T) []noteVector {
	w := newWorld(t)
	list := w.quorums()
	add := func(name, signed, policyText string) {
		list = append(list, noteVector{name, verdict(goVerdict(signed, policyText)), signed, policyText})
	}
	quorumNone, one := w.policyOf("quorum none"), w.policyOf("quorum w0")
	add("another key of the same name", w.sign(goodText, w.other), quorumNone)
	add("another key beside", w.sign(goodText, w.other, w.log), quorumNone)
	add("another origin", w.sign(strings.Replace(goodText, "test", "other", 1), w.log), quorumNone)
	add("two logs", w.sign(goodText, w.other), "log "+w.otherKey+"\n"+quorumNone)
	good := w.sign(goodText, w.log, w.witnesses[0])
	for i := range good {
		// Each byte in turn, among them those of the size, the root and the signatures.
		spoilt := []byte(good)
		if spoilt[i] == 'A' {
			spoilt[i] = 'B'
		} else {
			spoilt[i] = 'A'
		}
		add(fmt.Sprintf("byte %d", i), string(spoilt), one)
	}
	for _, m := range malformed(good) {
		add(m[0], m[1], one)
	}
	for _, text := range malformedTexts {
		add(fmt.Sprintf("text %.60q", text), w.sign(text, w.log), quorumNone)
	}
	for _, line := range malformedPolicies {
		add(fmt.Sprintf("policy %q", line), good, w.policyOf(strings.Split(line, "\n")...))
	}
	add("policy without logs", good, "quorum none\n")
	return append(list, w.beyond(quorumNone)...)
}

// quorums are all sets of witnesses under several quorums, good and with one wrong.
func (w *world) quorums() []noteVector {
	var list []noteVector
	for _, lines := range [][]string{
		{"quorum none"},
		{"quorum w1"},
		{"group any any w0 w1 w2", "quorum any"},
		{"group all all w0 w1 w2", "quorum all"},
		{"group two 2 w0 w1 w2", "quorum two"},
		{"group in any w0 w1", "group also all w2 w3", "group out 1 in also", "quorum out"},
		{"group in 2 w0 w1", "group out all in w2", "quorum out"},
		{"group\tany  any\tw0  w1", "# comment", "", " quorum\tany "},
	} {
		policyText := w.policyOf(lines...)
		for set := range 16 {
			signers := []note.Signer{w.log}
			for i, s := range w.witnesses {
				if set&(1<<i) != 0 {
					signers = append(signers, s)
				}
			}
			signed := w.sign(goodText, signers...)
			name := fmt.Sprintf("witnesses %04b, %s", set, strings.Join(lines, "; "))
			list = append(list, noteVector{name, verdict(goVerdict(signed, policyText)), signed, policyText})
			// The last signature, of another text.
			wrong := w.sign(strings.Replace(goodText, "70", "71", 1), signers...)
			cut := strings.LastIndex(signed[:len(signed)-1], "\n")
			wrong = signed[:cut] + wrong[strings.LastIndex(wrong[:len(wrong)-1], "\n"):]
			list = append(list, noteVector{name + ", the last wrong", verdict(goVerdict(wrong, policyText)), wrong, policyText})
		}
	}
	return list
}

// malformed are names and ways to write a note that is none.
func malformed(good string) [][2]string {
	text, sigs, _ := strings.Cut(good, "\n\n")
	lines := strings.SplitAfter(sigs, "\n")
	return [][2]string{
		{"empty", ""},
		{"no signatures", text + "\n"},
		{"no signature lines", text + "\n\n"},
		{"no final newline", strings.TrimSuffix(good, "\n")},
		{"a line behind", good + "\n"},
		{"signatures changed about", text + "\n\n" + lines[1] + lines[0]},
		{"log's signature twice", text + "\n\n" + lines[0] + lines[0] + lines[1]},
		{"log's signature missing", text + "\n\n" + lines[1]},
		{"a hyphen for the dash", text + "\n\n" + strings.Replace(sigs, "—", "-", 1)},
		{"a name with a space", text + "\n\n— a\u00a0b AAAAAAAA\n" + sigs},
		{"a name with a plus", text + "\n\n— a+b AAAAAAAA\n" + sigs},
		{"a short signature", text + "\n\n— a AAAA\n" + sigs},
		{"no base64", text + "\n\n— a A*AAAAAA\n" + sigs},
		{"a stranger", text + "\n\n— a AAAAAAAA\n" + sigs},
		{"strangers", text + "\n\n" + strings.Repeat("— a AAAAAAAA\n", 98) + sigs},
		{"too many strangers", text + "\n\n" + strings.Repeat("— a AAAAAAAA\n", 99) + sigs},
		{"a carriage return", strings.Replace(good, "\n", "\r\n", 1)},
		{"a tab", "\t" + good},
		{"a cosignature without time", text + "\n\n" + lines[0] + cutSignature(lines[1])},
	}
}

// cutSignature drops the eight bytes of the time from a line.
func cutSignature(line string) string {
	at := strings.LastIndex(line, " ") + 1
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line[at:]))
	if err != nil {
		return line
	}
	return line[:at] + base64.StdEncoding.EncodeToString(append(raw[:4:4], raw[12:]...)) + "\n"
}

// malformedTexts are signed, and no checkpoints; or they are.
var malformedTexts = []string{
	"log.example/test\n",
	"log.example/test\n70\n",
	"\n70\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n070\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n+7\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n-1\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n0\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n9223372036854775807\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n9223372036854775808\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	"log.example/test\n70\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
	"log.example/test\n70\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n",
	"log.example/test\n70\n\n",
	"log.example/test\n70\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nextension\nanother\n",
	"log.example/test\n70\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nextension\n",
	"log.example/test\n70\nAQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nextension\n\nanother\n",
}

var malformedPolicies = []string{
	"",
	"quorum nobody",
	"quorum none\nquorum none",
	"quorum",
	"witness none w0.example+00000000+AAAA\nquorum none",
	"group g 4 w0 w1 w2\nquorum g",
	"group g 0 w0 w1 w2\nquorum g",
	"group g -1 w0 w1 w2\nquorum g",
	"group g some w0 w1 w2\nquorum g",
	"group g 1 g\nquorum g",
	"group g any w9\nquorum g",
	"group w0 any w1\nquorum w0",
	"group g any\nquorum g",
	"unknown line\nquorum none",
	"log log.example/test+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nquorum none",
}

// beyond are cases in which the script says less than the ledger's code, or more.
func (w *world) beyond(quorumNone string) []noteVector {
	_, mldsaKey, err := formats.GenerateMLDSAKey("pq.example")
	if err != nil {
		w.t.Fatal(err)
	}
	skey, vkey, err := formats.GenerateMLDSAKey("pq.example")
	if err != nil {
		w.t.Fatal(err)
	}
	pq, err := formats.NewMLDSASigner(skey)
	if err != nil {
		w.t.Fatal(err)
	}
	signed := w.sign(goodText, w.log, w.witnesses[0], pq)
	witness := "witness pq " + vkey
	return []noteVector{
		{"ML-DSA, of a stranger", "ok", signed, quorumNone},
		{"ML-DSA, needed", "unknown", signed, w.policyOf(witness, "quorum pq")},
		{"ML-DSA, needed of two", "unknown", signed, w.policyOf(witness, "group g all w0 pq", "quorum g")},
		{"ML-DSA, one of two", "ok", signed, w.policyOf(witness, "group g any w0 pq", "quorum g")},
		{"ML-DSA, beside what is missing", "bad", signed, w.policyOf(witness, "group g all w1 pq", "quorum g")},
		{"ML-DSA, of another key", "bad", signed, w.policyOf("witness pq "+mldsaKey, "quorum pq")},
	}
}
