package evidence_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

const origin = "log.example/test"

// world is a log and its fork, which share 5 entries, and a witness that will
// cosign anything.
type world struct {
	log, fork *witnesstest.Log
	witness   *witnesstest.Cosigner
	keys      evidence.Keys
}

func newWorld() *world {
	w := &world{log: witnesstest.NewLog(origin).Grow(5, "common"), witness: witnesstest.NewCosigner("witness.example/w", "w")}
	w.fork = w.log.Fork().Grow(20, "fork")
	w.log.Grow(20, "entry")
	w.keys = evidence.Keys{Logs: []note.Verifier{w.log}, Witnesses: []note.Verifier{w.witness.Verifier()}}
	return w
}

// signed returns a checkpoint that the log and, at a time, the witness signed.
func (w *world) signed(tree tlog.Tree, at int64) evidence.Signed {
	n := w.log.SignTree(tree)
	if at > 0 {
		n = w.witness.Cosign(n, at)
	}
	s, err := evidence.Open(n, append(w.keys.Logs, w.keys.Witnesses...))
	if err != nil {
		panic(err)
	}
	return s
}

// prefix is what the tiles of a log show of its tree of size from.
func prefix(l *witnesstest.Log, from, to int64) *evidence.Prefix {
	return &evidence.Prefix{AltRoot: l.Tree(from).Hash, Proof: l.Proof(from, to)}
}

