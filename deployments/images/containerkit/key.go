package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/witness/signer"
)

// key writes the verifier key of the key in a file, in the form that policies and
// configurations have. Kind is log or witness: the two differ in the kind of their
// signatures. A file that is not there is made, with a new key of the name.
func key(w io.Writer, kind, name, path string) error {
	k, err := signer.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = signer.CreateFile(path, name)
	}
	switch {
	case err != nil:
		return err
	case k.Name != name:
		return fmt.Errorf("the key %s is there already, and its name is %s: nothing was changed", path, k.Name)
	}
	var vkey string
	switch kind {
	case "log":
		read, err := checkpoint.ReadKey(path)
		if err != nil {
			return err
		}
		vkey = read.VKey
	case "witness":
		s, err := torchwood.NewCosignatureSigner(name, k.Signer)
		if err != nil {
			return err
		}
		vkey = s.Verifier().String()
	default:
		return fmt.Errorf("%s is no kind of key: log or witness", kind)
	}
	_, err = fmt.Fprintln(w, vkey)
	return err
}

// environ adds to an environment variables whose values are in files: each of
// pairs is NAME=FILE. A line end at the end of a file is no part of the value.
func environ(env, pairs []string) ([]string, error) {
	for _, p := range pairs {
		name, path, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is not NAME=FILE", p)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+strings.TrimRight(string(text), "\r\n"))
	}
	return env, nil
}
