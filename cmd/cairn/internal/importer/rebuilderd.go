package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Bounds of what a rebuilderd is asked for.
const (
	rebuilderdPage     = 500      // packages at a time
	maxRebuilderdJSON  = 16 << 20 // bytes of one answer
	maxRebuilderdPages = 100_000  // so that one that repeats itself ends
	// MaxArtifact is the most bytes of an artifact that is fetched for its digest.
	MaxArtifact = 8 << 30
	// artifactTimeouts is how many times as long as an answer an artifact may take.
	artifactTimeouts = 60
)

// Rebuilderd is the results of a rebuilderd, by its REST interface in version 1.
// It implements Source.
//
// Where a rebuild has an attestation, that is the item, as it is. Of others,
// rebuilderd says GOOD, BAD or FAIL in JSON that nobody signed, without a digest
// of anything. With a Signer, such a result becomes a reproduction that the
// importer claims, about what the artifact's URL serves: that is fetched and
// hashed, and nothing is known of what was built instead. Items are grouped by
// status.
type Rebuilderd struct {
	URL    string // of the daemon, without /api/v1
	Filter RebuilderdFilter
	Keys   Keys
	Web    *Web
	// Signer claims the results that have no attestation; without it they are
	// refused.
	Signer *attest.Signer
	// Operator is the URI of who runs the daemon, as the importer claims it; may be
	// empty.
	Operator string
	// Split makes each signature of an attestation an item of its own.
	Split bool
}

// RebuilderdFilter says which packages are asked for. The zero value asks for all.
type RebuilderdFilter struct {
	Distribution, Release, Component, Architecture, Name string
}

// rebuilderdPackage is the JSON of a binary package.
type rebuilderdPackage struct {
	ID           int64   `json:"id"`
	Name         string  `json:"name"`
	Version      string  `json:"version"`
	Distribution string  `json:"distribution"`
	Release      *string `json:"release"`
	Architecture string  `json:"architecture"`
	URL          string  `json:"url"`
	Status       *string `json:"status"` // GOOD, BAD, UNKWN
	BuildID      *int64  `json:"build_id"`
	ArtifactID   *int64  `json:"artifact_id"`
	Attestation  *int64  `json:"attestation_log_id"`
}

// rebuilderdBuild is the JSON of a rebuild.
type rebuilderdBuild struct {
	StartedAt *string `json:"started_at"`
	BuiltAt   *string `json:"built_at"`
	Status    *string `json:"status"` // GOOD, BAD, FAIL, UNKWN
}

// The statuses of rebuilderd.
const (
	statusGood    = "GOOD"
	statusBad     = "BAD"
	statusFail    = "FAIL"
	statusUnknown = "UNKWN"
)

// String implements Source.
func (r *Rebuilderd) String() string { return "rebuilderd " + r.base() }

func (r *Rebuilderd) base() string { return strings.TrimSuffix(r.URL, "/") }

func (r *Rebuilderd) api(elements ...string) string {
	return r.base() + "/api/v1/" + strings.Join(elements, "/")
}

func (r *Rebuilderd) get(ctx context.Context, u string, v any) error {
	b, err := r.Web.Get(ctx, u, maxRebuilderdJSON)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &WebError{u, fmt.Errorf("decoding the answer: %w", err)}
	}
	return nil
}

// PublicKeys returns the keys with which the daemon signs, in PEM.
func (r *Rebuilderd) PublicKeys(ctx context.Context) ([]string, error) {
	var keys struct {
		Current []string `json:"current"`
	}
	if err := r.get(ctx, r.api("meta", "public-keys"), &keys); err != nil {
		return nil, err
	}
	if len(keys.Current) == 0 {
		return nil, &WebError{r.base(), errors.New("it names no current public key")}
	}
	return keys.Current, nil
}

// page is packages, or why there are no more.
type page struct {
	packages []rebuilderdPackage
	err      error
}

