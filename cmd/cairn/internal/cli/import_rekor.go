package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/rekor"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func (a *app) newImportRekor() *cobra.Command {
	var f importFlags
	var log rekorFlags
	var key string
	cmd := &cobra.Command{
		Use:   "rekor INDEX|UUID... --rekor URL --rekor-key PEM --key FILE",
		Short: "Log that a Rekor log has entries, with the proofs",
		Long: `Rekor gets entries of a Rekor v1 log, and verifies each against the log's key: that
it is in the tree of a checkpoint that the log signed, and the log's signed entry
timestamp. Of each it logs a statement, signed with your key, that holds the entry
and its proof, so that anybody can verify it again: cairn show does. The statement
is about the entry, by its leaf hash, and about the digests that the entry is about.

Where the log keeps the whole attestation, as it may of intoto entries, that is
logged, too, as it was signed, if its key is enrolled.

The key of the Rekor log is never taken from the log itself.`,
		Example: `  curl -o rekor.pub https://rekor.example/api/v1/log/publicKey   # once; compare it
  cairn import rekor 1234 --rekor https://rekor.example --rekor-key rekor.pub --key alice.key
  cairn import rekor 1234 1235 108e9186e8c5677a… --rekor https://rekor.example \
      --rekor-key rekor.pub --key alice.key`,
		Args: cmdline.Takes(1, cmdline.AnyNumber),
		RunE: a.run(func(ctx context.Context, ids []string) error { return a.importRekor(ctx, &f, &log, key, ids) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	log.add(fl)
	fl.StringVar(&key, "key", "", "sign the statements with the private key in `FILE`, which is enrolled")
	f.add(cmd)
	return cmd
}

func (a *app) importRekor(ctx context.Context, f *importFlags, log *rekorFlags, key string, ids []string) error {
	for _, id := range ids {
		if !rekor.IsID(id) {
			return cmdline.Usagef("an index is decimal; a UUID has 64 or 80 hex digits", "%.100q is neither an index nor a UUID of a Rekor entry", id)
		}
	}
	signer, err := cmdline.ReadKey(key)
	if err != nil {
		return err
	}
	c, pinned, err := log.open(a)
	if err != nil {
		return err
	}
	src := &importer.Rekor{Log: c, Key: pinned, IDs: ids, Signer: signer}
	f.enrolled = []*attest.PublicKey{signer.Public}
	if !f.dryRun {
		asked, err := a.client("")
		if err != nil {
			return err
		}
		src.Logged = func(ctx context.Context, leafHash leaf.Digest) ([]byte, error) {
			return loggedEntry(ctx, asked, leafHash, signer.Public, pinned)
		}
	}
	return a.runImport(ctx, src, f)
}

// maxEntryPages bounds what is looked at of what is logged about an entry, which
// anybody may log more about. Behind it, an entry may be logged twice.
const maxEntryPages = 10

// loggedEntry returns the statement about a Rekor entry that a key signed and the
// ledger has, or nil. It is submitted again, so nothing need be proven of it here
// but that it is one.
func loggedEntry(ctx context.Context, c *client.Client, leafHash leaf.Digest, by *attest.PublicKey, log *rekor.Key) ([]byte, error) {
	req := &cairnv1.ListAttestationsRequest{Digest: string(leafHash)}
	for range maxEntryPages {
		resp, err := c.ListAttestations(ctx, req)
		if err != nil {
			return nil, cmdline.Doing("asking what is logged about the entry", err)
		}
		for _, e := range resp.GetEntries() {
			l, err := leaf.Parse([]byte(e.GetLeaf()))
			if err != nil || !slices.Contains(l.Keys, by.Fingerprint) {
				continue
			}
			raw, err := c.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: l.Envelope.Hex()})
			if err != nil {
				return nil, cmdline.Doing("asking for what is logged about the entry", err)
			}
			att, err := attest.Open(raw.GetAttestation(), attest.NewKeyring(by))
			if err != nil {
				continue
			}
			if entry, err := rekor.FromStatement(att.Statement); err == nil && entry.LogID == log.ID && "sha256:"+entry.LeafHash() == string(leafHash) {
				return raw.GetAttestation(), nil
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	return nil, nil
}
