package cli_test

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// populated is a world whose ledger holds an enrolment and three builds; the
// first is in the file a.attestation.
func populated(t *testing.T) *world {
	t.Helper()
	w := enrolled(t)
	for i, name := range []string{"a", "b", "c"} {
		raw := w.build("--subject", "name="+name+",digest=sha256:"+strings.Repeat(name, 64))
		w.write(name+".attestation", raw)
		if got := w.must("submit", "@/"+name+".attestation"); !strings.HasSuffix(got, string(rune('1'+i))) {
			t.Fatalf("submitted %s as %s", name, got)
		}
	}
	w.write("kept", w.must("log", "checkpoint")+"\n")
	return w
}

// lie is an untrue answer to a command: in answers to rpc, tell is applied.
type lie struct {
	name, rpc string
	tell      func(proto.Message)
	args      string
	want      string // in the error
}

func liesAboutEntries() []lie {
	payloadLine := regexp.MustCompile(`payload sha256:\w+`)
	return []lie{
		{"a checkpoint of another key", "GetCheckpoint", func(m proto.Message) {
			m.(*cairnv1.GetCheckpointResponse).Checkpoint = forged("log.example/test", 4)
		}, "log checkpoint", "does not satisfy the policy"},
		{"a checkpoint of another log", "GetKey", func(m proto.Message) {
			m.(*cairnv1.GetKeyResponse).Checkpoint = forged("log.example/other", 4)
		}, "show @/alice.key.pub", "does not satisfy the policy"},
		{"a submission that is not in the tree", "SubmitAttestation", func(m proto.Message) {
			m.(*cairnv1.SubmitAttestationResponse).Index = 0
		}, "submit @/new.attestation", "inclusion proof of entry 0"},
		{"a sequenced entry of another payload", "SubmitAttestation", func(m proto.Message) {
			r := m.(*cairnv1.SubmitAttestationResponse)
			r.Leaf = payloadLine.ReplaceAllString(r.GetLeaf(), "payload sha256:"+strings.Repeat("0", 64))
		}, "submit @/new.attestation --wait sequenced", "something else than what was submitted"},
		{"another entry", "GetEntry", func(m proto.Message) { m.(*cairnv1.GetEntryResponse).Entry.Index = 2 }, "log entry 1", "asked for entry 1"},
		{"an entry that is not in the tree", "GetEntry", func(m proto.Message) {
			m.(*cairnv1.GetEntryResponse).InclusionProof[0][0] ^= 1
		}, "show 1", "does not lead to the root"},
	}
}

func liesAboutImports() []lie {
	const args = "import oss-rebuild @/new.attestation"
	nameLine := regexp.MustCompile(`subject sha256:\w+`)
	return []lie{
		{"an import that is not in the tree", "SubmitAttestation", func(m proto.Message) {
			m.(*cairnv1.SubmitAttestationResponse).Index = 0
		}, args, "inclusion proof of entry 0"},
		{"an import under a checkpoint of another key", "SubmitAttestation", func(m proto.Message) {
			m.(*cairnv1.SubmitAttestationResponse).Checkpoint = forged("log.example/test", 5)
		}, args, "does not satisfy the policy"},
		{"an import of another subject", "SubmitAttestation", func(m proto.Message) {
			r := m.(*cairnv1.SubmitAttestationResponse)
			r.Leaf = nameLine.ReplaceAllString(r.GetLeaf(), "subject sha256:"+strings.Repeat("0", 64))
		}, args, "does not lead to the root"},
		{"an import by another key", "GetKey", func(m proto.Message) {
			m.(*cairnv1.GetKeyResponse).Key.PublicKey = "x"
		}, args, "a key in the answer does not parse"},
	}
}

func liesAboutLists() []lie {
	digestA := "sha256:" + strings.Repeat("a", 64)
	return []lie{
		{"another attestation for an entry", "GetAttestation", func(m proto.Message) {
			m.(*cairnv1.GetAttestationResponse).Attestation = []byte("{}")
		}, "show 1", "does not open"},
		{"another key", "GetKey", func(m proto.Message) { m.(*cairnv1.GetKeyResponse).Key.PublicKey = "x" }, "show @/alice.key.pub", "the answer is another"},
		{"a list of something else", "ListAttestations", func(m proto.Message) {
			r := m.(*cairnv1.ListAttestationsResponse)
			r.Entries[0].Leaf = strings.ReplaceAll(r.Entries[0].GetLeaf(), strings.Repeat("a", 64), strings.Repeat("d", 64))
		}, "list --digest " + digestA, "is not about what was asked"},
		{"a list in disorder", "ListAttestations", func(m proto.Message) {
			r := m.(*cairnv1.ListAttestationsResponse)
			r.Entries[0], r.Entries[1] = r.Entries[1], r.Entries[0]
		}, "list", "is not between"},
		{"a list beyond its checkpoint", "ListAttestations", func(m proto.Message) {
			m.(*cairnv1.ListAttestationsResponse).CompleteUpTo++
		}, "list", "complete up to 5, its checkpoint's size is 4"},
		{"a list without end", "ListAttestations", func(m proto.Message) {
			r := m.(*cairnv1.ListAttestationsResponse)
			r.Entries, r.NextPageToken = nil, "again"
		}, "list", "a page of the list is empty"},
		{"an artifact beyond its checkpoint", "GetArtifact", func(m proto.Message) {
			m.(*cairnv1.GetArtifactResponse).CompleteUpTo++
		}, "show " + digestA, "complete up to 5"},
		{"a bad consistency proof", "GetConsistencyProof", func(m proto.Message) {
			m.(*cairnv1.GetConsistencyProofResponse).ConsistencyProof[0][0] ^= 1
		}, "log consistency 2", "does not extend size 2"},
		{"a tree of a size that does not hold", "GetInclusionProof", func(m proto.Message) {
			m.(*cairnv1.GetInclusionProofResponse).InclusionProof[0][0] ^= 1
		}, "log consistency 2", "does not extend size 2"},
	}
}