// pages yields all packages by their ids, which only grow: a package that comes
// meanwhile is on a later page.
func (r *Rebuilderd) pages(ctx context.Context) iter.Seq[page] {
	return func(yield func(page) bool) {
		after := int64(-1)
		for range maxRebuilderdPages {
			var answer struct {
				Records []rebuilderdPackage `json:"records"`
			}
			err := r.get(ctx, r.api("packages", "binary")+"?"+r.query(after), &answer)
			if err != nil {
				yield(page{err: err})
				return
			}
			for _, p := range answer.Records {
				if p.ID <= after {
					yield(page{err: &WebError{r.base(), fmt.Errorf("package %d comes after package %d: its pages do not end", p.ID, after)}})
					return
				}
				after = p.ID
			}
			if len(answer.Records) == 0 || !yield(page{packages: answer.Records}) {
				return
			}
		}
	}
}

func (r *Rebuilderd) query(after int64) string {
	q := url.Values{"limit": {strconv.Itoa(rebuilderdPage)}}
	if after >= 0 {
		q.Set("after", strconv.FormatInt(after, 10))
	}
	for name, v := range map[string]string{
		"distribution": r.Filter.Distribution, "release": r.Filter.Release, "component": r.Filter.Component,
		"architecture": r.Filter.Architecture, "name": r.Filter.Name,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q.Encode()
}

// Items implements Source.
func (r *Rebuilderd) Items(ctx context.Context, done func(string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if !r.Keys.yield(yield) {
			return
		}
		type wanted struct {
			p   rebuilderdPackage
			err error
		}
		each := func(yield func(wanted) bool) {
			for page := range r.pages(ctx) {
				if page.err != nil {
					yield(wanted{err: page.err})
					return
				}
				for _, p := range page.packages {
					if !yield(wanted{p: p}) {
						return
					}
				}
			}
		}
		type found struct {
			items []Item
			err   error
		}
		one := func(ctx context.Context, w wanted) found {
			if w.err != nil {
				return found{err: w.err}
			}
			return found{items: r.items(ctx, &w.p, done)}
		}
		for f := range Parallel(ctx, each, Fetches, one) {
			if f.err != nil {
				yield(Item{}, f.err)
				return
			}
			for _, item := range f.items {
				if !yield(item, ctx.Err()) {
					return
				}
			}
		}
	}
}

// items returns what is to be logged of a package: nothing of one that was not
// rebuilt.
func (r *Rebuilderd) items(ctx context.Context, p *rebuilderdPackage, done func(string) bool) []Item {
	if p.BuildID == nil {
		return nil
	}
	if p.Attestation != nil && p.ArtifactID != nil {
		return r.attestation(ctx, p, done)
	}
	item := Item{Name: r.api("builds", strconv.FormatInt(*p.BuildID, 10)) + "#" + p.Name}
	if done(item.Name) {
		return []Item{item}
	}
	var build rebuilderdBuild
	if err := r.get(ctx, r.api("builds", strconv.FormatInt(*p.BuildID, 10)), &build); err != nil {
		item.Err = err
		return []Item{item}
	}
	status := or(p.Status, statusUnknown)
	if s := or(build.Status, statusUnknown); s == statusFail {
		status = s // a build that failed has no artifacts
	}
	item.Group = status + " without attestation"
	if status == statusUnknown {
		return nil // not yet rebuilt, or no result
	}
	item.Raw, item.Err = r.claim(ctx, p, status, &build)
	return []Item{item}
}

func or(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

// attestation returns what the daemon holds for a rebuild.
func (r *Rebuilderd) attestation(ctx context.Context, p *rebuilderdPackage, done func(string) bool) []Item {
	u := r.api("builds", strconv.FormatInt(*p.BuildID, 10), "artifacts", strconv.FormatInt(*p.ArtifactID, 10), "attestation")
	item := Item{Name: u, Group: or(p.Status, statusUnknown) + " with attestation"}
	if done(u) {
		return []Item{item}
	}
	raw, err := r.Web.Get(ctx, u, attest.MaxEnvelope)
	if err != nil {
		item.Err = unobtained(err)
		return []Item{item}
	}
	item.Raw = raw
	if !r.Split {
		return []Item{item}
	}
	var items []Item
	yieldEach(item, splitLink(raw), func(one Item, _ error) bool {
		items = append(items, one)
		return true
	})
	return items
}

// splitLink returns an in-toto link once for each of its signatures. The bytes
// that are signed stay as they are.
func splitLink(raw []byte) [][]byte {
	var link struct {
		Signatures []json.RawMessage `json:"signatures"`
		Signed     json.RawMessage   `json:"signed"`
	}
	if err := json.Unmarshal(raw, &link); err != nil || len(link.Signatures) < 2 {
		return [][]byte{raw}
	}
	var each [][]byte
	for _, sig := range link.Signatures {
		each = append(each, fmt.Appendf(nil, `{"signatures":[%s],"signed":%s}`, sig, link.Signed))
	}
	return each
}

// rebuilderdResults are what the statuses claim.
var rebuilderdResults = map[string]leaf.Result{
	statusGood: leaf.Identical,
	statusBad:  leaf.Different,
	statusFail: leaf.BuildFailed,
}

// claim signs what the daemon says of a rebuild. How the output was obtained is
// left unstated: who claims it did not build it, and it counts for nothing where
// that matters.
func (r *Rebuilderd) claim(ctx context.Context, p *rebuilderdPackage, status string, build *rebuilderdBuild) ([]byte, error) {
	result, ok := rebuilderdResults[status]
	if !ok {
		return nil, fmt.Errorf("its status is %.40q, which is none of GOOD, BAD and FAIL", status)
	}
	if r.Signer == nil {
		return nil, fmt.Errorf("rebuilderd says %s without an attestation, and without a digest: to claim it yourself, give --key FILE and --fetch", status)
	}
	digest, err := r.digest(ctx, p.URL)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("rebuilderd says %s without a digest, and the artifact is not at %s any more", status, p.URL)
	}
	if err != nil {
		return nil, fmt.Errorf("hashing the artifact: %w", err)
	}
	subject := attest.ResourceDescriptor{Name: fileName(p.URL), URI: p.purl(), Digest: map[string]string{"sha256": digest}}
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
		Result:    result,
		Rebuilder: attest.Builder{ID: r.base(), Operator: r.Operator},
		Metadata: &attest.Metadata{
			InvocationID: r.api("builds", strconv.FormatInt(*p.BuildID, 10)),
			StartedOn:    utc(build.StartedAt), FinishedOn: utc(build.BuiltAt),
		},
	}, subject)
	if err != nil {
		return nil, err
	}
	return r.Signer.Sign(st)
}

