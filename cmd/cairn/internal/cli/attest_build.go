package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
)

// buildFlags are the flags of cairn attest build.
type buildFlags struct {
	key, out            string
	subjects            []string
	purl                string
	builderID, operator string
	inputFlags
}

func (a *app) newAttestBuild() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build [FILE...] --key FILE --builder-id URI",
		Short: "Attest that artifacts were built",
		Long: `Build attests that artifacts were built, and from what, as SLSA provenance v1.

The subjects are files, of which the SHA-256 is taken, or --subject. Materials
must be complete for the artifact's ancestry to be followed: every source, every
image that is built from, and the seed, each with a digest and its role.`,
		Example: `  cairn attest build hello.deb --key ci.key --builder-id https://ci.example/2 \
      --operator https://builder.example --purl pkg:deb/debian/hello@2.12.1?arch=amd64 \
      --material uri=https://ftp.gnu.org/hello-2.12.1.tar.gz,digest=sha256:8d99…,role=source
  cairn attest build --purl pkg:oci/core-go@sha256:9f2c… --key ci.key --builder-id https://ci.example/2
  cairn attest build --subject name=a,digest=sha256:77aa… --key ci.key --builder-id https://ci.example/2 -O a.attestation`,
		RunE: a.run(func(_ context.Context, files []string) error { return a.attestBuild(files, &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.key, "key", "", "sign with the private key in `FILE`")
	fl.StringVar(&f.builderID, "builder-id", "", "`URI` of what built it")
	fl.StringVar(&f.operator, "operator", "", "`URI` of who runs the builder")
	fl.StringArrayVar(&f.subjects, "subject", nil, "an artifact, as `SPEC` name=…,digest=sha256:…,uri=…; repeatable")
	fl.StringVar(&f.purl, "purl", "", "package URL `PURL` of the only subject; its version may be the digest")
	f.inputFlags.add(cmd)
	outVar(cmd, &f.out, "write the envelope to `FILE`, and its digest to stdout")
	return cmd
}

func (a *app) attestBuild(files []string, f *buildFlags) error {
	signer, err := cmdline.ReadKey(f.key)
	if err != nil {
		return err
	}
	if f.builderID == "" {
		return cmdline.Usagef("give --builder-id URI, such as https://ci.example/2", "no builder is named")
	}
	subjects, err := f.subjectList(files)
	if err != nil {
		return err
	}
	definition, err := f.definition()
	if err != nil {
		return err
	}
	predicate := &attest.Provenance{
		BuildDefinition: *definition,
		RunDetails:      attest.RunDetails{Builder: attest.Builder{ID: f.builderID, Operator: f.operator}},
	}
	st, err := attest.NewStatement(attest.PredicateProvenance, predicate, subjects...)
	if err != nil {
		return err
	}
	raw, err := signer.Sign(st)
	if err != nil {
		return err
	}
	return a.envelope(finished(raw), f.out, "")
}

// inputFlags are what a build or a rebuild started from.
type inputFlags struct {
	materials []string
	buildType string
}

func (f *inputFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.materials, "material", nil, "an input, as `SPEC` uri=…,digest=sha256:…,role=source; repeatable;\nroles: source, toolchain, library, seed")
	fl.StringVar(&f.buildType, "build-type", attest.BuildTypeStageX, "`URI` of how it was built")
}

// definition returns the build definition that the flags give.
func (f *inputFlags) definition() (*attest.BuildDefinition, error) {
	b := &attest.BuildDefinition{BuildType: f.buildType}
	for _, m := range f.materials {
		d, err := parseDescriptor(m)
		if err != nil {
			return nil, cmdline.Usagef("write it as uri=…,digest=sha256:…,role=source", "--material %s: %w", m, err)
		}
		if len(d.Digest) == 0 {
			return nil, cmdline.Usagef("write it as uri=…,digest=sha256:…,role=source", "--material %s has no digest", m)
		}
		b.ResolvedDependencies = append(b.ResolvedDependencies, d)
	}
	return b, nil
}

// subjectList returns the descriptors of the files and of --subject.
func (f *buildFlags) subjectList(files []string) ([]attest.ResourceDescriptor, error) {
	var list []attest.ResourceDescriptor
	for _, path := range files {
		d, err := describe(path, "sha256")
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	for _, s := range f.subjects {
		d, err := parseDescriptor(s)
		if err != nil {
			return nil, cmdline.Usagef("write it as name=…,digest=sha256:…", "--subject %s: %w", s, err)
		}
		if d.Annotations != nil {
			return nil, cmdline.Usagef("", "--subject %s: only a material has a role", s)
		}
		list = append(list, d)
	}
	if f.purl == "" {
		if len(list) == 0 {
			return nil, cmdline.Usagef("name its file, or give --subject name=…,digest=sha256:…", "no artifact is named")
		}
		return list, nil
	}
	if len(list) > 1 {
		return nil, cmdline.Usagef("give each its own: --subject name=…,digest=…,uri=PURL", "--purl is of one artifact, and %d are named", len(list))
	}
	if len(list) == 0 {
		list = []attest.ResourceDescriptor{{}}
	}
	if err := setPurl(&list[0], f.purl); err != nil {
		return nil, fmt.Errorf("--purl: %w", err)
	}
	if len(list[0].Digest) == 0 {
		return nil, cmdline.Usagef("name the file, or write the purl as pkg:…@sha256:<hex>", "nothing gives the digest of %s", f.purl)
	}
	return list, nil
}
