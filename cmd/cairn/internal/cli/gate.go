package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/gate"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// gateGrace is how long requests may go on after SIGTERM.
const gateGrace = 30 * time.Second

func (a *app) newGate() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "gate",
		Short: "Let container runtimes run only what the policy accepts",
		Long: `Gate serves decisions by the policy to container runtimes: signatures to podman,
skopeo, buildah and CRI-O, admissions to Kubernetes. docs/gate.md says how.`,
		Example: `  cairn gate keygen gate.key
  cairn gate serve --gate-key gate.key --scope docker.io/stagex --listen 127.0.0.1:8700
  cairn export oci-policy out --gate-key gate.key.pub --scope docker.io/stagex \
      --lookaside http://127.0.0.1:8700`,
	}, a.newGateKeygen(), a.newGateServe(), a.newGateWebhook())
}

// gateKeygenAnswer is the JSON of cairn gate keygen.
type gateKeygenAnswer struct {
	Schema      string           `json:"schema"` // cairn/gate-keygen/v1
	Fingerprint leaf.Fingerprint `json:"fingerprint"`
	SecretKey   string           `json:"secretKey"` // file
	PublicKey   string           `json:"publicKey"` // file
}

func (a *app) newGateKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a gate's OpenPGP key",
		Long: `Keygen makes the key with which a gate signs the images that the policy accepts.
It is an OpenPGP key, because containers/image takes no other. The secret key
goes to FILE, armored, readable by you alone; the public key to FILE.pub. Neither
is ever overwritten. stdout gets the key's fingerprint.

It is no rebuilder's key, and does not belong into a policy or a log.`,
		Example: `  cairn gate keygen gate.key
  cairn gate keygen gate.key -o json
  gpg --show-keys gate.key.pub   # the same fingerprint`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.gateKeygen(args[0]) }),
	}
}

func (a *app) gateKeygen(path string) error {
	now := time.Now()
	secret, public, err := gate.GenerateKey(now)
	if err != nil {
		return err
	}
	key, err := gate.ReadPublicKey(public)
	if err != nil {
		return err
	}
	if err := writeNew(path, secret, 0o600); err != nil {
		return err
	}
	if err := writeNew(path+".pub", public, 0o644); err != nil {
		// Nobody has seen the secret key yet, so nothing is lost with it.
		return errors.Join(err, os.Remove(path))
	}
	v := gateKeygenAnswer{"cairn/gate-keygen/v1", key.Fingerprint(), path, path + ".pub"}
	a.Answer(v, func(p term.Printer) { p.Printf("%s\n", v.Fingerprint) })
	return nil
}

// gateFlags are those of the services.
type gateFlags struct {
	listen         string
	cache, timeout time.Duration
}

func (g *gateFlags) define(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&g.listen, "listen", "127.0.0.1:0", "serve at `ADDRESS`; port 0 picks a free one")
	f.DurationVar(&g.cache, "cache", time.Minute, "keep acceptances for `DURATION`; 0 for not at all")
	f.DurationVar(&g.timeout, "decide-timeout", time.Minute, "give up a decision after `DURATION`")
}

func (g *gateFlags) check() error {
	if g.cache < 0 || g.timeout <= 0 {
		return cmdline.Usagef("", "--cache %s or --decide-timeout %s is no time to wait", g.cache, g.timeout)
	}
	return nil
}

func (a *app) newGateServe() *cobra.Command {
	var g gateFlags
	var keyFile string
	var scopes []string
	var valid time.Duration
	cmd := &cobra.Command{
		Use:   "serve --gate-key FILE --scope SCOPE…",
		Short: "Serve signatures of what the policy accepts",
		Long: `Serve is a lookaside store of signatures for containers/image, at
http://ADDRESS/HOST/PATH@sha256=HEX/signature-1. Whenever a signature is asked
for, it collects the evidence from the ledger and decides by the policy: 200 and
a signature if the image is accepted, 404 if not, 503 if it could not ask. An
index is accepted if its own digest is, or if each of its platform manifests is.

It prints one line of JSON once it serves. SIGTERM ends it. /healthz and
/metrics are what they are elsewhere. It speaks HTTP: signatures need no secrecy,
but whoever can change them can withhold them.`,
		Example: `  cairn gate serve --policy trusted.policy --ledger https://ledger.example \
      --gate-key gate.key --scope docker.io/stagex --listen 127.0.0.1:8700
  CAIRN_POLICY=trusted.policy cairn gate serve --ledger mirror/ --gate-key gate.key --scope docker.io`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.gateServe(ctx, &g, keyFile, scopes, valid) }),
	}
	g.define(cmd)
	f := cmd.Flags()
	f.StringVar(&keyFile, "gate-key", "", "sign with the secret key in `FILE`: see cairn gate keygen")
	f.StringArrayVar(&scopes, "scope", nil, "sign images of `HOST[/NAMESPACE]`; repeatable")
	f.DurationVar(&valid, "valid", 24*time.Hour, "let signatures expire after `DURATION`; 0 for never")
	return cmd
}

func (a *app) gateServe(ctx context.Context, g *gateFlags, keyFile string, scopes []string, valid time.Duration) error {
	if err := g.check(); err != nil {
		return err
	}
	key, err := readGateKey(keyFile)
	if err != nil {
		return err
	}
	s := &gate.Signatures{Key: key, Valid: valid}
	if s.Scopes, err = parseScopes(scopes); err != nil {
		return err
	}
	if err := checkValid(valid); err != nil {
		return err
	}
	if s.Config, err = a.gateConfig(g); err != nil {
		return err
	}
	return a.serveGate(ctx, g.listen, s.Handler(), nil, s.Logger, map[string]string{"key": string(key.Fingerprint())})
}

