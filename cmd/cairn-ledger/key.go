package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/cmd/internal/daemon"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// keygen makes the key of a new log.
func keygen(args []string, stdout, stderr io.Writer) error {
	k := daemon.Keygen{
		Program: "cairn-ledger", Name: "origin",
		About: "Makes the key of a new log. A log keeps its key and its origin for as long as it\n" +
			"lives; a new key is a new log.",
		Example: "The log of the year 2027:\n  cairn-ledger keygen -key /etc/cairn/ledger.key -origin ledger.example/2027",
		Create: func(path, origin string) (string, error) {
			return policyLine(checkpoint.CreateKey(path, origin))
		},
		Read: func(path string) (string, error) { return policyLine(checkpoint.ReadKey(path)) },
	}
	err := k.Run(args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err}
}

func policyLine(k *checkpoint.Key, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return "log " + k.VKey, nil
}

// loadPolicy reads the policy that checkpoints must satisfy. It must be one
// that this log can satisfy. Without a file, the log's own signature suffices.
func loadPolicy(path string, key *checkpoint.Key) (*policy.Policy, error) {
	if path == "" {
		return policy.Parse([]byte("log " + key.VKey + "\nquorum none\n"))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing policy %s: %w", path, err)
	}
	if _, err := p.Verifier(key.Signer.Name(), key.Signer.KeyHash()); err != nil {
		return nil, fmt.Errorf("policy %s does not name this log: add the line `log %s`", path, key.VKey)
	}
	sigs := []note.Signature{{Name: key.Signer.Name(), Hash: key.Signer.KeyHash()}}
	for _, w := range p.Witnesses() {
		if w.URL != "" {
			sigs = append(sigs, note.Signature{Name: w.Verifier.Name(), Hash: w.Verifier.KeyHash()})
		}
	}
	if err := p.Check(key.Signer.Name(), sigs); err != nil {
		return nil, fmt.Errorf("policy %s cannot be satisfied by the witnesses that have a URL: %w", path, err)
	}
	return p, nil
}

// prepareDev makes what -dev needs and does not find.
func prepareDev(cfg *config) error {
	dir := filepath.Dir(cfg.Key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usageError{fmt.Errorf("making %s: %w", dir, err)}
	}
	if _, err := os.Stat(cfg.Key); errors.Is(err, fs.ErrNotExist) {
		if err := createDevKey(cfg); err != nil {
			return err
		}
	}
	if err := createDevToken(cfg.Builds.Tokens); err != nil {
		return err
	}
	return writeDevPolicy(filepath.Join(dir, "policy"), cfg.Key)
}

func createDevKey(cfg *config) error {
	// A lost key is not replaced: whoever knows the old one could not tell.
	if _, err := os.Stat(cfg.State); err == nil {
		return usageError{fmt.Errorf("%s is missing, but %s shows that it was used: restore it", cfg.Key, cfg.State)}
	}
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	_, err := checkpoint.CreateKey(cfg.Key, fmt.Sprintf("localhost/cairn-%x", id))
	return err
}

// writeDevPolicy writes the policy that trusts the ledger alone, for clients to
// use, unless there is one: a start may have been cut short after the key.
func writeDevPolicy(path, keyFile string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	key, err := checkpoint.ReadKey(keyFile)
	if err != nil {
		return usageError{err}
	}
	if err := os.WriteFile(path+".tmp", []byte("log "+key.VKey+"\nquorum none\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
