package queue

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
)

// leased returns a queue with one job, which is leased.
func leased(t testing.TB, change ...func(*Config)) (b *bench, id int64, token string) {
	b = newBench(t, change...)
	b.add(request())
	id, token = b.lease(worker())
	return b, id, token
}

func TestAppendingIsIdempotent(t *testing.T) {
	b, id, token := leased(t)
	for _, test := range []struct {
		name   string
		offset int64
		data   string
		size   int64
		log    string
	}{
		{"the first piece", 0, "one\n", 4, "one\n"},
		{"the same again", 0, "one\n", 4, "one\n"},
		{"one that overlaps", 2, "e\ntwo\n", 8, "one\ntwo\n"},
		{"one behind a gap", 9, "four\n", 8, "one\ntwo\n"},
		{"nothing", 8, "", 8, "one\ntwo\n"},
		{"the next", 8, "three\n", 14, "one\ntwo\nthree\n"},
	} {
		size, err := b.AppendLog(t.Context(), id, token, test.offset, []byte(test.data))
		if got := readLog(b, id); err != nil || size != test.size || got != test.log {
			t.Errorf("%s: size %d, log %q, %v; want %d, %q", test.name, size, got, err, test.size, test.log)
		}
	}
	_, err := b.AppendLog(t.Context(), id, "stale", 14, []byte("x"))
	wantReason(t, "another lease", err, reason.LeaseLost)
	_, err = b.AppendLog(t.Context(), id, token, 14, make([]byte, MaxPiece+1))
	wantReason(t, "a piece too large", err, reason.ArgumentInvalid)
	_, err = b.AppendLog(t.Context(), id, token, -1, nil)
	wantReason(t, "a negative offset", err, reason.ArgumentInvalid)
	if start, data, err := b.ReadLog(t.Context(), id, 5); start != 5 || string(data) != "wo\nthree\n" || err != nil {
		t.Errorf("from 5: %d, %q, %v", start, data, err)
	}
}

// TestLongLog: of a log over the limit, the head and the tail are kept.
func TestLongLog(t *testing.T) {
	const limit, piece = 400 << 10, 40 << 10
	b, id, token := leased(t, func(c *Config) { c.MaxLog = limit })
	var all bytes.Buffer
	for i := range 50 {
		line := fmt.Sprintf("%0*d\n", piece-1, i)
		if _, err := b.AppendLog(t.Context(), id, token, int64(all.Len()), []byte(line)); err != nil {
			t.Fatal(err)
		}
		all.WriteString(line)
	}
	start, data, err := b.ReadLog(t.Context(), id, 0)
	if start != 0 || err != nil || !bytes.HasPrefix(all.Bytes(), data) {
		t.Errorf("the log begins at %d, %v", start, err)
	}
	kept, cut := int64(0), int64(0)
	for offset := int64(0); ; {
		start, data, err := b.ReadLog(t.Context(), id, offset)
		if err != nil {
			t.Fatal(err)
		}
		if data == nil {
			if offset != int64(all.Len()) {
				t.Errorf("the log ends at %d, want %d", offset, all.Len())
			}
			break
		}
		if !bytes.Equal(data, all.Bytes()[start:start+int64(len(data))]) {
			t.Errorf("the piece at %d is not what was written there", start)
		}
		kept, cut = kept+int64(len(data)), cut+start-offset
		offset = start + int64(len(data))
	}
	if kept > limit || kept < limit-piece || cut != int64(all.Len())-kept {
		t.Errorf("%d bytes are kept, %d are cut", kept, cut)
	}
	// What is cut is passed over by a reader who asks for it.
	if start, _, err := b.ReadLog(t.Context(), id, limit/2); start <= limit/2 || err != nil {
		t.Errorf("asked for bytes that are cut: %d, %v", start, err)
	}
}

// TestManyLogs: the logs of jobs that ended make room for new ones.
func TestManyLogs(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxLogs = 100 << 10 })
	line := strings.Repeat("x", 60<<10)
	for i := range 3 {
		b.add(request())
		id, token := b.lease(worker())
		if _, err := b.AppendLog(t.Context(), id, token, 0, []byte(line)); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if _, err := b.Complete(t.Context(), result(id, token, envA)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for id, want := range map[int64]string{1: "", 2: "", 3: line} {
		if got := readLog(b, id); got != want {
			t.Errorf("%d bytes of log %d are left, want %d", len(got), id, len(want))
		}
	}
	// Nothing is left to delete: the log goes on, and what does not fit is cut.
	b.add(request())
	id, token := b.lease(worker())
	size, err := b.AppendLog(t.Context(), id, token, 0, []byte(line))
	if got := readLog(b, id); err != nil || size != int64(len(line)) || got != "" {
		t.Errorf("without room: size %d, %d bytes kept, %v", size, len(got), err)
	}
}

// TestSmallPieces: a worker that writes byte by byte does not make a row of each.
func TestSmallPieces(t *testing.T) {
	b, id, token := leased(t)
	for i := range int64(200) {
		if _, err := b.AppendLog(t.Context(), id, token, i, []byte{'x'}); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if err := b.r.QueryRow("SELECT count(*) FROM logs").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if got := readLog(b, id); len(got) != 200 {
		t.Errorf("%d bytes", len(got))
	}
}