// digest returns the SHA-256 of what a URL serves.
func (r *Rebuilderd) digest(ctx context.Context, u string) (string, error) {
	var sum string
	web, client := *r.Web, *r.Web.Client
	client.Timeout *= artifactTimeouts
	web.Client = &client
	err := web.Stream(ctx, u, func(body io.Reader) error {
		h := sha256.New()
		n, err := io.Copy(h, io.LimitReader(body, MaxArtifact+1))
		if err == nil && n > MaxArtifact {
			err = tooLarge(MaxArtifact)
		}
		sum = hex.EncodeToString(h.Sum(nil))
		return err
	})
	return sum, err
}

func fileName(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return ""
	}
	return path.Base(parsed.Path)
}

// utc returns a time as rebuilderd writes it, without its zone, in RFC 3339; or
// nothing.
func utc(t *string) string {
	if t == nil || *t == "" {
		return ""
	}
	return *t + "Z"
}

// purlTypes are the package URLs' types and namespaces for the distributions that
// rebuilderd names.
var purlTypes = map[string][2]string{
	"archlinux": {"alpm", "arch"},
	"debian":    {"deb", "debian"},
	"fedora":    {"rpm", "fedora"},
}

// purl returns the package's URL, or nothing for a distribution that has none.
func (p *rebuilderdPackage) purl() string {
	t, ok := purlTypes[p.Distribution]
	if !ok {
		return ""
	}
	purl, err := attest.CanonicalPurl(fmt.Sprintf("pkg:%s/%s/%s@%s?arch=%s", t[0], t[1],
		url.PathEscape(p.Name), url.PathEscape(p.Version), url.QueryEscape(p.Architecture)))
	if err != nil {
		return ""
	}
	return purl
}
