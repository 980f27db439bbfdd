package survey

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// Package returns what goes by a look-up name, or the artifact with a digest.
func (s *Survey) Package(ctx context.Context, nameOrDigest string) (*Package, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	var p *Package
	err = s.inGlance(ctx, func(tx *sql.Tx, _ *glance) error {
		q := &question{Survey: s, ctx: ctx, tx: tx, told: told}
		if d := leaf.Digest(nameOrDigest); d.Valid() {
			p, err = q.byDigest(d)
		} else {
			p, err = q.byName(nameOrDigest)
		}
		return err
	})
	return p, err
}

// question is one that is being answered, from one state of the table.
type question struct {
	*Survey
	ctx  context.Context
	tx   *sql.Tx
	told told
}

// row reads a row, and reports whether there is one.
func (q *question) row(into []any, query string, args ...any) (bool, error) {
	err := q.tx.QueryRowContext(q.ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each reads rows.
func (q *question) each(query string, args []any, into []any, f func()) error {
	rows, err := q.tx.QueryContext(q.ctx, query, args...)
	return eachRow(rows, err, into, f)
}

// listed is an artifact that is to be told.
type listed struct {
	id      int64
	current bool
}

// byDigest returns an artifact by one of its digests.
func (q *question) byDigest(d leaf.Digest) (*Package, error) {
	id, own, err := q.artifactID(d)
	if err != nil {
		return nil, err
	}
	if !own {
		// One claim is enough to give an artifact another digest. What was judged is
		// the artifact by its own.
		q.told.nothing = true
	}
	p := &Package{Package: string(d)}
	if err := q.fill(p, []listed{{id, true}}); err != nil {
		return nil, err
	}
	p.Verdict, p.Package = p.Artifacts[0].Verdict, string(p.Artifacts[0].Digest)
	_, err = q.row([]any{&p.Heard}, "SELECT EXISTS (SELECT 1 FROM named WHERE artifact = ? AND heard > 0)", id)
	p.Heard = p.Heard && len(q.heard) > 0
	return p, err
}

// artifactID returns the row of an artifact, by its own digest, which is the first that
// claims give it, or by another one, by who is heard first.
func (q *question) artifactID(d leaf.Digest) (id int64, own bool, err error) {
	own, err = q.row([]any{&id}, "SELECT id FROM artifacts WHERE digest = ?", string(d))
	found := own
	if err == nil && !found {
		found, err = q.row([]any{&id}, "SELECT artifact FROM aliases WHERE digest = ? ORDER BY apart, artifact LIMIT 1", string(d))
	}
	if err == nil && !found {
		err = fmt.Errorf("artifact %s: %w", d, ErrNotFound)
	}
	return id, own, err
}

// byName returns what goes by a name.
func (q *question) byName(name string) (*Package, error) {
	var id int64
	var r row
	find := func(name string) (bool, error) {
		return q.row([]any{&id, &r.name, &r.listed, &r.verdict, &r.place.versioned}, "SELECT id, name, listed, verdict, versioned FROM packages WHERE name = ?", name)
	}
	found, err := find(name)
	if err == nil && !found {
		if lookup, lerr := attest.LookupName(name); lerr == nil {
			found, err = find(lookup)
		}
	}
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("package %.200q: %w", name, ErrNotFound)
	}
	p := &Package{Package: r.name, Verdict: q.told.verdict(r.verdict), Heard: r.listed == 1 && len(q.heard) > 0}
	var list []listed
	var artifact, heard int64
	err = q.each("SELECT artifact, heard FROM named WHERE package = ? ORDER BY heard DESC, last DESC LIMIT ?", []any{id, MaxArtifacts + 1}, []any{&artifact, &heard}, func() {
		list = append(list, listed{artifact, btoi(heard > 0) == r.listed && (r.place.versioned || len(list) == 0)})
	})
	if err != nil {
		return nil, err
	}
	if p.More = len(list) > MaxArtifacts; p.More {
		list = list[:MaxArtifacts]
	}
	return p, q.fill(p, list)
}

// fill tells artifacts.
func (q *question) fill(p *Package, list []listed) error {
	p.Artifacts = []Artifact{}
	for i, l := range list {
		share := 1
		if i > 0 {
			share = 10
		}
		a, err := q.artifact(l.id, share)
		if err != nil {
			return fmt.Errorf("reading an artifact: %w", err)
		}
		a.Current = l.current
		p.Artifacts = append(p.Artifacts, *a)
	}
	return nil
}

// effective is the SQL of an artifact's verdict: of what is due, it is not known that
// it is reproduced. Its argument is the time.
const effective = "iif(verdict = 1 AND due <= ?, 0, verdict)"

// artifact tells an artifact, and a share of what is known of it.
func (q *question) artifact(id int64, share int) (*Artifact, error) {
	a := &Artifact{Names: []string{}}
	if _, err := q.row([]any{&a.Digest, &a.Verdict}, "SELECT digest, "+effective+" FROM artifacts WHERE id = ?", q.cfg.Now().Unix(), id); err != nil {
		return nil, err
	}
	a.Verdict = q.told.verdict(a.Verdict)
	if err := q.report(a, id); err != nil {
		return nil, err
	}
	var name string
	if err := q.each("SELECT p.name FROM named n JOIN packages p ON p.id = n.package WHERE n.artifact = ? ORDER BY n.heard DESC, n.last DESC LIMIT ?",
		[]any{id, maxNames / share}, []any{&name}, func() {
			if name != string(a.Digest) {
				a.Names = append(a.Names, name)
			}
		}); err != nil {
		return nil, err
	}
	var err error
	if a.Statements, a.More, err = q.statements(id, a.Digest, MaxStatements/share); err != nil {
		return nil, err
	}
	a.Materials, a.MoreMaterials, err = q.materials(id, MaxMaterials/share)
	return a, err
}

// report tells how an artifact was judged, unless that is not to be relied on.
func (q *question) report(a *Artifact, id int64) error {
	var text string
	found, err := q.row([]any{&text}, "SELECT report FROM reports WHERE artifact = ?", id)
	if err != nil || !found || text == "" {
		return err
	}
	r := &verify.Report{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	if r.Verdict == a.Verdict {
		a.Report = r
	}
	return nil
}

// statementColumns are what scanStatements reads.
const statementColumns = "s.entry, s.word, s.output, c.at, c.claim, c.result, coalesce(e.text, ''), k.key, k.operator, a.digest"

const statementJoins = ` JOIN claims c ON c.entry = s.entry JOIN keys k ON k.id = s.key JOIN artifacts a ON a.id = s.artifact
	LEFT JOIN environments e ON e.id = c.environment`

// scanStatements reads statements.
func (q *question) scanStatements(query string, args ...any) ([]Statement, error) {
	list := []Statement{}
	var st Statement
	var at int64
	var environment, operator string
	var key leaf.Fingerprint
	var failed error
	err := q.each(query, args, []any{&st.Entry, &st.Word, &st.Output, &at, &st.Claim, &st.Result, &environment, &key, &operator, &st.Artifact}, func() {
		one := st
		one.At, one.Rebuilder = unix(at), q.named(key, operator)
		if one.Word == Obtained && one.Output == "" {
			one.Output = one.Artifact
		}
		if environment != "" {
			failed = errors.Join(failed, json.Unmarshal([]byte(environment), &one.Environment))
		}
		list = append(list, one)
	})
	return list, errors.Join(err, failed)
}

// statements returns what is said of an artifact, also by the other digests that who
// is heard gives it: by these, too, somebody may dissent.
func (q *question) statements(id int64, digest leaf.Digest, limit int) ([]Statement, bool, error) {
	ids := []any{id}
	var other int64
	if err := q.each("SELECT b.id FROM aliases x JOIN artifacts b ON b.digest = x.digest WHERE x.artifact = ? AND x.apart = 0 LIMIT 8", []any{id}, []any{&other},
		func() { ids = append(ids, other) }); err != nil {
		return nil, false, err
	}
	list := []Statement{}
	for _, apart := range []int{0, 1} {
		some := []Statement{}
		for _, id := range ids {
			more, err := q.scanStatements("SELECT "+statementColumns+" FROM statements s"+statementJoins+
				" WHERE s.artifact = ? AND s.apart = ? ORDER BY s.entry, s.key LIMIT ?", id, apart, limit+1-len(list))
			if err != nil {
				return nil, false, err
			}
			some = append(some, more...)
		}
		slices.SortStableFunc(some, func(a, b Statement) int { return int(int64(a.Entry) - int64(b.Entry)) })
		list = append(list, some...)
	}
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

// maxSets is how many lists of materials of one artifact are looked at.
const maxSets = 16

// madeOf returns what claims say that an artifact was made from, each digest once: of
// claims that are heard, or of all if none is. It looks at no more than limit of what
// they list, and reports whether there is more.
func (q *question) madeOf(id int64, limit int) (list []made, more bool, err error) {
	known := make(map[leaf.Digest]bool)
	take := func(m made) bool {
		if more = limit == 0; more {
			return false
		}
		limit--
		if !known[m.Digest] {
			known[m.Digest] = true
			list = append(list, m)
		}
		return true
	}
	for _, apart := range []int{0, 1} {
		if err := q.eachSet(id, apart, take); err != nil || list != nil || more {
			return list, more, err
		}
	}
	return nil, false, nil
}

// eachSet calls take with the materials of an artifact, list by list, until it returns
// false: lists may be long, and there may be many.
func (q *question) eachSet(id int64, apart int, take func(made) bool) error {
	rows, err := q.tx.QueryContext(q.ctx, "SELECT m.list FROM made x JOIN materials m ON m.id = x.materials WHERE x.artifact = ? AND x.apart = ? ORDER BY m.id LIMIT ?", id, apart, maxSets)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		if whole, err := eachMade(text, take); !whole || err != nil {
			return err
		}
	}
	return rows.Err()
}

// eachMade calls take with the materials of a list until it returns false, and reports
// whether it never did.
func eachMade(text string, take func(made) bool) (whole bool, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	if _, err := d.Token(); err != nil {
		return false, fmt.Errorf("a list of materials: %w", err)
	}
	for d.More() {
		var m made
		if err := d.Decode(&m); err != nil {
			return false, fmt.Errorf("a list of materials: %w", err)
		}
		if !take(m) {
			return false, nil
		}
	}
	return true, nil
}

// materials returns what an artifact was made from, as it is told.
func (q *question) materials(id int64, limit int) (list []Material, more bool, err error) {
	list = []Material{}
	all, more, err := q.madeOf(id, limit)
	if err != nil {
		return nil, false, err
	}
	slices.SortStableFunc(all, func(a, b made) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range all {
		n, err := q.node(m)
		if err != nil {
			return nil, false, err
		}
		list = append(list, Material{Digest: m.Digest, Name: m.Name, Role: m.Role, Built: n.Built, Verdict: n.Verdict})
	}
	return list, more, nil
}
