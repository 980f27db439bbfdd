package survey

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/verify"
)

// batch is a change of the table, in one transaction. What shows packages is brought
// up to date at its end.
type batch struct {
	*Survey
	ctx      context.Context
	tx       *sql.Tx
	prepared map[string]*sql.Stmt
	keys     map[leaf.Fingerprint]keyRow
	touched  map[int64]bool // artifacts whose packages may look otherwise now
	packages map[int64]bool // packages that may
	heardOne bool           // something was changed by who is heard
	changed  bool
}

// keyRow is a key that signed something.
type keyRow struct {
	id    int64
	apart int64
}

// inBatch runs f on a batch, and commits it.
func (s *Survey) inBatch(ctx context.Context, f func(*batch) error) error {
	return store.InTx(ctx, s.w, func(tx *sql.Tx) error {
		b := &batch{
			Survey: s, ctx: ctx, tx: tx, prepared: make(map[string]*sql.Stmt), keys: make(map[leaf.Fingerprint]keyRow),
			touched: make(map[int64]bool), packages: make(map[int64]bool),
		}
		defer b.close()
		if err := f(b); err != nil {
			return err
		}
		if err := b.refreshTouched(); err != nil {
			return err
		}
		return b.exec("UPDATE meta SET changes = changes + ?, heard = heard + ?", btoi(b.changed), btoi(b.heardOne))
	})
}

func (b *batch) close() {
	for _, stmt := range b.prepared {
		_ = stmt.Close()
	}
}

