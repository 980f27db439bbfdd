package mirror

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// signedNote is a checkpoint of 600 entries.
const signedNote = "log.example/fuzz\n600\nqoQ+fxfEhINmeo7tyDnUeURDbrZNGG0hGqWVr0sVHAM=\n\n— log.example/fuzz 3z8hRQAA\n"

// FuzzPostings reads a file of the index as an answer does and as a copy does. A
// file has one form, and who looks a term up finds what who reads all of it finds.
func FuzzPostings(f *testing.F) {
	term := func(b byte) store.Term { return store.Term{0: 0xab, 1: 0xc0, 31: b} }
	var shard []byte
	for _, p := range []posting{{term(1), 0}, {term(1), 9}, {term(1), 10}, {term(2), 3}, {term(200), 1 << 40}, {term(255), 1<<63 - 1}} {
		shard = p.append(shard)
	}
	lines := slices.Collect(bytes.Lines(shard))
	f.Add(shard, byte(1))
	f.Add(shard, byte(3))
	f.Add(shard[:len(shard)-1], byte(255))
	f.Add(shard[:len(shard)/2], byte(1))
	f.Add(shard[1:], byte(2))
	f.Add(append(lines[1], lines[0]...), byte(1))
	f.Add(append(lines[0], lines[0]...), byte(1))
	f.Add(bytes.ToUpper(shard), byte(2))
	f.Add(bytes.ReplaceAll(shard, []byte(" "), []byte(" 0")), byte(1))
	f.Add(bytes.ReplaceAll(shard, []byte("\n"), []byte("\r\n")), byte(1))
	f.Add(bytes.ReplaceAll(shard, []byte("\n"), []byte("\n\n")), byte(1))
	f.Add(bytes.ReplaceAll(shard, []byte("9223372036854775807"), []byte("9223372036854775808")), byte(255))
	f.Add([]byte(""), byte(0))
	f.Fuzz(func(t *testing.T, shard []byte, b byte) {
		found := postingsOf(shard, term(b))
		var again []byte
		var want [][]byte
		err := EachPosting(ShardOf(term(b)), shard, func(have store.Term, index uint64) {
			again = posting{have, index}.append(again)
			if have == term(b) {
				want = append(want, strconv.AppendUint(nil, index, 10))
			}
		})
		if err != nil {
			return
		}
		if !bytes.Equal(again, shard) {
			t.Errorf("%q is written as %q", shard, again)
		}
		if !slices.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("looked up %q, read %q", found, want)
		}
	})
}

// FuzzState reads what a copy says of itself. Each file has one form.
func FuzzState(f *testing.F) {
	f.Add(progress{}.marshal())
	f.Add(progress{entries: 512, indexed: 700, signed: signedNote}.marshal())
	f.Add([]byte(strings.Replace(string(progress{entries: 256, signed: signedNote}.marshal()), "256", "257", 1)))
	f.Add([]byte(strings.Replace(string(progress{entries: 256, signed: signedNote}.marshal()), "256", "0256", 1)))
	withheld := marshalWithheld([]wanted{{7, leaf.SHA256(nil)}, {256, leaf.SHA256([]byte("x"))}})
	f.Add(withheld)
	f.Add(withheld[:len(withheld)-1])
	f.Add(bytes.ReplaceAll(withheld, []byte("256 "), []byte("6 ")))
	f.Add(bytes.ToUpper(withheld))
	f.Add(fmt.Append(nil, strings.Repeat(" ", 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseProgress(b); err == nil && !bytes.Equal(p.marshal(), b) {
			t.Errorf("%q is written as %q", b, p.marshal())
		}
		if list, err := parseWithheld(b); err == nil && !bytes.Equal(marshalWithheld(list), b) {
			t.Errorf("%q is written as %q", b, marshalWithheld(list))
		}
	})
}
