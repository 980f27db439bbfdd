package policy_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/policy"
)

const oneLog = "log L(a)\n"

type refusal struct{ name, text, want string }

func testRefusals(t *testing.T, cases []refusal) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			p, err := policy.Parse([]byte(expand(tt.text)))
			if err == nil {
				t.Fatalf("accepted as %q", p)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

// someWitnesses returns n witness lines, w0 and on.
func someWitnesses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "witness w%d W(w%d)\n", i, i)
	}
	return b.String()
}

func TestParseRefusesLines(t *testing.T) {
	w := someWitnesses
	testRefusals(t, []refusal{
		{"nothing", "", "no log line"},
		{"no log", w(1) + "quorum w0\n", "no log line"},
		{"no quorum", oneLog, "no quorum line"},
		{"second quorum", oneLog + "quorum none\nquorum none\n", "line 3: second quorum"},
		{"quorum without a name", oneLog + "quorum\n", "line 2: want quorum"},
		{"quorum with two names", oneLog + "quorum none none\n", "line 2: want quorum"},
		{"quorum of an unknown name", oneLog + "quorum w\n", `line 2: quorum "w" is not defined`},
		{"quorum defined later", oneLog + "quorum w0\n" + w(1), `line 2: quorum "w0" is not defined`},
		{"unknown word", oneLog + "monitor x\nquorum none\n", `line 2: unknown word "monitor"`},
		{"word in capitals", oneLog + "Quorum none\n", `line 2: unknown word "Quorum"`},
		{"comment behind a line", oneLog + "quorum none # all\n", "line 2: want quorum"},
		{"comment behind a log", "log L(a) #prod\nquorum none\n", "line 1: \"#prod\" is not an absolute URL"},
		{"comment behind a witness", oneLog + "witness w W(w) #prod\nquorum none\n", "line 2: \"#prod\" is not an absolute URL"},
		{"URL without a scheme", "log L(a) log.example/a\nquorum none\n", "not an absolute URL"},
		{"URL that does not parse", "log L(a) http://[::1\nquorum none\n", "not an absolute URL"},
		{"carriage return", "log L(a)\r\nquorum none\r\n", "line 1: carriage return in column"},
		{"carriage return in a comment", oneLog + "# x\rquorum none\nquorum none\n", "line 2: carriage return in column 4"},
		{"control character", oneLog + "quorum\x0bnone\n", "line 2: control character 0x0b in column 7"},
		{"NUL", oneLog + "quorum none\x00\n", "line 2: control character 0x00"},
		{"DEL", oneLog + "# \x7f\nquorum none\n", "line 2: control character 0x7f"},
		{"no-break space does not separate", oneLog + "quorum\u00a0none\n", "line 2: unknown word"},
	})
}

func TestParseRefusesLogs(t *testing.T) {
	testRefusals(t, []refusal{
		{"log without a key", "log\nquorum none\n", "line 1: want log"},
		{"log with too much", "log L(a) http://a http://b\nquorum none\n", "line 1: want log"},
		{"log with a malformed key", "log a+b+c\nquorum none\n", "line 1: reading log key: malformed vkey"},
		{"log with bad base64", "log a+00000000+AQ=\nquorum none\n", "last part is not base64"},
		{"log with base64 that ends badly", "log a+00000000+AQIDBA=\nquorum none\n", "last part is not base64"},
		{"log with an id that is not hex", "log a+0000000g+AQID\nquorum none\n", "malformed vkey"},
		{"log with an empty key", "log a+00000000+\nquorum none\n", "last part is not base64"},
		{"log key with a sign in its id", "log a++0000000+AQID\nquorum none\n", "malformed vkey"},
		{"log with a wrong key id", "log " + strings.Replace(logVKey("a"), "a+", "b+", 1) + "\nquorum none\n", "line 1: reading log key: invalid verifier hash"},
		{"log with a witness key", "log W(w)\nquorum none\n", "type 0x04 (that of a witness), want an Ed25519 key"},
		{"log with an ML-DSA key", "log " + vkeyOf(6, "a", pubOf("x")) + "\nquorum none\n", "type 0x06 (ML-DSA-44, not supported yet)"},
		{"log with an unknown key type", "log " + vkeyOf(9, "a", pubOf("x")) + "\nquorum none\n", "type 0x09, want"},
		{"log with a short key", "log " + vkeyOf(1, "a", []byte("short")) + "\nquorum none\n", "reading log key: malformed verifier id"},
		{"log twice", oneLog + oneLog + "quorum none\n", "line 2: log a has the same public key as log a"},
		{"log key under two names", oneLog + "log " + vkeyOf(1, "b", pubOf("log a")) + "\nquorum none\n", "line 2: log b has the same public key as log a"},
	})
}

