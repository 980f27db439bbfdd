package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/gate"
	"github.com/cairnlog/cairn/ledger/leaf"
)

func (a *app) newExport() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "export",
		Short: "Write what other programs take",
		Long: `Export writes the policy's decisions in the forms of other programs: for podman,
skopeo, buildah and CRI-O the configuration that makes them demand a gate's
signatures, and these signatures; and what is attested of packages as plain files.`,
		Example: `  cairn export oci-policy out --gate-key gate.key.pub --scope docker.io/stagex
  cairn export signatures out/lookaside docker.io/stagex/core-go@sha256:… --gate-key gate.key
  cairn export certifications /srv/www --policy trusted.policy`,
	}, a.newExportOCIPolicy(), a.newExportSignatures(), a.newExportCertifications())
}

// ociPolicyAnswer is the JSON of cairn export oci-policy.
type ociPolicyAnswer struct {
	Schema      string           `json:"schema"` // cairn/export-oci-policy/v1
	Key         leaf.Fingerprint `json:"key"`
	Policy      string           `json:"policy"`      // file
	RegistriesD string           `json:"registriesD"` // directory
	PublicKey   string           `json:"publicKey"`   // file
	Lookaside   string           `json:"lookaside"`   // URL
	Scopes      []gate.Scope     `json:"scopes"`
}

// ociPolicyFlags are those of cairn export oci-policy.
type ociPolicyFlags struct {
	key, lookaside string
	scopes         []string
	digestsOnly    bool
	force          bool
}

func (a *app) newExportOCIPolicy() *cobra.Command {
	var o ociPolicyFlags
	cmd := &cobra.Command{
		Use:   "oci-policy DIR --gate-key FILE --scope SCOPE…",
		Short: "Write the configuration that makes podman and its kin obey a gate",
		Long: `Oci-policy writes for containers/image, on which podman, skopeo, buildah and
CRI-O rest:

  DIR/policy.json             reject all but the scopes; of these, take what the
                              gate's key signed
  DIR/registries.d/cairn.yaml where the signatures are
  DIR/gate.pub                the gate's public key, which policy.json contains

The policy's "2 of 3 operators" cannot be said in policy.json, which demands one
signature or all. The gate's signature stands for it: cairn gate serve and cairn
export signatures give it only to what the policy accepts.

An image may be pulled by a tag, if what the tag names now is signed for its
repository. Who controls the registry can so go back to an older image that was
accepted. With --digests-only, what is pulled by tag is rejected.

A file that is there already and differs is not overwritten without --force.`,
		Example: `  cairn export oci-policy out --gate-key gate.key.pub --scope docker.io/stagex \
      --lookaside http://127.0.0.1:8700
  cairn export oci-policy out --gate-key gate.key.pub --scope docker.io   # signatures as files
  podman run --signature-policy out/policy.json docker.io/stagex/core-go@sha256:…`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.exportOCIPolicy(args[0], &o) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.key, "gate-key", "", "demand signatures by the public key in `FILE`")
	f.StringArrayVar(&o.scopes, "scope", nil, "let images of `HOST[/NAMESPACE]` be pulled, if signed; repeatable")
	f.StringVar(&o.lookaside, "lookaside", "", "find signatures at `URL`: that of cairn gate serve, or a file:/// one\n(default DIR/lookaside)")
	f.BoolVar(&o.digestsOnly, "digests-only", false, "reject what is pulled by tag")
	f.BoolVar(&o.force, "force", false, "overwrite files that differ")
	return cmd
}

func (a *app) exportOCIPolicy(dir string, o *ociPolicyFlags) error {
	key, err := readGatePublicKey(o.key)
	if err != nil {
		return err
	}
	scopes, err := parseScopes(o.scopes)
	if err != nil {
		return err
	}
	if o.lookaside == "" {
		abs, err := filepath.Abs(filepath.Join(dir, "lookaside"))
		if err != nil {
			return cmdline.Unwritable("finding "+dir, err)
		}
		o.lookaside = "file://" + abs
	}
	c := gate.Configuration{Key: key, Scopes: scopes, Lookaside: o.lookaside, DigestsOnly: o.digestsOnly}
	if c.Lookaside, err = gate.ParseLookaside(o.lookaside); err != nil {
		return cmdline.Usagef("give --lookaside http://HOST:PORT or file:///DIR", "%w", err)
	}
	v := ociPolicyAnswer{
		Schema: "cairn/export-oci-policy/v1", Key: key.Fingerprint(), Policy: filepath.Join(dir, "policy.json"),
		RegistriesD: filepath.Join(dir, "registries.d"), PublicKey: filepath.Join(dir, "gate.pub"), Lookaside: c.Lookaside, Scopes: scopes,
	}
	if err := writeOCIPolicy(&c, &v, o.force); err != nil {
		return err
	}
	a.Answer(v, func(p term.Printer) { ociPolicyText(p, &v) })
	return nil
}

// writeOCIPolicy writes the files, or none if one of them would be lost.
func writeOCIPolicy(c *gate.Configuration, v *ociPolicyAnswer, force bool) error {
	registries := filepath.Join(v.RegistriesD, "cairn.yaml")
	files := []struct {
		path    string
		content func() ([]byte, error)
	}{{v.Policy, c.PolicyJSON}, {registries, c.RegistriesYAML}, {v.PublicKey, c.Key.Public}}
	contents := make([][]byte, len(files))
	for i, f := range files {
		var err error
		if contents[i], err = f.content(); err != nil {
			return err
		}
		old, err := os.ReadFile(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return cmdline.Unreadable("reading "+f.path, cmdline.PathCause(err))
		case !bytes.Equal(old, contents[i]) && !force:
			return cmdline.Usagef("name another directory, or give --force to overwrite it", "%s is there and differs from what would be written", f.path)
		}
	}
	if err := os.MkdirAll(v.RegistriesD, 0o755); err != nil {
		return cmdline.Unwritable("making "+v.RegistriesD, cmdline.PathCause(err))
	}
	for i, f := range files {
		if err := cmdline.WriteOut(f.path, contents[i]); err != nil {
			return err
		}
	}
	return nil
}

func ociPolicyText(p term.Printer, v *ociPolicyAnswer) {
	p.Printf("%s\n%s/cairn.yaml\n%s\n", v.Policy, v.RegistriesD, v.PublicKey)
	p.Printf(`
For every user of this machine:
  install -m 644 %s /etc/containers/policy.json
  install -m 644 %s/cairn.yaml /etc/containers/registries.d/cairn.yaml
To try it without changing the machine, with skopeo:
  skopeo --policy %[1]s --registries.d %[2]s copy docker://… dir:…
With podman, and cairn.yaml in ~/.config/containers/registries.d:
  podman run --signature-policy %[1]s …
`, v.Policy, v.RegistriesD)
}

// readGatePublicKey reads a gate's public key.
func readGatePublicKey(path string) (*gate.Key, error) {
	if path == "" {
		return nil, cmdline.Usagef("give --gate-key FILE: the .pub that `cairn gate keygen` made", "no gate key is named")
	}
	b, err := cmdline.ReadSmall("gate key", path)
	if err != nil {
		return nil, err
	}
	k, err := gate.ReadPublicKey(b)
	if err != nil {
		return nil, cmdline.Usagef("give the .pub file that `cairn gate keygen` made", "reading gate key %s: %w", path, err)
	}
	return k, nil
}