// TestLies holds every command to noticing an answer that is not true: exit 5,
// and nothing of the answer on stdout.
func TestLies(t *testing.T) {
	for _, tt := range slices.Concat(liesAboutEntries(), liesAboutImports(), liesAboutLists()) {
		t.Run(tt.name, func(t *testing.T) {
			w := populated(t)
			w.write("new.attestation", w.build("@/hello.deb"))
			w.log.Tamper = func(rpc string, m proto.Message) {
				if rpc == tt.rpc {
					tt.tell(m)
				}
			}
			f := w.mustFail(strings.Fields(tt.args)...)
			if f.Exit != 5 || f.Reason != "LOG_MISBEHAVED" || !strings.Contains(f.Error, tt.want) {
				t.Errorf("got %+v, want exit 5 and %q", f, tt.want)
			}
			// A list prints page by page, and so what came before the lie.
			if r := w.run(strings.Fields(tt.args)...); r.exit != 5 || r.stdout != "" && tt.rpc != "ListAttestations" {
				t.Errorf("as text: exit %d, stdout %q", r.exit, r.stdout)
			}
		})
	}
}

// forged is a checkpoint that some other key signed.
func forged(origin string, size int64) string {
	other, err := clienttest.New(origin)
	if err != nil {
		panic(err)
	}
	signed, err := other.Sign(tlog.Tree{N: size})
	if err != nil {
		panic(err)
	}
	return signed
}

// TestSwappedSubmission answers with the true place of another attestation.
func TestSwappedSubmission(t *testing.T) {
	w := populated(t)
	w.write("new.attestation", w.build("@/hello.deb"))
	var first proto.Message
	w.log.Tamper = func(rpc string, m proto.Message) {
		if rpc != "SubmitAttestation" {
			return
		}
		if first == nil {
			first = proto.Clone(m)
			return
		}
		proto.Reset(m)
		proto.Merge(m, first)
	}
	w.must("submit", "@/a.attestation")
	f := w.mustFail("submit", "@/new.attestation", "--proof", "@/proof")
	if f.Exit != 5 || !strings.Contains(f.Error, "something else than what was submitted") {
		t.Errorf("failure %+v", f)
	}
	if _, err := os.Stat(w.path("proof")); err == nil {
		t.Error("a proof was written")
	}
}

// TestAnswersOfTwoLogs is noticed without a policy too.
func TestAnswersOfTwoLogs(t *testing.T) {
	w := populated(t)
	delete(w.env, "CAIRN_POLICY")
	w.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetAttestationResponse); ok {
			r.Checkpoint = forged("log.example/other", 4)
		}
	}
	f := w.mustFail("show", "1")
	if f.Exit != 5 || !strings.Contains(f.Error, `answers of log "log.example/other", and of log "log.example/test" before`) {
		t.Errorf("failure %+v", f)
	}
}

func TestShrunkLog(t *testing.T) {
	w := populated(t)
	small, err := w.log.Tree(2)
	if err != nil {
		t.Fatal(err)
	}
	old, err := w.log.Sign(small)
	if err != nil {
		t.Fatal(err)
	}
	w.log.Tamper = func(rpc string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetCheckpointResponse); ok {
			r.Checkpoint = old
		}
	}
	f := w.mustFail("log", "consistency", "@/kept")
	if f.Exit != 5 || !strings.Contains(f.Error, "the log shrank: a checkpoint of size 4 was kept, the latest is of size 2") {
		t.Errorf("failure %+v", f)
	}
}

func TestForkedLog(t *testing.T) {
	w := populated(t)
	tree, err := w.log.Tree(3)
	if err != nil {
		t.Fatal(err)
	}
	tree.Hash[0] ^= 1
	fork, err := w.log.Sign(tree)
	if err != nil {
		t.Fatal(err)
	}
	w.write("fork", fork)
	for _, args := range [][]string{{"@/fork"}, {"2", "@/fork"}, {"@/fork", "@/kept"}, {"0", "@/fork"}} {
		f := w.mustFail(append([]string{"log", "consistency"}, args...)...)
		if f.Exit != 5 || !strings.Contains(f.Error, "does not extend") {
			t.Errorf("%v: failure %+v", args, f)
		}
	}
}

