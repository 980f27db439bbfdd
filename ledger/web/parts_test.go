package web

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// draw executes a part of a page.
func draw(t testing.TB, name string, view any) string {
	t.Helper()
	site := newSite(t, nil, nil)
	var b strings.Builder
	if err := site.templates["failure"].ExecuteTemplate(&b, name, view); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// witnessed is a log with witnesses: its policy, and a checkpoint that the first of
// them cosigned.
func witnessed(t testing.TB, quorum string, witnesses, cosigned int) (*policy.Policy, *checkpoint.Published) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	log, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	signers := []note.Signer{log}
	lines := []string{"log " + vkey + " https://log.example"}
	for i := range witnesses {
		seed := sha256.Sum256(fmt.Appendf(nil, "witness %d", i))
		w, err := torchwood.NewCosignatureSigner(fmt.Sprintf("w%d.example/witness", i+1), ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("witness w%d %s https://w%d.example", i+1, w.Verifier(), i+1))
		if i < cosigned {
			signers = append(signers, w)
		}
	}
	p, err := policy.Parse([]byte(strings.Join(lines, "\n") + "\n" + quorum + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := torchwood.Checkpoint{Origin: "log.example/test", Tree: tlog.Tree{N: 1234567, Hash: tlog.Hash{1}}}
	signed, err := note.Sign(&note.Note{Text: c.String()}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return p, &checkpoint.Published{Checkpoint: c, Signed: signed, At: now.Add(-time.Minute)}
}

func TestRing(t *testing.T) {
	five := "group all 3 w1 w2 w3 w4 w5\nquorum all"
	for name, test := range map[string]struct {
		quorum              string
		witnesses, cosigned int
		spoil               func(*checkpoint.Published)
		want                ring
	}{
		"met":         {five, 5, 4, nil, ring{Cosigned: 4, Witnesses: 5, Least: 3, Met: true, Words: "4 of 5 witnesses, quorum met"}},
		"not met":     {five, 5, 2, nil, ring{Cosigned: 2, Witnesses: 5, Least: 3, Words: "2 of 5 witnesses, quorum not met"}},
		"not asked":   {"quorum none", 0, 0, nil, ring{Words: "no witnesses are asked for"}},
		"unlisted":    {"quorum w1", 2, 2, nil, ring{Cosigned: 1, Witnesses: 1, Least: 1, Met: true, Words: "1 of 1 witnesses, quorum met"}},
		"the wrong 3": {"group a 2 w4 w5\ngroup b any w1 w2 w3\ngroup all 2 a b\nquorum all", 5, 3, nil, ring{Cosigned: 3, Witnesses: 5, Least: 3, Words: "3 of 5 witnesses, quorum not met"}},
		"forged": {five, 5, 5, func(p *checkpoint.Published) {
			p.Signed = []byte(strings.Replace(string(p.Signed), "1234567", "1234568", 1))
		}, ring{Witnesses: 5, Least: 3, Words: "0 of 5 witnesses, quorum not met"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, latest := witnessed(t, test.quorum, test.witnesses, test.cosigned)
			if test.spoil != nil {
				test.spoil(latest)
			}
			got := newRing(p, latest, time.Now())
			filled := 0
			for _, s := range got.Segments {
				if s.Class != "untried" {
					filled++
				}
				if s.Class == "reproduced" && !got.Met {
					t.Error("green without a quorum")
				}
			}
			if filled != got.Cosigned || len(got.Segments) != max(1, got.Witnesses) || (got.Mark != "") != (got.Least > 0) {
				t.Errorf("%d of %d segments filled, mark %q", filled, len(got.Segments), got.Mark)
			}
			text := draw(t, "ring", got)
			if !strings.Contains(text, fmt.Sprintf("%d of %d</text>", got.Cosigned, got.Witnesses)) || !strings.Contains(text, `aria-label="`+test.want.Words) {
				t.Error(text)
			}
			got.Segments, got.Mark, got.Size = nil, "", 0
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	p, _ := witnessed(t, five, 5, 0)
	if r := newRing(p, nil, now); r.Met || r.Cosigned != 0 || r.Witnesses != 5 {
		t.Errorf("without a checkpoint: %+v", r)
	}
}

func TestSpark(t *testing.T) {
	at := func(hours int, size uint64) survey.Point {
		return survey.Point{At: now.Add(time.Duration(hours) * time.Hour), Size: size}
	}
	for name, test := range map[string]struct {
		points      []survey.Point
		words, line string
	}{
		"nothing": {nil, "not known yet", ""},
		"a point": {[]survey.Point{at(0, 5)}, "5 entries", ""},
		"growth":  {[]survey.Point{at(0, 0), at(6, 500), at(12, 2000)}, "from 0 to 2\u2009000 entries in 12 h", "M0.0 46.0L120.0 35.0L240.0 2.0"},
		"idle":    {[]survey.Point{at(0, 7), at(3, 7)}, "from 7 to 7 entries in 3 h", "M0.0 46.0L240.0 46.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpark(test.points)
			if s.Words != test.words || s.Line != test.line {
				t.Errorf("%q %q, want %q %q", s.Words, s.Line, test.words, test.line)
			}
			if text := draw(t, "spark", s); !strings.Contains(text, test.words) {
				t.Error(text)
			}
		})
	}
}

func TestVerdictBar(t *testing.T) {
	var counts survey.Counts
	counts[verify.VerdictReproduced], counts[verify.VerdictDiffers], counts[verify.VerdictUntried] = 34_999, 1, 5000
	b := newVerdictBar(counts)
	if b.Total != 40_000 || b.Words != "34\u2009999 reproduced, 1 differs, 5\u2009000 not tried" {
		t.Errorf("%d %q", b.Total, b.Words)
	}
	end := 0.0
	for _, p := range b.Parts {
		if p.X != end || p.Count > 0 && p.Width < barLeast || p.Count == 0 && p.Width != 0 {
			t.Errorf("%+v begins after %g", p, end)
		}
		end += p.Width
	}
	if end < barWidth-0.01 || end > barWidth+0.01 {
		t.Errorf("the bar ends at %g", end)
	}
	text := draw(t, "bar", b)
	if strings.Count(text, "<rect") != 3 || !strings.Contains(text, `<strong>1</strong> <span class="verdict differs">`) {
		t.Error(text)
	}
	if text := draw(t, "bar", newVerdictBar(survey.Counts{})); strings.Contains(text, "<rect") || !strings.Contains(text, "nothing") {
		t.Error(text)
	}
}
