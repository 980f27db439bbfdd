package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

func text(t *testing.T, r *verify.EntryReport, ascii bool) string {
	t.Helper()
	var b strings.Builder
	if err := r.Text(&b, ascii); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	w := newWorld(t)
	goSum, rebuilt := leaf.SHA256([]byte("go")), leaf.SHA256([]byte("rebuilt"))
	purl := "pkg:oci/core-go@" + string(goSum) + "?arch=amd64"
	keys := verify.Entry(w.input(t)).Keys
	envelope := leaf.SHA256(w.attestation)
	proven := `✓ logged   reproduction   DIFFERENT   core-go ` + purl + ` ` + string(goSum) + `
    subject  core-go ` + purl + ` ` + string(goSum) + `
    output   rebuilt ` + string(rebuilt) + `
    key      ` + string(keys[0]) + `
    key      ` + string(keys[1]) + `
    builder  https://alice.example/rebuilder
    operator https://alice.example (claimed by the signer)
    logged   log.example/cairn#3, checkpoint 5, 2 of 3 witnesses (policy 2 of (w1, w2, w3))
    ✓ proof: the proof is well-formed
    ✓ log-signature: log log.example/cairn signed the checkpoint of size 5
    ✓ witness-quorum: 2 of 3 witnesses cosigned, the policy asks for 2 of (w1, w2, w3)
    ✓ inclusion: the leaf is at index 3 of the tree of size 5
    ✓ attestation: the attestation is the one that was logged: ` + string(envelope) + `
    ✓ keys: the public keys of the entry are known: 2 of 2
    ✓ signatures: every signature verifies, and the attestation yields the entry's leaf
`
	if d := cmp.Diff(proven, text(t, verify.Entry(w.input(t)), false)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(strings.ReplaceAll(proven, "✓", "ok"), text(t, verify.Entry(w.input(t)), true)); d != "" {
		t.Error(d)
	}
}

func TestTextOfUnproven(t *testing.T) {
	w := newWorld(t)
	goSum, rebuilt := leaf.SHA256([]byte("go")), leaf.SHA256([]byte("rebuilt"))
	keys := verify.Entry(w.input(t)).Keys
	w.attestation = nil
	unproven := `?? unproven   reproduction   DIFFERENT   ` + string(goSum) + `
    why      the attestation is not given
    subject  ` + string(goSum) + `
    output   ` + string(rebuilt) + `
    key      ` + string(keys[0]) + `
    key      ` + string(keys[1]) + `
    logged   log.example/cairn#3, checkpoint 5, 2 of 3 witnesses (policy 2 of (w1, w2, w3))
    ok proof: the proof is well-formed
    ok log-signature: log log.example/cairn signed the checkpoint of size 5
    ok witness-quorum: 2 of 3 witnesses cosigned, the policy asks for 2 of (w1, w2, w3)
    ok inclusion: the leaf is at index 3 of the tree of size 5
    ?? attestation: the attestation is not given
    ok keys: the public keys of the entry are known: 2 of 2
    ?? signatures: not done: it needs attestation
`
	if d := cmp.Diff(unproven, text(t, verify.Entry(w.input(t)), true)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(strings.ReplaceAll(strings.ReplaceAll(unproven, "ok ", "✓ "), "??", "?"), text(t, verify.Entry(w.input(t)), false)); d != "" {
		t.Error(d)
	}
}

func TestTextOfRefuted(t *testing.T) {
	refuted := `✗ refuted
    why      the proof is malformed: parsing tlog-proof: the first line is not "c2sp.org/tlog-proof@v1"
    ✗ proof: the proof is malformed: parsing tlog-proof: the first line is not "c2sp.org/tlog-proof@v1"
    ? log-signature: not done: it needs proof
    ? witness-quorum: not done: it needs log-signature
    ? inclusion: not done: it needs log-signature
    ? attestation: the attestation is not given
    ? keys: not done: it needs inclusion
    ? signatures: not done: it needs attestation
`
	r := verify.Entry(verify.EntryInput{Proof: []byte("x")})
	if d := cmp.Diff(refuted, text(t, r, false)); d != "" {
		t.Error(d)
	}
	if got := text(t, r, true); !strings.HasPrefix(got, "NO refuted\n") || !strings.Contains(got, "\n    NO proof: ") {
		t.Errorf("in ASCII:\n%s", got)
	}
}

func TestTextOfOtherKinds(t *testing.T) {
	w := newWorld(t)
	env, err := attest.Enrol(attestSigner(t, "carol"), "https://carol.example", "")
	if err != nil {
		t.Fatal(err)
	}
	w.attestation, w.text = env, mustOpen(t, env).Text
	w.proofLeaf, w.proofKeys = w.text, nil
	w.policy = strings.Replace(w.policy, "quorum g", "quorum none", 1)
	fp := string(attestSignerFingerprint("carol"))
	got := text(t, verify.Entry(w.input(t)), false)
	if want := "✓ logged   enrol   " + fp + "\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant it to begin with %s", got, want)
	}
	for _, want := range []string{
		"    subject  " + fp + "\n",
		"checkpoint 5, no witnesses (policy none)\n",
		"✓ witness-quorum: the policy asks for no witnesses\n",
		"✓ keys: the enrolment brings the key that it enrols\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %s in it", got, want)
		}
	}

	// Signed by the log, but without an entry that could have an id.
	w.index--
	got = text(t, verify.Entry(w.input(t)), false)
	if want := "\n    log      log.example/cairn, checkpoint 5, no witnesses"; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant %s in it", got, want)
	}
}