func TestParseRefusesWitnesses(t *testing.T) {
	w := someWitnesses
	sameKey := vkeyOf(4, "other.example", pubOf("witness w0"))
	testRefusals(t, []refusal{
		{"witness without a key", oneLog + "witness w\nquorum none\n", "line 2: want witness"},
		{"witness with too much", oneLog + "witness w W(w) http://w x\nquorum none\n", "line 2: want witness"},
		{"witness with a malformed key", oneLog + "witness w x\nquorum none\n", "line 2: reading witness key: malformed vkey"},
		{"witness with a log key", oneLog + "witness w L(w)\nquorum none\n", "type 0x01 (that of a log), want a cosignature/v1 key of type 0x04"},
		{"witness with an ML-DSA key", oneLog + "witness w " + vkeyOf(6, "w", pubOf("x")) + "\nquorum none\n", "type 0x06 (ML-DSA-44, not supported yet)"},
		{"witness with a wrong key id", oneLog + "witness w " + strings.Replace(witnessVKey("w"), "w+", "v+", 1) + "\nquorum none\n", "reading witness key: invalid verifier hash"},
		{"witness with a short key", oneLog + "witness w " + vkeyOf(4, "a", []byte("short")) + "\nquorum none\n", "malformed verifier id"},
		{"witness defined twice", oneLog + "witness w W(v)\nwitness w W(w)\nquorum none\n", `line 3: "w" is defined twice`},
		{"witness called none", oneLog + "witness none W(w)\nquorum none\n", `line 2: the name "none" is reserved`},
		{"one key under two names", oneLog + w(1) + "witness v " + witnessVKey("w0") + "\nquorum none\n", "line 3: witness v has the same public key as witness w0"},
		{"one key under two names and key names", oneLog + w(1) + "witness v " + sameKey + "\nquorum none\n", "line 3: witness v has the same public key as witness w0"},
		{"a witness with the log's key", oneLog + "witness w " + vkeyOf(4, "w", pubOf("log a")) + "\nquorum w\n", "line 2: witness w has the same public key as log a"},
		{"a log with a witness's key", w(1) + "log " + vkeyOf(1, "a", pubOf("witness w0")) + "\nquorum w0\n", "line 2: log a has the same public key as witness w0"},
	})
}

func TestParseRefusesGroups(t *testing.T) {
	w := someWitnesses
	testRefusals(t, []refusal{
		{"group without members", oneLog + "group g all\nquorum none\n", "line 2: want group"},
		{"group without a threshold", oneLog + "group g\nquorum none\n", "line 2: want group"},
		{"group of an unknown member", oneLog + w(1) + "group g all w0 w1\nquorum g\n", `line 3: member "w1" is not defined`},
		{"group of itself", oneLog + "group g all g\nquorum g\n", `line 2: member "g" is not defined`},
		{"group of none", oneLog + "group g all none\nquorum g\n", `line 2: member "none" is not defined`},
		{"group of a rebuilder", oneLog + "rebuilder r K(r) operator=o\ngroup g all r\nquorum g\n", `line 3: member "r" is a rebuilder, want a witness or group`},
		{"quorum of a rebuild-group", oneLog + "rebuilder r K(r) operator=o\nrebuild-group g all r\nquorum g\n", `line 4: quorum "g" is a rebuild-group, want a witness or group`},
		{"group of a log", oneLog + "group g all a\nquorum g\n", `line 2: member "a" is not defined`},
		{"group called none", oneLog + w(1) + "group none all w0\nquorum none\n", `line 3: the name "none" is reserved`},
		{"group called as a witness", oneLog + w(1) + "group w0 all w0\nquorum none\n", `line 3: "w0" is defined twice`},
		{"group defined twice", oneLog + w(2) + "group g all w0\ngroup g all w1\nquorum g\n", `line 5: "g" is defined twice`},
		{"member twice in a group", oneLog + w(1) + "group g 2 w0 w0\nquorum g\n", `line 3: "w0" is already a member of group "g"`},
		{"member of two groups", oneLog + w(2) + "group g all w0\ngroup h all g w0\nquorum h\n", `line 5: "w0" is already a member of group "g"`},
		{"threshold 0", oneLog + w(1) + "group g 0 w0\nquorum g\n", "line 3: threshold 0 is not between 1 and the 1 members"},
		{"threshold -1", oneLog + w(1) + "group g -1 w0\nquorum g\n", "line 3: threshold -1 is not between"},
		{"threshold above n", oneLog + w(2) + "group g 3 w0 w1\nquorum g\n", "line 4: threshold 3 is not between 1 and the 2 members"},
		{"threshold with a leading zero", oneLog + w(1) + "group g 01 w0\nquorum g\n", `line 3: threshold "01" is not all, any or a decimal number`},
		{"threshold with a sign", oneLog + w(1) + "group g +1 w0\nquorum g\n", `threshold "+1" is not`},
		{"threshold in words", oneLog + w(1) + "group g some w0\nquorum g\n", `threshold "some" is not`},
		{"threshold of 100 digits", oneLog + w(1) + "group g " + strings.Repeat("9", 100) + " w0\nquorum g\n", "is not all, any or a decimal number"},
	})
}

