package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/cmd/internal/daemon"
	"github.com/cairnlog/cairn/witness/signer"
	"github.com/cairnlog/cairn/witness/state"
)

// keygen makes the key of a new witness, which -init would make, too.
func keygen(args []string, stdout, stderr io.Writer) error {
	k := daemon.Keygen{
		Program: "cairn-witness", Name: "name",
		About:   "Makes the key of a new witness, which -init makes otherwise. A witness keeps its\nkey and its name for as long as it lives.",
		Example: "For a log's operator, who adds the witness's URL to the line:\n  cairn-witness keygen -key /etc/cairn/witness.key -name w.example",
		Create: func(path, name string) (string, error) {
			return policyLine(signer.CreateFile(path, name))
		},
		Read: func(path string) (string, error) { return policyLine(signer.ReadFile(path)) },
	}
	err := k.Run(args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err}
}

func policyLine(k signer.Key, err error) (string, error) {
	if err != nil {
		return "", err
	}
	s, err := torchwood.NewCosignatureSigner(k.Name, k.Signer)
	if err != nil {
		return "", err
	}
	return "witness " + k.Name + " " + s.Verifier().String(), nil
}

// identity is the key and the state of a witness. They belong together.
type identity struct {
	key   signer.Key
	state *state.DB
	close []io.Closer // in the order of opening
}

func (id *identity) Close() error {
	var errs []error
	for i := len(id.close) - 1; i >= 0; i-- {
		errs = append(errs, id.close[i].Close())
	}
	id.close = nil
	return errors.Join(errs...)
}

// openIdentity opens the state and the key. The state's lock keeps a second
// process out before anything else is touched.
func openIdentity(ctx context.Context, c *config, stderr io.Writer) (id *identity, err error) {
	id = &identity{}
	defer func() {
		if err != nil {
			err = errors.Join(err, id.Close())
		}
	}()
	if c.dev {
		if err := makeIdentity(ctx, c); err != nil {
			return id, err
		}
	}
	id.state, err = state.Open(ctx, c.State, state.Options{})
	if errors.Is(err, state.ErrMissing) {
		return id, fmt.Errorf("%w\nthe key may have cosigned: restore the newest state, or make a new witness with a new key%s", err, initHint(c))
	} else if err != nil {
		return id, err
	}
	id.close = append(id.close, id.state)
	return id, id.openKey(ctx, c, stderr)
}

func initHint(c *config) string {
	if c.dev {
		return ""
	}
	return "; a new one is set up with -init"
}

func (id *identity) openKey(ctx context.Context, c *config, stderr io.Writer) (err error) {
	switch {
	case c.Key.File != "":
		id.key, err = signer.ReadFile(c.Key.File)
	case c.Key.Agent.Fingerprint != "":
		id.key.Name = c.Name
		id.key.Signer, err = signer.OpenAgent(ctx, orElse(c.Key.Agent.Socket, os.Getenv("SSH_AUTH_SOCK")), c.Key.Agent.Fingerprint)
	default:
		var p *signer.Process
		if p, err = signer.OpenProcess(c.Key.Command, stderr); err == nil {
			id.close = append(id.close, p)
			id.key = signer.Key{Name: c.Name, Signer: p}
		}
	}
	if err != nil {
		return usageError{err}
	}
	if c.Name != "" && c.Name != id.key.Name {
		return usageError{fmt.Errorf("the name is to be %q, but the key %s has the name %q", c.Name, c.Key.File, id.key.Name)}
	}
	return nil
}

// makeIdentity makes state and key if neither is there. A lost one of the two is
// not replaced: a key without its state could cosign anything, and whoever
// knows the old key could not know the new one.
func makeIdentity(ctx context.Context, c *config) error {
	for _, path := range []string{c.State, c.Key.File} {
		if path == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return usageError{fmt.Errorf("making the directory of %s: %w", path, err)}
		}
	}
	haveKey, haveState := c.Key.File == "" || exists(c.Key.File), exists(c.State)
	// The state is made first: a key alone means that the state was lost.
	if !haveState && (!haveKey || c.Key.File == "") {
		db, err := state.Create(ctx, c.State, state.Options{})
		if err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
	} else if !haveKey {
		if err := wasUsed(ctx, c); err != nil {
			return err
		}
	}
	if haveKey {
		return nil
	}
	name := c.Name
	if name == "" {
		var id [4]byte
		_, _ = rand.Read(id[:]) // never fails
		name = fmt.Sprintf("localhost/cairn-witness-%x", id)
	}
	if _, err := signer.CreateFile(c.Key.File, name); err != nil {
		return usageError{err}
	}
	return nil
}

// wasUsed fails if the state has had a key: then the key was lost.
func wasUsed(ctx context.Context, c *config) error {
	db, err := state.Open(ctx, c.State, state.Options{})
	if err != nil {
		return err
	}
	vkey, err := db.Meta(ctx, "vkey")
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if vkey != "" {
		return usageError{fmt.Errorf("%s is missing, but %s was used with the key %s: restore it", c.Key.File, c.State, vkey)}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
