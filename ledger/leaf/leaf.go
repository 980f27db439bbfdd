// Package leaf is the grammar of the log's entries.
//
// An entry is UTF-8 text of lines in a fixed order, repeated lines sorted and
// distinct, with a final newline and nothing else:
//
//	cairn.leaf/v1
//	kind attestation            attestation | redaction | enrol | endorse | revoke
//	format dsse                 how the attestation's bytes are encoded
//	envelope sha256:<hex>       of the bytes as received
//	payload sha256:<hex>        of the payload that was signed
//	claim reproduction          build | reproduction | review | other
//	result DIFFERENT            `-` where the claim has none
//	key <fingerprint>           1..16, each verified
//	name sha256:<hex>           0..64, SHA-256 of a look-up name
//	subject <alg>:<hex>         1..128
//	output <alg>:<hex>          0..128
//
// An entry of Rekor v2 is the other kind: its canonical JSON is the entry, so that
// Rekor's clients can use the log as it is. See HashedRekord.
//
// Invariants:
//   - Parse accepts exactly what Marshal writes: one text for each Leaf.
//   - A leaf is a function of an attestation alone; it holds hashes and
//     constants, never text that people wrote, so that an attestation can be
//     withdrawn from the store without breaking a proof. A Rekor entry cannot: it
//     is its own leaf, with a key or certificate and what they state.
//   - Every key of the query index can be derived from the leaf alone.
//
// The package does no I/O.
package leaf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/transparency-dev/merkle/rfc6962"
)

const header = "cairn.leaf/v1"

// Limits of a leaf. MaxSize is large enough for a leaf that is at all the
// other limits, so an attestation within those is never refused for its leaf,
// and it is below the 65,535 bytes of a C2SP tlog-tiles entry.
const (
	MaxKeys    = 16
	MaxNames   = 64
	MaxDigests = 128 // 64 subjects or outputs, each with sha256 and sha512
	MaxSize    = 40 << 10
)

// Kind is what an entry does to the log.
type Kind string

// The kinds of entries.
const (
	KindAttestation Kind = "attestation"
	KindRedaction   Kind = "redaction"
	KindEnrol       Kind = "enrol"
	KindEndorse     Kind = "endorse"
	KindRevoke      Kind = "revoke"
)

// Claim is what an attestation is about.
type Claim string

// The claims.
const (
	ClaimBuild        Claim = "build"
	ClaimReproduction Claim = "reproduction"
	ClaimReview       Claim = "review"
	ClaimOther        Claim = "other"
)

// Result is the outcome of a reproduction.
type Result string

// The results. NoResult stands where a claim has none.
const (
	NoResult     Result = "-"
	Identical    Result = "IDENTICAL"
	Equivalent   Result = "EQUIVALENT"
	Different    Result = "DIFFERENT"
	BuildFailed  Result = "BUILD_FAILED"
	Inconclusive Result = "INCONCLUSIVE"
)

var (
	kinds   = []Kind{KindAttestation, KindRedaction, KindEnrol, KindEndorse, KindRevoke}
	claims  = []Claim{ClaimBuild, ClaimReproduction, ClaimReview, ClaimOther}
	results = []Result{NoResult, Identical, Equivalent, Different, BuildFailed, Inconclusive}
)

// Leaf is one entry of the log. The slices are sorted and hold no duplicates.
type Leaf struct {
	Kind     Kind
	Format   string // lower-case letters, digits and '-', at most 32
	Envelope Digest // sha256 of the bytes as received
	Payload  Digest // sha256 of the payload that was signed
	Claim    Claim
	Result   Result
	Keys     []Fingerprint
	Names    []Digest // sha256 of look-up names
	Subjects []Digest
	Outputs  []Digest
	// Rekor is the text of a Rekor entry, from which all of the above follows;
	// empty for a leaf that lines are written for.
	Rekor string
}

// BringsKeys reports whether the keys that verify the leaf's attestation come with
// it. Such keys need not be enrolled.
func (l *Leaf) BringsKeys() bool {
	return l.Format == FormatHashedRekord || l.Format == FormatSigstoreCertificate
}

// Marshal returns the text of l, or an error if l is not a valid leaf.
func (l *Leaf) Marshal() ([]byte, error) {
	if l.Rekor != "" {
		return l.marshalRekor()
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512)
	b = append(b, header...)
	b = append(b, '\n')
	b = appendLine(b, "kind", string(l.Kind))
	b = appendLine(b, "format", l.Format)
	b = appendLine(b, "envelope", string(l.Envelope))
	b = appendLine(b, "payload", string(l.Payload))
	b = appendLine(b, "claim", string(l.Claim))
	b = appendLine(b, "result", string(l.Result))
	for _, k := range l.Keys {
		b = appendLine(b, "key", string(k))
	}
	for _, n := range l.Names {
		b = appendLine(b, "name", string(n))
	}
	for _, s := range l.Subjects {
		b = appendLine(b, "subject", string(s))
	}
	for _, o := range l.Outputs {
		b = appendLine(b, "output", string(o))
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("leaf of %d bytes is over the limit of %d", len(b), MaxSize)
	}
	return b, nil
}

