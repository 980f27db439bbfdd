package web

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/survey"
)

// logView is the page of the log.
type logView struct {
	Origin     string         `json:"origin"`
	Size       int64          `json:"size"`
	Root       string         `json:"root"` // base64, as in the checkpoint
	Checkpoint string         `json:"checkpoint"`
	VKey       string         `json:"vkey"`
	Policy     string         `json:"policy"` // lines log, witness, group and quorum
	Levels     []tileLevel    `json:"levels"` // the root's first, the entries last
	Growth     []survey.Point `json:"growth"`
	Cosigned   []cosignedView `json:"cosigned"`
	Table      bool           `json:"table"` // this ledger keeps a table, so that Growth and Cosigned are known

	Height int      `json:"-"` // of the map
	Curve  *curve   `json:"-"` // nil of fewer than two points
	Rows   []growth `json:"-"`
}

// cosignedView is a published checkpoint.
type cosignedView struct {
	Size uint64     `json:"size"`
	At   *time.Time `json:"at,omitempty"` // nil if it is not known
	By   []cosigner `json:"by"`
}

type cosigner struct {
	Name string    `json:"name"` // of the witness's key
	At   time.Time `json:"at"`
}

// maxCosigned is how many checkpoints the page lists.
const maxCosigned = 20

func (s *Site) log(r *http.Request) (*page, error) {
	v := &logView{VKey: s.cfg.VKey, Policy: s.trust, Levels: []tileLevel{}, Growth: []survey.Point{}, Cosigned: []cosignedView{}}
	if latest := s.cfg.Board.Latest(); latest != nil {
		v.Origin, v.Size, v.Checkpoint = latest.Origin, latest.N, string(latest.Signed)
		v.Root = base64.StdEncoding.EncodeToString(latest.Hash[:])
		v.Levels, v.Height = tileMap(latest.N)
	}
	if s.cfg.Survey == nil {
		return &page{name: "log", title: "Log", view: v}, nil
	}
	v.Table = true
	points, err := s.cfg.Survey.Growth(r.Context())
	if err != nil {
		return nil, fmt.Errorf("reading how the log grew: %w", err)
	}
	v.Growth = append(v.Growth, points...)
	v.Curve, v.Rows = drawGrowth(points)
	cosigned, err := s.cfg.Survey.Cosigned(r.Context(), maxCosigned)
	if err != nil {
		return nil, fmt.Errorf("reading the latest checkpoints: %w", err)
	}
	for _, c := range cosigned {
		v.Cosigned = append(v.Cosigned, viewCosigned(c))
	}
	return &page{name: "log", title: "Log", view: v}, nil
}

func viewCosigned(c survey.Cosigned) cosignedView {
	v := cosignedView{Size: c.Size, By: []cosigner{}}
	if !c.At.IsZero() {
		v.At = &c.At
	}
	for _, name := range slices.Sorted(maps.Keys(c.Times)) {
		v.By = append(v.By, cosigner{name, c.Times[name]})
	}
	return v
}

// checkpointLines returns the lines of a policy that say which checkpoints are
// believed. Those about rebuilders are not for whoever checks a checkpoint.
func checkpointLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch word, _, _ := strings.Cut(line, " "); word {
		case "log", "witness", "group", "quorum":
			b.WriteString(line)
		}
	}
	return b.String()
}

// tileLevel is a row of the map: what tiles of one level there are.
type tileLevel struct {
	Name   string `json:"name"`
	Full   int64  `json:"full"`
	Width  int    `json:"partialWidth"` // of the partial tile at the right edge, 0 for none
	Tiles  []tile `json:"tiles"`        // the last ones
	Hidden int64  `json:"hidden"`       // full tiles before those, which are drawn as one band
	Y      int    `json:"-"`
}

// tile is a tile of the log, and where it is drawn.
type tile struct {
	Path  string `json:"path"`
	Full  bool   `json:"full"`
	Label string `json:"-"`
	X     int    `json:"-"`
	Fill  int    `json:"-"` // of tileSide
}

// The map's measures. It is as narrow as a telephone.
const (
	maxTiles              = 9 // drawn one by one, per level
	tileSide, tilePitch   = 22, 26
	mapRow, mapBand       = 56, 92
	mapFirst, mapFirstRow = 4, 22
)

// tileMap returns the tiles of a tree of a size, by levels: each hash of a level is
// that of a full tile of the one below (c2sp.org/tlog-tiles).
func tileMap(size int64) (levels []tileLevel, height int) {
	if size == 0 {
		return []tileLevel{}, 0
	}
	levels = append(levels, tileRow(-1, size))
	for level, hashes := 0, size; hashes > 0; level, hashes = level+1, hashes>>torchwood.TileHeight {
		levels = append(levels, tileRow(level, hashes))
	}
	slices.Reverse(levels)
	for i := range levels {
		levels[i].Y = mapFirstRow + i*mapRow
	}
	return levels, mapRow * len(levels)
}

// tileRow returns the tiles of a level that has so many hashes, or entries.
func tileRow(level int, hashes int64) tileLevel {
	row := tileLevel{
		Name: fmt.Sprintf("level %d", level), Full: hashes / torchwood.TileWidth, Width: int(hashes % torchwood.TileWidth),
		Tiles: []tile{},
	}
	if level < 0 {
		row.Name = "entries"
	}
	x := mapFirst
	row.Hidden = max(0, row.Full-maxTiles+1)
	if row.Full <= maxTiles {
		row.Hidden = 0
	} else {
		x += mapBand
	}
	add := func(n int64, width int) {
		t := tlog.Tile{H: torchwood.TileHeight, L: level, N: n, W: width}
		row.Tiles = append(row.Tiles, tile{
			Path: "/" + torchwood.TilePath(t), Full: width == torchwood.TileWidth, X: x, Fill: max(2, tileSide*width/torchwood.TileWidth),
			Label: fmt.Sprintf("%s, tile %d: %d of %d", row.Name, n, width, torchwood.TileWidth),
		})
		x += tilePitch
	}
	for n := row.Hidden; n < row.Full; n++ {
		add(n, torchwood.TileWidth)
	}
	if row.Width > 0 {
		add(row.Full, row.Width)
	}
	return row
}

// curve is the size of the log over time.
type curve struct {
	Line, Area  string // of SVG
	Most        uint64
	First, Last time.Time
}

// growth is a row of the table of points.
type growth struct {
	survey.Point
	More uint64 // than at the point before
}

const curveWidth, curveHeight, curveTop = 640, 120, 20

func drawGrowth(points []survey.Point) (*curve, []growth) {
	rows := make([]growth, 0, len(points))
	for i, p := range points {
		row := growth{Point: p}
		if i > 0 && p.Size > points[i-1].Size {
			row.More = p.Size - points[i-1].Size
		}
		rows = append(rows, row)
	}
	slices.Reverse(rows)
	if len(points) < 2 || !points[len(points)-1].At.After(points[0].At) || points[len(points)-1].Size == 0 {
		return nil, rows
	}
	first, last := points[0], points[len(points)-1]
	c := &curve{Most: last.Size, First: first.At, Last: last.At}
	var b strings.Builder
	for i, p := range points {
		x := float64(curveWidth) * float64(p.At.Sub(first.At)) / float64(last.At.Sub(first.At))
		y := float64(curveTop+curveHeight) - float64(curveHeight)*float64(p.Size)/float64(last.Size)
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.1f,%.1f", x, y)
	}
	c.Line = b.String()
	c.Area = fmt.Sprintf("0,%d %s %d,%d", curveTop+curveHeight, c.Line, curveWidth, curveTop+curveHeight)
	return c, rows
}
