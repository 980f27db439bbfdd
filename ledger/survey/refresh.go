package survey

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cairnlog/cairn/ledger/verify"
)

// Bounds of a package's row.
const (
	maxCurrent  = 64   // artifacts that a row is made from
	maxSpeakers = 1024 // keys that have a word about an artifact, and are looked at
	maxCounted  = 1000 // artifacts that went by a name, and are counted
	maxKnown    = 4096 // places, each a distribution and an architecture
	maxAlike    = 256  // packages that an artifact of nobody who is heard goes by, and that are brought up to date
)

// ranks is the order of rows. Of several verdicts, the first is the worst.
var ranks = [...]verify.Verdict{verify.VerdictDiffers, verify.VerdictFailed, verify.VerdictUnproven, verify.VerdictUntried, verify.VerdictReproduced}

// rankOf returns the place of a verdict.
func rankOf(v verify.Verdict) int { return slices.Index(ranks[:], v) }

// cell is a key's word about a package, as a row has it.
type cell struct {
	key   int64
	word  Word
	entry uint64
}

func encodeCells(cells []cell) []byte {
	b := []byte{}
	for _, c := range cells {
		b = binary.AppendUvarint(b, uint64(c.key))
		b = append(b, byte(c.word))
		b = binary.AppendUvarint(b, c.entry)
	}
	return b
}

var errCells = errors.New("a row's cells do not parse")

// decodeCells reads what encodeCells writes.
func decodeCells(b []byte) ([]cell, error) {
	var list []cell
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 || len(b) == n || key > 1<<62 {
			return nil, errCells
		}
		word := Word(b[n])
		b = b[n+1:]
		entry, n := binary.Uvarint(b)
		if n <= 0 || word <= Silent || word > Different || len(list) == MaxColumns {
			return nil, errCells
		}
		b = b[n:]
		list = append(list, cell{int64(key), word, entry})
	}
	return list, nil
}

// row is a package's row in the table.
type row struct {
	id             int64
	name           string
	place          place
	listed         int64 // -1 for a row that is not counted yet
	verdict        verify.Verdict
	due            int64
	artifact       string
	artifacts      int64
	last           int64
	signed, stage0 int64
	others         int64
	cells          []cell
	encoded        []byte
}

