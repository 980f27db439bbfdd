package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// keygenAnswer is the JSON of cairn keygen.
type keygenAnswer struct {
	Schema      string           `json:"schema"` // cairn/keygen/v1
	Fingerprint leaf.Fingerprint `json:"fingerprint"`
	PrivateKey  string           `json:"privateKey"` // file
	PublicKey   string           `json:"publicKey"`  // file
}

func (a *app) newKeygen() *cobra.Command {
	var kind, out string
	cmd := &cobra.Command{
		Use:   "keygen -o FILE",
		Short: "Make a signing key",
		Long: `Keygen makes a key that signs attestations. The private key goes to FILE in
PKCS #8 PEM, readable by you alone; the public key to FILE.pub. Neither is ever
overwritten. stdout gets the key's fingerprint.

The key counts for nothing until it is in the log: see cairn enrol.`,
		Example: `  cairn keygen -o alice.key
  cairn keygen --type p256 -o ci.key
  openssl pkey -in alice.key -pubout -outform DER | sha256sum   # the same fingerprint`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(context.Context, []string) error { return a.keygen(kind, out) }),
	}
	cmdline.ChoiceVar(cmd, cmd.Flags(), &kind, "type", "", "kind of key:", "ed25519", "p256")
	// This hides the global -o, whose words it takes too: whoever asks for a key
	// expects -o to name its file.
	cmd.Flags().VarP(&formatOrFile{&a.Format, &out}, "format", "o", "write the private key to `FILE`, and the public key to FILE.pub;\n\"text\" and \"json\" say how to answer instead")
	cmd.Flags().StringVarP(&out, "out", "O", "", "the same, for any `FILE` name")
	return cmd
}

// formatOrFile is keygen's -o.
type formatOrFile struct{ format, file *string }

func (v *formatOrFile) String() string { return "" }
func (v *formatOrFile) Type() string   { return "FILE" }

func (v *formatOrFile) Set(s string) error {
	switch s {
	case "text", "json":
		*v.format = s
	case "":
		return errors.New("the file name is empty")
	default:
		*v.file = s
	}
	return nil
}

func (a *app) keygen(kind, path string) error {
	if path == "" {
		return cmdline.Usagef("run `cairn keygen -o FILE`", "no file is named for the key")
	}
	generate := attest.GenerateEd25519
	if kind == "p256" {
		generate = attest.GenerateP256
	}
	signer, private, err := generate()
	if err != nil {
		return err
	}
	if err := writeNew(path, private, 0o600); err != nil {
		return err
	}
	if err := writeNew(path+".pub", []byte(signer.Public.PEM), 0o644); err != nil {
		// Nobody has seen the private key yet, so nothing is lost with it.
		return errors.Join(err, os.Remove(path))
	}
	v := keygenAnswer{
		Schema:      "cairn/keygen/v1",
		Fingerprint: signer.Public.Fingerprint,
		PrivateKey:  path,
		PublicKey:   path + ".pub",
	}
	a.Answer(v, func(p term.Printer) { p.Printf("%s\n", v.Fingerprint) })
	return nil
}

// writeNew durably writes a file that must not exist yet.
func writeNew(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return cmdline.Usagef("choose another name, or move that file away", "%s exists, and keys are not overwritten", path)
	}
	if err != nil {
		return cmdline.Unwritable("creating "+path, cmdline.PathCause(err))
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return cmdline.Unwritable("writing "+path, errors.Join(cmdline.PathCause(err), os.Remove(path)))
	}
	return nil
}

// publicKeyArgument reads a public key for --key flags: a .pub file's.
func publicKeyArgument(path string) (*attest.PublicKey, error) {
	b, err := cmdline.ReadSmall("public key", path)
	if err != nil {
		return nil, err
	}
	k, err := attest.ParsePublicKey(b)
	if err != nil {
		return nil, cmdline.Doing(fmt.Sprintf("reading public key %s", path), err)
	}
	return k, nil
}
