package verify_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/verify"
)

// TestEveryFlippedByte changes each byte of the proof, with its checkpoint, and
// of the attestation, in two ways each. What is still proven must mean the same.
func TestEveryFlippedByte(t *testing.T) {
	for name, hints := range map[string]bool{"with hints": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if !hints {
				w.keys = []*attest.PublicKey{attestSigner(t, "alice").Public, attestSigner(t, "bob").Public}
				w.proofLeaf, w.proofKeys = nil, nil
			}
			in := w.input(t)
			want := verify.Entry(in)
			if want.Outcome != verify.Proven {
				t.Fatalf("before any change: %s, %q", want.Outcome, want.Reasons)
			}
			outcomes := make(map[verify.Outcome]int)
			flipEach(in.Proof, func(at int, changed []byte) {
				in := in
				in.Proof = changed
				outcomes[checkMeaning(t, want, verify.Entry(in), fmt.Sprintf("proof byte %d", at))]++
			})
			flipEach(in.Attestation, func(at int, changed []byte) {
				in := in
				in.Attestation = changed
				if r := verify.Entry(in); r.Outcome == verify.Proven {
					t.Errorf("attestation byte %d changed, and still proven", at)
				}
			})
			t.Logf("proof: %v", outcomes)
			if outcomes[verify.Refuted] == 0 || outcomes[verify.Unproven] == 0 {
				t.Errorf("outcomes %v, want some of each kind", outcomes)
			}
		})
	}
}

func flipEach(b []byte, do func(at int, changed []byte)) {
	for i := range b {
		for _, mask := range []byte{0x01, 0x20} {
			changed := bytes.Clone(b)
			changed[i] ^= mask
			do(i, changed)
		}
	}
}

// checkMeaning checks that got, if it is proven, differs from want in nothing
// but how many witnesses cosigned.
func checkMeaning(t *testing.T, want, got *verify.EntryReport, what string) verify.Outcome {
	t.Helper()
	if got.Outcome == verify.Proven {
		for _, c := range got.Checks {
			if c.Status != verify.OK {
				t.Errorf("%s: proven with check %s %s", what, c.Name, c.Status)
			}
		}
		if d := cmp.Diff(want.Leaf, got.Leaf); d != "" {
			t.Errorf("%s: proven of another leaf: %s", what, d)
		}
		if got.ID != want.ID || got.CheckpointSize != want.CheckpointSize || !cmp.Equal(got.Keys, want.Keys) || got.Operator != want.Operator {
			t.Errorf("%s: proven of something else: %+v", what, got)
		}
	}
	return got.Outcome
}

// FuzzEntry checks that no proof and attestation make Entry panic, or prove
// anything but what was logged.
func FuzzEntry(f *testing.F) {
	w := newWorld(f)
	in := w.input(f)
	want := verify.Entry(in)
	f.Add(in.Proof, in.Attestation)
	f.Add(in.Proof, []byte(nil))
	w.proofLeaf = nil
	f.Add(w.proof(f), in.Attestation)
	f.Fuzz(func(t *testing.T, proof, attestation []byte) {
		in := in
		in.Proof, in.Attestation = proof, attestation
		r := verify.Entry(in)
		if len(r.Checks) != 7 {
			t.Fatalf("%d checks", len(r.Checks))
		}
		if r.Outcome == verify.Proven && (r.Leaf != want.Leaf || !bytes.Equal(attestation, w.attestation)) {
			t.Fatalf("proven of %q", r.Leaf)
		}
		if err := r.Text(new(bytes.Buffer), true); err != nil {
			t.Fatal(err)
		}
		checkOnlyEstablished(t, r)
	})
}
