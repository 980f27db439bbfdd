package policy_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/policy"
)

// cosignedAt returns a note of log a with the cosignatures of witnesses, each at
// a time in seconds: "w1@1000".
func cosignedAt(t testing.TB, by ...string) []byte {
	t.Helper()
	text := checkpointText("a")
	msg, err := note.Sign(&note.Note{Text: text}, logSigner(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range by {
		name, at, _ := strings.Cut(b, "@")
		var sec uint64
		if _, err := fmt.Sscan(at, &sec); err != nil {
			t.Fatal(err)
		}
		signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", sec, text)
		var id uint32
		if _, err := fmt.Sscanf(strings.Split(witnessVKey(name), "+")[1], "%08x", &id); err != nil {
			t.Fatal(err)
		}
		sig := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, id), sec)
		sig = append(sig, ed25519.Sign(testKey("witness "+name), []byte(signed))...)
		msg = fmt.Appendf(msg, "— %s %s\n", name, base64.StdEncoding.EncodeToString(sig))
	}
	return msg
}

func openAt(t testing.TB, p *policy.Policy, by ...string) []note.Signature {
	t.Helper()
	n, err := note.Open(cosignedAt(t, by...), p)
	if err != nil {
		t.Fatal(err)
	}
	return n.Sigs
}

const aged = `log L(a)
witness u W(u)
witness v W(v)
witness w W(w)
group g 2 u v w
quorum g
max-age 1h
`