// marshalRekor returns the text that l keeps, if l says what it says.
func (l *Leaf) marshalRekor() ([]byte, error) {
	text := []byte(l.Rekor)
	same, err := parseRekor(text)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(l, same) {
		return nil, errors.New("the leaf is not the one of its Rekor entry")
	}
	return text, nil
}

func appendLine(b []byte, word, value string) []byte {
	b = append(b, word...)
	b = append(b, ' ')
	b = append(b, value...)
	return append(b, '\n')
}

func (l *Leaf) check() error {
	if !slices.Contains(kinds, l.Kind) {
		return fmt.Errorf("unknown kind %q", l.Kind)
	}
	if !validFormat(l.Format) || l.Format == FormatHashedRekord {
		return fmt.Errorf("invalid format %q", l.Format)
	}
	if !slices.Contains(claims, l.Claim) {
		return fmt.Errorf("unknown claim %q", l.Claim)
	}
	if !slices.Contains(results, l.Result) {
		return fmt.Errorf("unknown result %q", l.Result)
	}
	if !l.Envelope.isSHA256() || !l.Payload.isSHA256() {
		return fmt.Errorf("envelope %q and payload %q must be sha256 digests", l.Envelope, l.Payload)
	}
	if err := checkList("key", l.Keys, 1, MaxKeys, Fingerprint.Valid); err != nil {
		return err
	}
	if err := checkList("name", l.Names, 0, MaxNames, Digest.isSHA256); err != nil {
		return err
	}
	if err := checkList("subject", l.Subjects, 1, MaxDigests, Digest.Valid); err != nil {
		return err
	}
	return checkList("output", l.Outputs, 0, MaxDigests, Digest.Valid)
}

func checkList[T ~string](word string, list []T, least, most int, valid func(T) bool) error {
	if len(list) < least || len(list) > most {
		return fmt.Errorf("%d %s lines, want %d to %d", len(list), word, least, most)
	}
	for i, v := range list {
		if !valid(v) {
			return fmt.Errorf("invalid %s %q", word, v)
		}
		if i > 0 && list[i-1] >= v {
			return fmt.Errorf("%s lines are not sorted and distinct at %q", word, v)
		}
	}
	return nil
}

func validFormat(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Parse reads a leaf's text. It accepts only the text that Marshal writes.
func Parse(text []byte) (*Leaf, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("leaf of %d bytes is over the limit of %d", len(text), MaxSize)
	}
	if bytes.HasPrefix(text, []byte("{")) {
		return parseRekor(text)
	}
	body, ok := strings.CutSuffix(string(text), "\n")
	if !ok {
		return nil, fmt.Errorf("leaf does not end in a newline")
	}
	p := parser{lines: strings.Split(body, "\n")}
	if p.lines[0] != header {
		return nil, fmt.Errorf("leaf begins with %.40q, want %q", p.lines[0], header)
	}
	p.lines = p.lines[1:]
	l := &Leaf{
		Kind:     Kind(p.one("kind")),
		Format:   p.one("format"),
		Envelope: Digest(p.one("envelope")),
		Payload:  Digest(p.one("payload")),
		Claim:    Claim(p.one("claim")),
		Result:   Result(p.one("result")),
		Keys:     many[Fingerprint](&p, "key"),
		Names:    many[Digest](&p, "name"),
		Subjects: many[Digest](&p, "subject"),
		Outputs:  many[Digest](&p, "output"),
	}
	if p.err != nil {
		return nil, p.err
	}
	if len(p.lines) > 0 {
		return nil, fmt.Errorf("unexpected line %.80q", p.lines[0])
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

// parser takes lines from the front; the first error sticks.
type parser struct {
	lines []string
	err   error
}

func (p *parser) one(word string) string {
	if p.err != nil {
		return ""
	}
	if len(p.lines) == 0 {
		p.err = fmt.Errorf("missing %s line", word)
		return ""
	}
	v, ok := strings.CutPrefix(p.lines[0], word+" ")
	if !ok {
		p.err = fmt.Errorf("got line %.80q, want %s", p.lines[0], word)
		return ""
	}
	p.lines = p.lines[1:]
	return v
}

func many[T ~string](p *parser, word string) []T {
	var list []T
	for p.err == nil && len(p.lines) > 0 && strings.HasPrefix(p.lines[0], word+" ") {
		list = append(list, T(p.one(word)))
	}
	return list
}

// Hash returns the RFC 6962 leaf hash of a leaf's text.
func Hash(text []byte) []byte { return rfc6962.DefaultHasher.HashLeaf(text) }

// Identity returns what makes two submissions one entry: the SHA-256 over
// kind, format, payload and keys. Envelopes that differ only in their encoding
// or in the randomness of their signatures have the same identity.
func (l *Leaf) Identity() [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(b, "cairn.identity/v1\n"...)
	b = appendLine(b, "kind", string(l.Kind))
	b = appendLine(b, "format", l.Format)
	b = appendLine(b, "payload", string(l.Payload))
	for _, k := range l.Keys {
		b = appendLine(b, "key", string(k))
	}
	return sha256.Sum256(b)
}

// NameHash returns the value of the name line for a look-up name.
func NameHash(name string) Digest { return SHA256([]byte(name)) }

// SHA256 returns the sha256 digest of b.
func SHA256(b []byte) Digest {
	h := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(h[:]))
}
