package cli

import "github.com/spf13/cobra"

// newIdentifiersTopic is `cairn help names`.
func newIdentifiersTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "names",
		Short: "How commands are told what they are about",
		Long: `An argument that names something may be:

  log.example/2026#7   the entry at index 7 of the log with this origin
  7                    the same, of whichever log the ledger serves
  sha256:9f2c…         an attestation, an artifact or a key, by its digest;
                       sha512: of artifacts too
  pkg:oci/core-go      a package, by its package URL (purl)
  registry.example/a/core-go@sha256:9f2c…
                       an image at a registry, by its digest and so without
                       asking the registry; or by its tag, which is looked up
  oci:out/core-go      an OCI layout, a directory or a tar archive: its image,
                       or its index if it holds several images
  ./hello.deb          a file: an attestation, a public key (.pub), or an artifact
                       of which only the digest is used; or the directory of an
                       OCI layout

A file whose name looks like one of the others is written with ./ before it;
where there is one, the name without is an error. But one that is named like an
image at a registry is taken as the file. What an argument was taken for is said
where it is not plain.`,
	}
}
