package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// ladder is a log about tool, which was built from compiler, which was built
// from a seed; and about something else.
type ladder struct {
	log     *clienttest.Ledger
	client  *client.Client
	policy  *policy.Policy
	signers map[string]*attest.Signer
	index   map[string]int64 // of what was logged, by a word
}

func digestOf(name string) map[string]string {
	return map[string]string{"sha256": leaf.SHA256([]byte(name)).Hex()}
}

func resource(name, role string) attest.ResourceDescriptor {
	r := attest.ResourceDescriptor{Name: name, Digest: digestOf(name)}
	if role != "" {
		r.Annotations = map[string]any{"role": role}
	}
	return r
}

func newLadder(t *testing.T) *ladder {
	t.Helper()
	l, err := clienttest.New("log.example/ladder")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := &ladder{log: l, client: c, policy: p, signers: make(map[string]*attest.Signer), index: make(map[string]int64)}
	for _, who := range []string{"alice", "bob", "mallory", "nobody"} {
		s, _, err := attest.GenerateEd25519()
		if err != nil {
			t.Fatal(err)
		}
		w.signers[who] = s
		w.enrol(t, who, who)
	}
	w.build(t, "alice builds compiler", "alice", "compiler", resource("seed", "seed"), resource("c", "source"))
	w.build(t, "alice builds tool", "alice", "tool", resource("compiler", "toolchain"), resource("t", "source"))
	w.build(t, "alice builds other", "alice", "other", resource("compiler", "toolchain"))
	w.rebuild(t, "bob rebuilds compiler", "bob", "compiler", leaf.Identical, attest.Built, "compiler", resource("seed", "seed"))
	w.rebuild(t, "bob rebuilds tool", "bob", "tool", leaf.Identical, attest.Built, "tool", resource("compiler", "toolchain"), resource("lib", "library"))
	w.rebuild(t, "mallory differs", "mallory", "tool", leaf.Different, attest.Built, "bad", resource("bad compiler", "toolchain"))
	w.rebuild(t, "mallory fetches tool", "mallory", "tool", leaf.Identical, attest.Substituted, "tool", resource("nothing", "toolchain"))
	w.rebuild(t, "mallory gets tool of other", "mallory", "other", leaf.Different, attest.Built, "tool", resource("more", "toolchain"))
	w.build(t, "mallory builds lib", "mallory", "lib", resource("tool", "toolchain")) // a cycle
	for _, name := range []string{"nothing", "bad compiler", "more", "seed", "c", "t"} {
		w.build(t, "nobody builds "+name, "nobody", name, resource("x", "source"))
	}
	return w
}

func (w *ladder) add(t *testing.T, word string, raw []byte) {
	t.Helper()
	index, _, err := w.log.Add(raw)
	if err != nil {
		t.Fatal(err)
	}
	w.index[word] = index
}

func (w *ladder) enrol(t *testing.T, word, who string) {
	t.Helper()
	raw, err := attest.Enrol(w.signers[who], "https://"+who+".example/", "")
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, word, raw)
}

func (w *ladder) sign(t *testing.T, word, who, predicateType string, predicate any, of string) {
	t.Helper()
	st, err := attest.NewStatement(predicateType, predicate, resource(of, ""))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := w.signers[who].Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, word, raw)
}

func (w *ladder) build(t *testing.T, word, who, what string, from ...attest.ResourceDescriptor) {
	t.Helper()
	p := attest.Provenance{}
	p.BuildDefinition.BuildType = "https://example.org/build"
	p.BuildDefinition.ResolvedDependencies = from
	p.RunDetails.Builder.ID = "https://" + who + ".example/builder"
	w.sign(t, word, who, attest.PredicateProvenance, &p, what)
}

func (w *ladder) rebuild(t *testing.T, word, who, what string, result leaf.Result, how attest.Obtained, output string, from ...attest.ResourceDescriptor) {
	t.Helper()
	w.sign(t, word, who, attest.PredicateReproduction, &attest.Reproduction{
		Result: result, Obtained: how, Outputs: []attest.ResourceDescriptor{resource(output, "")},
		BuildDefinition: &attest.BuildDefinition{BuildType: "https://example.org/build", ResolvedDependencies: from},
		Rebuilder:       attest.Builder{ID: "https://" + who + ".example/rebuilder"},
	}, what)
}

