package cli

import (
	"context"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/host"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// reproductionFlags are the flags of cairn attest reproduction.
type reproductionFlags struct {
	key, out              string
	of, purl, output      string
	result, obtained      string
	equivalence           string
	rebuilderID, operator string
	environment           []string
	noEnvironment         bool
	inputFlags
}

func (a *app) newAttestReproduction() *cobra.Command {
	var f reproductionFlags
	cmd := &cobra.Command{
		Use:   "reproduction --of FILE|DIGEST|PURL --output FILE|DIGEST --key FILE --rebuilder-id URI",
		Short: "Attest what a rebuild of an artifact came to",
		Long: `Reproduction attests what came of rebuilding an artifact that somebody
distributes. The result is computed from the digests of the two: IDENTICAL or
DIFFERENT. A DIFFERENT is as welcome as an IDENTICAL.

A rebuild without output is --result BUILD_FAILED or INCONCLUSIVE. An output that
differs in ways that a tool shows not to matter is --result EQUIVALENT, with the
tool as --equivalence. What was fetched rather than built is --obtained
SUBSTITUTED, and counts for nothing.

Materials are what the rebuild was made from, as for cairn attest build; without
any, the rebuild counts for nothing where a policy wants ancestries down to a
seed.

The machine's os, kernel, arch and cpuVendor are stated unless --env says
otherwise: they become public.`,
		Example: `  cairn attest reproduction --of hello.deb --output rebuilt/hello.deb \
      --key alice.key --rebuilder-id https://alice.example/ci --operator https://alice.example
  cairn attest reproduction --of pkg:oci/core-go@sha256:9f2c… --output sha256:77aa… \
      --key alice.key --rebuilder-id https://alice.example/ci
  cairn attest reproduction --of hello.deb --result BUILD_FAILED --key alice.key --rebuilder-id https://alice.example/ci`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(context.Context, []string) error { return a.attestReproduction(&f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.of, "of", "", "the distributed artifact: its `FILE`, digest, or purl with a digest")
	fl.StringVar(&f.output, "output", "", "what the rebuild gave: a `FILE` or digest")
	fl.StringVar(&f.purl, "purl", "", "package URL `PURL` of the distributed artifact")
	cmdline.OptionVar(cmd, &f.result, "result", "the result, where the digests do not give it:", results()...)
	cmdline.OptionVar(cmd, &f.obtained, "obtained", "how the output was had (default BUILT if there is one):", string(attest.Built), string(attest.Substituted))
	f.inputFlags.add(cmd)
	fl.StringVar(&f.equivalence, "equivalence", "", "the `METHOD` by which an EQUIVALENT output equals the artifact")
	fl.StringVar(&f.key, "key", "", "sign with the private key in `FILE`")
	fl.StringVar(&f.rebuilderID, "rebuilder-id", "", "`URI` of what rebuilt it")
	fl.StringVar(&f.operator, "operator", "", "`URI` of who runs the rebuilder")
	fl.StringArrayVar(&f.environment, "env", nil, "state `NAME=VALUE` of the environment, or nothing with NAME=; repeatable")
	fl.BoolVar(&f.noEnvironment, "no-env", false, "state nothing of this machine but what --env says")
	outVar(cmd, &f.out, "write the envelope to `FILE`, and its digest to stdout")
	return cmd
}

func (a *app) attestReproduction(f *reproductionFlags) error {
	signer, err := cmdline.ReadKey(f.key)
	if err != nil {
		return err
	}
	switch {
	case f.rebuilderID == "":
		return cmdline.Usagef("give --rebuilder-id URI, such as https://alice.example/ci", "no rebuilder is named")
	case f.of == "":
		return cmdline.Usagef("give --of FILE, or --of sha256:<hex>", "the distributed artifact is not named")
	}
	subject, err := describe(f.of, f.algorithms()...)
	if err != nil {
		return err
	}
	if f.purl != "" {
		if err := setPurl(&subject, f.purl); err != nil {
			return err
		}
	}
	r, err := f.predicate(&subject)
	if err != nil {
		return err
	}
	if r.Environment, err = f.environmentOf(os.ReadFile); err != nil {
		return err
	}
	if len(f.materials) > 0 {
		if r.BuildDefinition, err = f.definition(); err != nil {
			return err
		}
	}
	st, err := attest.NewStatement(attest.PredicateReproduction, r, subject)
	if err != nil {
		return err
	}
	raw, err := signer.Sign(st)
	if err != nil {
		return err
	}
	a.Note("the result is %s", r.Result)
	return a.envelope(finished(raw), f.out, r.Result)
}

// predicate states the result, which is never one that the digests contradict.
func (f *reproductionFlags) predicate(subject *attest.ResourceDescriptor) (*attest.Reproduction, error) {
	r := &attest.Reproduction{
		Result:    leaf.Result(f.result),
		Obtained:  attest.Obtained(f.obtained),
		Rebuilder: attest.Builder{ID: f.rebuilderID, Operator: f.operator},
	}
	if f.equivalence != "" {
		r.Equivalence = &attest.Equivalence{Method: f.equivalence}
	}
	if (r.Equivalence != nil) != (r.Result == leaf.Equivalent) {
		return nil, cmdline.Usagef("give --result EQUIVALENT together with --equivalence METHOD", "an equivalence and the result EQUIVALENT belong together")
	}
	if f.output == "" {
		if r.Result != leaf.BuildFailed && r.Result != leaf.Inconclusive {
			return nil, cmdline.Usagef("give --output FILE, or --result BUILD_FAILED or INCONCLUSIVE", "what the rebuild gave is not named")
		}
		return r, nil
	}
	output, err := describe(f.output, f.algorithms()...)
	if err != nil {
		return nil, err
	}
	r.Outputs = []attest.ResourceDescriptor{output}
	if r.Obtained == attest.ObtainedUnstated {
		r.Obtained = attest.Built
	}
	computed, err := compare(subject.Digest, output.Digest)
	if err != nil {
		return nil, err
	}
	agrees := r.Result == computed || r.Result == leaf.Inconclusive || computed == leaf.Different && r.Result == leaf.Equivalent
	switch {
	case r.Result == "":
		r.Result = computed
	case !agrees:
		return nil, cmdline.Usagef("leave out --result", "the result is not %s: by their digests, artifact and output are %s", r.Result, computed)
	}
	return r, nil
}

// algorithms are those by which a file is described: SHA-256, and SHA-512 if
// that is how the other of the two may be named.
func (f *reproductionFlags) algorithms() []string {
	if strings.Contains(f.of+f.purl+f.output, "sha512:") {
		return []string{"sha256", "sha512"}
	}
	return []string{"sha256"}
}

// compare returns the result that digests give: all that both have must be
// equal, and there must be one.
func compare(subject, output map[string]string) (leaf.Result, error) {
	result := leaf.NoResult
	for _, alg := range []string{"sha256", "sha512"} {
		x, inSubject := subject[alg]
		y, inOutput := output[alg]
		switch {
		case !inSubject || !inOutput:
		case x != y:
			return leaf.Different, nil
		default:
			result = leaf.Identical
		}
	}
	if result == leaf.NoResult {
		return "", cmdline.Usagef("name both by sha256, or name the files", "artifact and output are named by digests of different kinds")
	}
	return result, nil
}

// environmentOf returns what is stated of the machine. A value that cannot be
// found is not stated.
func (f *reproductionFlags) environmentOf(readFile func(string) ([]byte, error)) (map[string]string, error) {
	env := make(map[string]string)
	if !f.noEnvironment {
		maps.Copy(env, host.Environment(readFile))
	}
	for _, e := range f.environment {
		k, v, ok := strings.Cut(e, "=")
		if !ok || k == "" {
			return nil, cmdline.Usagef("write it as NAME=VALUE", "--env %q is not of the form NAME=VALUE", e)
		}
		env[k] = v
		if v == "" {
			delete(env, k)
		}
	}
	if len(env) == 0 {
		return nil, nil
	}
	return env, nil
}
