package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/store"
)

// openShards has the index of a mirror compared, if the copy has one: a log that
// was copied by other means has none.
func (a *auditor) openShards() {
	if a.Kind != Mirror {
		return
	}
	if _, err := os.Lstat(filepath.Join(a.Place, mirrorIndexDir, "progress")); err != nil {
		return
	}
	unread := make(map[int]bool)
	a.terms = newTerms(a, mirrorTermsDir, mirror.Terms)
	a.terms.unread = func(t store.Term) bool { return unread[mirror.ShardOf(t)] }
	a.terms.each = func(ctx context.Context, f func([]byte, int64)) error { return a.eachPosting(ctx, unread, f) }
	a.report.Coverage.Index = true
}

// eachPosting calls f with what stands in the files of a mirror's index. What is
// wrong with a file is found once.
func (a *auditor) eachPosting(ctx context.Context, unread map[int]bool, f func(term []byte, idx int64)) error {
	for shard := range mirror.Shards {
		if unread[shard] {
			continue
		}
		path := mirror.ShardPath(shard)
		b, err := a.Read(ctx, path, mirror.MaxShard)
		if isMissing(err) {
			continue
		}
		what, damaged := damageOf(err)
		if err != nil && !damaged {
			return err
		}
		if err == nil {
			// Sums take in a whole file or nothing of it.
			var postings []termRow
			err = mirror.EachPosting(shard, b, func(t store.Term, index uint64) { postings = append(postings, termRow{t, index}) })
			if err == nil && len(postings) == 0 {
				err = errors.New("it is empty")
			}
			if err == nil {
				for _, p := range postings {
					f(p.term[:], int64(p.index))
				}
				continue
			}
			what = err.Error()
		}
		unread[shard] = true
		a.find(Corrupt, "index-damaged", path, "%s", what)
	}
	return nil
}

// isIndexPath reports whether a mirror may have a file of this name below the
// directory of its index.
func isIndexPath(name string) bool {
	if !strings.HasPrefix(name, "terms/") {
		return true // the mirror's own, and none of the log's
	}
	for shard := range mirror.Shards {
		if mirror.ShardPath(shard) == mirrorIndexDir+"/"+name {
			return true
		}
	}
	return false
}