// words says what the entries of a bundle are, in log order.
func (w *ladder) words(b *bundle.Bundle) []string {
	var words []string
	for _, e := range b.Entries {
		for word, index := range w.index {
			if index == e.Index {
				words = append(words, word)
			}
		}
	}
	return words
}

var tool = leaf.SHA256([]byte("tool"))

func TestCollect(t *testing.T) {
	w := newLadder(t)
	var mu sync.Mutex
	var told []client.CollectProgress
	b, err := w.client.Collect(t.Context(), tool, []string{"pkg:OCI/tool", "pkg:deb/tool", "pkg:oci/tool"}, w.policy, client.CollectOptions{
		Progress: func(p client.CollectProgress) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, p)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"alice", "bob", "mallory", "alice builds compiler", "alice builds tool",
		"bob rebuilds compiler", "bob rebuilds tool", "mallory differs", "mallory fetches tool",
		"mallory gets tool of other", "mallory builds lib",
	}, w.words(b)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pkg:deb/tool", "pkg:oci/tool"}, b.Names); diff != "" || b.Artifact != tool {
		t.Errorf("about %s, names (-want +got):\n%s", b.Artifact, diff)
	}
	if last := told[len(told)-1]; last.Entries != len(b.Entries) || last.Digests != 3 || last.Bytes == 0 {
		t.Errorf("the last progress is %+v", last)
	}
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = bundle.Parse(file); err != nil {
		t.Fatal(err)
	}
	for _, e := range b.Entries {
		r := verify.Entry(verify.EntryInput{Attestation: e.Attestation, Proof: e.Proof, Policy: w.policy})
		if r.Exit() != 0 || r.CheckpointSize != int64(len(w.index)) {
			t.Errorf("entry %d: %+v", e.Index, r)
		}
	}
}