func (w *world) samples(t testing.TB) map[string]*evidence.Evidence {
	log := func(a, b evidence.Signed, p *evidence.Prefix) *evidence.Evidence {
		e, err := evidence.AgainstLog(w.keys.Logs, a, b, p)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	wit := func(a, b evidence.Signed, p *evidence.Prefix) *evidence.Evidence {
		e, err := evidence.AgainstWitness(w.keys.Witnesses[0], a, b, p)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	empty := w.signed(tlog.Tree{Hash: tlog.Hash{7}}, 0)
	return map[string]*evidence.Evidence{
		"same-size":                   log(w.signed(w.log.Tree(10), 0), w.signed(w.fork.Tree(10), 9), nil),
		"prefix":                      log(w.signed(w.log.Tree(10), 0), w.signed(w.fork.Tree(17), 0), prefix(w.fork, 10, 17)),
		"prefix, size a power of two": log(w.signed(w.fork.Tree(25), 0), w.signed(w.log.Tree(8), 0), prefix(w.fork, 8, 25)),
		"empty-root":                  log(w.signed(w.log.Tree(3), 0), empty, nil),
		"witness-equivocation":        wit(w.signed(w.log.Tree(10), 100), w.signed(w.fork.Tree(10), 100), nil),
		"witness-equivocation, sizes": wit(w.signed(w.log.Tree(10), 100), w.signed(w.fork.Tree(12), 200), prefix(w.fork, 10, 12)),
		"witness-rollback":            wit(w.signed(w.log.Tree(12), 100), w.signed(w.log.Tree(10), 101), nil),
	}
}

func TestEvidence(t *testing.T) {
	w := newWorld()
	for name, e := range w.samples(t) {
		t.Run(name, func(t *testing.T) {
			kind, _, _ := strings.Cut(name, ",")
			if string(e.Kind) != kind {
				t.Errorf("kind %s, want %s", e.Kind, kind)
			}
			text := e.Marshal()
			parsed, err := evidence.Parse(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if diff := cmp.Diff(e, parsed); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
			v := parsed.Verify(w.keys)
			if v.Result != evidence.Proven || len(v.Sentences) < 2 {
				t.Errorf("verdict %+v, want proven, and why", v)
			}
			accused := "log " + origin
			if e.Kind.AccusesWitness() {
				accused = "witness " + evidence.KeyID(w.keys.Witnesses[0])
			}
			if v.Accused != accused {
				t.Errorf("accused %q, want %q", v.Accused, accused)
			}
			// Who does not know the key cannot judge, whatever else they know.
			for other, keys := range map[string]evidence.Keys{
				"none":                   {},
				"of another log":         {Logs: []note.Verifier{witnesstest.NewLog("other.example/log")}},
				"another key of the log": {Logs: []note.Verifier{witnesstest.NewSigner(origin, "new")}},
				"in the wrong role":      {Logs: w.keys.Witnesses, Witnesses: w.keys.Logs},
			} {
				if v := parsed.Verify(keys); v.Result != evidence.Unjudged {
					t.Errorf("with keys %s: %+v, want unjudged", other, v)
				}
			}
		})
	}
	if got := (evidence.Verdict{}).Result; got != evidence.Unjudged {
		t.Errorf("the zero verdict is %s", got)
	}
}

// TestEmptyRootRefuted: the root of the empty tree is no evidence.
func TestEmptyRootRefuted(t *testing.T) {
	w := newWorld()
	e := evidence.Evidence{Origin: origin, Kind: evidence.KindEmptyRoot, Notes: [][]byte{w.log.Checkpoint(0)}}
	if _, err := evidence.Parse(e.Marshal()); err != nil {
		t.Fatal(err)
	}
	if v := e.Verify(w.keys); v.Result != evidence.Refuted {
		t.Errorf("verdict %+v, want refuted", v)
	}
}

// TestOrder: who finds a contradiction first, and in which order, does not
// change the evidence.
func TestOrder(t *testing.T) {
	w := newWorld()
	a, b := w.signed(w.log.Tree(10), 5), w.signed(w.fork.Tree(10), 0)
	x, err := evidence.AgainstLog(w.keys.Logs, a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := evidence.AgainstLog(w.keys.Logs, b, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if x.Hash() != y.Hash() || x.Subject() != y.Subject() {
		t.Error("the order of the checkpoints changes the evidence")
	}
}

func TestRotatedKey(t *testing.T) {
	w := newWorld()
	next := witnesstest.NewSigner(origin, "next")
	text := torchwood.Checkpoint{Origin: origin, Tree: w.fork.Tree(10)}.String()
	all := []note.Verifier{w.log, next}
	b, err := evidence.Open(witnesstest.SignText(text, next), all)
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.AgainstLog(all, w.signed(w.log.Tree(10), 0), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := e.Verify(evidence.Keys{Logs: all}); v.Result != evidence.Proven {
		t.Errorf("two keys of one log: %+v, want proven", v)
	}
	if v := e.Verify(evidence.Keys{Logs: all[1:]}); v.Result != evidence.Unjudged {
		t.Errorf("with the new key alone: %+v, want unjudged", v)
	}
}

// TestNoFalseEvidence tries to make evidence of what is in order.
func TestNoFalseEvidence(t *testing.T) {
	w := newWorld()
	tree := func(n int64) evidence.Signed { return w.signed(w.log.Tree(n), 100+n) }
	unsigned := tree(10)
	unsigned.Sigs = nil
	lied := w.signed(w.fork.Tree(10), 0)
	lied.Sigs = tree(10).Sigs
	for name, f := range map[string]func() (*evidence.Evidence, error){
		"same checkpoint": func() (*evidence.Evidence, error) { return evidence.AgainstLog(w.keys.Logs, tree(10), tree(10), nil) },
		"an extension": func() (*evidence.Evidence, error) {
			return evidence.AgainstLog(w.keys.Logs, tree(10), tree(17), prefix(w.log, 10, 17))
		},
		"no proof": func() (*evidence.Evidence, error) { return evidence.AgainstLog(w.keys.Logs, tree(10), tree(17), nil) },
		"another tree's proof": func() (*evidence.Evidence, error) {
			return evidence.AgainstLog(w.keys.Logs, tree(10), tree(17), prefix(w.fork, 10, 17))
		},
		"empty tree": func() (*evidence.Evidence, error) { return evidence.AgainstLog(w.keys.Logs, tree(0), tree(0), nil) },
		"size 0 and any": func() (*evidence.Evidence, error) {
			return evidence.AgainstLog(w.keys.Logs, tree(0), tree(9), &evidence.Prefix{AltRoot: tlog.Hash{1}})
		},
		"not signed": func() (*evidence.Evidence, error) {
			return evidence.AgainstLog(w.keys.Logs, unsigned, w.signed(w.fork.Tree(10), 0), nil)
		},
		"signed elsewhere": func() (*evidence.Evidence, error) { return evidence.AgainstLog(w.keys.Logs, lied, tree(10), nil) },
		"growing witness": func() (*evidence.Evidence, error) {
			return evidence.AgainstWitness(w.keys.Witnesses[0], tree(10), tree(17), nil)
		},
		"witness, same time": func() (*evidence.Evidence, error) {
			return evidence.AgainstWitness(w.keys.Witnesses[0], w.signed(w.log.Tree(10), 100), w.signed(w.log.Tree(12), 100), nil)
		},
		"witness, same tree twice": func() (*evidence.Evidence, error) {
			return evidence.AgainstWitness(w.keys.Witnesses[0], w.signed(w.log.Tree(10), 100), w.signed(w.log.Tree(10), 200), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := f(); err == nil {
				t.Errorf("got evidence:\n%s", e.Marshal())
			}
		})
	}
}

// TestByteFlips: no text that differs from an evidence in one byte proves
// anything.
func TestByteFlips(t *testing.T) {
	w := newWorld()
	for name, e := range w.samples(t) {
		text := e.Marshal()
		for i := range text {
			// All 256 values cost a minute; these change case, sign, digit, and
			// base64 in each position.
			for _, x := range []byte{0x01, 0x04, 0x20, 0x80, 0xff} {
				flipped := bytes.Clone(text)
				flipped[i] ^= x
				e, err := evidence.Parse(flipped)
				if err != nil {
					continue
				}
				if v := e.Verify(w.keys); v.Result == evidence.Proven {
					t.Fatalf("%s: still proven with byte %d ^ %#02x: %q", name, i, x, flipped)
				}
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	w := newWorld()
	samples := w.samples(t)
	same, pre, roll := string(samples["same-size"].Marshal()), string(samples["prefix"].Marshal()), string(samples["witness-rollback"].Marshal())
	edit := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(s, old, new, 1)
	}
	notes := samples["same-size"].Notes
	line := func(n []byte) string { return "checkpoint " + base64.StdEncoding.EncodeToString(n) + "\n" }
	a, b := line(notes[0]), line(notes[1])
	twice := append(bytes.Clone(notes[0]), notes[0][bytes.LastIndex(notes[0], []byte("— ")):]...)
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(notes[0][bytes.LastIndex(notes[0], []byte(" "))+1:])))
	if err != nil {
		t.Fatal(err)
	}
	sig[len(sig)-1]--
	two := fmt.Appendf(bytes.Clone(notes[0]), "— %s %s\n", origin, base64.StdEncoding.EncodeToString(sig))
	_, witnessLine, _ := strings.Cut(roll, "witness ")
	witnessLine, _, _ = strings.Cut(witnessLine, "\n")
	many := addSignatures(notes[0], 17)

	for name, text := range map[string]string{
		"empty":                         "",
		"another version":               edit(same, "/v1", "/v2"),
		"no last newline":               strings.TrimSuffix(same, "\n"),
		"something behind":              same + "\n",
		"carriage returns":              strings.ReplaceAll(same, "\n", "\r\n"),
		"unknown kind":                  edit(same, "kind same-size", "kind other"),
		"another kind":                  edit(same, "kind same-size", "kind prefix"),
		"another origin":                edit(same, "origin log", "origin lob"),
		"checkpoints swapped":           edit(same, a+b, b+a),
		"one checkpoint":                edit(same, b, ""),
		"three checkpoints":             same + b,
		"witness in a log kind":         edit(same, "checkpoint", "witness "+witnessLine+"\ncheckpoint"),
		"empty witness":                 edit(same, "checkpoint", "witness \ncheckpoint"),
		"no witness":                    edit(roll, "witness "+witnessLine+"\n", ""),
		"root without need":             edit(same, "checkpoint", "alt-root "+tlog.Hash{}.String()+"\ncheckpoint"),
		"no root":                       edit(pre, "alt-root", "proof"),
		"short hash":                    edit(pre, "alt-root ", "alt-root AAAA"),
		"64 lines of proof":             edit(pre, "checkpoint", strings.Repeat("proof "+tlog.Hash{}.String()+"\n", 64)+"checkpoint"),
		"hash without padding":          edit(pre, "=\n", "\n"),
		"two by one key":                edit(same, a, line(two)),
		"two by one key, the other way": edit(same, a, line(swapLast(two))),
		"signature twice":               edit(same, a, line(twice)),
		"17 signatures":                 edit(same, a, line(many)),
		"too large":                     same + strings.Repeat("x", evidence.MaxSize),
		"two spaces":                    edit(same, "kind ", "kind  "),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := evidence.Parse([]byte(text)); err == nil {
				t.Errorf("accepted:\n%s", text)
			}
		})
	}
}

// addSignatures adds n signature lines by unknown keys to a note.
func addSignatures(msg []byte, n int) []byte {
	msg = bytes.Clone(msg)
	for i := range n {
		sig := binary.BigEndian.AppendUint32(nil, uint32(i))
		msg = fmt.Appendf(msg, "— z%02d %s\n", i, base64.StdEncoding.EncodeToString(append(sig, "signature"...)))
	}
	return msg
}

// swapLast swaps the last two lines.
func swapLast(text []byte) []byte {
	l := strings.SplitAfter(string(text), "\n")
	n := len(l) - 1 // behind the last newline is nothing
	l[n-1], l[n-2] = l[n-2], l[n-1]
	return []byte(strings.Join(l, ""))
}

// TestExtensionLines: they are signed with the rest, but change no tree.
func TestExtensionLines(t *testing.T) {
	w := newWorld()
	text := torchwood.Checkpoint{Origin: origin, Tree: w.log.Tree(10)}.String()
	more, err := evidence.Open(witnesstest.SignText(text+"more\n", w.log.Signer), w.keys.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.AgainstLog(w.keys.Logs, w.signed(w.log.Tree(10), 0), more, nil); err == nil {
		t.Error("an extension line became evidence")
	}
	if _, err := evidence.AgainstLog(w.keys.Logs, w.signed(w.fork.Tree(10), 0), more, nil); err != nil {
		t.Errorf("a fork with an extension line: %v", err)
	}
	// A log cannot escape by signing what is too large to be shown.
	large, err := evidence.Open(witnesstest.SignText(text+strings.Repeat(strings.Repeat("x", 99)+"\n", 950), w.log.Signer), w.keys.Logs)
	if err != nil {
		t.Fatal(err)
	}
	other := torchwood.Checkpoint{Origin: origin, Tree: w.fork.Tree(10)}.String()
	alsoLarge, err := evidence.Open(witnesstest.SignText(other+strings.Repeat(strings.Repeat("x", 99)+"\n", 950), w.log.Signer), w.keys.Logs)
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.AgainstLog(w.keys.Logs, alsoLarge, large, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.Parse(e.Marshal()); err != nil {
		t.Error(err)
	}
}

func FuzzEvidence(f *testing.F) {
	w := newWorld()
	known := make(map[string]bool)
	for _, e := range w.samples(f) {
		f.Add(e.Marshal())
		known[string(e.Marshal())] = true
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := evidence.Parse(text)
		if err != nil {
			return
		}
		if got := e.Marshal(); !bytes.Equal(got, text) {
			t.Errorf("parsed %q, but it is %q", text, got)
		}
		e.Subject()
		// Nobody but the fixture has the keys.
		if v := e.Verify(w.keys); v.Result == evidence.Proven && !known[string(text)] {
			t.Errorf("proven: %q", text)
		}
	})
}
