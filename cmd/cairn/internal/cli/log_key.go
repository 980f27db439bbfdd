package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/policy"
)

func (a *app) newLogKey() *cobra.Command {
	var asPEM bool
	cmd := &cobra.Command{
		Use:   "key [ORIGIN]",
		Short: "Print the key of a log of the policy",
		Long: `Key prints the key by which the policy believes a log, as the policy has it or as
PEM. ORIGIN says which log, where the policy has several. No ledger is asked: a key
is believed because of where it comes from.

Sigstore's clients take the PEM: see docs/sigstore.md.`,
		Example: `  cairn log key --policy trusted.policy
  cairn log key log.example/2026 --policy trusted.policy --pem > log.pem`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.logKey(args, asPEM) }),
	}
	cmd.Flags().BoolVar(&asPEM, "pem", false, "print the public key as PEM (PKIX)")
	return cmd
}

// logKeyAnswer is the JSON of cairn log key.
type logKeyAnswer struct {
	Schema string `json:"schema"` // cairn/log-key/v1
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	PEM    string `json:"publicKey"` // PKIX
}

func (a *app) logKey(args []string, asPEM bool) error {
	if a.policy == "" {
		return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY", "no policy says which log to believe")
	}
	p, err := cmdline.ReadPolicy(a.policy)
	if err != nil {
		return err
	}
	l, err := logOf(p, args)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(l.PublicKey())
	if err != nil {
		return fmt.Errorf("encoding the key of log %s: %w", l.Name, err)
	}
	v := logKeyAnswer{"cairn/log-key/v1", l.Name, l.VKey, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
	a.Answer(v, func(p term.Printer) {
		if asPEM {
			p.Printf("%s", term.Painted(v.PEM))
			return
		}
		p.Printf("%s\n", v.VKey)
	})
	return nil
}

// logOf returns the log of a policy with an origin, or the only one.
func logOf(p *policy.Policy, origin []string) (*policy.Log, error) {
	var found []policy.Log
	var names []string
	for _, l := range p.Logs() {
		names = append(names, l.Name)
		if len(origin) == 0 || l.Name == origin[0] {
			found = append(found, l)
		}
	}
	switch {
	case len(found) == 0:
		return nil, cmdline.Usagef("name one of "+strings.Join(names, ", "), "the policy has no log %q", origin[0])
	case len(found) > 1 && len(origin) == 0:
		return nil, cmdline.Usagef("name one of "+strings.Join(names, ", "), "the policy has %d logs", len(found))
	case len(found) > 1:
		return nil, cmdline.Usagef("use a policy with the one that is meant", "the policy has %d keys of log %s", len(found), origin[0])
	}
	return &found[0], nil
}
