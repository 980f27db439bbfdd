package cli_test

import (
	"encoding/json"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

func TestEvidenceVerify(t *testing.T) {
	log := witnesstest.NewLog("log.example/test").Grow(5, "common")
	fork := log.Fork().Grow(3, "fork")
	log.Grow(3, "entry")
	keys := []note.Verifier{log}
	open := func(signed []byte) evidence.Signed {
		s, err := evidence.Open(signed, keys)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	e, err := evidence.AgainstLog(keys, open(log.Checkpoint(8)), open(fork.Checkpoint(8)), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.write("fork.evidence", string(e.Marshal()))
	w.write("its.policy", "log "+log.VKey+"\nquorum none\n")
	w.write("garbage", "cairn.evidence/v1\n")

	tests := []struct {
		name, file, policy string
		args               []string
		exit               int
		result             string
	}{
		{"the accused is in the policy", "fork.evidence", "its.policy", nil, 5, "proven"},
		{"the accused's key is given", "fork.evidence", "policy", []string{"--key", log.VKey}, 5, "proven"},
		{"the accused is unknown", "fork.evidence", "policy", nil, 3, "unjudged"},
		{"no evidence at all", "garbage", "its.policy", nil, 2, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"evidence", "verify", w.path(tt.file), "--policy", w.path(tt.policy), "-o", "json"}, tt.args...)
			r := w.run(args...)
			var got struct{ Result string }
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
				t.Fatalf("answer %q: %v", r.stdout, err)
			}
			if r.exit != tt.exit || got.Result != tt.result {
				t.Errorf("exit %d, result %q, want %d, %q", r.exit, got.Result, tt.exit, tt.result)
			}
		})
	}
}
