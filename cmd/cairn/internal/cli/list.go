package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// pageSize is how many entries are asked for at a time: so many that an answer
// full of the largest leaves is within client.MaxAnswer.
const pageSize = 100

func (a *app) newList() *cobra.Command {
	var digest, purl, key string
	var limit int
	cmd := &cobra.Command{
		Use:   "list [DIGEST|PURL|FILE]",
		Short: "List the entries about a digest, a package or a key",
		Long: `List prints the entries about one thing, in log order, or all entries. It finds
out whether an argument is a digest of an artifact, a package or a key; the
flags say so.

The last line says up to which checkpoint the list is complete. That nothing
below it is missing is the ledger's word; each entry fits what was asked.

The exit code is 3 if there is none.`,
		Example: `  cairn list hello.deb
  cairn list pkg:oci/core-go
  cairn list --key alice.key.pub
  cairn list --digest sha256:9f2c… -o json`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			q, err := parseListFlags(digest, purl, key, args)
			if err != nil {
				return err
			}
			return a.list(ctx, q, limit)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&digest, "digest", "", "entries with this `DIGEST`, or that of this file, as subject or output")
	f.StringVar(&purl, "name", "", "entries about the package with this `PURL`")
	f.StringVar(&key, "key", "", "entries that the key with this fingerprint or in this `FILE` signed")
	f.IntVar(&limit, "limit", 0, "stop after `N` entries; 0 is all")
	return cmd
}

// listQuery is what is listed: at most one of its members is set, and
// digestOrKey if it is not known which it is.
type listQuery struct {
	digest      leaf.Digest
	name        string
	key         leaf.Fingerprint
	digestOrKey leaf.Digest
}

func parseListFlags(digest, purl, key string, args []string) (listQuery, error) {
	given := append([]string{}, args...)
	for _, s := range []string{digest, purl, key} {
		if s != "" {
			given = append(given, s)
		}
	}
	switch {
	case len(given) > 1:
		return listQuery{}, cmdline.Usagef("give one", "%d things are named to list", len(given))
	case len(given) == 0:
		return listQuery{}, nil
	}
	n, _, err := settled(given[0])
	if err != nil {
		return listQuery{}, err
	}
	q, err := listed(n)
	if err != nil {
		return q, err
	}
	wrong := func(what string) error { return cmdline.Usagef("", "%q names no %s", given[0], what) }
	switch {
	case digest != "":
		if q.digestOrKey != "" {
			q = listQuery{digest: q.digestOrKey}
		}
		if q.digest == "" {
			return q, wrong("digest")
		}
	case purl != "" && q.name == "":
		return q, wrong("package")
	case key != "":
		if fp := leaf.Fingerprint(q.digestOrKey); fp.Valid() {
			q = listQuery{key: fp}
		}
		if q.key == "" {
			return q, wrong("key")
		}
	}
	return q, nil
}

// listed says what an argument asks to list.
func listed(n name) (listQuery, error) {
	switch n.kind {
	case byDigest:
		if leaf.Fingerprint(n.digest).Valid() {
			return listQuery{digestOrKey: n.digest}, nil
		}
		return listQuery{digest: n.digest}, nil
	case byFingerprint:
		return listQuery{key: n.key}, nil
	case byPurl:
		return listQuery{name: n.purl}, nil
	case byReference:
		return listQuery{}, cmdline.Usagef("write it as HOST/PATH@sha256:<hex>; `cairn show` takes tags", "%q names an image by its tag", n.path)
	case byFile:
		f, err := readNamed(n.path)
		if err != nil {
			return listQuery{}, err
		}
		switch f.kind {
		case publicKeyFile:
			return listQuery{key: f.key.Fingerprint}, nil
		case attestationFile:
			return listQuery{}, cmdline.Usagef("run `cairn show` for its entry", "%s is an attestation", n.path)
		}
		return listQuery{digest: f.sha256Digest()}, nil
	}
	return listQuery{}, cmdline.Usagef("run `cairn show` for one entry", "an index names one entry")
}

// listAnswer is the JSON of cairn list.
type listAnswer struct {
	Schema string `json:"schema"` // cairn/list/v1
	// Of these, the one that was asked for; none for all entries.
	Digest  leaf.Digest      `json:"digest,omitempty"`
	Name    string           `json:"name,omitempty"`
	Key     leaf.Fingerprint `json:"key,omitempty"`
	Entries []*entryView     `json:"entries"`
	// Cut says that --limit left entries out.
	Cut bool `json:"cut,omitempty"`
	// CompleteUpTo is the size of the smallest checkpoint that an answer was
	// made from: no entry below it is missing, unless Cut.
	CompleteUpTo     int64  `json:"completeUpTo"`
	Checkpoint       string `json:"checkpoint"`
	SignatureChecked bool   `json:"signatureChecked"`
}