// TestSwappedAttestation answers with another attestation of the log, true in
// itself.
func TestSwappedAttestation(t *testing.T) {
	w := populated(t)
	envelope := func(name string) string {
		raw, err := os.ReadFile(w.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(leaf.SHA256(raw))
	}
	var first proto.Message
	w.log.Tamper = func(rpc string, m proto.Message) {
		if rpc != "GetAttestation" {
			return
		}
		if first == nil {
			first = proto.Clone(m)
			return
		}
		proto.Reset(m)
		proto.Merge(m, first)
	}
	w.must("show", envelope("a.attestation"))
	f := w.mustFail("show", envelope("b.attestation"))
	if f.Exit != 5 || !strings.Contains(f.Error, "asked for attestation "+envelope("b.attestation")) {
		t.Errorf("failure %+v", f)
	}

	w.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetAttestationResponse); ok {
			r.Entry.Index = 2
		}
	}
	f = w.mustFail("show", envelope("a.attestation"))
	if f.Exit != 5 || !strings.Contains(f.Error, "is not the one it logged there") {
		t.Errorf("at another index: failure %+v", f)
	}
}

// TestUnprintableCheckpoint: a checkpoint is printed to the letter, so it must
// not do anything to a terminal.
func TestUnprintableCheckpoint(t *testing.T) {
	w := newWorldOf(t, "log.example/\u009b31m")
	f := w.mustFail("log", "checkpoint")
	if f.Exit != 5 || !strings.Contains(f.Error, "not to be printed") {
		t.Errorf("failure %+v", f)
	}
}

func TestAnotherLogIsUsage(t *testing.T) {
	w := populated(t)
	f := w.mustFail("show", "log.example/other#1")
	if f.Exit != 2 || !strings.Contains(f.Error, `serves log "log.example/test", not "log.example/other"`) {
		t.Errorf("failure %+v", f)
	}
	delete(w.env, "CAIRN_POLICY")
	w.write("other", forged("log.example/other", 2))
	f = w.mustFail("log", "consistency", "@/other")
	if f.Exit != 2 || !strings.Contains(f.Error, `the kept checkpoint is of log "log.example/other"`) {
		t.Errorf("failure %+v", f)
	}
}

func TestConsistency(t *testing.T) {
	w := populated(t)
	tests := []struct{ args, want string }{
		{"0", "consistent: size 4 extends size 0 of log.example/test"},
		{"1", "consistent: size 4 extends size 1 of log.example/test"},
		{"3", "consistent: size 4 extends size 3 of log.example/test"},
		{"4", "consistent: size 4 extends size 4 of log.example/test"},
		{"2 3", "consistent: size 3 extends size 2 of log.example/test"},
		{"@/kept", "consistent: size 4 extends size 4 of log.example/test"},
		{"2 @/kept", "consistent: size 4 extends size 2 of log.example/test"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			w.t = t
			if got := w.must(append([]string{"log", "consistency"}, strings.Fields(tt.args)...)...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	w.t = t
	for args, want := range map[string]string{
		"5":             "size 5 is beyond the latest checkpoint's, 4",
		"3 2":           "FROM is of size 3, TO of size 2",
		"@/alice.key":   "the kept checkpoint",
		"pkg:oci/x":     "names no tree",
		"log.example#1": "names no tree",
		"@/nowhere":     "opening checkpoint",
	} {
		f := w.mustFail(append([]string{"log", "consistency"}, strings.Fields(args)...)...)
		if f.Exit != 2 || !strings.Contains(f.Error, want) {
			t.Errorf("%s: failure %+v, want exit 2 and %q", args, f, want)
		}
	}
}

// TestWithdrawnBytes: the ledger may lack the bytes of an entry, which is still
// proven to be there.
func TestWithdrawnBytes(t *testing.T) {
	w := populated(t)
	w.log.Refuse = func(r *http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/v1/attestations/") {
			return reason.Errorf(reason.AttestationNotFound, "the bytes are not held here")
		}
		return nil
	}
	got := w.must("show", "1")
	for _, want := range []string{"subject    sha256:" + strings.Repeat("a", 64), "does not hold these bytes any more"} {
		if !strings.Contains(got, want) {
			t.Errorf("shown without %q:\n%s", want, got)
		}
	}
	r := w.run("log", "prove", "1")
	if r.exit != 0 || !strings.HasPrefix(r.stdout, "c2sp.org/tlog-proof@v1\n") || !strings.Contains(r.stderr, "the proof brings no keys") {
		t.Errorf("prove: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if f := w.mustFail("show", "1", "--raw"); f.Exit != 2 {
		t.Errorf("failure %+v", f)
	}
}

func TestRefusalsKeepTheirExitCodes(t *testing.T) {
	for _, row := range reason.Table() {
		w := newWorld(t)
		w.log.Refuse = func(*http.Request) error { return reason.Errorf(row.Reason, "no") }
		f := w.mustFail("log", "checkpoint")
		if f.Exit != row.Exit || f.Reason != string(row.Reason) || f.Error != "no" {
			t.Errorf("%s: failure %+v, want exit %d", row.Reason, f, row.Exit)
		}
	}
}
