package verdict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

// accepts is what cairn verify --bundle does with a file.
func accepts(file []byte, pol *policy.Policy, artifact leaf.Digest) bool {
	b, err := bundle.Parse(file)
	if err != nil {
		return false
	}
	return believes(b, pol, artifact)
}

func believes(b *bundle.Bundle, pol *policy.Policy, artifact leaf.Digest) bool {
	now := time.Now()
	ev, err := verify.Open(b, pol, now)
	if err != nil {
		return false
	}
	return verify.Artifact(verify.Question{Artifact: artifact, Policy: pol, At: now}, ev).Accepted
}

// TestTamperedBundle changes each byte of a bundle. No change is ever accepted.
func TestTamperedBundle(t *testing.T) {
	w := newWorld(t)
	trust := w.people()
	from := source("hello.tar.gz")
	digest := w.artifact("hello")
	w.builds("alice", "hello", from)
	w.reproduces("bob", "hello", "hello", []string{from})
	w.cairn("bundle", digest, "--policy", trust, "-O", w.path("good.cairn-bundle"))
	good, text := read(t, w.path("good.cairn-bundle")), read(t, trust)
	pol, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !accepts(good, pol, leaf.Digest(digest)) {
		t.Fatal("the bundle is refused as it is")
	}
	t.Logf("%d bytes", len(good))

	t.Run("each byte", func(t *testing.T) {
		for i := range good {
			for _, mask := range []byte{0x01, 0xff} {
				bad := bytes.Clone(good)
				bad[i] ^= mask
				if accepts(bad, pol, leaf.Digest(digest)) {
					t.Fatalf("byte %d, %#02x changed to %#02x, is accepted", i, good[i], bad[i])
				}
			}
			if accepts(good[:i], pol, leaf.Digest(digest)) {
				t.Fatalf("the first %d bytes are accepted", i)
			}
		}
	})
	t.Run("each byte of each part, sealed again", func(t *testing.T) { testResealed(t, good, pol, leaf.Digest(digest)) })
	t.Run("the command", func(t *testing.T) {
		// The process is the same for every byte: some of each part will do.
		step := max(1, len(good)/97)
		for i := 0; i < len(good); i += step {
			bad := bytes.Clone(good)
			bad[i] ^= 0x01
			w.write("bad.cairn-bundle", string(bad))
			code, out, _ := w.run("verify", digest, "--bundle", w.path("bad.cairn-bundle"), "--policy", trust, "-o", "json")
			if code == 0 {
				t.Errorf("byte %d: exit code 0", i)
			}
			if !json.Valid([]byte(out)) {
				t.Errorf("byte %d: the answer is not JSON: %s", i, out)
			}
		}
	})
}

// testResealed changes each byte of each part of a bundle and writes it anew, as
// who made the bundle could. What is still accepted may differ only where nobody
// vouches for anything: in hints, and in signatures that no line of the policy
// asks for.
func testResealed(t *testing.T, good []byte, pol *policy.Policy, artifact leaf.Digest) {
	b, err := bundle.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		whole := e.Attestation
		for j := range whole {
			e.Attestation = bytes.Clone(whole)
			e.Attestation[j] ^= 0x01
			if believes(b, pol, artifact) {
				t.Fatalf("entry %d: byte %d of the attestation changed, and is accepted", e.Index, j)
			}
		}
		e.Attestation = whole

		proof := e.Proof
		checkpoint := bytes.Index(proof, []byte("\n\n")) + 2
		hints := bytes.IndexByte(proof[bytes.IndexByte(proof, '\n')+1:], '\n') + bytes.IndexByte(proof, '\n') + 1
		signatures := checkpoint + bytes.Index(proof[checkpoint:], []byte("\n\n")) + 2
		for j := range proof {
			if j < hints || j >= signatures {
				continue
			}
			e.Proof = bytes.Clone(proof)
			e.Proof[j] ^= 0x01
			if believes(b, pol, artifact) {
				t.Fatalf("entry %d: byte %d of the proof changed, and is accepted:\n%s", e.Index, j, e.Proof)
			}
		}
		e.Proof = proof
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDeepAncestry verifies an artifact with 200 ancestors from its bundle, with
// the cairn binary alone, where there is no network.
func TestDeepAncestry(t *testing.T) {
	const ancestors = 200
	w := newWorld(t)
	seed := leaf.SHA256([]byte("seed"))
	trust := w.people("seed " + string(seed))
	digests := w.chain(seed, ancestors+1)
	last := string(digests[ancestors])
	w.cairn("bundle", last, "--policy", trust, "-O", w.path("deep.cairn-bundle"))

	cmd := w.command("verify", last, "--bundle", w.path("deep.cairn-bundle"), "--policy", trust, "-o", "json")
	cmd.Env = []string{"HOME=" + filepath.Join(w.dir, "nobody")}
	isolate(t, cmd)
	begun := time.Now()
	out, err := cmd.Output()
	t.Logf("%d ancestors, bundle of %d bytes: verified in %v", ancestors, len(read(t, w.path("deep.cairn-bundle"))), time.Since(begun))
	var v verdict
	if jsonErr := json.Unmarshal(out, &v); err != nil || jsonErr != nil || v.Verdict != "reproduced" || !v.Accepted {
		t.Fatalf("cairn verify: %v %v\n%s", err, jsonErr, out)
	}
	for _, d := range digests {
		if n := v.Ancestry.find(string(d)); n == nil {
			t.Errorf("%s is not in the ancestry", d)
		}
	}
}

// chain logs packages that alice and bob built, each from the two before it, and
// the first from a seed. It returns their digests.
func (w *world) chain(seed leaf.Digest, n int) []leaf.Digest {
	w.t.Helper()
	var digests []leaf.Digest
	var files []string
	for i := range n {
		from := []attest.ResourceDescriptor{{Name: "seed", Digest: map[string]string{"sha256": seed.Hex()}, Annotations: map[string]any{"role": "seed"}}}
		if i > 0 {
			from = nil
		}
		for _, m := range digests[max(0, i-2):] {
			from = append(from, attest.ResourceDescriptor{Name: "tool", Digest: map[string]string{"sha256": m.Hex()}, Annotations: map[string]any{"role": "toolchain"}})
		}
		d := leaf.SHA256(fmt.Appendf(nil, "package %d", i))
		digests = append(digests, d)
		for _, who := range []string{"alice", "bob"} {
			files = append(files, w.write(fmt.Sprintf("%d.%s.attestation", i, who), string(w.build(who, fmt.Sprintf("package-%d", i), d, from))))
		}
	}
	w.cairn(append([]string{"submit"}, files...)...)
	return digests
}

// build returns someone's attestation of a build.
func (w *world) build(who, name string, d leaf.Digest, from []attest.ResourceDescriptor) []byte {
	w.t.Helper()
	signer, err := attest.ParsePrivateKey(read(w.t, w.path(who+".key")))
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := attest.NewStatement(attest.PredicateProvenance, &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildTypeStageX, ResolvedDependencies: from},
		RunDetails:      attest.RunDetails{Builder: attest.Builder{ID: "https://" + who + ".example/ci"}},
	}, attest.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": d.Hex()}})
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := signer.Sign(st)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}
