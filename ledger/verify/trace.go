package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Traced is a claim that somebody else verified, and the operators behind the
// keys that signed it, as enrolled.
type Traced struct {
	Index       int64
	Entry       string // origin#index
	Attestation *attest.Attestation
	Operators   []string
}

// Trace answers by simple rules from claims that are found one artifact at a
// time, and that find has verified.
func Trace(ctx context.Context, artifact leaf.Digest, by Rules, find func(context.Context, leaf.Digest) ([]Traced, error)) (*Report, error) {
	ev := &Evidence{
		bySubject: make(map[leaf.Digest][]int), byOutput: make(map[leaf.Digest][]int),
		enrolled: make(map[leaf.Fingerprint]enrolment),
	}
	met, taken := map[leaf.Digest]bool{artifact: true}, make(map[string]bool)
	for todo := []leaf.Digest{artifact}; len(todo) > 0; todo = todo[1:] {
		claims, err := find(ctx, todo[0])
		if err != nil {
			return nil, fmt.Errorf("finding what is known of %s: %w", todo[0], err)
		}
		for _, c := range claims {
			if taken[c.Entry] {
				continue
			}
			taken[c.Entry] = true
			said := Claim{Index: c.Index, Entry: c.Entry, Envelope: c.Attestation.Leaf.Envelope, Claim: c.Attestation.Claim}
			for _, o := range c.Operators {
				// It is not said which key is whose; whose they are is what counts.
				key := leaf.Fingerprint("operator " + o)
				said.Keys, ev.enrolled[key] = append(said.Keys, key), enrolment{operator: o}
			}
			ev.add(said, c.Attestation.Leaf)
			for i := range said.Claim.Materials {
				m := &said.Claim.Materials[i]
				d := m.Strong()
				if m.Role == roleSource || m.Role == roleSeed || len(d) == 0 || met[d[0]] || len(met) > MaxNodes {
					continue
				}
				met[d[0]] = true
				todo = append(todo, d[0])
			}
		}
	}
	return Artifact(Question{Artifact: artifact, Rules: &by, At: time.Time{}}, ev), nil
}