func TestCheckAt(t *testing.T) {
	const now = 100_000
	for _, tt := range []struct {
		name, policy string
		by           []string
		at           int64 // 0 for no time
		want         string
	}{
		{"two just made", aged, []string{"u@100000", "v@99999"}, now, ""},
		{"two at the limit", aged, []string{"u@96400", "v@96400"}, now, ""},
		{"one a second too old", aged, []string{"u@100000", "v@96399"}, now, "1 more of v, w for group g"},
		{"all too old", aged, []string{"u@1", "v@2", "w@3"}, now, "2 more of u, v, w"},
		{"two of three are new", aged, []string{"u@1", "v@100000", "w@99000"}, now, ""},
		{"one is missing", aged, []string{"u@100000"}, now, "1 more of v, w"},
		{"from the future", aged, []string{"u@100001", "v@999999"}, now, ""},
		{"no time is asked about", aged, []string{"u@100000", "v@100000"}, 0, "2 more of u, v, w"},
		{"no time in a cosignature", aged, []string{"u@100000", "v@0"}, now, "1 more of v, w"},
		{"a time that is no time", aged, []string{"u@100000", "v@18446744073709551615"}, now, "1 more of v, w"},
		{"a time that no calendar has", aged, []string{"u@100000", fmt.Sprint("v@", uint64(math.MaxInt64))}, now, "1 more of v, w"},
		{"a time that cannot be written", aged, []string{"u@100000", "v@253402300800"}, now, "1 more of v, w"},
		{"no time in a cosignature, and none to speak of", aged, []string{"u@100000", "v@0"}, time.Time{}.Unix() + 1, "1 more of v, w"},
		{"one witness, too old", "log L(a)\nwitness w W(w)\nquorum w\nmax-age 1s\n", []string{"w@99998"}, now, "a newer cosignature of witness w"},
		{"one witness, missing", "log L(a)\nwitness w W(w)\nquorum w\nmax-age 1s\n", nil, now, "a cosignature of witness w"},
		{"no max-age", strings.Replace(aged, "max-age 1h\n", "", 1), []string{"u@1", "v@0"}, now, ""},
		{"no max-age and no time", strings.Replace(aged, "max-age 1h\n", "", 1), []string{"u@1", "v@0"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, tt.policy)
			sigs := openAt(t, p, tt.by...)
			var at time.Time
			if tt.at != 0 {
				at = time.Unix(tt.at, 0)
			}
			err := p.CheckAt("a", sigs, at)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("CheckAt: %v, want %q", err, tt.want)
			}
			e := p.ExplainAt("a", sigs, at)
			if e.Satisfied != (err == nil) || (len(e.Missing) == 0) != (err == nil) {
				t.Errorf("ExplainAt says %t with %q missing, CheckAt says %v", e.Satisfied, e.Missing, err)
			}
			if old := p.MaxAge() > 0 && (e.Witnessed.IsZero() || at.Sub(e.Witnessed) > p.MaxAge()); e.Satisfied && old {
				t.Errorf("satisfied, but witnessed at %s", e.Witnessed)
			}
			// Who has no clock does not ask for the age.
			if err := p.Check("a", sigs); (err == nil) != (len(tt.by) >= 2 || tt.want == "a newer cosignature of witness w") {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

// The log's own signature has no time, and max-age asks it for none.
func TestCheckAtNeedsTheLog(t *testing.T) {
	p := mustParse(t, aged)
	sigs := openAt(t, p, "u@100000", "v@100000")
	if err := p.CheckAt("a", sigs[1:], time.Unix(100_000, 0)); err == nil || !strings.Contains(err.Error(), "no log") {
		t.Errorf("without the log: %v", err)
	}
}

// The time is under the witness's signature.
func TestCosignatureTimeIsSigned(t *testing.T) {
	p := mustParse(t, aged)
	msg := cosignedAt(t, "u@1")
	i := strings.LastIndex(string(msg), " ") + 1
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(msg[i:])))
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(sig[4:], 100_000)
	forged := fmt.Appendf(msg[:i:i], "%s\n", base64.StdEncoding.EncodeToString(sig))
	if _, err := note.Open(forged, p); err == nil {
		t.Error("a cosignature with another time verifies")
	}
}

func TestWitnessed(t *testing.T) {
	p := mustParse(t, strings.Replace(aged, "quorum g\nmax-age 1h\n", "witness x W(x)\ngroup h all g x\nquorum h\n", 1))
	for _, tt := range []struct {
		name string
		by   []string
		want int64 // 0 for none
	}{
		{"the second of the group", []string{"u@50", "v@60", "w@70", "x@90"}, 60},
		{"in any order", []string{"u@70", "v@50", "w@60", "x@90"}, 60},
		{"the one alone", []string{"u@50", "v@60", "w@70", "x@40"}, 40},
		{"exactly enough", []string{"u@50", "w@70", "x@90"}, 50},
		{"too few", []string{"u@50", "x@90"}, 0},
		{"without a time", []string{"u@50", "v@0", "x@90"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, e := range []policy.Explanation{
				p.Explain("a", openAt(t, p, tt.by...)),
				p.ExplainAt("a", openAt(t, p, tt.by...), time.Unix(1000, 0)),
			} {
				if want := time.Unix(tt.want, 0); tt.want != 0 && !e.Witnessed.Equal(want) || tt.want == 0 && !e.Witnessed.IsZero() {
					t.Errorf("witnessed at %s, want %s", e.Witnessed, want)
				}
			}
		})
	}
}

// Of several cosignatures of one key, the latest counts.
func TestLatestCosignatureCounts(t *testing.T) {
	p := mustParse(t, "log L(a)\nwitness w W(w)\nquorum w\nmax-age 1h\n")
	old, young := openAt(t, p, "w@1"), openAt(t, p, "w@100000")
	at := time.Unix(100_000, 0)
	for name, sigs := range map[string][]note.Signature{
		"old first":   append(old[:2:2], young[1]),
		"young first": append(young[:2:2], old[1]),
	} {
		if err := p.CheckAt("a", sigs, at); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExplainAt(t *testing.T) {
	p := mustParse(t, strings.Replace(aged, "group g 2 u v w\n", "witness x W(x)\nwitness y W(y)\ngroup g 3 u v w x y\n", 1))
	e := p.ExplainAt("a", openAt(t, p, "u@100000", "v@1", "w@100060", "x@0"), time.Unix(100_000, 0))
	id := strings.Join(strings.Split(logVKey("a"), "+")[:2], "+")
	want := "✓ log " + id + `: signed
✗ group g: 2 of 5 members, needs 3
  ✓ witness u: signed 1970-01-02T03:46:40Z
  ✗ witness v: signed 1970-01-01T00:00:01Z, too old
  ✓ witness w: signed 1970-01-02T03:47:40Z, after the time asked about
  ✗ witness x: signed without a time
  ✗ witness y: not signed
max-age 1h, judged at 1970-01-02T03:46:40Z
missing: 1 more of v, x, y for group g
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
	ageless := mustParse(t, "log L(a)\nwitness w W(w)\nquorum w\n")
	if n := ageless.ExplainAt("a", openAt(t, ageless, "w@100000"), time.Time{}).Quorum; n.Age != "" || n.Time.Unix() != 100_000 {
		t.Errorf("at no time, a cosignature is %+v", n)
	}
	e = p.ExplainAt("a", openAt(t, p, "u@100000"), time.Time{})
	if got := e.Missing[len(e.Missing)-1]; got != "the time at which max-age is judged" {
		t.Errorf("without a time, %q is missing", got)
	}
}
