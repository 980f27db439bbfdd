package cmdline

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/policy"
)

// PathCause returns an error of package os without the path, which the message
// gives already.
func PathCause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// ReadSmall reads a file of ours: a key, policy or checkpoint.
func ReadSmall(what, path string) ([]byte, error) { return ReadUpTo(what, path, 1<<20) }

// ReadUpTo reads a file of at most limit bytes.
func ReadUpTo(what, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Unreadable(fmt.Sprintf("opening %s %s", what, path), PathCause(err))
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, Unreadable(fmt.Sprintf("reading %s %s", what, path), PathCause(err))
	}
	if int64(len(b)) > limit {
		return nil, Unreadable(fmt.Sprintf("reading %s %s", what, path), fmt.Errorf("over the limit of %d bytes", limit))
	}
	return b, nil
}

// ReadKey reads a private key.
func ReadKey(path string) (*attest.Signer, error) {
	if path == "" {
		return nil, Usagef("make a key with `cairn keygen -o FILE`, and give it with --key FILE", "no key is named")
	}
	b, err := ReadSmall("key", path)
	if err != nil {
		return nil, err
	}
	s, err := attest.ParsePrivateKey(b)
	if err != nil {
		return nil, Doing("reading key "+path, err)
	}
	return s, nil
}

// WriteOut writes a file that may be public and be written again.
func WriteOut(path string, b []byte) error {
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return Unwritable("writing "+path, PathCause(err))
	}
	return nil
}

// ReadPolicy reads a trust policy.
func ReadPolicy(path string) (*policy.Policy, error) {
	p, _, err := ReadPolicyText(path)
	return p, err
}

// ReadPolicyText reads a trust policy, and returns its text too.
func ReadPolicyText(path string) (*policy.Policy, []byte, error) {
	b, err := ReadSmall("policy", path)
	if err != nil {
		return nil, nil, err
	}
	p, err := policy.Parse(b)
	if err != nil {
		return nil, nil, &Problem{Reason: PolicyInvalid, Err: fmt.Errorf("reading policy %s: %w", path, err)}
	}
	return p, b, nil
}
