package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// checkOrder checks in the trace of one submission what a power loss relies on:
// each step is on disk before the next one begins.
func checkOrder(t *testing.T, submission int, calls []call, dir string) {
	t.Helper()
	steps := []struct {
		name, file string
		why        string
	}{
		{"fsync", "blobs.db-wal", "the bytes"},
		{"renameat", "a bundle", "the entry"},
		{"fsync", "a bundle", "the entry's name"},
		{"renameat", "a tile", "the hashes"},
		{"fsync", "a tile", "the hashes' name"},
		{"renameat", "log/.state/treeState", "the new size"},
		{"fsync", "log/.state", "the new size's name"},
		{"fsync", "signed.tmp", "what is about to be signed"},
		{"renameat", "signed", "that it is what was signed"},
		{"fsync", "the directory", "the same, for good"},
		{"fsync", "log/checkpoint.tmp", "the checkpoint"},
		{"renameat", "log/checkpoint", "that it is published"},
		{"fsync", "log", "the same, for good"},
		{"write", "", "the answer"},
	}
	end := -1
	for _, step := range steps {
		at := -1
		for _, c := range calls {
			if c.name != step.name || c.start < end || c.file(dir) != step.file {
				continue
			}
			if step.file == "" && !strings.Contains(c.args, "<socket:") && !strings.Contains(c.args, "<TCP") {
				continue
			}
			// The answer may be read before strace sees that it is written.
			at = max(c.start, c.end)
			break
		}
		if at < 0 {
			t.Fatalf("submission %d: no %s of %s (%s) after the step before it", submission, step.name, step.file, step.why)
		}
		end = at
	}
}

var (
	treeSize   = regexp.MustCompile(`"\{\\"size\\":(\d+),`)
	signedSize = regexp.MustCompile(`signed\.tmp>, "[^"\\]+\\n(\d+)\\n`)
)

// TestOnlyWhatIsDurableIsSigned submits from many goroutines while the disk
// takes its time to confirm each new size of the tree. A size must not be signed
// before: a power loss would take entries that a public checkpoint promises.
func TestOnlyWhatIsDurableIsSigned(t *testing.T) {
	needStrace(t)
	s := newSample(t)
	v := s.copy(t)
	p := startWith(t, v.args...)
	tr := attach(t, p, "fsync:delay_enter=20000")
	r := newREST(t, p)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 12 {
				if err := v.history.submit(t.Context(), r, s.author.attestation(), "sequenced"); err != nil {
					t.Errorf("submitting: %v", err)
				}
			}
		})
	}
	wg.Wait()
	calls := tr.detach(t)
	p.Stop(t)

	written, renamed, durable, signed := 0, 0, prefilled, 0
	for _, e := range events(calls, v.dir) {
		switch {
		case e.call.file(v.dir) == "log/.state/treeState" && e.call.name == "write" && e.end:
			if m := treeSize.FindStringSubmatch(e.call.args); m != nil {
				written, _ = strconv.Atoi(m[1])
			}
		case e.call.file(v.dir) == "log/.state/treeState" && e.call.name == "renameat" && e.end:
			renamed = written
		case e.call.file(v.dir) == "log/.state" && e.call.name == "fsync" && !e.end:
			e.call.covers = renamed
		case e.call.file(v.dir) == "log/.state" && e.call.name == "fsync":
			durable = max(durable, e.call.covers)
		case e.call.file(v.dir) == "signed.tmp" && e.call.name == "write" && !e.end:
			m := signedSize.FindStringSubmatch(e.call.args)
			if m == nil {
				t.Fatalf("signed what? %s", e.call.args)
			}
			signed++
			if size, _ := strconv.Atoi(m[1]); size > durable {
				t.Errorf("size %d is about to be signed, but only %d is on disk", size, durable)
			}
		}
	}
	t.Logf("%d checkpoints signed, up to %d on disk", signed, durable)
	if signed < 3 || durable < prefilled+48 {
		t.Error("the trace shows too little")
	}
}

// event is the beginning or the end of a call.
type event struct {
	call *call
	end  bool
}

// events returns the calls on a ledger's files as they began and ended.
func events(calls []call, dir string) []event {
	at := make(map[int][]event)
	last := 0
	for i := range calls {
		c := &calls[i]
		if c.file(dir) == "" {
			continue
		}
		at[c.start] = append(at[c.start], event{c, false})
		if c.end >= 0 {
			at[c.end] = append(at[c.end], event{c, true})
		}
		last = max(last, c.start, c.end)
	}
	var es []event
	for i := range last + 1 {
		es = append(es, at[i]...)
	}
	return es
}
