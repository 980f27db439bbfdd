package web

import (
	"encoding/hex"
	"strconv"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// proofView is an entry's way to the root. Hashes are in hex.
type proofView struct {
	Size int64       `json:"size"`
	Leaf string      `json:"leafHash"`
	Path []proofStep `json:"path"`
	Root string      `json:"root"` // of the checkpoint
}

// proofStep is that Hash is the hash of Left and Right.
type proofStep struct {
	Left  string `json:"left"`
	Right string `json:"right"`
	Hash  string `json:"hash"`
	// SiblingLeft says that Left is what the log gave, and Right what was computed.
	SiblingLeft bool `json:"siblingLeft"`
}

// newProof climbs from an entry's leaf by the proof in an answer (RFC 9162, 2.1.3.2).
// Whether it leads to the root is for the reader to see.
func newProof(got *cairnv1.GetEntryResponse, c tlogproof.Checkpoint) proofView {
	hash := leaf.Hash([]byte(got.GetEntry().GetLeaf()))
	v := proofView{Size: c.N, Leaf: hex.EncodeToString(hash), Path: []proofStep{}, Root: hex.EncodeToString(c.Hash[:])}
	at, last := got.GetEntry().GetIndex(), c.N-1
	for _, sibling := range got.GetInclusionProof() {
		onRight := at&1 == 1 || at == last
		left, right := hash, sibling
		if onRight {
			left, right = sibling, hash
		}
		hash = rfc6962.DefaultHasher.HashChildren(left, right)
		v.Path = append(v.Path, proofStep{
			Left: hex.EncodeToString(left), Right: hex.EncodeToString(right), Hash: hex.EncodeToString(hash), SiblingLeft: onRight,
		})
		for onRight && at != 0 && at&1 == 0 {
			at, last = at>>1, last>>1
		}
		at, last = at>>1, last>>1
	}
	return v
}

// drawing is a proof from the root, at the top, to the leaf.
type drawing struct {
	Width, Height int
	Nodes         []proofNode
	Edges         []drawnEdge
}

// proofNode is a hash. Fact is by which the script finds what it computed.
type proofNode struct {
	X, Y  int // of its middle
	Fact  string
	Text  string
	Class string
	Full  string
}

type drawnEdge struct{ X1, Y1, X2, Y2 int }

// The drawing's measures: it is as narrow as a telephone, so that its text is legible
// there.
const (
	drawWidth, drawMiddle, drawSide = 340, 170, 112
	drawStep, drawTop, drawHash     = 52, 22, 8
	nodeHalf                        = 13
)

func drawProof(p *proofView) drawing {
	n := len(p.Path)
	d := drawing{Width: drawWidth, Height: 2*drawTop + n*drawStep}
	y := func(level int) int { return drawTop + (n-level)*drawStep }
	add := func(x, level int, fact, hash, class string) {
		d.Nodes = append(d.Nodes, proofNode{X: x, Y: y(level), Fact: fact, Text: hash[:drawHash], Class: class, Full: hash})
	}
	add(drawMiddle, 0, "leaf", p.Leaf, "leaf")
	for i, step := range p.Path {
		x, fact, hash := drawMiddle+drawSide, "right"+strconv.Itoa(i), step.Right
		if step.SiblingLeft {
			x, fact, hash = drawMiddle-drawSide, "left"+strconv.Itoa(i), step.Left
		}
		add(x, i, fact, hash, "sibling")
		class := "computed"
		if i == n-1 {
			class = "root"
		}
		add(drawMiddle, i+1, "hash"+strconv.Itoa(i), step.Hash, class)
		for _, from := range []int{x, drawMiddle} {
			d.Edges = append(d.Edges, drawnEdge{from, y(i) - nodeHalf, drawMiddle, y(i+1) + nodeHalf})
		}
	}
	return d
}
