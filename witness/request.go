package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxProof is how many lines of proof a request may have, from C2SP
// tlog-witness. No consistency proof of a tree of 2^63 leaves needs more.
const maxProof = 63

// Request is the body of an add-checkpoint request:
//
//	old <size>
//	<base64 hash>      0 to 63 times
//
//	<signed checkpoint>
//
// It is also the form in which a witness shows what it saw: the checkpoint that
// it cosigned and the proof that it checked.
type Request struct {
	Old   int64
	Proof []tlog.Hash
	// Note is the signed checkpoint, not parsed yet.
	Note []byte
}

// ParseRequest parses a request. There is one encoding of each: sizes have no
// leading zeroes or signs, base64 is strict.
func ParseRequest(body []byte) (Request, error) {
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return Request{}, errors.New("no empty line after the proof")
	}
	first, rest, more := strings.Cut(string(head), "\n")
	decimal, ok := strings.CutPrefix(first, "old ")
	if !ok {
		return Request{}, errors.New(`the first line is not "old <size>"`)
	}
	old, err := ParseSize(decimal)
	if err != nil {
		return Request{}, fmt.Errorf("reading the old size: %w", err)
	}
	r := Request{Old: old, Note: signed}
	if !more {
		return r, nil
	}
	// Counted before anything is allocated for them.
	if n := strings.Count(rest, "\n") + 1; n > maxProof {
		return Request{}, fmt.Errorf("%d lines of proof, at most %d are allowed", n, maxProof)
	}
	for line := range strings.SplitSeq(rest, "\n") {
		h, err := parseHash(line)
		if err != nil {
			return Request{}, fmt.Errorf("reading line %d of the proof: %w", len(r.Proof)+1, err)
		}
		r.Proof = append(r.Proof, h)
	}
	return r, nil
}

// Marshal returns the one encoding of a request.
func (r Request) Marshal() []byte {
	b := fmt.Appendf(nil, "old %d\n", r.Old)
	for _, h := range r.Proof {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	b = append(b, '\n')
	return append(b, r.Note...)
}

// ParseSize parses a tree size: decimal digits, without leading zeroes.
func ParseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%.40q is not a tree size", s)
	}
	return n, nil
}

func parseHash(s string) (tlog.Hash, error) {
	// The decoder skips carriage returns, even when strict.
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tlog.HashSize || strings.ContainsRune(s, '\r') {
		return tlog.Hash{}, fmt.Errorf("%.60q is not the base64 of a hash", s)
	}
	return tlog.Hash(b), nil
}
