package survey

import (
	"github.com/cairnlog/cairn/ledger/verify"
)

// columns are where the table of keys counts each word.
var columns = [...]string{Signed: "signed", Inconclusive: "inconclusive", Failed: "failed", Obtained: "obtained", Different: "different"}

// say takes in a key's word about an artifact. The greatest is its word.
func (b *batch) say(artifact int64, k keyRow, word Word, entry uint64) error {
	if word == Silent {
		return nil
	}
	was := Silent
	if _, err := b.one([]any{&was}, "SELECT word FROM words WHERE artifact = ? AND apart = ? AND key = ?", artifact, k.apart, k.id); err != nil {
		return err
	}
	if word <= was {
		return nil
	}
	if err := b.exec("INSERT INTO words (artifact, apart, key, word, entry) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET word = excluded.word, entry = excluded.entry",
		artifact, k.apart, k.id, int(word), entry); err != nil {
		return err
	}
	if err := b.exec("UPDATE keys SET "+columns[word]+" = "+columns[word]+" + 1, said = said + ? WHERE id = ?", btoi(was == Silent), k.id); err != nil {
		return err
	}
	if was != Silent {
		if err := b.exec("UPDATE keys SET "+columns[was]+" = "+columns[was]+" - 1 WHERE id = ?", k.id); err != nil {
			return err
		}
	}
	obtained := int64(0)
	if k.apart == 0 {
		obtained = btoi(word == Obtained) - btoi(was == Obtained)
	}
	var verdict verify.Verdict
	if _, err := b.one([]any{&verdict}, "UPDATE artifacts SET said = said + ?, obtained = obtained + ? WHERE id = ? RETURNING verdict",
		btoi(was == Silent), obtained, artifact); err != nil {
		return err
	}
	return b.agree(k, stance(word, verdict)-stance(was, verdict), opposition(word, verdict)-opposition(was, verdict))
}

// agree changes how often a key who is heard agrees with verdicts, and disagrees.
func (b *batch) agree(k keyRow, agrees, disagrees int64) error {
	if agrees == 0 && disagrees == 0 || k.apart != 0 {
		return nil
	}
	return b.exec("UPDATE keys SET agrees = agrees + ?, disagrees = disagrees + ? WHERE id = ?", agrees, disagrees, k.id)
}

// stance is 1 for a word that says the same as a verdict.
func stance(w Word, v verify.Verdict) int64 {
	return btoi(w == Obtained && v == verify.VerdictReproduced || w == Different && v == verify.VerdictDiffers)
}

// opposition is 1 for a word that says the opposite of a verdict.
func opposition(w Word, v verify.Verdict) int64 {
	return btoi(w == Different && v == verify.VerdictReproduced || w == Obtained && v == verify.VerdictDiffers)
}

// judged takes in that the verdict about an artifact is another now.
func (b *batch) judged(artifact int64, was, is verify.Verdict) error {
	if was == is {
		return nil
	}
	type spoken struct {
		key  int64
		word Word
	}
	var list []spoken
	var one spoken
	if err := b.each("SELECT key, word FROM words WHERE artifact = ? AND apart = 0", []any{artifact}, []any{&one.key, &one.word},
		func() { list = append(list, one) }); err != nil {
		return err
	}
	for _, w := range list {
		if err := b.agree(keyRow{id: w.key}, stance(w.word, is)-stance(w.word, was), opposition(w.word, is)-opposition(w.word, was)); err != nil {
			return err
		}
	}
	return nil
}
