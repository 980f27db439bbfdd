package tlogproof_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// proofLog is a log in memory on x/mod's tlog, which shares no code with what
// verifies here.
type proofLog struct {
	origin string
	signer note.Signer
	vkey   string
	hashes []tlog.Hash
	size   int64
}

// ReadHashes implements tlog.HashReader.
func (l *proofLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func newProofLog(t testing.TB, origin string) *proofLog {
	t.Helper()
	// Zeros for randomness: the key is a function of nothing, so that a failure
	// can be repeated.
	skey, vkey, err := note.GenerateKey(bytes.NewReader(make([]byte, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &proofLog{origin: origin, signer: signer, vkey: vkey}
}

func (l *proofLog) add(t testing.TB, entry []byte) {
	t.Helper()
	hs, err := tlog.StoredHashes(l.size, entry, l)
	if err != nil {
		t.Fatal(err)
	}
	l.hashes = append(l.hashes, hs...)
	l.size++
}

func (l *proofLog) sign(t testing.TB, tree tlog.Tree) []byte {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: l.origin, Tree: tree}.String()}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (l *proofLog) checkpoint(t testing.TB) []byte {
	t.Helper()
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		t.Fatal(err)
	}
	return l.sign(t, tlog.Tree{N: l.size, Hash: root})
}

func (l *proofLog) proof(t testing.TB, index int64) *tlogproof.Proof {
	t.Helper()
	path, err := tlog.ProveRecord(l.size, index, l)
	if err != nil {
		t.Fatal(err)
	}
	p := &tlogproof.Proof{Index: index, Checkpoint: l.checkpoint(t)}
	for _, h := range path {
		p.Path = append(p.Path, h[:])
	}
	return p
}

func (l *proofLog) policy(t testing.TB) torchwood.Policy {
	t.Helper()
	v, err := note.NewVerifier(l.vkey)
	if err != nil {
		t.Fatal(err)
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(l.origin), torchwood.SingleVerifierPolicy(v))
}

func proofEntry(i int64) []byte { return fmt.Appendf(nil, "entry %d\n", i) }

func marshalProof(t testing.TB, p *tlogproof.Proof) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verifyProof does what users of a proof do.
func verifyProof(b, entry []byte, pol torchwood.Policy) (torchwood.Checkpoint, error) {
	p, err := tlogproof.Parse(b)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	c, _, err := torchwood.VerifyCheckpoint(p.Checkpoint, pol)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	return c, p.VerifyInclusion(c.Tree, entry)
}

// TestVerifyProof verifies every entry of every tree up to size 40, and
// compares with tlog.CheckRecord and torchwood.VerifyProof, which is the same
// check by other code; then it spoils each input in turn.
func TestVerifyProof(t *testing.T) {
	l := newProofLog(t, "log.example")
	pol := l.policy(t)
	for size := int64(1); size <= 40; size++ {
		l.add(t, proofEntry(size-1))
		for i := range size {
			p := l.proof(t, i)
			p.Leaf = proofEntry(i)
			b := marshalProof(t, p)
			c, err := verifyProof(b, proofEntry(i), pol)
			if err != nil {
				t.Fatalf("entry %d of %d: %v", i, size, err)
			}
			if c.N != size || c.Origin != l.origin {
				t.Fatalf("entry %d of %d: checkpoint %+v", i, size, c)
			}
			if err := torchwood.VerifyProof(pol, tlog.RecordHash(proofEntry(i)), b); err != nil {
				t.Fatalf("entry %d of %d: torchwood: %v", i, size, err)
			}
			compareInclusion(t, c.Tree, p, i, size)
		}
	}
}

// compareInclusion checks agreement with tlog.CheckRecord on p and on what is
// nearly p.
func compareInclusion(t *testing.T, tree tlog.Tree, p *tlogproof.Proof, i, size int64) {
	t.Helper()
	flipped := bytes.Clone(tree.Hash[:])
	flipped[0] ^= 1
	longer := append(append([][]byte{}, p.Path...), flipped)
	cases := []struct {
		name  string
		index int64
		tree  tlog.Tree
		path  [][]byte
		entry []byte
		want  bool
	}{
		{"as it is", i, tree, p.Path, proofEntry(i), true},
		{"other entry", i, tree, p.Path, proofEntry(i + 1), false},
		{"other index", i ^ 1, tree, p.Path, proofEntry(i), false},
		{"index beyond", size, tree, p.Path, proofEntry(i), false},
		{"negative index", -1, tree, p.Path, proofEntry(i), false},
		{"other root", i, tlog.Tree{N: tree.N, Hash: tlog.Hash(flipped)}, p.Path, proofEntry(i), false},
		{"a hash more", i, tree, longer, proofEntry(i), false},
		{"empty tree", 0, tlog.Tree{}, nil, proofEntry(i), false},
		{"negative tree", 0, tlog.Tree{N: -1}, nil, proofEntry(i), false},
	}
	if len(p.Path) > 0 {
		less := cases[0]
		less.name, less.path, less.want = "a hash less", p.Path[1:], false
		cases = append(cases, less)
	}
	for _, tt := range cases {
		q := tlogproof.Proof{Index: tt.index, Path: tt.path}
		got := q.VerifyInclusion(tt.tree, tt.entry)
		if (got == nil) != tt.want {
			t.Errorf("entry %d of %d, %s: %v, want success: %t", i, size, tt.name, got, tt.want)
		}
		outside := tt.index < 0 || tt.index >= tt.tree.N
		if got != nil && outside != strings.Contains(got.Error(), "is not in a tree of size") {
			t.Errorf("entry %d of %d, %s: %v", i, size, tt.name, got)
		}
		var path tlog.RecordProof
		for _, h := range tt.path {
			path = append(path, tlog.Hash(h))
		}
		theirs := tlog.CheckRecord(path, tt.tree.N, tt.tree.Hash, tt.index, tlog.RecordHash(tt.entry))
		if (got == nil) != (theirs == nil) {
			t.Errorf("entry %d of %d, %s: got %v, tlog says %v", i, size, tt.name, got, theirs)
		}
	}
}

// The proof's own leaf is a hint: another one neither helps nor harms.
func TestVerifyProofIgnoresTheHint(t *testing.T) {
	l := newProofLog(t, "log.example")
	l.add(t, proofEntry(0))
	p := l.proof(t, 0)
	p.Leaf = proofEntry(1)
	b := marshalProof(t, p)
	if _, err := verifyProof(b, proofEntry(0), l.policy(t)); err != nil {
		t.Errorf("the right entry with a wrong hint: %v", err)
	}
	if _, err := verifyProof(b, proofEntry(1), l.policy(t)); err == nil {
		t.Error("a wrong entry was accepted for its hint")
	}
}

// tlog.CheckRecord does not return for these sizes.
func TestVerifyProofOfHugeTrees(t *testing.T) {
	l := newProofLog(t, "log.example")
	for _, size := range []int64{1<<62 + 1, math.MaxInt64 - 1, math.MaxInt64} {
		for _, hashes := range []int{1, tlogproof.MaxHashes} {
			p := &tlogproof.Proof{Index: size - 1, Checkpoint: l.sign(t, tlog.Tree{N: size})}
			for range hashes {
				p.Path = append(p.Path, make([]byte, tlog.HashSize))
			}
			if _, err := verifyProof(marshalProof(t, p), proofEntry(0), l.policy(t)); err == nil {
				t.Errorf("%d hashes prove an entry of a tree of size %d", hashes, size)
			}
		}
	}
}

func TestProofRoundTrip(t *testing.T) {
	l := newProofLog(t, "log.example")
	for i := range int64(5) {
		l.add(t, proofEntry(i))
	}
	plain := l.proof(t, 3)
	hinted := l.proof(t, 3)
	hinted.Leaf, hinted.Keys = []byte("cairn.leaf/v1\nkind <&>\u2028\n"), []string{"-----BEGIN PUBLIC KEY-----\n…\n", "b"}
	leafOnly, keysOnly := l.proof(t, 1), l.proof(t, 0)
	leafOnly.Leaf, keysOnly.Keys = []byte("leaf\n"), []string{"k"}
	for name, p := range map[string]*tlogproof.Proof{"plain": plain, "hinted": hinted, "leaf only": leafOnly, "keys only": keysOnly} {
		b := marshalProof(t, p)
		got, err := tlogproof.Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(p, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	extra, err := torchwood.ProofExtraData(marshalProof(t, hinted))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"leaf":"cairn.leaf/v1\nkind <&>` + "\u2028" + `\n","keys":["-----BEGIN PUBLIC KEY-----\n…\n","b"]}`
	if string(extra) != want {
		t.Errorf("extra is %s, want %s", extra, want)
	}
	if _, err := torchwood.ProofExtraData(marshalProof(t, plain)); err == nil {
		t.Error("a proof without hints has an extra line")
	}
}

func TestMarshalRefuses(t *testing.T) {
	l := newProofLog(t, "log.example")
	l.add(t, proofEntry(0))
	for _, tt := range []struct {
		name   string
		change func(p *tlogproof.Proof)
		want   string
	}{
		{"negative index", func(p *tlogproof.Proof) { p.Index = -1 }, "negative index"},
		{"short hash", func(p *tlogproof.Proof) { p.Path = [][]byte{{1}} }, "hash 0 has 1 bytes"},
		{"64 hashes", func(p *tlogproof.Proof) { p.Path = make([][]byte, 64) }, "64 hashes are over"},
		{"no checkpoint", func(p *tlogproof.Proof) { p.Checkpoint = nil }, "not a signed note"},
		{"leaf that is not text", func(p *tlogproof.Proof) { p.Leaf = []byte{0xff} }, "not text"},
		{"leaf too large", func(p *tlogproof.Proof) { p.Leaf = make([]byte, leaf.MaxSize+1) }, "not text of at most"},
		{"too many keys", func(p *tlogproof.Proof) { p.Keys = make([]string, leaf.MaxKeys+1) }, "17 keys are over"},
		{"key that is not text", func(p *tlogproof.Proof) { p.Keys = []string{"\xff"} }, "encoding its extra"},
		{"too large", func(p *tlogproof.Proof) { p.Keys = []string{strings.Repeat("k", tlogproof.MaxSize)} }, "over the limit"},
	} {
		p := l.proof(t, 0)
		tt.change(p)
		if _, err := p.Marshal(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	l := newProofLog(t, "log.example")
	for i := range int64(3) {
		l.add(t, proofEntry(i))
	}
	good := string(marshalProof(t, l.proof(t, 2)))
	hash := strings.Split(good, "\n")[2]
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the proof", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	withExtra := func(b64 string) string { return replace("index", "extra "+b64+"\nindex") }
	cp := string(l.checkpoint(t))
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "first line"},
		{"other version", replace("@v1", "@v2"), "first line"},
		{"carriage returns", strings.ReplaceAll(good, "\n", "\r\n"), "first line"},
		{"space before the index", replace("index", " index"), "no index line"},
		{"no index", replace("index 2\n", ""), "no index line"},
		{"header alone", "c2sp.org/tlog-proof@v1\n", "no index line"},
		{"extra alone", "c2sp.org/tlog-proof@v1\nextra YQ==\n", "no index line"},
		{"negative index", replace("index 2", "index -2"), "negative index"},
		{"index with a sign", replace("index 2", "index +2"), "invalid index"},
		{"index with a leading zero", replace("index 2", "index 02"), "invalid index"},
		{"index over int64", replace("index 2", "index 9223372036854775808"), "invalid index"},
		{"index in words", replace("index 2", "index two"), "invalid index"},
		{"no empty line", "c2sp.org/tlog-proof@v1\nindex 0\n" + hash, "no empty line"},
		{"hash that is not base64", replace(hash, "!"+hash[1:]), "invalid hash"},
		{"hash of 31 bytes", replace(hash, base64.StdEncoding.EncodeToString(make([]byte, 31))), "invalid hash"},
		{"hash with a carriage return", replace(hash, hash+"\r"), "invalid hash"},
		{"hash with other padding bits", replace(hash, strings.TrimRight(hash, "=")[:42]+nextBase64(hash[42])+"="), "invalid hash"},
		{"64 hashes", replace(hash, strings.TrimSuffix(strings.Repeat(hash+"\n", 64), "\n")), "more than 63 hashes"},
		{"no checkpoint", replace(cp, ""), "not a signed note"},
		{"checkpoint without a signature", good[:strings.Index(good, "— ")], "not a signed note"},
		{"note that is no checkpoint", replace("\n3\n", "\nthree\n"), "malformed checkpoint"},
		{"no origin", strings.Replace(good, "\n\nlog.example\n", "\n\n\n", 1), "it has no origin"},
		{"size with a leading zero", replace("\n3\n", "\n03\n"), "malformed checkpoint"},
		{"trailing bytes", good + "x", "not a signed note"},
		{"extra that is not base64", withExtra("!"), "invalid extra"},
		{"extra with other padding bits", withExtra("YR=="), "invalid extra"},
		{"extra with a carriage return", withExtra("YQ==\r"), "invalid extra"},
		{"two extras", withExtra("YQ==\nextra YQ=="), "no index line"},
		{"extra after the index", replace("index 2\n", "index 2\nextra YQ==\n"), "invalid hash"},
		{"too large", good + strings.Repeat("x", tlogproof.MaxSize), "over the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tlogproof.Parse([]byte(tt.in))
			if err == nil {
				t.Fatalf("accepted as %+v", p)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

// nextBase64 returns the character after c in the alphabet, which differs from
// c in the lowest bit if c's is 0: that of c is, where it is followed by padding.
func nextBase64(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return string(alphabet[strings.IndexByte(alphabet, c)+1])
}

func TestParseOfOthers(t *testing.T) {
	l := newProofLog(t, "log.example")
	l.add(t, proofEntry(0))
	many := `{"leaf":"x","keys":["k"` + strings.Repeat(`,"k"`, leaf.MaxKeys) + `]}`
	for name, tt := range map[string]struct {
		extra string
		want  tlogproof.Proof
	}{
		"empty":                {"", tlogproof.Proof{}},
		"not JSON":             {"age-v1.2.1", tlogproof.Proof{}},
		"JSON of another form": {`["leaf"]`, tlogproof.Proof{}},
		"leaf of another type": {`{"leaf":7}`, tlogproof.Proof{}},
		"leaf twice":           {`{"leaf":"x","leaf":"y"}`, tlogproof.Proof{}},
		"Leaf":                 {`{"Leaf":"x"}`, tlogproof.Proof{}},
		"invalid UTF-8":        {"{\"leaf\":\"\xff\"}", tlogproof.Proof{}},
		"too many keys":        {many, tlogproof.Proof{}},
		"leaf too large":       {`{"leaf":"` + strings.Repeat("x", leaf.MaxSize+1) + `"}`, tlogproof.Proof{}},
		"later members":        {`{"leaf":"x","more":{}}`, tlogproof.Proof{Leaf: []byte("x")}},
		"keys alone":           {`{"keys":["k"]}`, tlogproof.Proof{Keys: []string{"k"}}},
	} {
		b := torchwood.FormatProofWithExtraData(0, []byte(tt.extra), nil, l.checkpoint(t))
		got, err := tlogproof.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		tt.want.Checkpoint = l.checkpoint(t)
		if d := cmp.Diff(&tt.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// FuzzParse checks that Parse never panics, that what it accepts has
// one canonical file, and that torchwood reads the same in it.
func FuzzParse(f *testing.F) {
	l := newProofLog(f, "log.example")
	for i := range int64(5) {
		l.add(f, proofEntry(i))
		p := l.proof(f, i)
		f.Add(marshalProof(f, p))
		p.Leaf, p.Keys = proofEntry(i), []string{"k"}
		f.Add(marshalProof(f, p))
		f.Add(torchwood.FormatProofWithExtraData(i, []byte("foreign"), nil, p.Checkpoint))
	}
	pol := l.policy(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := tlogproof.Parse(b)
		if err != nil {
			return
		}
		canonical := marshalProof(t, p)
		again, err := tlogproof.Parse(canonical)
		if err != nil {
			t.Fatalf("parsing what was written: %v", err)
		}
		if d := cmp.Diff(p, again); d != "" {
			t.Fatal(d)
		}
		compareProofWithTorchwood(t, b, p, pol)
	})
}

func compareProofWithTorchwood(t *testing.T, b []byte, p *tlogproof.Proof, pol torchwood.Policy) {
	t.Helper()
	path := make(tlog.RecordProof, len(p.Path))
	for i, h := range p.Path {
		path[i] = tlog.Hash(h)
	}
	extra, err := torchwood.ProofExtraData(b)
	want := torchwood.FormatProofWithExtraData(p.Index, extra, path, p.Checkpoint)
	if err != nil {
		want = torchwood.FormatProof(p.Index, path, p.Checkpoint)
	}
	if !bytes.Equal(b, want) {
		t.Fatalf("accepted %q, which is written as %q", b, want)
	}
	text, _, _ := bytes.Cut(p.Checkpoint, []byte("\n\n"))
	if c, err := torchwood.ParseCheckpoint(string(text) + "\n"); err != nil || c.N > 1<<62 {
		return // torchwood.VerifyProof does not return for larger sizes
	}
	entry := proofEntry(p.Index)
	_, got := verifyProof(b, entry, pol)
	if theirs := torchwood.VerifyProof(pol, tlog.RecordHash(entry), b); (got == nil) != (theirs == nil) {
		t.Fatalf("got %v, torchwood: %v", got, theirs)
	}
}

// TestProofVector pins the file byte for byte, with a key made of a fixed seed.
func TestProofVector(t *testing.T) {
	l := newProofLog(t, "log.example")
	for i := range int64(3) {
		l.add(t, proofEntry(i))
	}
	p := l.proof(t, 1)
	p.Leaf, p.Keys = proofEntry(1), []string{"PEM"}
	root := sha256.Sum256(append([]byte{1}, append(proofNodeHash(proofEntry(0), proofEntry(1)), proofLeafHash(proofEntry(2))...)...))
	text := "log.example\n3\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
	sig := ed25519.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)), []byte(text))
	id := l.signer.KeyHash()
	sig = append([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, sig...)
	want := "c2sp.org/tlog-proof@v1\n" +
		"extra " + base64.StdEncoding.EncodeToString([]byte(`{"leaf":"entry 1\n","keys":["PEM"]}`)) + "\n" +
		"index 1\n" +
		base64.StdEncoding.EncodeToString(proofLeafHash(proofEntry(0))) + "\n" +
		base64.StdEncoding.EncodeToString(proofLeafHash(proofEntry(2))) + "\n" +
		"\n" + text + "\n— log.example " + base64.StdEncoding.EncodeToString(sig) + "\n"
	if d := cmp.Diff(want, string(marshalProof(t, p))); d != "" {
		t.Error(d)
	}
}

func proofLeafHash(entry []byte) []byte {
	h := sha256.Sum256(append([]byte{0}, entry...))
	return h[:]
}

func proofNodeHash(a, b []byte) []byte {
	h := sha256.Sum256(append([]byte{1}, append(proofLeafHash(a), proofLeafHash(b)...)...))
	return h[:]
}