func (a *app) newGateWebhook() *cobra.Command {
	var g gateFlags
	var certFile, keyFile string
	var resolve bool
	cmd := &cobra.Command{
		Use:   "webhook --tls-cert FILE --tls-key FILE",
		Short: "Serve admissions to Kubernetes by the policy",
		Long: `Webhook is a validating admission webhook for Kubernetes, at POST /validate for
AdmissionReviews of admission.k8s.io/v1. It allows a pod, or what makes pods, if
the policy accepts each image: of containers, init containers, ephemeral
containers and volumes. What it does not know it denies, and so it does where it
could not ask: register it for the kinds of docs/gate.md alone.

Images must be pinned by digest. With --resolve, a tag is looked up at its
registry; what it names when the pod starts may be another image.

It prints one line of JSON once it serves. SIGTERM ends it. The certificate is
read again when its file changes.`,
		Example: `  cairn gate webhook --policy trusted.policy --ledger https://ledger.example \
      --tls-cert tls.crt --tls-key tls.key --listen :8443
  cairn gate webhook --policy trusted.policy --ledger mirror/ --tls-cert tls.crt --tls-key tls.key --resolve`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.gateWebhook(ctx, &g, certFile, keyFile, resolve) }),
	}
	g.define(cmd)
	f := cmd.Flags()
	f.StringVar(&certFile, "tls-cert", "", "the server's certificate chain in `FILE`, PEM")
	f.StringVar(&keyFile, "tls-key", "", "its private key in `FILE`, PEM")
	f.BoolVar(&resolve, "resolve", false, "look up tags at their registries, instead of denying them")
	return cmd
}

func (a *app) gateWebhook(ctx context.Context, g *gateFlags, certFile, keyFile string, resolve bool) error {
	if err := g.check(); err != nil {
		return err
	}
	if certFile == "" || keyFile == "" {
		return cmdline.Usagef("give --tls-cert FILE and --tls-key FILE: Kubernetes asks by https alone", "no certificate is named")
	}
	config, err := gate.Certificate(certFile, keyFile)
	if err != nil {
		return &cmdline.Problem{Reason: cmdline.FileUnreadable, Err: err}
	}
	h := new(gate.Webhook)
	if h.Config, err = a.gateConfig(g); err != nil {
		return err
	}
	if resolve {
		h.Resolve = a.resolveTag
	}
	return a.serveGate(ctx, g.listen, h.Handler(), config, h.Logger, map[string]string{})
}

func (a *app) gateConfig(g *gateFlags) (gate.Config, error) {
	decide, err := a.decider()
	if err != nil {
		return gate.Config{}, err
	}
	return gate.Config{
		Gate: &gate.Gate{Decide: decide, Instances: a.instances},
		TTL:  g.cache, Timeout: g.timeout, Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(a.Err, nil)), Registerer: prometheus.NewRegistry(),
	}, nil
}

// serveGate serves until ctx is done. The ready line has what is given and the
// URL.
func (a *app) serveGate(ctx context.Context, listen string, h http.Handler, config *tls.Config, logger *slog.Logger, ready map[string]string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return cmdline.Usagef("give --listen ADDRESS with a port that is free", "listening: %w", err)
	}
	ready["http"] = "http://" + l.Addr().String()
	if config != nil {
		ready["http"] = "https://" + l.Addr().String()
	}
	line, err := json.Marshal(ready)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if _, err := fmt.Fprintf(a.Out, "%s\n", line); err != nil {
		return errors.Join(cmdline.Unwritable("writing the ready line", err), l.Close())
	}
	return gate.Serve(ctx, l, h, config, logger, gateGrace)
}

// readGateKey reads a gate's secret key.
func readGateKey(path string) (*gate.Key, error) {
	if path == "" {
		return nil, cmdline.Usagef("make a key with `cairn gate keygen FILE`, and give it with --gate-key FILE", "no gate key is named")
	}
	b, err := cmdline.ReadSmall("gate key", path)
	if err != nil {
		return nil, err
	}
	k, err := gate.ReadSecretKey(b, time.Now())
	if err != nil {
		return nil, cmdline.Usagef("give the file that `cairn gate keygen` made", "reading gate key %s: %w", path, err)
	}
	return k, nil
}

func parseScopes(args []string) ([]gate.Scope, error) {
	if len(args) == 0 {
		return nil, cmdline.Usagef("give --scope HOST/NAMESPACE, such as docker.io/stagex", "no scope is named")
	}
	var scopes []gate.Scope
	for _, arg := range args {
		s, err := gate.ParseScope(arg)
		if err != nil {
			return nil, cmdline.Usagef("give the registry's full name, and no tag or wildcard", "%w", err)
		}
		scopes = append(scopes, s)
	}
	return scopes, nil
}

// maxValid is what an OpenPGP signature can say.
const maxValid = 100 * 365 * 24 * time.Hour

func checkValid(d time.Duration) error {
	if d < 0 || d > maxValid || d%time.Second != 0 {
		return cmdline.Usagef("give whole seconds, and 0 for signatures that do not expire", "--valid %s is no time that a signature can have", d)
	}
	return nil
}
