package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/survey"
)

func TestLog(t *testing.T) {
	s := &fakeSurvey{
		growth: []survey.Point{{At: now.Add(-48 * time.Hour), Size: 10}, {At: now.Add(-24 * time.Hour), Size: 1_000_000}, {At: now, Size: 1_234_567}},
		cosigned: []survey.Cosigned{
			{Size: 1_234_567, At: now, Times: map[string]time.Time{"w1.example": now, wicked: now}},
			{Size: 9},
		},
	}
	status, body := get(t, newSite(t, s, nil), "/log")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	for _, want := range []string{
		"1\u2009234\u2009567 entries", `href="/tile/2/000.p/18"`, `href="/tile/entries/x004/822.p/135"`, "4\u2009814 full",
		"<polyline points=", "3 points as a table", "&lt;script&gt;", "w1.example", "nobody", "not known", "quorum none", `<ul id="signatures"`, "cairn audit",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "\u202e") {
		t.Error("wicked text is in the page")
	}
}

func TestLogTwin(t *testing.T) {
	_, body := get(t, newSite(t, &fakeSurvey{}, nil), "/log.json")
	var got struct{ View logView }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if v := got.View; v.Size != 1234567 || len(v.Levels) != 4 || v.Levels[3].Name != "entries" || strings.Contains(body, "null") {
		t.Errorf("the twin is %s", body)
	}
}

func TestLogWithout(t *testing.T) {
	_, body := get(t, newSite(t, nil, nil), "/log")
	if !strings.Contains(body, "verdicts.database") {
		t.Errorf("without a survey the page is %s", body)
	}
	_, body = get(t, newSite(t, &fakeSurvey{}, func(c *Config) { c.Board = checkpoint.NewBoard() }), "/log")
	if !strings.Contains(body, "No checkpoint is published yet") {
		t.Errorf("without a checkpoint the page is %s", body)
	}
	status, body := get(t, newSite(t, &fakeSurvey{err: errors.New("secret")}, nil), "/log")
	if status != http.StatusInternalServerError || strings.Contains(body, "secret") {
		t.Errorf("%d %s", status, body)
	}
}

// TestTileMap holds the map to the tiles that a tree of a size has.
func TestTileMap(t *testing.T) {
	for _, size := range []int64{1, 255, 256, 257, 65535, 65536, 65537, 1 << 24, 1<<24 + 1, 123_456_789, 1<<62 + 3} {
		levels, _ := tileMap(size)
		hashes := size
		for i := len(levels) - 1; i >= 0; i-- {
			row := &levels[i]
			if i < len(levels)-2 {
				hashes >>= torchwood.TileHeight
			}
			if got := row.Full*torchwood.TileWidth + int64(row.Width); got != hashes {
				t.Errorf("size %d, %s: %d hashes, want %d", size, row.Name, got, hashes)
			}
			drawn := row.Hidden
			for _, tile := range row.Tiles {
				if _, err := torchwood.ParseTilePath(tile.Path[1:]); err != nil {
					t.Errorf("size %d, %s: %v", size, row.Name, err)
				}
				if tile.X+tileSide > 340 {
					t.Errorf("size %d, %s: a tile is drawn at %d", size, row.Name, tile.X)
				}
				if tile.Full {
					drawn++
				}
			}
			if drawn != row.Full {
				t.Errorf("size %d, %s: %d full tiles are drawn, want %d", size, row.Name, drawn, row.Full)
			}
		}
		if hashes >= torchwood.TileWidth {
			t.Errorf("size %d: the highest level has %d hashes", size, hashes)
		}
	}
}

func TestCheckpointLines(t *testing.T) {
	const lines = "log a\nwitness w b\ngroup g any w\nquorum g\n"
	if got := checkpointLines(lines + "rebuilder r k operator=o\nrebuild-group g all r\nseed s\nmax-age 1d\n"); got != lines {
		t.Errorf("got %q, want %q", got, lines)
	}
}
