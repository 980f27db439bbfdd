package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "log.example/test"

func memory(t *testing.T) *DB {
	t.Helper()
	db, err := OpenMemory(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func record(size, at int64) *Record {
	return &Record{
		Origin: origin, Size: size, Root: tlog.Hash{byte(size)}, Time: at, Note: fmt.Appendf(nil, "note %d", size),
		Old: size - 1, Proof: []tlog.Hash{{1}, {byte(size)}},
	}
}

func (db *DB) put(t *testing.T, r *Record) error {
	t.Helper()
	return db.Advance(t.Context(), r.Origin, func(*Record, *Refusal) (*Record, error) { return r, nil })
}

func (db *DB) mustPut(t *testing.T, records ...*Record) {
	t.Helper()
	for _, r := range records {
		if err := db.put(t, r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdvance(t *testing.T) {
	db := memory(t)
	if r, err := db.Latest(t.Context(), origin); r != nil || err != nil {
		t.Errorf("latest of nothing: %v, %v", r, err)
	}
	db.mustPut(t, record(5, 100), record(9, 100), record(9, 110))
	got, err := db.Chain(t.Context(), origin, 0, 100, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Record{record(5, 100), record(9, 110)}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	other := record(9, 120)
	other.Root = tlog.Hash{77}
	for name, r := range map[string]*Record{"smaller": record(8, 120), "earlier": record(10, 109), "another root": other} {
		if err := db.put(t, r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if r, err := db.Latest(t.Context(), origin); err != nil || r.Size != 9 || r.Time != 110 {
		t.Errorf("latest %+v, %v, want size 9", r, err)
	}
	want := errors.New("no")
	if err := db.Advance(t.Context(), origin, func(*Record, *Refusal) (*Record, error) { return nil, want }); !errors.Is(err, want) {
		t.Errorf("got %v, want the caller's error", err)
	}
}

func TestThin(t *testing.T) {
	db := memory(t)
	const hour = 1_000_800 // a whole one
	for i := range int64(40) {
		db.mustPut(t, record(i+1, hour+i*600)) // six in an hour
	}
	if err := db.Thin(t.Context(), origin, hour+30*600); err != nil {
		t.Fatal(err)
	}
	got, err := db.Roots(t.Context(), origin, 0, 100, 100)
	if err != nil {
		t.Fatal(err)
	}
	old := 0
	for size := range got {
		if size <= 30 {
			old++
		}
	}
	if old != 5 || len(got) != 15 {
		t.Errorf("%d records are left, %d of them old, want 15 and 5", len(got), old)
	}
	// However old, the latest stays.
	if err := db.Thin(t.Context(), origin, 2_000_000); err != nil {
		t.Fatal(err)
	}
	if r, err := db.Latest(t.Context(), origin); err != nil || r.Size != 40 {
		t.Errorf("latest %+v, %v, want size 40", r, err)
	}
}

func TestBack(t *testing.T) {
	db := memory(t)
	for _, size := range []int64{3, 5, 8, 13} {
		db.mustPut(t, record(size, size))
	}
	for _, tt := range []struct {
		size int64
		n    int
		want int64
	}{{13, 0, 13}, {12, 0, 8}, {13, 2, 5}, {13, 9, 3}, {2, 1, 0}} {
		if got, err := db.Back(t.Context(), origin, tt.size, tt.n); err != nil || got != tt.want {
			t.Errorf("%d back from %d: %d, %v, want %d", tt.n, tt.size, got, err, tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	db := memory(t)
	db.mustPut(t, record(5, 100))
	adopt := func(size int64) Refusal {
		return Refusal{Origin: origin, Cause: CauseRollback, Detail: fmt.Sprint(size), Time: 1, Adopt: record(size, 90)}
	}
	for _, size := range []int64{9, 12, 10} {
		if err := db.Refuse(t.Context(), adopt(size)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := db.Refused(t.Context(), origin)
	if err != nil || r == nil || r.Detail != "9" || r.Adopt.Size != 12 {
		t.Fatalf("refusal %+v, %v, want the first, with the largest size", r, err)
	}
	if _, err := db.Clear(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	last, err := db.Latest(t.Context(), origin)
	if err != nil || last.Size != 12 || last.Time != 100 || last.Old != -1 {
		t.Errorf("latest %+v, %v, want size 12 at no earlier time", last, err)
	}
	if r, err := db.Clear(t.Context(), origin); r != nil || err != nil {
		t.Errorf("clearing twice: %+v, %v", r, err)
	}
}

func TestEvidenceOnce(t *testing.T) {
	db := memory(t)
	e := Evidence{Hash: [32]byte{1}, Origin: origin, Kind: "same-size", Subject: [32]byte{1}, Text: []byte("text"), Time: 5}
	refusal := &Refusal{Origin: origin, Cause: CauseEvidence, Detail: "01"}
	add := func(e Evidence) bool {
		added, err := db.AddEvidence(t.Context(), e, refusal)
		if err != nil {
			t.Fatal(err)
		}
		return added
	}
	if !add(e) {
		t.Error("the first is not added")
	}
	again := e
	again.Hash = [32]byte{2}
	if add(e) || add(again) {
		t.Error("the same subject is added twice")
	}
	if r, err := db.Refused(t.Context(), origin); err != nil || r == nil {
		t.Errorf("refused: %+v, %v", r, err)
	}
	if _, err := db.Clear(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	if add(again) {
		t.Error("known evidence is added after it was cleared")
	}
	if r, err := db.Refused(t.Context(), origin); err != nil || r != nil {
		t.Errorf("known evidence refuses the origin again: %+v, %v", r, err)
	}
	got, err := db.EvidenceByHash(t.Context(), e.Hash)
	e.Cleared = true
	if err != nil || got == nil {
		t.Fatal(got, err)
	}
	if diff := cmp.Diff(e, *got); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
	for i := range byte(30) {
		e.Hash, e.Subject = [32]byte{9, i}, [32]byte{9, i}
		add(e)
	}
	if list, err := db.Evidence(t.Context(), origin); err != nil || len(list) != MaxEvidence {
		t.Errorf("%d records, %v, want %d", len(list), err, MaxEvidence)
	}
}

func TestSeenIsBounded(t *testing.T) {
	db := memory(t)
	var list []Seen
	for i := range int64(200) {
		list = append(list, Seen{Origin: origin, Witness: "w", Size: i, Time: i, Note: []byte("n")})
	}
	if err := db.AddSeen(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	got, err := db.SeenOf(t.Context(), origin)
	if err != nil || len(got) != MaxSeen || got[0].Size != 200-MaxSeen {
		t.Errorf("%d are kept, %v, want the %d largest", len(got), err, MaxSeen)
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrMissing) {
		t.Errorf("opening what is not there: %v, want ErrMissing", err)
	}
	db, err := Create(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	db.mustPut(t, record(5, 100))
	if _, err := Create(t.Context(), path, Options{}); err == nil {
		t.Error("a state was created over another")
	}
	if second, err := Open(t.Context(), path, Options{}); err == nil {
		_ = second.Close()
		t.Error("a state was opened twice")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if r, err := db.Latest(t.Context(), origin); err != nil || r.Size != 5 {
		t.Errorf("latest %+v, %v, want size 5", r, err)
	}
	var sync, journal string
	if err := db.db.QueryRow("PRAGMA synchronous").Scan(&sync); err != nil || sync != "2" {
		t.Errorf("synchronous %s, %v, want 2 (FULL)", sync, err)
	}
	if err := db.db.QueryRow("PRAGMA journal_mode").Scan(&journal); err != nil || journal != "wal" {
		t.Errorf("journal %s, %v, want wal", journal, err)
	}
	if _, err := os.Stat(path + "-shm"); err == nil {
		t.Error("the lock is not exclusive: there is a shared index")
	}
}

func TestBroken(t *testing.T) {
	fault := errors.New("disk")
	armed := false
	db, err := OpenMemory(t.Context(), Options{Fault: func(s Stage) error {
		if armed && s == AfterCommit {
			return fault
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	armed = true
	if err := db.put(t, record(1, 1)); !errors.Is(err, fault) {
		t.Fatalf("got %v, want the fault", err)
	}
	armed = false
	select {
	case <-db.Broken():
	default:
		t.Error("the state does not say that it is broken")
	}
	if err := db.put(t, record(2, 2)); !errors.Is(err, ErrBroken) || !errors.Is(err, fault) {
		t.Errorf("after that: %v, want ErrBroken and why", err)
	}
}
