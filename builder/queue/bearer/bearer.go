// Package bearer reads the tokens by which a ledger knows who may change its
// queue of builds. A file of tokens is text:
//
//	# who they were made for
//	qIWCWsWsYMhXaGvRNlrTpkWSoJ alice
//	V5XQMHNYOUH2JRVYKBB4CWHJ7A bob
//
// A line is a token and the name of its bearer. A bearer's own file is such a
// file with one token.
//
// Invariants:
//   - What is not understood is an error: no line is passed over.
//   - A token is compared in constant time, and never part of an error.
//   - A file that others than its owner may read is refused.
package bearer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cairnlog/cairn/internal/private"
)

const (
	maxFile   = 64 << 10 // bytes
	maxTokens = 1024
	minToken  = 22 // characters: 128 bits in base64
	maxField  = 128
)

// Token is a secret and the name of its bearer.
type Token struct{ Secret, Name string }

// Generate returns a new secret, of 130 bits.
func Generate() string { return rand.Text() }

// Parse reads a file of tokens.
func Parse(text []byte) ([]Token, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%d bytes of tokens are over the limit of %d", len(text), maxFile)
	}
	var tokens []Token
	seen := make(map[string]bool) // secrets and names
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimLeft(line, " \t") == "" || strings.HasPrefix(line, "#") {
			continue
		}
		secret, name, ok := strings.Cut(line, " ")
		if !ok || !word(secret) || !word(name) || len(secret) < minToken {
			return nil, fmt.Errorf("line %d is not of the form `TOKEN NAME`, with a token of at least %d letters, digits, - or _", n, minToken)
		}
		if seen["secret "+secret] || seen["name "+name] {
			return nil, fmt.Errorf("line %d repeats a token or the name %q", n, name)
		}
		seen["secret "+secret], seen["name "+name] = true, true
		tokens = append(tokens, Token{secret, name})
	}
	if len(tokens) == 0 || len(tokens) > maxTokens {
		return nil, fmt.Errorf("%d tokens, not between 1 and %d", len(tokens), maxTokens)
	}
	return tokens, nil
}

// word reports whether s may be a token or a name.
func word(s string) bool {
	return s != "" && len(s) <= maxField && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.@", r)
	})
}

// Format returns the file of tokens.
func Format(tokens []Token) []byte {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.Secret + " " + t.Name + "\n")
	}
	return []byte(b.String())
}

// ReadFile reads the tokens in a file.
func ReadFile(path string) ([]Token, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	if mode := info.Mode().Perm(); private.Exposed(path, mode) {
		return nil, fmt.Errorf("the file of tokens %s has mode %04o, so others may read it: chmod 600 it", path, mode)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("the file of tokens %s has %d bytes, over the limit of %d", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	tokens, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing tokens %s: %w", path, err)
	}
	return tokens, nil
}

// ReadOwn returns the secret in a bearer's own file.
func ReadOwn(path string) (string, error) {
	tokens, err := ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(tokens) > 1 {
		return "", fmt.Errorf("the file %s has %d tokens: give one with a single token", path, len(tokens))
	}
	return tokens[0].Secret, nil
}

// Set is the tokens that a ledger knows.
type Set struct{ known []known }

type known struct {
	hash [sha256.Size]byte
	name string
}

// NewSet returns the set of tokens.
func NewSet(tokens []Token) *Set {
	s := &Set{}
	for _, t := range tokens {
		s.known = append(s.known, known{sha256.Sum256([]byte(t.Secret)), t.Name})
	}
	return s
}

// The errors of Bearer.
var (
	ErrMissing = errors.New("the request carries no token")
	ErrUnknown = errors.New("the token is not one that this ledger knows")
)

// Bearer returns the name of who sent an Authorization header. All tokens are
// compared, each in constant time.
func (s *Set) Bearer(authorization string) (name string, err error) {
	scheme, secret, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	hash := sha256.Sum256([]byte(secret))
	err = ErrUnknown
	for _, k := range s.known {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			name, err = k.name, nil
		}
	}
	return name, err
}