// What a signer writes must not be able to forge a line, hide one, or hide a
// digest behind it.
func TestTextOfHostileNames(t *testing.T) {
	s := attestSigner(t, "mallory")
	digest := map[string]string{"sha256": leaf.SHA256([]byte("x")).Hex()}
	st, err := attest.NewStatement(attest.PredicateProvenance, &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{BuildType: "x"},
		RunDetails:      attest.RunDetails{Builder: attest.Builder{ID: "id\r✓ logged", Operator: "\u202eelpmaxe\U000e0041\u00a0\u009b2J"}},
	}, attest.ResourceDescriptor{Name: "a\n    ✓ signatures: fine\x1b[2J\x7f", Digest: digest},
		attest.ResourceDescriptor{Name: strings.Repeat("é", 1000), Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if w.attestation, err = s.Sign(st); err != nil {
		t.Fatal(err)
	}
	w.text = mustOpen(t, w.attestation, s.Public).Text
	w.proofLeaf, w.proofKeys = w.text, []string{s.Public.PEM}
	r := verify.Entry(w.input(t))
	if r.Outcome != verify.Proven {
		t.Fatalf("%s: %q", r.Outcome, r.Reasons)
	}
	for _, ascii := range []bool{false, true} {
		got := text(t, r, ascii)
		for _, c := range got {
			if c != '\n' && c < 0x20 || c >= 0x7f && c <= 0xa0 || c == '\u202e' || c > 0xffff || ascii && c > 0x7e {
				t.Errorf("ascii %t: %U is printed as it is", ascii, c)
			}
		}
		if n, want := strings.Count(got, "\n"), 1+2+1+2+1+7; n != want {
			t.Errorf("ascii %t: %d lines, want %d:\n%s", ascii, n, want, got)
		}
		for _, want := range []string{`a\u000a    `, " and 1 more\n", `fine\u001b[2J\u007f sha256:`, `\u202eelpmaxe\U000e0041\u00a0\u009b2J (claimed`} {
			if !strings.Contains(got, want) {
				t.Errorf("ascii %t: %s is not in\n%s", ascii, want, got)
			}
		}
		for line := range strings.Lines(got) {
			if !ascii && len(line) > 700 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	}
}

func TestTextReportsWriteErrors(t *testing.T) {
	if err := verify.Entry(verify.EntryInput{}).Text(badWriter{}, false); err == nil {
		t.Error("an error of the writer is lost")
	}
}

type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestJSON pins the members that programs read.
func TestJSON(t *testing.T) {
	w := newWorld(t)
	r := verify.Entry(w.input(t))
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back verify.EntryReport
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, &back); d != "" {
		t.Errorf("JSON does not carry all of it: %s", d)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	goSum := string(leaf.SHA256([]byte("go")))
	want := map[string]any{
		"schema": "cairn/verify-entry/v1", "outcome": "proven", "reasons": []any{},
		"id": "log.example/cairn#3", "origin": "log.example/cairn", "index": 3.0, "checkpointSize": 5.0,
		"witnesses": map[string]any{"satisfied": true, "cosigned": 2.0, "total": 3.0, "quorum": "2 of (w1, w2, w3)"},
		"leaf":      string(w.text), "kind": "attestation", "claim": "reproduction", "result": "DIFFERENT",
		"keys": []any{string(r.Keys[0]), string(r.Keys[1])},
		"subjects": []any{map[string]any{
			"name": "core-go", "uri": "pkg:oci/core-go@" + goSum + "?arch=amd64", "digests": []any{goSum},
		}},
		"outputs":   []any{map[string]any{"name": "rebuilt", "digests": []any{string(leaf.SHA256([]byte("rebuilt")))}}},
		"builderId": "https://alice.example/rebuilder", "operatorClaimed": "https://alice.example",
	}
	checks := got["checks"].([]any)
	delete(got, "checks")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"name": "proof", "status": "ok", "detail": "the proof is well-formed"}, checks[0]); d != "" {
		t.Error(d)
	}

	b, err = json.Marshal(verify.Entry(verify.EntryInput{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"outcome":"unproven"`, `"status":"not-done"`, `"keys":[]`, `"subjects":[]`, `"outputs":[]`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
	if strings.Contains(string(b), `"index"`) {
		t.Errorf("an index in %s", b)
	}
}

func TestUnmarshalUnknownWords(t *testing.T) {
	var o verify.Outcome
	if err := o.UnmarshalText([]byte("Proven")); err == nil || o != verify.Unproven {
		t.Errorf("Proven is read as %s, %v", o, err)
	}
	var s verify.Status
	if err := s.UnmarshalText([]byte("OK")); err == nil || s != verify.NotDone {
		t.Errorf("OK is read as %s, %v", s, err)
	}
}

func TestArtifactString(t *testing.T) {
	const d = "sha256:" + "aa"
	for _, tt := range []struct {
		in   verify.NamedArtifact
		want string
	}{
		{verify.NamedArtifact{Digests: []leaf.Digest{d, "sha512:bb"}}, "sha256:aa sha512:bb"},
		{verify.NamedArtifact{Name: "n", URI: "u", Digests: []leaf.Digest{d}}, "n u sha256:aa"},
		{verify.NamedArtifact{URI: "u", Digests: []leaf.Digest{d}}, "u sha256:aa"},
		{verify.NamedArtifact{Name: "u", URI: "u", Digests: []leaf.Digest{d}}, "u sha256:aa"},
		{verify.NamedArtifact{Name: d, Digests: []leaf.Digest{d}}, d},
		{verify.NamedArtifact{Name: strings.Repeat("é", 200), Digests: []leaf.Digest{d}}, strings.Repeat("é", 128) + "... sha256:aa"},
		{verify.NamedArtifact{Name: "x" + strings.Repeat("é", 200), Digests: []leaf.Digest{d}}, "x" + strings.Repeat("é", 127) + "... sha256:aa"},
	} {
		if got := tt.in.String(); got != tt.want {
			t.Errorf("%+v is %q, want %q", tt.in, got, tt.want)
		}
	}
}
