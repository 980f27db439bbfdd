package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
)

// cosignedBy is a checkpoint that witnesses cosigned, each so many seconds after the time
// that it has; negative for never.
func cosignedBy(size uint64, at time.Time, seconds ...int) survey.Cosigned {
	c := survey.Cosigned{Size: size, At: at, Times: make(map[string]time.Time)}
	for i, s := range seconds {
		if s >= 0 {
			c.Times[fmt.Sprintf("w%d.example/witness", i+1)] = at.Add(time.Duration(s) * time.Second)
		}
	}
	return c
}

// witnessSite is a Site whose policy asks for two of three witnesses, of which the first
// two cosigned.
func witnessSite(t testing.TB, s Survey, change func(*Config)) *Site {
	t.Helper()
	p, latest := witnessed(t, "group g 2 w1 w2 w3\nquorum g", 3, 2)
	return newSite(t, s, func(cfg *Config) {
		cfg.Policy, cfg.Board = p, checkpoint.NewBoard()
		if err := cfg.Board.Show(latest); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(cfg)
		}
	})
}

func TestWitnesses(t *testing.T) {
	s := &fakeSurvey{cosigned: []survey.Cosigned{
		cosignedBy(400, now.Add(-time.Hour), 0, 3, -1),
		cosignedBy(300, now.Add(-2*time.Hour), 0, 30, 70),
		cosignedBy(200, now.Add(-3*time.Hour), 5, -1, -1),
		cosignedBy(100, now.Add(-4*time.Hour), 0, 1, 2),
	}}
	status, body := get(t, witnessSite(t, s, nil), "/witnesses")
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	origin := leaf.SHA256([]byte("log.example/test")).Hex()
	for _, want := range []string{
		"2 of the 3 witnesses that the quorum can draw on cosigned the latest checkpoint",
		"The quorum is met, and none of them could be missing.",
		"<code>2 of (w1, w2, w3)</code>",
		"3 of the latest 4 checkpoints met the quorum.",
		`<td class="num">4 of 4</td>`, `<td class="num">3 of 4</td>`, `<td class="num">2 of 4</td>`,
		`<td class="num">30 s</td>`, `<td class="num">70 s</td>`,
		"2026-11-22T11:00:03Z</time>, age 59 min, of 400 entries",
		`rel="nofollow noopener noreferrer">https://w3.example/evidence?origin-hash=` + origin + "</a>",
		"cairn evidence verify FILE --policy trusted.policy",
		"Whether any is kept here is not known.",
		"witness w1 w1.example/witness", "group g 2 w1 w2 w3\nquorum g\n</pre>",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(body, "✓ cosigned"); n != 2 || strings.Count(body, "· not cosigned") != 1 {
		t.Errorf("%d witnesses cosigned", n)
	}
	checkLanes(t, body)
}

// checkLanes counts the ticks that TestWitnesses draws, those of the legend left out.
func checkLanes(t *testing.T, body string) {
	t.Helper()
	_, drawing, _ := strings.Cut(body, `class="lanes"`)
	drawing, _, _ = strings.Cut(drawing, "<figcaption>")
	for class, want := range map[string]int{"prompt": 4 + 2 + 1, "late": 1, "later": 1, "missing": 1 + 2, "met": 3, "unmet": 1} {
		ticks := 0
		for _, path := range strings.Split(drawing, `<path class="`+class+`" d="`)[1:] {
			path, _, _ = strings.Cut(path, `"`)
			ticks += strings.Count(path, "M")
		}
		if ticks != want {
			t.Errorf("%d ticks of class %s, want %d", ticks, class, want)
		}
	}
	if !strings.Contains(drawing, ">2026-11-22 08:00</text>") || !strings.Contains(drawing, ">2026-11-22 11:00</text>") {
		t.Error("the lanes have no times")
	}
}

func TestWitnessesTwin(t *testing.T) {
	s := &fakeSurvey{cosigned: []survey.Cosigned{cosignedBy(400, now, 0, 3, 9), cosignedBy(300, now.Add(-time.Minute), 0, 4, -1)}}
	_, body := get(t, witnessSite(t, s, nil), "/witnesses.json")
	var got struct{ View witnessesView }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	v := got.View
	text := fmt.Sprint(v.Size, v.Quorum, v.Ring.Words, v.Margin, len(v.Missing), v.History.Checkpoints, v.History.Met, v.Kept, v.Known, v.Evidence != nil)
	if want := "12345672 of (w1, w2, w3)2 of 3 witnesses, quorum met0 0 2 2 true false true"; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	for i, want := range []string{"w1 true 2 0 0", "w2 true 2 4 4", "w3 false 1 9 9"} {
		w := v.Witnesses[i]
		if text := fmt.Sprint(w.Name, " ", w.Cosigned, " ", w.Count, " ", w.Median, " ", w.Largest); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// use makes a Site's policy and checkpoint others.
func use(t testing.TB, cfg *Config, p *policy.Policy, latest *checkpoint.Published) {
	t.Helper()
	cfg.Policy, cfg.Board = p, checkpoint.NewBoard()
	if err := cfg.Board.Show(latest); err != nil {
		t.Fatal(err)
	}
}

// lacking are ledgers that lack something, what their page says and what it does not.
var lacking = map[string]struct {
	change func(testing.TB, *Config)
	want   []string
	not    []string
}{
	"no witnesses": {
		func(t testing.TB, cfg *Config) {
			p, latest := witnessed(t, "quorum none", 0, 0)
			use(t, cfg, p, latest)
		},
		[]string{"nobody but the log itself vouches for its checkpoints", "quorum none"}, []string{"✓", "<svg class=\"ring"},
	},
	"none that is asked for": {
		func(t testing.TB, cfg *Config) {
			p, latest := witnessed(t, "quorum none", 2, 0)
			use(t, cfg, p, latest)
		},
		[]string{"no witnesses are asked for", "The policy asks for none of them.", "(not in the quorum)"}, []string{"quorum is met"},
	},
	"no checkpoint": {
		func(_ testing.TB, cfg *Config) { cfg.Board = checkpoint.NewBoard() },
		[]string{"No checkpoint is published yet.", "0 of 3"}, []string{"✓ cosigned", "quorum is met"},
	},
	"too few": {
		func(t testing.TB, cfg *Config) {
			p, latest := witnessed(t, "group g 2 w1 w2 w3\nquorum g", 3, 1)
			use(t, cfg, p, latest)
		},
		[]string{"The quorum is not met.", "missing: 1 more of w2, w3 for group g", "1 of 3 witnesses, quorum not met"}, []string{"✓ needs", "<path class=\"reproduced\""},
	},
	"a forged checkpoint": {
		func(t testing.TB, cfg *Config) {
			p, latest := witnessed(t, "group g 2 w1 w2 w3\nquorum g", 3, 3)
			latest.Signed = []byte(strings.Replace(string(latest.Signed), "1234567", "1234568", 1))
			use(t, cfg, p, latest)
		},
		[]string{"The signatures of the published checkpoint do not verify.", "The quorum is not met."}, []string{"✓ cosigned"},
	},
	"no evidence": {
		func(t testing.TB, cfg *Config) { cfg.Evidence = func() ([]Evidence, error) { return nil, nil } },
		[]string{"None is kept here."}, []string{"not known", "cairn log consistency"},
	},
	"evidence": {
		func(t testing.TB, cfg *Config) {
			cfg.Evidence = func() ([]Evidence, error) {
				return []Evidence{{"<b>rollback-7", now.Add(-48 * time.Hour), "log\n7\n<script>\u202e"}}, nil
			}
		},
		[]string{"&lt;b&gt;rollback-7", "age 2 d", "log\n7\n&lt;script&gt;\\u202e</pre>", "cairn log consistency FILE --ledger DIRECTORY"}, []string{"None is kept", "<script>\\"},
	},
	"evidence that cannot be read": {
		func(t testing.TB, cfg *Config) {
			cfg.Evidence = func() ([]Evidence, error) { return nil, errors.New("/secret/path") }
		},
		[]string{"Whether any is kept here is not known."}, []string{"None is kept", "secret"},
	},
	"no table": {
		func(t testing.TB, cfg *Config) { cfg.Survey = nil },
		[]string{"<code>verdicts.database</code>", "not kept here"}, []string{`class="lanes"`},
	},
	"an empty table": {func(testing.TB, *Config) {}, []string{"Nothing is kept yet."}, []string{`class="lanes"`}},
}

func TestWitnessesThatAreLacking(t *testing.T) {
	for name, test := range lacking {
		t.Run(name, func(t *testing.T) {
			status, body := get(t, witnessSite(t, &fakeSurvey{}, func(cfg *Config) { test.change(t, cfg) }), "/witnesses")
			if status != http.StatusOK {
				t.Fatal(status, body)
			}
			for _, want := range test.want {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in\n%s", want, body)
				}
			}
			for _, not := range test.not {
				if strings.Contains(body, not) {
					t.Errorf("%q in\n%s", not, body)
				}
			}
		})
	}
}

// TestWildClocks draws what witnesses say whose clocks are far off.
func TestWildClocks(t *testing.T) {
	s := &fakeSurvey{cosigned: []survey.Cosigned{
		cosignedBy(3, now.AddDate(7000, 0, 0), 0, 1, 2),
		cosignedBy(2, now.Add(-time.Hour), 0, 1, 2),
		cosignedBy(1, now.Add(-2*time.Hour), 0, 1, 2),
	}}
	_, body := get(t, witnessSite(t, s, nil), "/witnesses")
	for _, want := range []string{">2026-11-22 10:00</text>", ">2026-11-22 12:00</text>", "age in the future"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
}

// TestHostileWitness has a policy whose witness has no address to follow.
func TestHostileWitness(t *testing.T) {
	p, _ := witnessed(t, "quorum w1", 1, 1)
	text := strings.Replace(p.String(), "https://w1.example", "javascript:alert(1)", 1)
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Skip("a policy has no such addresses:", err)
	}
	_, body := get(t, witnessSite(t, &fakeSurvey{}, func(cfg *Config) { cfg.Policy = p }), "/witnesses")
	if strings.Contains(body, `href="javascript`) || !strings.Contains(body, "the policy has no address of it") {
		t.Error(body)
	}
}