// TestCollectForRebuilders has only what the policy's rebuilders signed be
// followed and carried.
func TestCollectForRebuilders(t *testing.T) {
	w := newLadder(t)
	p, err := policy.Parse(fmt.Appendf(nil, "log %s\nquorum none\nrebuilder b %s operator=bob\nrebuild-group g 1 b\nrebuild-quorum g\n",
		w.log.VKey(), w.signers["bob"].Public.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.client.Collect(t.Context(), tool, nil, p, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bob", "bob rebuilds compiler", "bob rebuilds tool"}, w.words(b)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// TestCollectOfEverybody carries what others say, but does not follow it.
func TestCollectOfEverybody(t *testing.T) {
	w := newLadder(t)
	p, err := policy.Parse(fmt.Appendf(nil, "log %s\nquorum none\nrebuilder a %s operator=alice\nrebuild-quorum a\n",
		w.log.VKey(), w.signers["alice"].Public.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.client.Collect(t.Context(), tool, nil, p, client.CollectOptions{Everybody: true})
	if err != nil {
		t.Fatal(err)
	}
	words := w.words(b)
	for _, want := range []string{"alice builds tool", "bob rebuilds tool", "mallory differs", "bob rebuilds compiler"} {
		if !slices.Contains(words, want) {
			t.Errorf("%q is not among %q", want, words)
		}
	}
	if slices.Contains(words, "mallory builds lib") {
		t.Errorf("what only bob says the tool is made from was followed: %q", words)
	}
}

func TestCollectHoldsTheCheckpointFirst(t *testing.T) {
	w := newLadder(t)
	want := errors.New("no")
	_, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{
		Hold: func(_ context.Context, signed string, c torchwood.Checkpoint) error {
			if !strings.HasPrefix(signed, c.Origin+"\n") || c.N != int64(len(w.index)) {
				t.Errorf("given %q and %+v", signed, c)
			}
			return want
		},
	})
	if !errors.Is(err, want) {
		t.Errorf("error %v", err)
	}
}

func TestCollectSeveral(t *testing.T) {
	w := newLadder(t)
	b, err := w.client.Collect(t.Context(), leaf.SHA256([]byte("unheard of")), nil, w.policy, client.CollectOptions{
		Also: []leaf.Digest{leaf.SHA256([]byte("other")), tool, tool},
	})
	if err != nil {
		t.Fatal(err)
	}
	words := w.words(b)
	for _, want := range []string{"alice builds other", "alice builds tool", "alice builds compiler"} {
		if !slices.Contains(words, want) {
			t.Errorf("%q is not among %q", want, words)
		}
	}
	if _, err := w.client.Collect(t.Context(), tool, nil, nil, client.CollectOptions{Also: []leaf.Digest{"md5:00"}}); err == nil {
		t.Error("a weak digest is collected")
	}
}

func TestCollectWithoutPolicy(t *testing.T) {
	w := newLadder(t)
	b, err := w.client.Collect(t.Context(), tool, nil, nil, client.CollectOptions{})
	if err != nil || len(b.Entries) != 11 {
		t.Errorf("%d entries, error %v", len(b.Entries), err)
	}
}

func TestCollectWhatNobodyKnows(t *testing.T) {
	w := newLadder(t)
	b, err := w.client.Collect(t.Context(), leaf.SHA256([]byte("unheard of")), nil, w.policy, client.CollectOptions{})
	if err != nil || len(b.Entries) != 0 {
		t.Errorf("bundle %v, error %v", b, err)
	}
}

func TestCollectRefuses(t *testing.T) {
	w := newLadder(t)
	if _, err := w.client.Collect(t.Context(), "md5:00", nil, nil, client.CollectOptions{}); err == nil {
		t.Error("a weak digest is collected")
	}
	if _, err := w.client.Collect(t.Context(), tool, []string{"tool"}, nil, client.CollectOptions{}); err == nil {
		t.Error("a name that is no purl is collected")
	}
}

// TestCollectRevocations has the revocation of a key be carried, and the
// enrolment that the checkpoint covers.
func TestCollectRevocations(t *testing.T) {
	w := newLadder(t)
	raw, err := attest.Revoke(w.signers["bob"], "lost")
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, "bob revokes", raw)
	late := int64(len(w.index)) + 5
	w.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetAttestationResponse); ok {
			for _, k := range r.GetKeys() {
				if k.GetEnrolledIndex() == w.index["alice"] {
					k.EnrolledIndex = late // enrolled again, after the checkpoint
				}
				if k.GetEnrolledIndex() == w.index["mallory"] {
					k.RevokedIndex = &late
				}
			}
		}
	}
	b, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"alice", "bob", "bob revokes"} {
		if !slices.Contains(w.words(b), word) {
			t.Errorf("%s is not in %v", word, w.words(b))
		}
	}
}

func TestCollectOfALiar(t *testing.T) {
	mallory, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	more := []lie{
		{"a revocation that is none", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetAttestationResponse); ok && r.GetEntry().GetIndex() > 0 {
				one := int64(1)
				r.Keys[0].RevokedIndex = &one
			}
		}, "is not the revocation of key"},
		{"another entry than was asked for", func(_ string, m proto.Message) {
			if r, ok := m.(*cairnv1.GetEntryResponse); ok {
				r.Entry.Index++
			}
		}, "asked for entry 0, the answer is entry 1"},
		{"a key that is enrolled nowhere", func(_ string, m proto.Message) {
			switch r := m.(type) {
			case *cairnv1.GetAttestationResponse:
				r.Keys[0].EnrolledIndex = 1000
			case *cairnv1.ListAttestationsResponse:
				for _, e := range r.GetEntries() {
					e.Leaf = strings.Replace(e.GetLeaf(), "kind enrol", "kind attestation", 1)
				}
			}
		}, "has no enrolment of it"},
	}
	x := leaf.Digest("sha256:" + strings.Repeat("ab", 32))
	for _, tt := range append(lies(mallory.Public), more...) {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.log.Tamper = tt.tamper
			pol, err := policy.Parse([]byte("log " + f.log.VKey() + "\nquorum none\n"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.client.Collect(t.Context(), x, nil, pol, client.CollectOptions{})
			if tt.want != "" {
				wantMisbehaviour(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCollectFromALedgerThatRefuses(t *testing.T) {
	w := newLadder(t)
	w.log.Refuse = func(r *http.Request) error { return fmt.Errorf("no: %s", r.URL.Path) }
	if _, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{}); err == nil {
		t.Error("a ledger that refuses is no error")
	}
}