// refreshTouched brings the packages up to date whose artifacts were touched.
func (b *batch) refreshTouched() error {
	most := -1
	if len(b.heard) == 0 {
		most = maxAlike
	}
	var id int64
	add := func() { b.packages[id] = true }
	for artifact := range b.touched {
		if err := b.each("SELECT package FROM named WHERE artifact = ? AND heard > 0 LIMIT ?", []any{artifact, most}, []any{&id}, add); err != nil {
			return err
		}
		if err := b.each("SELECT package FROM named WHERE artifact = ? AND heard = 0 LIMIT ?", []any{artifact, maxCurrent}, []any{&id}, add); err != nil {
			return err
		}
	}
	for id := range b.packages {
		if err := b.refresh(id); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) load(id int64) (r row, found bool, err error) {
	r.id = id
	found, err = b.one([]any{&r.name, &r.place.distribution, &r.place.arch, &r.place.versioned, &r.listed, &r.verdict, &r.due, &r.artifact,
		&r.artifacts, &r.last, &r.signed, &r.stage0, &r.others, &r.encoded},
		`SELECT name, distribution, arch, versioned, listed, verdict, due, artifact, artifacts, last, signed, stage0, others, cells
			FROM packages WHERE id = ?`, id)
	if err == nil && found {
		r.cells, err = decodeCells(r.encoded)
	}
	return r, found, err
}

// refresh makes a package's row anew.
func (b *batch) refresh(id int64) error {
	was, found, err := b.load(id)
	if err != nil || !found {
		return err
	}
	is := row{id: id, name: was.name}
	if is.place, err = b.placed(was.name); err != nil {
		return err
	}
	if err := b.fill(&is); err != nil {
		return err
	}
	is.encoded = encodeCells(is.cells)
	if err := b.recount(&was, &is); err != nil {
		return err
	}
	if was.place == is.place && was.listed == is.listed && was.verdict == is.verdict && was.due == is.due && was.artifact == is.artifact && was.artifacts == is.artifacts &&
		was.last == is.last && was.signed == is.signed && was.stage0 == is.stage0 && was.others == is.others && bytes.Equal(was.encoded, is.encoded) {
		return nil
	}
	b.changed = true
	return b.exec(`UPDATE packages SET distribution = ?, arch = ?, listed = ?, rank = ?, verdict = ?, due = ?, artifact = ?, artifacts = ?, last = ?, signed = ?, stage0 = ?, others = ?, cells = ?
		WHERE id = ?`, is.place.distribution, is.place.arch, is.listed, rankOf(is.verdict), int(is.verdict), is.due, is.artifact, is.artifacts, is.last, is.signed, is.stage0, is.others, is.encoded, id)
}

// addPlace takes in where a package stands that somebody names who is not apart.
func (b *batch) addPlace(p place) error {
	return b.exec("INSERT OR IGNORE INTO places (distribution, arch) SELECT ?, ? WHERE (SELECT count(*) FROM places) < ?",
		cut(p.distribution, maxText), cut(p.arch, maxText), maxKnown)
}

// placed returns where a package is counted. What others name adds no place: there is
// no end to what they can think of, and every page needs the counts of all places.
func (b *batch) placed(name string) (place, error) {
	p := placeOf(name)
	p = place{distribution: cut(p.distribution, maxText), arch: cut(p.arch, maxText), versioned: p.versioned}
	var known int64
	found, err := b.one([]any{&known}, "SELECT 1 FROM places WHERE distribution = ? AND arch = ?", p.distribution, p.arch)
	if !found {
		p.distribution, p.arch = "", ""
	}
	return p, err
}

// forget removes a package.
func (b *batch) forget(id int64) error {
	was, found, err := b.load(id)
	if err != nil || !found {
		return err
	}
	if err := b.recount(&was, &row{listed: -1}); err != nil {
		return err
	}
	b.changed = true
	return b.exec("DELETE FROM packages WHERE id = ?", id)
}

// fill makes a row from the artifacts that go by its name now.
func (b *batch) fill(r *row) error {
	var currents []int64
	var artifact, heard int64
	r.listed = -1
	err := b.each("SELECT artifact, heard FROM named WHERE package = ? ORDER BY heard DESC, last DESC LIMIT ?", []any{r.id, maxCurrent + 1}, []any{&artifact, &heard}, func() {
		if r.listed < 0 {
			r.listed = btoi(heard > 0)
		}
		// Of a name of which somebody is heard, what others call so is not current.
		if btoi(heard > 0) == r.listed && (r.place.versioned || len(currents) == 0) {
			currents = append(currents, artifact)
		}
	})
	if err != nil {
		return err
	}
	if _, err := b.one([]any{&r.artifacts}, "SELECT count(*) FROM (SELECT 1 FROM named WHERE package = ? AND heard >= ? LIMIT ?)", r.id, r.listed, maxCounted); err != nil {
		return err
	}
	r.due, r.verdict, r.stage0 = never, verify.VerdictReproduced, 1
	words := make(map[int64]cell)
	operators := make(map[string]bool)
	for i, artifact := range currents[:min(len(currents), maxCurrent)] {
		if err := b.fillFrom(r, artifact, i == 0, words, operators); err != nil {
			return err
		}
	}
	if len(currents) > maxCurrent {
		r.worse(verify.VerdictUnproven)
	}
	if r.listed == 0 && r.verdict == verify.VerdictReproduced {
		r.worse(verify.VerdictUnproven) // by that name, nobody who is heard knows it
	}
	for _, c := range words {
		r.cells = append(r.cells, c)
	}
	slices.SortFunc(r.cells, func(a, b cell) int { return cmp.Compare(a.key, b.key) })
	if more := len(r.cells) - MaxColumns; more > 0 {
		r.cells, r.others = r.cells[:MaxColumns], r.others+int64(more)
	}
	r.signed = min(2, int64(len(operators)))
	return nil
}

// worse makes the verdict another, if that is worse.
func (r *row) worse(v verify.Verdict) {
	if rankOf(v) < rankOf(r.verdict) {
		r.verdict = v
	}
}

// fillFrom adds what is known of one artifact.
func (b *batch) fillFrom(r *row, artifact int64, first bool, words map[int64]cell, operators map[string]bool) error {
	var digest string
	var verdict verify.Verdict
	var due, last, said, stage0 int64
	if _, err := b.one([]any{&digest, &verdict, &due, &last, &said, &stage0}, "SELECT digest, verdict, due, last, said, stage0 FROM artifacts WHERE id = ?", artifact); err != nil {
		return err
	}
	if verdict == verify.VerdictReproduced {
		if due <= b.cfg.Now().Unix() {
			verdict = verify.VerdictUnproven
		} else {
			r.due = min(r.due, due)
		}
	}
	if first {
		r.artifact = digest
	}
	r.worse(verdict)
	r.last, r.others, r.stage0 = max(r.last, last), r.others+said, min(r.stage0, stage0)
	var c cell
	var operator string
	return b.each("SELECT w.key, w.word, w.entry, k.operator FROM words w JOIN keys k ON k.id = w.key WHERE w.artifact = ? AND w.apart = 0 ORDER BY w.key LIMIT ?",
		[]any{artifact, maxSpeakers}, []any{&c.key, &c.word, &c.entry, &operator}, func() {
			if c.word == Signed || c.word == Obtained {
				operators[operator] = true
			}
			if len(b.heard) > 0 && c.key > MaxColumns {
				return
			}
			r.others--
			if c.word > words[c.key].word {
				words[c.key] = c
			}
		})
}

// recount changes the counts of packages by what a row was and is.
func (b *batch) recount(was, is *row) error {
	same := was.listed == is.listed && was.place.distribution == is.place.distribution && was.place.arch == is.place.arch
	if !same || was.verdict != is.verdict || was.signed != is.signed || was.stage0 != is.stage0 {
		for r, by := range map[*row]int{was: -1, is: 1} {
			if err := b.addToGroup(r, by); err != nil {
				return err
			}
		}
	}
	for _, c := range was.cells {
		if !same || !slices.ContainsFunc(is.cells, func(d cell) bool { return c.key == d.key && c.word == d.word }) {
			if err := b.addToTally(was, c, -1); err != nil {
				return err
			}
		}
	}
	for _, c := range is.cells {
		if !same || !slices.ContainsFunc(was.cells, func(d cell) bool { return c.key == d.key && c.word == d.word }) {
			if err := b.addToTally(is, c, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) addToGroup(r *row, by int) error {
	if r.listed < 0 {
		return nil
	}
	return b.exec(`INSERT INTO groups (listed, distribution, arch, verdict, signed, stage0, n) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET n = n + excluded.n`, r.listed, r.place.distribution, r.place.arch, int(r.verdict), r.signed, r.stage0, by)
}

func (b *batch) addToTally(r *row, c cell, by int) error {
	if r.listed < 0 {
		return nil
	}
	return b.exec(`INSERT INTO tallies (key, listed, distribution, arch, word, n) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET n = n + excluded.n`, c.key, r.listed, r.place.distribution, r.place.arch, int(c.word), by)
}