func btoi(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

func (b *batch) stmt(query string) (*sql.Stmt, error) {
	if stmt, ok := b.prepared[query]; ok {
		return stmt, nil
	}
	stmt, err := b.tx.PrepareContext(b.ctx, query)
	if err == nil {
		b.prepared[query] = stmt
	}
	return stmt, err
}

func (b *batch) exec(query string, args ...any) error {
	stmt, err := b.stmt(query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(b.ctx, args...)
	return err
}

// one reads a row, and reports whether there is one.
func (b *batch) one(into []any, query string, args ...any) (bool, error) {
	stmt, err := b.stmt(query)
	if err != nil {
		return false, err
	}
	err = stmt.QueryRowContext(b.ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each reads rows.
func (b *batch) each(query string, args []any, into []any, f func()) error {
	stmt, err := b.stmt(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(b.ctx, args...)
	return eachRow(rows, err, into, f)
}

// eachRow reads what a query gave.
func eachRow(rows *sql.Rows, err error, into []any, f func()) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		f()
	}
	return rows.Err()
}

// take takes in what entries up to end change.
func (b *batch) take(changes []change, end uint64, published time.Time) error {
	clock := clock{batch: b, published: published}
	for i := range changes {
		c := &changes[i]
		if err := b.makeDue(c.about); err != nil {
			return err
		}
		if c.key != "" {
			if err := b.renameOperator(c.key); err != nil {
				return err
			}
		}
		if c.said == nil {
			continue
		}
		at, err := clock.at(c.index)
		if err != nil {
			return err
		}
		if err := b.takeSaid(c.index, at, c.said); err != nil {
			return err
		}
	}
	return b.exec("UPDATE meta SET scanned = ?", end)
}

// needle is by what the table of needs finds a digest.
func needle(d leaf.Digest) int64 { return int64(binary.BigEndian.Uint64(d.Bytes())) }

// makeDue makes the artifacts due that rest on what somebody who is heard says
// something about.
func (b *batch) makeDue(about []leaf.Digest) error {
	b.heardOne = b.heardOne || len(about) > 0
	for _, d := range about {
		var id, verdict int64
		err := b.each("UPDATE artifacts SET due = 0 WHERE id IN (SELECT artifact FROM needs WHERE digest = ?) AND due > 0 RETURNING id, verdict",
			[]any{needle(d)}, []any{&id, &verdict}, func() {
				if verify.Verdict(verdict) == verify.VerdictReproduced {
					b.touched[id] = true
				}
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// renameOperator takes in what the log says now of whom a key works for.
func (b *batch) renameOperator(key leaf.Fingerprint) error {
	k, err := b.cfg.Index.Key(b.ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	b.changed = true
	return b.exec("UPDATE keys SET operator = ? WHERE key = ? AND heard = 0", cut(k.Operator, maxText), string(key))
}

// key returns the row of a key that signed.
func (b *batch) key(s signer) (keyRow, error) {
	if id, ok := b.ids[s.key]; ok {
		return keyRow{id: id}, nil
	}
	if row, ok := b.keys[s.key]; ok {
		return row, nil
	}
	row := keyRow{apart: btoi(len(b.heard) > 0)}
	found, err := b.one([]any{&row.id}, "SELECT id FROM keys WHERE key = ?", string(s.key))
	if err == nil && !found {
		operator := s.operator
		k, kerr := b.cfg.Index.Key(b.ctx, s.key)
		if kerr != nil && !errors.Is(kerr, store.ErrNotFound) {
			return row, kerr
		}
		if kerr == nil {
			operator = k.Operator
		}
		_, err = b.one([]any{&row.id}, "INSERT INTO keys (key, heard, operator) VALUES (?, 0, ?) RETURNING id", string(s.key), cut(operator, maxText))
	}
	b.keys[s.key] = row
	return row, err
}

// takeSaid takes in what an attestation says.
func (b *batch) takeSaid(entry uint64, at int64, s *said) error {
	b.changed = true
	environment, err := b.intern("environments", "text", s.environment)
	if err != nil {
		return err
	}
	if err := b.exec("INSERT INTO claims (entry, at, claim, result, environment) VALUES (?, ?, ?, ?, ?)",
		entry, at, string(s.claim), string(s.result), environment); err != nil {
		return err
	}
	signers := make([]keyRow, len(s.signers))
	for i, who := range s.signers {
		if signers[i], err = b.key(who); err != nil {
			return err
		}
		if environment != 0 {
			if err := b.exec("INSERT INTO machines (key, environment, n) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", signers[i].id, environment); err != nil {
				return err
			}
		}
	}
	var materials int64
	if slices.ContainsFunc(s.subjects, func(sub subject) bool { return sub.word == Obtained }) {
		if materials, err = b.intern("materials", "list", s.materials); err != nil {
			return err
		}
	}
	for i := range s.subjects {
		if err := b.takeSubject(entry, at, s, &s.subjects[i], signers, materials); err != nil {
			return err
		}
	}
	return nil
}

// intern returns the row of a text that many have, 0 for none.
func (b *batch) intern(table, column, text string) (id int64, err error) {
	if text == "" {
		return 0, nil
	}
	hash := leaf.SHA256([]byte(text)).Bytes()
	found, err := b.one([]any{&id}, "SELECT id FROM "+table+" WHERE hash = ?", hash)
	if err == nil && !found {
		_, err = b.one([]any{&id}, "INSERT INTO "+table+" (hash, "+column+") VALUES (?, ?) RETURNING id", hash, text)
	}
	return id, err
}

// takeSubject takes in what an attestation says of one artifact.
func (b *batch) takeSubject(entry uint64, at int64, s *said, sub *subject, signers []keyRow, materials int64) error {
	apart := int64(1)
	for _, k := range signers {
		apart = min(apart, k.apart)
	}
	id, err := b.artifact(entry, sub, apart)
	if err != nil {
		return err
	}
	b.touched[id] = true
	for _, d := range sub.aliases {
		if err := b.exec("INSERT OR IGNORE INTO aliases (digest, apart, artifact) VALUES (?, ?, ?)", string(d), apart, id); err != nil {
			return err
		}
	}
	for i, k := range signers {
		if err := b.exec("INSERT OR IGNORE INTO statements (artifact, apart, entry, key, word, output) VALUES (?, ?, ?, ?, ?, ?)",
			id, k.apart, entry, k.id, int(sub.word), string(sub.output)); err != nil {
			return err
		}
		if err := b.exec("INSERT INTO days (key, day, word, n) VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", k.id, at/86400, int(sub.word)); err != nil {
			return err
		}
		if err := b.say(id, k, sub.word, entry); err != nil {
			return err
		}
		if err := b.takeTraits(s, sub, s.signers[i], k); err != nil {
			return err
		}
	}
	if sub.word == Obtained && materials != 0 {
		if err := b.exec("INSERT OR IGNORE INTO made (artifact, apart, materials) VALUES (?, ?, ?)", id, apart, materials); err != nil {
			return err
		}
	}
	return b.name(entry, id, sub, apart, s.claim)
}

// artifact returns the row of an artifact that an entry is about.
func (b *batch) artifact(entry uint64, sub *subject, apart int64) (id int64, err error) {
	heard := btoi(apart == 0 && len(b.heard) > 0)
	verdict := verify.VerdictUntried
	if heard == 1 {
		verdict = verify.VerdictUnproven
	}
	due := never
	if heard == 1 {
		due = 0
	}
	_, err = b.one([]any{&id}, `INSERT INTO artifacts (digest, label, labelled, heard, verdict, due, last, built, said, obtained, stage0)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0) ON CONFLICT (digest) DO UPDATE SET
			verdict = iif(heard < excluded.heard, excluded.verdict, verdict), due = min(due, excluded.due), heard = max(heard, excluded.heard),
			label = iif(excluded.label <> '' AND (label = '' OR labelled < excluded.labelled), excluded.label, label),
			labelled = iif(excluded.label <> '', max(labelled, excluded.labelled), labelled),
			built = max(built, excluded.built), last = iif(excluded.labelled >= heard, excluded.last, last)
		RETURNING id`, string(sub.digest), sub.label, 1-apart, heard, int(verdict), due, entry+1, btoi(sub.word == Obtained))
	return id, err
}

// name takes in what an attestation calls an artifact. One that nobody names goes by
// its digest, and so does one that somebody who is not apart speaks of, but that only
// others name.
func (b *batch) name(entry uint64, artifact int64, sub *subject, apart int64, claim leaf.Claim) error {
	names := sub.names
	if len(names) == 0 {
		var known int64
		found, err := b.one([]any{&known}, "SELECT heard FROM named WHERE artifact = ? AND heard >= ? LIMIT 1", artifact, 1-apart)
		if err != nil || found {
			return err
		}
		names = []string{string(sub.digest)}
	}
	var heard, built uint64
	if apart == 0 {
		heard = entry + 1
		if claim == leaf.ClaimBuild || claim == leaf.ClaimReproduction {
			built = entry + 1
		}
	}
	for _, name := range names {
		p := placeOf(name)
		if apart == 0 {
			if err := b.addPlace(p); err != nil {
				return err
			}
		}
		var id int64
		if _, err := b.one([]any{&id}, `INSERT INTO packages (name, short, distribution, arch, versioned, listed, rank, verdict, due, artifact, artifacts, last, signed, stage0, others, cells)
			VALUES (?, ?, '', '', ?, -1, 0, 0, 0, '', 0, 0, 0, 0, 0, x'') ON CONFLICT (name) DO UPDATE SET short = short RETURNING id`,
			name, cut(p.short, maxText), btoi(p.versioned)); err != nil {
			return err
		}
		if err := b.exec(`INSERT INTO named (package, artifact, heard, last, built) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
			heard = max(heard, excluded.heard), last = max(last, excluded.last), built = iif(built = 0, excluded.built, built)`,
			id, artifact, heard, entry+1, built); err != nil {
			return err
		}
		b.packages[id] = true
	}
	return b.forgetDigest(artifact, sub.digest)
}

// forgetDigest takes an artifact from what goes by its digest, once it has a name
// that counts as much.
func (b *batch) forgetDigest(artifact int64, digest leaf.Digest) error {
	var own, heard, named int64
	found, err := b.one([]any{&own, &heard}, "SELECT p.id, n.heard FROM packages p JOIN named n ON n.package = p.id AND n.artifact = ? WHERE p.name = ?", artifact, string(digest))
	if err != nil || !found {
		return err
	}
	if found, err = b.one([]any{&named}, "SELECT heard FROM named WHERE artifact = ? AND package <> ? ORDER BY heard DESC LIMIT 1", artifact, own); err != nil || !found {
		return err
	}
	if heard > 0 && named == 0 {
		return nil
	}
	delete(b.packages, own)
	if err := b.forget(own); err != nil {
		return err
	}
	return b.exec("DELETE FROM named WHERE package = ?", own)
}

// The kinds of traits.
const (
	traitOperator = iota
	traitEngine
	traitVendor
	traitCountry
)

// takeTraits takes in who obtained an artifact of a distribution, and where.
func (b *batch) takeTraits(s *said, sub *subject, who signer, k keyRow) error {
	if sub.word != Obtained || k.apart != 0 {
		return nil
	}
	r, ok := b.rebuilder(who.key)
	if !ok {
		var operator string
		if _, err := b.one([]any{&operator}, "SELECT operator FROM keys WHERE id = ?", k.id); err != nil {
			return err
		}
		r = policy.Rebuilder{Operator: operator}
	}
	known := make(map[string]bool)
	for _, name := range sub.names {
		distribution := cut(placeOf(name).distribution, maxText)
		if known[distribution] {
			continue
		}
		known[distribution] = true
		for kind, what := range []string{traitOperator: "operator", traitEngine: "engine", traitVendor: "cpu-vendor", traitCountry: "country"} {
			value := r.Value(what, s.vote)
			if value == "" {
				continue
			}
			if err := b.exec("INSERT OR IGNORE INTO traits (distribution, kind, value) VALUES (?, ?, ?)", distribution, kind, cut(value, maxText)); err != nil {
				return err
			}
		}
	}
	return nil
}