func (a *app) list(ctx context.Context, q listQuery, limit int) error {
	if limit < 0 {
		return cmdline.Usagef("", "--limit %d is negative", limit)
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	if q.digestOrKey != "" {
		if q, err = o.decide(ctx, q.digestOrKey); err != nil {
			return err
		}
	}
	v := &listAnswer{
		Schema: "cairn/list/v1", Digest: q.digest, Name: q.name, Key: q.key,
		Entries: []*entryView{}, SignatureChecked: o.policy != nil,
	}
	text := a.Printer(a.Out)
	if a.Format == "text" {
		v.headText(text)
	}
	err = o.pages(ctx, v, limit, func(e *entryView) {
		if a.Format == "text" {
			e.line(text)
		}
	})
	if err != nil {
		return err
	}
	a.Answer(v, v.footText)
	if len(v.Entries) == 0 {
		return &cmdline.Silent{Exit: cmdline.Lookup(cmdline.NothingFound).Exit}
	}
	return nil
}

// decide finds out whether a digest is of an enrolled key.
func (o *online) decide(ctx context.Context, d leaf.Digest) (listQuery, error) {
	_, err := o.findKey(ctx, leaf.Fingerprint(d))
	switch {
	case err == nil:
		return listQuery{key: leaf.Fingerprint(d)}, nil
	case isNotFound(err, reason.KeyNotFound):
		return listQuery{digest: d}, nil
	}
	return listQuery{}, err
}

// pages reads page after page, and gives each entry to found.
func (o *online) pages(ctx context.Context, v *listAnswer, limit int, found func(*entryView)) error {
	req := &cairnv1.ListAttestationsRequest{Digest: string(v.Digest), Name: v.Name, Key: string(v.Key)}
	next := int64(0) // the least index that the next entry may have
	for first := true; first || req.GetPageToken() != ""; first = false {
		req.PageSize = pageSize
		if left := limit - len(v.Entries); limit > 0 && left < pageSize {
			req.PageSize = int32(left)
		}
		resp, err := o.ListAttestations(ctx, req)
		if err != nil {
			return err
		}
		c, err := o.checkpoint(ctx, resp.GetCheckpoint())
		if err != nil {
			return err
		}
		if resp.GetCompleteUpTo() != c.N {
			return client.Misbehaved("the list is complete up to %d, its checkpoint's size is %d", resp.GetCompleteUpTo(), c.N)
		}
		if first || c.N < v.CompleteUpTo {
			v.CompleteUpTo, v.Checkpoint = c.N, resp.GetCheckpoint()
		}
		for _, e := range resp.GetEntries() {
			l, err := v.fits(e, next, c.N)
			if err != nil {
				return err
			}
			next = e.GetIndex() + 1
			view := viewEntry(o.origin, e.GetIndex(), e.GetLeaf(), l)
			v.Entries = append(v.Entries, view)
			found(view)
		}
		req.PageToken = resp.GetNextPageToken()
		if len(resp.GetEntries()) == 0 && req.GetPageToken() != "" {
			return client.Misbehaved("a page of the list is empty, and another is to follow")
		}
		if limit > 0 && len(v.Entries) >= limit {
			v.Cut = req.GetPageToken() != ""
			return nil
		}
	}
	return nil
}

// fits checks that an entry is one that was asked for, in its order.
func (v *listAnswer) fits(e *cairnv1.Entry, least, size int64) (*leaf.Leaf, error) {
	l, err := leaf.Parse([]byte(e.GetLeaf()))
	if err != nil {
		return nil, client.Misbehaved("the leaf of entry %d does not parse: %v", e.GetIndex(), err)
	}
	if e.GetIndex() < least || e.GetIndex() >= size {
		return nil, client.Misbehaved("entry %d is not between %d and the checkpoint's size %d", e.GetIndex(), least, size)
	}
	ok := true
	switch {
	case v.Digest != "":
		ok = slices.Contains(l.Subjects, v.Digest) || slices.Contains(l.Outputs, v.Digest)
	case v.Key != "":
		ok = slices.Contains(l.Keys, v.Key)
	case v.Name != "":
		lookup, err := attest.LookupName(v.Name)
		if err != nil {
			return nil, err
		}
		ok = slices.Contains(l.Names, leaf.NameHash(lookup))
	}
	if !ok {
		return nil, client.Misbehaved("entry %d is not about what was asked", e.GetIndex())
	}
	return l, nil
}

func (v *listAnswer) headText(p term.Printer) {
	switch {
	case v.Digest != "":
		p.Printf("digest %s\n", v.Digest)
	case v.Key != "":
		p.Printf("key %s\n", v.Key)
	case v.Name != "":
		p.Printf("package %s\n", v.Name)
	}
}

func (v *listAnswer) footText(p term.Printer) {
	word := "entries"
	if len(v.Entries) == 1 {
		word = "entry"
	}
	if v.Cut {
		p.Printf("the first %d %s, of more, up to checkpoint %d\n", len(v.Entries), word, v.CompleteUpTo)
		return
	}
	p.Printf("%d %s, complete up to checkpoint %d\n", len(v.Entries), word, v.CompleteUpTo)
}
