package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/mirror"
)

// indexed makes a mirror, with its index, of the early copy.
func indexed(t *testing.T) string {
	t.Helper()
	from, err := mirror.OpenSource(t.Context(), mirrored(t, earlyCopy(t)), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "mirror")
	if _, err := mirror.Copy(t.Context(), from, dir, built().log.Policy, mirror.Options{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shards returns the files of a mirror's index, those with the most lines first.
func shards(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "index/terms/*"))
	if err != nil || len(found) < 100 {
		t.Fatalf("%d shards, %v", len(found), err)
	}
	size := make(map[string]int64)
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size[path] = info.Size()
	}
	slices.SortStableFunc(found, func(a, b string) int { return int(size[b] - size[a]) })
	return found
}

// shardDamage is one thing that can happen to a file of a mirror's index.
type shardDamage struct {
	name string
	edit func([]byte) []byte // nil deletes
	kind string
	exit int
}

func lines(b []byte) [][]byte { return slices.Collect(bytes.Lines(b)) }

// alone changes the line of a term that one entry has.
func alone(change func(term []byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, line := range lines(b) {
			if term, _, _ := bytes.Cut(line, []byte(" ")); bytes.Count(b, term) == 1 {
				return bytes.Replace(b, line, change(bytes.Clone(term)), 1)
			}
		}
		return nil // no file: another finding than any that is wanted of it
	}
}

func withIndex(n int) func([]byte) []byte {
	return alone(func(term []byte) []byte { return fmt.Appendf(nil, "%s %d\n", term, n) })
}

// ofAnother has a term be of an entry that it is not of.
func ofAnother(b []byte) []byte {
	if changed := withIndex(1)(b); !bytes.Equal(changed, b) {
		return changed
	}
	return withIndex(2)(b)
}

// shardDamages are about a file with several lines; other is another file.
func shardDamages(other []byte) []shardDamage {
	return []shardDamage{
		{"a dropped line", func(b []byte) []byte { return bytes.Join(lines(b)[1:], nil) }, "index-row-missing", 3},
		{"a dropped file", nil, "index-row-missing", 3},
		{"a term of another entry", ofAnother, "index-row-extra", 10},
		{"a term of an entry that is not there", withIndex(earlySize), "index-row-extra", 10},
		{"another term", alone(func(term []byte) []byte { return fmt.Appendf(term[:63], "%c 1\n", "10"[term[63]&1]) }), "index-row-extra", 10},
		{"lines in another order", func(b []byte) []byte { l := lines(b); slices.Reverse(l); return bytes.Join(l, nil) }, "index-damaged", 10},
		{"a line twice", func(b []byte) []byte { return append(lines(b)[0], b...) }, "index-damaged", 10},
		{"another's file", func([]byte) []byte { return other }, "index-damaged", 10},
		{"an empty file", func([]byte) []byte { return []byte{} }, "index-damaged", 10},
		{"a line without an end", func(b []byte) []byte { return b[:len(b)-1] }, "index-damaged", 10},
		{"no line", func([]byte) []byte { return []byte("index\n") }, "index-damaged", 10},
		{"an index with a nought before it", func(b []byte) []byte { return bytes.Replace(b, []byte(" "), []byte(" 0"), 1) }, "index-damaged", 10},
	}
}

// TestMirrorsIndex has every damage to the index of a mirror found.
func TestMirrorsIndex(t *testing.T) {
	t.Parallel()
	d := &damaged{indexed(t)}
	r := run(t, open(t, d.dir), audit.Options{})
	wantClean(t, r)
	if !r.Coverage.Index || r.Counts.IndexRows.Load() < 6*earlySize {
		t.Errorf("coverage %+v, %d rows", r.Coverage, r.Counts.IndexRows.Load())
	}
	all := shards(t, d.dir)
	name, other := "index/terms/"+filepath.Base(all[0]), d.get(t, "index/terms/"+filepath.Base(all[1]))
	before := d.get(t, name)
	for _, x := range shardDamages(other) {
		t.Run(x.name, func(t *testing.T) {
			defer d.put(t, name, before)
			if x.edit == nil {
				d.remove(t, name)
			} else {
				d.put(t, name, x.edit(bytes.Clone(before)))
			}
			x := damage{name: x.name, kind: x.kind, exit: x.exit}
			x.check(t, run(t, open(t, d.dir), audit.Options{}))
		})
	}
	t.Run("a stray shard", func(t *testing.T) {
		d.put(t, "index/terms/"+strconv.Itoa(mirror.Shards), []byte("x"))
		defer d.remove(t, "index/terms/"+strconv.Itoa(mirror.Shards))
		x := damage{kind: "file-stray", exit: 10}
		x.check(t, run(t, open(t, d.dir), audit.Options{}))
	})
	t.Run("since an earlier audit", func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "state")
		wantClean(t, run(t, open(t, d.dir), audit.Options{State: state}))
		wantClean(t, run(t, open(t, d.dir), audit.Options{State: state}))
		d.remove(t, name)
		x := damage{kind: "index-rows-changed", exit: 10}
		x.check(t, run(t, open(t, d.dir), audit.Options{State: state}))
	})
}