func TestParseLimits(t *testing.T) {
	repeat := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	logs := func(n int) string {
		return repeat(n, func(i int) string { return fmt.Sprintf("log %s\n", logVKey(fmt.Sprint("l", i))) })
	}
	witnesses := func(n int) string {
		return repeat(n, func(i int) string { return fmt.Sprintf("witness w%d %s\n", i, witnessVKey(fmt.Sprint("w", i))) })
	}
	groups := func(n int) string {
		return repeat(n, func(i int) string {
			if i == 0 {
				return "group g0 all w0\n"
			}
			return fmt.Sprintf("group g%d all g%d\n", i, i-1)
		})
	}
	full := logs(policy.MaxLogs) + witnesses(policy.MaxWitnesses) + groups(policy.MaxGroups)
	p, err := policy.Parse([]byte(full + fmt.Sprintf("quorum g%d\n", policy.MaxGroups-1)))
	if err != nil {
		t.Fatalf("a policy at its limits: %v", err)
	}
	v := p.Witnesses()[0].Verifier
	l := p.Logs()[policy.MaxLogs-1]
	sigs := []note.Signature{{Name: v.Name(), Hash: v.KeyHash()}, {Name: l.Name, Hash: l.Verifier.KeyHash()}}
	if err := p.Check(l.Name, sigs); err != nil {
		t.Errorf("groups nested to the limit: %v", err)
	}
	if err := p.Check(l.Name, sigs[1:]); err == nil {
		t.Error("groups nested to the limit are satisfied by nobody")
	}
	for name, text := range map[string]string{
		"logs":      logs(policy.MaxLogs+1) + "quorum none\n",
		"witnesses": logs(1) + witnesses(policy.MaxWitnesses+1) + "quorum none\n",
		"groups":    logs(1) + witnesses(1) + groups(policy.MaxGroups+1) + "quorum none\n",
		"bytes":     logs(1) + "quorum none\n" + strings.Repeat("#", policy.MaxSize),
	} {
		if _, err := policy.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "more than 1024 "+name) &&
			!strings.Contains(err.Error(), "over the limit") {
			t.Errorf("one too many %s: %v", name, err)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"no final newline":          oneLog + "quorum none",
		"tabs and many spaces":      "\t log \t L(a)  \n quorum\tnone\t\n",
		"a comment alone":           oneLog + "#\n #x\n\t# quorum x\nquorum none\n",
		"quorum before later lines": oneLog + "quorum none\nwitness w W(w)\n",
		"groups nobody asks for":    oneLog + "witness w W(w)\ngroup g all w\nquorum none\n",
		"names of digits and words": oneLog + "witness 2 W(v)\nwitness all W(w)\ngroup any 2 2 all\nquorum any\n",
		"names of odd octets":       oneLog + "witness \xff\x80 W(w)\nwitness # W(v)\ngroup \u212a all \xff\x80 #\ngroup K all \u212a\nquorum K\n",
		"octets beyond ASCII":       oneLog + "# \x80\xff \u212a\nquorum none\n",
	} {
		if _, err := policy.Parse([]byte(expand(text))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeyIDCollision finds two keys whose ids collide, which takes some 2^16
// tries, and checks that no policy holds both.
func TestKeyIDCollision(t *testing.T) {
	const name = "log.example"
	seen := make(map[uint32][]byte)
	for i := range uint64(1 << 20) {
		pub := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		sum := sha256.Sum256(slices.Concat([]byte(name+"\n"), []byte{1}, pub[:]))
		id := binary.BigEndian.Uint32(sum[:])
		first, ok := seen[id]
		if !ok {
			seen[id] = pub[:]
			continue
		}
		_, err := policy.Parse([]byte("log " + vkeyOf(1, name, first) + "\nlog " + vkeyOf(1, name, pub[:]) + "\nquorum none\n"))
		if err == nil || !strings.Contains(err.Error(), "line 2: log log.example has the same key name and id as another key") {
			t.Errorf("two keys with id %08x: %v", id, err)
		}
		return
	}
	t.Fatal("no collision found")
}

// A key id has eight digits, also if it is small: a shorter spelling is refused.
func TestShortKeyID(t *testing.T) {
	for i := range 1000 {
		name := fmt.Sprint("log", i)
		if vkey := logVKey(name); strings.Contains(vkey, "+0") {
			short := strings.Replace(vkey, "+0", "+", 1)
			_, err := policy.Parse([]byte("log " + short + "\nquorum none\n"))
			if err == nil || !strings.Contains(err.Error(), "malformed vkey") {
				t.Errorf("%s: %v", short, err)
			}
			return
		}
	}
	t.Fatal("no small key id found")
}
