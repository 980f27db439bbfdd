package leaf_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
)

func sum256(s string) leaf.Digest { return leaf.SHA256([]byte(s)) }

func sum512(i int) leaf.Digest {
	return leaf.Digest("sha512:" + strings.Repeat("0", 120) + fmt.Sprintf("%08x", i))
}

// full has every line, and is as it is written.
func full() *leaf.Leaf {
	sorted := func(ds ...leaf.Digest) []leaf.Digest { slices.Sort(ds); return ds }
	return &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse",
		Envelope: sum256("envelope"), Payload: sum256("payload"),
		Claim: leaf.ClaimReproduction, Result: leaf.Different,
		Keys: []leaf.Fingerprint{
			"openpgp:" + leaf.Fingerprint(strings.Repeat("a", 40)),
			"sha256:" + leaf.Fingerprint(strings.Repeat("b", 64)),
		},
		Names:    sorted(sum256("name"), sum256("other name")),
		Subjects: sorted(sum256("subject"), sum512(1)),
		Outputs:  []leaf.Digest{sum512(2)},
	}
}

func mustMarshal(t testing.TB, l *leaf.Leaf) []byte {
	t.Helper()
	b, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMarshal(t *testing.T) {
	l := full()
	want := "cairn.leaf/v1\n" +
		"kind attestation\n" +
		"format dsse\n" +
		"envelope sha256:" + fmt.Sprintf("%x", sha256.Sum256([]byte("envelope"))) + "\n" +
		"payload sha256:" + fmt.Sprintf("%x", sha256.Sum256([]byte("payload"))) + "\n" +
		"claim reproduction\n" +
		"result DIFFERENT\n" +
		"key openpgp:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" +
		"key sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n" +
		"name " + string(l.Names[0]) + "\n" +
		"name " + string(l.Names[1]) + "\n" +
		"subject " + string(l.Subjects[0]) + "\n" +
		"subject " + string(l.Subjects[1]) + "\n" +
		"output " + string(l.Outputs[0]) + "\n"
	if d := cmp.Diff(want, string(mustMarshal(t, l))); d != "" {
		t.Error(d)
	}
}

func TestParseOfMarshal(t *testing.T) {
	for name, change := range map[string]func(*leaf.Leaf){
		"full":                 func(*leaf.Leaf) {},
		"least":                func(l *leaf.Leaf) { l.Keys, l.Names, l.Subjects, l.Outputs = l.Keys[:1], nil, l.Subjects[:1], nil },
		"redaction":            func(l *leaf.Leaf) { l.Kind, l.Claim, l.Result = leaf.KindRedaction, leaf.ClaimOther, leaf.NoResult },
		"enrol":                func(l *leaf.Leaf) { l.Kind = leaf.KindEnrol },
		"endorse":              func(l *leaf.Leaf) { l.Kind = leaf.KindEndorse },
		"revoke":               func(l *leaf.Leaf) { l.Kind = leaf.KindRevoke },
		"build":                func(l *leaf.Leaf) { l.Claim = leaf.ClaimBuild },
		"review":               func(l *leaf.Leaf) { l.Claim = leaf.ClaimReview },
		"identical":            func(l *leaf.Leaf) { l.Result = leaf.Identical },
		"equivalent":           func(l *leaf.Leaf) { l.Result = leaf.Equivalent },
		"failed":               func(l *leaf.Leaf) { l.Result = leaf.BuildFailed },
		"inconclusive":         func(l *leaf.Leaf) { l.Result = leaf.Inconclusive },
		"long format":          func(l *leaf.Leaf) { l.Format = "abcdefghijklmnopqrstuvwxyz-01234" },
		"openpgp v6":           func(l *leaf.Leaf) { l.Keys[0] = "openpgp:" + leaf.Fingerprint(strings.Repeat("c", 64)) },
		"most keys":            func(l *leaf.Leaf) { l.Keys = fingerprints(leaf.MaxKeys) },
		"most names":           func(l *leaf.Leaf) { l.Names = digests256(leaf.MaxNames) },
		"most subjects":        func(l *leaf.Leaf) { l.Subjects = digests512(leaf.MaxDigests) },
		"most outputs":         func(l *leaf.Leaf) { l.Outputs = digests512(leaf.MaxDigests) },
		"what attest may make": atAttestLimits,
	} {
		l := full()
		change(l)
		text := mustMarshal(t, l)
		got, err := leaf.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(l, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func fingerprints(n int) (fps []leaf.Fingerprint) {
	for _, d := range digests256(n) {
		fps = append(fps, leaf.Fingerprint(d))
	}
	return fps
}

func digests256(n int) (ds []leaf.Digest) {
	for i := range n {
		ds = append(ds, leaf.Digest("sha256:"+fmt.Sprintf("%064x", i)))
	}
	return ds
}

func digests512(n int) (ds []leaf.Digest) {
	for i := range n {
		ds = append(ds, sum512(i))
	}
	return ds
}

// atAttestLimits is 64 subjects and outputs with both digests, and all else at
// its limit: MaxSize promises room for it.
func atAttestLimits(l *leaf.Leaf) {
	l.Keys, l.Names = fingerprints(leaf.MaxKeys), digests256(leaf.MaxNames)
	l.Subjects = append(digests256(64), digests512(64)...)
	l.Outputs = append(digests256(64), digests512(64)...)
}

func TestMarshalRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*leaf.Leaf)
		want   string
	}{
		{"no kind", func(l *leaf.Leaf) { l.Kind = "" }, `unknown kind ""`},
		{"unknown kind", func(l *leaf.Leaf) { l.Kind = "Attestation" }, "unknown kind"},
		{"no format", func(l *leaf.Leaf) { l.Format = "" }, "invalid format"},
		{"format in capitals", func(l *leaf.Leaf) { l.Format = "DSSE" }, "invalid format"},
		{"format with a newline", func(l *leaf.Leaf) { l.Format = "dsse\nclaim build" }, "invalid format"},
		{"format with a space", func(l *leaf.Leaf) { l.Format = "ds se" }, "invalid format"},
		{"format of 33", func(l *leaf.Leaf) { l.Format = strings.Repeat("a", 33) }, "invalid format"},
		{"unknown claim", func(l *leaf.Leaf) { l.Claim = "x" }, "unknown claim"},
		{"unknown result", func(l *leaf.Leaf) { l.Result = "GOOD" }, "unknown result"},
		{"no result", func(l *leaf.Leaf) { l.Result = "" }, `unknown result ""`},
		{"envelope of sha512", func(l *leaf.Leaf) { l.Envelope = sum512(0) }, "must be sha256"},
		{"no envelope", func(l *leaf.Leaf) { l.Envelope = "" }, "must be sha256"},
		{"payload of sha512", func(l *leaf.Leaf) { l.Payload = sum512(0) }, "must be sha256"},
		{"no key", func(l *leaf.Leaf) { l.Keys = nil }, "0 key lines, want 1 to 16"},
		{"17 keys", func(l *leaf.Leaf) { l.Keys = fingerprints(17) }, "17 key lines"},
		{"a key that is none", func(l *leaf.Leaf) { l.Keys[0] = "sha512:00" }, "invalid key"},
		{"keys out of order", func(l *leaf.Leaf) { slices.Reverse(l.Keys) }, "key lines are not sorted and distinct"},
		{"a key twice", func(l *leaf.Leaf) { l.Keys[1] = l.Keys[0] }, "key lines are not sorted and distinct"},
		{"65 names", func(l *leaf.Leaf) { l.Names = digests256(65) }, "65 name lines"},
		{"a name of sha512", func(l *leaf.Leaf) { l.Names = digests512(1) }, "invalid name"},
		{"names out of order", func(l *leaf.Leaf) { slices.Reverse(l.Names) }, "name lines are not sorted"},
		{"no subject", func(l *leaf.Leaf) { l.Subjects = nil }, "0 subject lines, want 1 to 128"},
		{"129 subjects", func(l *leaf.Leaf) { l.Subjects = digests256(129) }, "129 subject lines"},
		{"a subject of sha1", func(l *leaf.Leaf) { l.Subjects[0] = "sha1:" + leaf.Digest(strings.Repeat("a", 40)) }, "invalid subject"},
		{"a subject in capitals", func(l *leaf.Leaf) { l.Subjects[0] = "sha256:" + leaf.Digest(strings.Repeat("A", 64)) }, "invalid subject"},
		{"subjects out of order", func(l *leaf.Leaf) { slices.Reverse(l.Subjects) }, "subject lines are not sorted"},
		{"129 outputs", func(l *leaf.Leaf) { l.Outputs = digests256(129) }, "129 output lines"},
		{"an output that is none", func(l *leaf.Leaf) { l.Outputs[0] = "x" }, "invalid output"},
		{"an output twice", func(l *leaf.Leaf) { l.Outputs = append(l.Outputs, l.Outputs[0]) }, "output lines are not sorted"},
		{"over the size", func(l *leaf.Leaf) {
			atAttestLimits(l)
			l.Subjects, l.Outputs = digests512(leaf.MaxDigests), digests512(leaf.MaxDigests)
		}, "over the limit"},
	} {
		l := full()
		tt.change(l)
		if b, err := l.Marshal(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.name, b, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(mustMarshal(t, full()))
	line := func(n int) string { return strings.SplitAfter(good, "\n")[n] }
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the leaf", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "does not end in a newline"},
		{"a newline", "\n", `begins with ""`},
		{"no final newline", strings.TrimSuffix(good, "\n"), "does not end in a newline"},
		{"two final newlines", good + "\n", `unexpected line ""`},
		{"another version", replace("/v1", "/v2"), "begins with"},
		{"a line before", "\n" + good, "begins with"},
		{"carriage returns", strings.ReplaceAll(good, "\n", "\r\n"), "begins with"},
		{"header alone", "cairn.leaf/v1\n", "missing kind line"},
		{"no result", replace("result DIFFERENT\n", ""), `want result`},
		{"end after the claim", good[:strings.Index(good, "result")], "missing result line"},
		{"lines out of order", replace(line(3)+line(4), line(4)+line(3)), "want envelope"},
		{"kind twice", replace(line(1), line(1)+line(1)), "want format"},
		{"two spaces", replace("kind attestation", "kind  attestation"), "unknown kind"},
		{"a tab", replace("kind attestation", "kind\tattestation"), "want kind"},
		{"a space behind", replace("format dsse", "format dsse "), "invalid format"},
		{"a word in capitals", replace("kind", "Kind"), "want kind"},
		{"an empty line", replace("claim", "\nclaim"), "want claim"},
		{"a name behind the subjects", replace(line(9), "") + line(9), "unexpected line"},
		{"an unknown line", good + "comment x\n", "unexpected line"},
		{"no key", replace(line(7)+line(8), ""), "0 key lines"},
		{"keys out of order", replace(line(7)+line(8), line(8)+line(7)), "not sorted and distinct"},
		{"a key twice", replace(line(7), line(7)+line(7)), "not sorted and distinct"},
		{"hex in capitals", replace("aaaaaa", "AAAAAA"), "invalid key"},
		{"an unknown kind", replace("kind attestation", "kind x"), "unknown kind"},
		{"too large", "cairn.leaf/v1\n" + strings.Repeat("x", leaf.MaxSize), "over the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := leaf.Parse([]byte(tt.in))
			if err == nil {
				t.Fatalf("accepted as %+v", l)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	h64, h128 := strings.Repeat("0a", 32), strings.Repeat("0a", 64)
	for s, want := range map[string]bool{
		"sha256:" + h64: true, "sha512:" + h128: true,
		"": false, h64: false, "sha256:": false, "sha256:" + h64[1:]: false, "sha256:" + h64 + "0": false,
		"sha256:" + h128: false, "sha512:" + h64: false, "SHA256:" + h64: false, "sha1:" + h64[:40]: false,
		"sha256:" + strings.ToUpper(h64): false, "sha256:" + strings.Repeat("g", 64): false,
		"sha256:" + strings.Repeat("/", 64): false, "sha256:" + strings.Repeat("`", 64): false, "sha256:" + strings.Repeat(":", 64): false,
		" sha256:" + h64: false, "sha256:sha256:" + h64: false,
	} {
		d, err := leaf.ParseDigest(s)
		if (err == nil) != want || leaf.Digest(s).Valid() != want {
			t.Errorf("ParseDigest(%q): %v, want valid: %t", s, err, want)
		}
		if want && (string(d) != s || fmt.Sprintf("%x", d.Bytes()) != d.Hex() || !strings.HasSuffix(s, ":"+d.Hex())) {
			t.Errorf("%q is %q, bytes %x, hex %s", s, d, d.Bytes(), d.Hex())
		}
	}
}

func TestFingerprint(t *testing.T) {
	for s, want := range map[string]bool{
		"sha256:" + strings.Repeat("0", 64):  true,
		"openpgp:" + strings.Repeat("0", 40): true,
		"openpgp:" + strings.Repeat("0", 64): true,
		"openpgp:" + strings.Repeat("0", 32): false,
		"openpgp:" + strings.Repeat("A", 40): false,
		"sha512:" + strings.Repeat("0", 128): false,
		"sha256:" + strings.Repeat("0", 40):  false,
		"":                                   false,
	} {
		if got := leaf.Fingerprint(s).Valid(); got != want {
			t.Errorf("%q is valid: %t, want %t", s, got, want)
		}
	}
}

func TestHash(t *testing.T) {
	text := mustMarshal(t, full())
	want := tlog.RecordHash(text)
	if !bytes.Equal(leaf.Hash(text), want[:]) {
		t.Errorf("Hash is %x, tlog's %x", leaf.Hash(text), want)
	}
	if got := leaf.NameHash("pkg:oci/x"); got != sum256("pkg:oci/x") {
		t.Errorf("NameHash is %s", got)
	}
	if got, want := leaf.SHA256(nil), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; string(got) != want {
		t.Errorf("SHA256 of nothing is %s", got)
	}
}

// Identity depends on kind, format, payload and keys, and on nothing else.
func TestIdentity(t *testing.T) {
	of := func(change func(*leaf.Leaf)) [32]byte {
		l := full()
		change(l)
		return l.Identity()
	}
	same := of(func(*leaf.Leaf) {})
	for name, change := range map[string]func(*leaf.Leaf){
		"envelope": func(l *leaf.Leaf) { l.Envelope = sum256("x") },
		"claim":    func(l *leaf.Leaf) { l.Claim = leaf.ClaimBuild },
		"result":   func(l *leaf.Leaf) { l.Result = leaf.Identical },
		"names":    func(l *leaf.Leaf) { l.Names = nil },
		"subjects": func(l *leaf.Leaf) { l.Subjects = l.Subjects[:1] },
		"outputs":  func(l *leaf.Leaf) { l.Outputs = nil },
	} {
		if of(change) != same {
			t.Errorf("another %s is another entry", name)
		}
	}
	seen := map[[32]byte]string{same: "full"}
	for name, change := range map[string]func(*leaf.Leaf){
		"kind":      func(l *leaf.Leaf) { l.Kind = leaf.KindEnrol },
		"format":    func(l *leaf.Leaf) { l.Format = "link" },
		"payload":   func(l *leaf.Leaf) { l.Payload = sum256("x") },
		"fewer key": func(l *leaf.Leaf) { l.Keys = l.Keys[:1] },
		"other key": func(l *leaf.Leaf) { l.Keys = l.Keys[1:] },
	} {
		id := of(change)
		if other, ok := seen[id]; ok {
			t.Errorf("%s has the identity of %s", name, other)
		}
		seen[id] = name
	}
}

// FuzzParse checks that Parse never panics, and that each text that it accepts
// is the one that Marshal writes.
func FuzzParse(f *testing.F) {
	l := full()
	f.Add(mustMarshal(f, l))
	l.Outputs, l.Names, l.Result = nil, nil, leaf.NoResult
	f.Add(mustMarshal(f, l))
	atAttestLimits(l)
	f.Add(mustMarshal(f, l))
	f.Add(leaftest.HashedRekord(f, "alice", "hello\n"))
	of := leaf.HashedRekord{Digest: sum512(1), Signature: []byte{1}, KeyDetails: "X", Verifier: certificate("\x30\x00"), Certificate: true}
	text, err := of.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := leaf.Parse(text)
		if err != nil {
			return
		}
		again, err := l.Marshal()
		if err != nil {
			t.Fatalf("accepted, and not written: %v", err)
		}
		if d := cmp.Diff(string(text), string(again)); d != "" {
			t.Fatal(d)
		}
		if len(l.Keys) == 0 || len(l.Subjects) == 0 {
			t.Fatalf("accepted without key or subject: %+v", l)
		}
		if l.Rekor != "" {
			checkRekord(t, text)
		}
	})
}
