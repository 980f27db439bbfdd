package clienttest

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func (l *Ledger) attestation(r *http.Request) (proto.Message, error) {
	want := leaf.Digest("sha256:" + strings.TrimPrefix(r.PathValue("envelope"), "sha256:"))
	for i, e := range l.entries {
		if e.att.Leaf.Envelope != want {
			continue
		}
		resp := &cairnv1.GetAttestationResponse{
			Attestation: e.att.Raw, Entry: l.protoEntry(int64(i)), Claim: claim(e.att),
		}
		resp.Keys = l.enrolled(e.att.Leaf)
		var err error
		resp.Checkpoint, err = l.latest()
		return resp, err
	}
	return nil, reason.Errorf(reason.AttestationNotFound, "no attestation %s is logged", want)
}

// enrolled returns the keys of a leaf that are: a Rekor entry's need not be.
func (l *Ledger) enrolled(lf *leaf.Leaf) []*cairnv1.Key {
	var keys []*cairnv1.Key
	for _, fp := range lf.Keys {
		if k := l.keys[fp]; k != nil {
			keys = append(keys, k)
		}
	}
	return keys
}

func (l *Ledger) list(r *http.Request) (proto.Message, error) {
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("page_token"))
	limit, _ := strconv.Atoi(q.Get("page_size"))
	if limit == 0 {
		limit = 100
	}
	if err := listable(q, limit); err != nil {
		return nil, err
	}
	var name leaf.Digest
	if n := q.Get("name"); n != "" {
		lookup, err := attest.LookupName(n)
		if err != nil {
			return nil, err
		}
		name = leaf.NameHash(lookup)
	}
	resp := &cairnv1.ListAttestationsResponse{CompleteUpTo: int64(len(l.entries))}
	for i := from; i < len(l.entries); i++ {
		lf := l.entries[i].att.Leaf
		if !matches(lf, leaf.Digest(q.Get("digest")), name, leaf.Fingerprint(q.Get("key"))) {
			continue
		}
		if len(resp.Entries) == limit {
			resp.NextPageToken = strconv.Itoa(i)
			break
		}
		resp.Entries = append(resp.Entries, l.protoEntry(int64(i)))
	}
	var err error
	resp.Checkpoint, err = l.latest()
	return resp, err
}

// listable checks what a list is asked for.
func listable(q url.Values, limit int) error {
	given := 0
	for _, by := range []string{"digest", "name", "key"} {
		if q.Get(by) != "" {
			given++
		}
	}
	_, err := leaf.ParseDigest(q.Get("digest"))
	switch {
	case limit < 0 || limit > 1000:
		return reason.Errorf(reason.ArgumentInvalid, "page_size %d is not between 1 and 1000", limit)
	case given > 1:
		return reason.Errorf(reason.ArgumentInvalid, "give one of digest, name and key")
	case q.Get("digest") != "" && err != nil:
		return reason.Errorf(reason.ArgumentInvalid, "digest: %w", err)
	}
	return nil
}

func matches(lf *leaf.Leaf, digest, name leaf.Digest, key leaf.Fingerprint) bool {
	return (digest == "" || slices.Contains(lf.Subjects, digest) || slices.Contains(lf.Outputs, digest)) &&
		(name == "" || slices.Contains(lf.Names, name)) &&
		(key == "" || slices.Contains(lf.Keys, key))
}

// artifact puts every claim into the group of its first output.
func (l *Ledger) artifact(r *http.Request) (proto.Message, error) {
	digest := leaf.Digest(r.PathValue("digest"))
	resp := &cairnv1.GetArtifactResponse{CompleteUpTo: int64(len(l.entries))}
	groups := make(map[string]*cairnv1.OutputGroup)
	for i, e := range l.entries {
		if e.att.Leaf.Kind != leaf.KindAttestation || !matches(e.att.Leaf, digest, "", "") {
			continue
		}
		output := string(digest)
		if len(e.att.Leaf.Outputs) > 0 {
			output = string(e.att.Leaf.Outputs[0])
		}
		g := groups[output]
		if g == nil {
			g = &cairnv1.OutputGroup{Output: output}
			groups[output] = g
			resp.Groups = append(resp.Groups, g)
		}
		for _, k := range l.enrolled(e.att.Leaf) {
			if i, ok := slices.BinarySearch(g.Operators, k.GetOperator()); !ok {
				g.Operators = slices.Insert(g.Operators, i, k.GetOperator())
			}
		}
		if e.att.Claim.Claim == leaf.ClaimBuild {
			resp.Materials = append(resp.Materials, resources(e.att.Claim.Materials)...)
		}
		g.Claims = append(g.Claims, &cairnv1.LoggedClaim{Index: int64(i), Claim: claim(e.att)})
	}
	seen := make(map[string]bool)
	resp.Materials = slices.DeleteFunc(resp.Materials, func(m *cairnv1.Resource) bool {
		id := m.Uri + " " + strings.Join(m.Digests, " ")
		defer func() { seen[id] = true }()
		return seen[id]
	})
	var err error
	resp.Checkpoint, err = l.latest()
	return resp, err
}

func (l *Ledger) key(r *http.Request) (proto.Message, error) {
	fp := leaf.Fingerprint(r.PathValue("fingerprint"))
	k, ok := l.keys[fp]
	if !ok {
		return nil, reason.Errorf(reason.KeyNotFound, "key %s is not enrolled", fp)
	}
	signed, err := l.latest()
	return &cairnv1.GetKeyResponse{Key: k, Checkpoint: signed}, err
}

