package survey

import (
	"context"
	"database/sql"
	"slices"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// found is a Node and the row of its artifact, 0 for none.
type found struct {
	Node
	id int64
}

// Graph returns the ancestry of an artifact, breadth first.
func (s *Survey) Graph(ctx context.Context, target leaf.Digest) (*Graph, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	g := &Graph{Nodes: []Node{}, Edges: []Edge{}}
	return g, s.inGlance(ctx, func(tx *sql.Tx, _ *glance) error {
		q := &question{Survey: s, ctx: ctx, tx: tx, told: told}
		id, own, err := q.artifactID(target)
		if err != nil {
			return err
		}
		q.told.nothing = q.told.nothing || !own
		if _, err := q.row([]any{&g.Target}, "SELECT digest FROM artifacts WHERE id = ?", id); err != nil {
			return err
		}
		if g.Rebuilders, err = q.couldObtain(); err != nil {
			return err
		}
		return q.walk(g)
	})
}

// couldObtain returns how many could have obtained an artifact.
func (q *question) couldObtain() (n int, err error) {
	if len(q.heard) > 0 {
		return len(q.heard), nil
	}
	_, err = q.row([]any{&n}, "SELECT count(*) FROM keys WHERE obtained > 0")
	return n, err
}

// walk fills in what a graph's target is made from.
func (q *question) walk(g *Graph) error {
	known := map[leaf.Digest]int{g.Target: 0}
	first, err := q.node(made{Digest: g.Target})
	if err != nil {
		return err
	}
	nodes := []found{first}
	left := MaxEdges // materials that are still looked at
	for i := 0; i < len(nodes); i++ {
		if nodes[i].id == 0 || nodes[i].Pinned {
			continue
		}
		if g.Truncated = g.Truncated || left == 0; left == 0 {
			break
		}
		materials, more, err := q.madeOf(nodes[i].id, left)
		if err != nil {
			return err
		}
		left, g.Truncated = left-len(materials), g.Truncated || more
		for _, m := range materials {
			at, ok := known[m.Digest]
			if !ok {
				if len(nodes) >= MaxNodes {
					g.Truncated = true
					continue
				}
				n, err := q.node(m)
				if err != nil {
					return err
				}
				at = len(nodes)
				known[m.Digest], nodes = at, append(nodes, n)
			}
			g.Edges = append(g.Edges, Edge{From: at, To: i, Role: m.Role})
		}
	}
	for i := range nodes {
		g.Nodes = append(g.Nodes, nodes[i].Node)
	}
	return nil
}

// node returns what is known of a material.
func (q *question) node(m made) (found, error) {
	n := found{Node: Node{Digest: m.Digest, Name: m.Name, Role: m.Role, Verdict: q.told.verdict(verify.VerdictUntried)}}
	var label string
	var verdict verify.Verdict
	there, err := q.row([]any{&n.id, &label, &verdict, &n.Obtained, &n.Built},
		"SELECT id, label, "+effective+", obtained, built FROM artifacts WHERE digest = ?", q.cfg.Now().Unix(), string(m.Digest))
	if err != nil {
		return n, err
	}
	pinned := m.Role == attest.RoleSource
	if len(q.heard) > 0 {
		pinned = pinned || slices.Contains(q.cfg.Policy.Seeds(), m.Digest)
	}
	n.Pinned = pinned
	if !there {
		return n, nil
	}
	n.Verdict = q.told.verdict(verdict)
	if _, err := q.row([]any{&n.Package}, `SELECT p.name FROM named x JOIN packages p ON p.id = x.package WHERE x.artifact = ? ORDER BY x.heard DESC, x.last DESC LIMIT 1`, n.id); err != nil {
		return n, err
	}
	for _, name := range []string{label, n.Package} {
		if n.Name == "" {
			n.Name = name
		}
	}
	return n, nil
}