func (l *Ledger) checkpoint(*http.Request) (proto.Message, error) {
	tree, err := l.Tree(int64(len(l.entries)))
	if err != nil {
		return nil, err
	}
	signed, err := l.Sign(tree)
	return &cairnv1.GetCheckpointResponse{
		Checkpoint: signed, Origin: l.origin, Size: tree.N, RootHash: tree.Hash[:],
	}, err
}

func (l *Ledger) entry(r *http.Request) (proto.Message, error) {
	index, err := strconv.ParseInt(r.PathValue("index"), 10, 64)
	if err != nil || index < 0 || index >= int64(len(l.entries)) {
		return nil, reason.Errorf(reason.EntryNotFound, "entry %s is not in the published log of %d entries", r.PathValue("index"), len(l.entries))
	}
	path, err := l.prove(index, int64(len(l.entries)))
	if err != nil {
		return nil, err
	}
	signed, err := l.latest()
	return &cairnv1.GetEntryResponse{Entry: l.protoEntry(index), Checkpoint: signed, InclusionProof: path}, err
}

func (l *Ledger) inclusion(r *http.Request) (proto.Message, error) {
	q := r.URL.Query()
	size, err := l.size(q.Get("size"))
	if err != nil {
		return nil, err
	}
	index, err := strconv.ParseInt(q.Get("index"), 10, 64)
	if h := q.Get("leaf_hash"); h != "" {
		index = int64(slices.IndexFunc(l.entries, func(e entry) bool {
			return hex.EncodeToString(leaf.Hash(e.att.Text)) == h
		}))
		if index < 0 || index >= size {
			return nil, reason.Errorf(reason.EntryNotFound, "no entry with leaf hash %s is in the tree of size %d", h, size)
		}
	} else if err != nil {
		return nil, reason.Errorf(reason.ArgumentInvalid, "give either index or leaf_hash")
	}
	if index < 0 || index >= size {
		return nil, reason.Errorf(reason.SizeOutOfRange, "index %d is not in the tree of size %d", index, size)
	}
	path, err := l.prove(index, size)
	if err != nil {
		return nil, err
	}
	signed, err := l.latest()
	return &cairnv1.GetInclusionProofResponse{Index: index, Size: size, InclusionProof: path, Checkpoint: signed}, err
}

func (l *Ledger) consistency(r *http.Request) (proto.Message, error) {
	q := r.URL.Query()
	to, err := l.size(q.Get("to"))
	if err != nil {
		return nil, err
	}
	from, _ := strconv.ParseInt(q.Get("from"), 10, 64)
	if from < 0 || from > to {
		return nil, reason.Errorf(reason.SizeOutOfRange, "from %d is not between 0 and %d", from, to)
	}
	var path [][]byte
	if from > 0 {
		p, err := tlog.ProveTree(to, from, l)
		if err != nil {
			return nil, err
		}
		path = bytesOf(p)
	}
	signed, err := l.latest()
	return &cairnv1.GetConsistencyProofResponse{ConsistencyProof: path, From: from, To: to, Checkpoint: signed}, err
}

// size reads a tree size; the published one if absent.
func (l *Ledger) size(s string) (int64, error) {
	if s == "" {
		return int64(len(l.entries)), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > int64(len(l.entries)) {
		return 0, reason.Errorf(reason.SizeOutOfRange, "size %s is not between 1 and the published size %d", s, len(l.entries))
	}
	return n, nil
}

func (l *Ledger) prove(index, size int64) ([][]byte, error) {
	p, err := tlog.ProveRecord(size, index, l)
	return bytesOf(p), err
}

func bytesOf(hashes []tlog.Hash) [][]byte {
	list := make([][]byte, 0, len(hashes))
	for _, h := range hashes {
		list = append(list, h[:])
	}
	return list
}

func (l *Ledger) protoEntry(index int64) *cairnv1.Entry {
	a := l.entries[index].att
	return &cairnv1.Entry{Index: index, Leaf: string(a.Text), Envelope: a.Leaf.Envelope.Hex()}
}

func claim(a *attest.Attestation) *cairnv1.Claim {
	c := &cairnv1.Claim{
		Kind: string(a.Claim.Kind), Format: a.Claim.Format, Claim: string(a.Claim.Claim),
		Obtained: string(a.Claim.Obtained), PredicateType: a.Claim.PredicateType,
		BuilderId: a.Claim.BuilderID, Operator: a.Claim.Operator,
		Subjects: resources(a.Claim.Subjects), Outputs: resources(a.Claim.Outputs), Materials: resources(a.Claim.Materials),
	}
	if a.Claim.Result != leaf.NoResult {
		c.Result = string(a.Claim.Result)
	}
	for _, k := range a.Leaf.Keys {
		c.Keys = append(c.Keys, string(k))
	}
	return c
}

func resources(rs []attest.Resource) []*cairnv1.Resource {
	var list []*cairnv1.Resource
	for _, r := range rs {
		p := &cairnv1.Resource{Name: r.Name, Uri: r.URI, Role: r.Role}
		for _, d := range r.Strong() {
			p.Digests = append(p.Digests, string(d))
		}
		list = append(list, p)
	}
	return list
}
