package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	// followBatch is how many entries are looked at in one transaction.
	followBatch = 256
	// maxEngines bounds the reproductions that one build may ask for.
	maxEngines = 8
	// followPause is waited after a failure.
	followPause = 5 * time.Second
	// byLog is who queued the jobs that the log asks for.
	byLog = "log"
)

// Follower queues the reproductions that logged builds ask for: one for each
// engine that externalParameters.reproduce of a StageX build names. It reads the
// log by its indexes, and remembers in the queue's database how far it came, in
// the transaction that queues the jobs: none is lost, and none is queued twice.
//
// What the log holds is anybody's, so an entry that asks in a way that is not
// understood is passed over, and From says who is heard at all.
type Follower struct {
	Queue *Queue
	Index store.Index
	Blobs store.Blobs
	// Published returns the number of published entries, once it is at least
	// this.
	Published func(ctx context.Context, least uint64) (uint64, error)
	// From are the operators, by URI, and the keys, by fingerprint, whose builds
	// are heard; "*" is everyone. An operator is what an enrolment claims: only a
	// key's fingerprint keeps others out.
	From []string
	// Warn is told what is tried again.
	Warn func(error)
}

// Run follows the log until ctx is done.
func (f *Follower) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.Step(ctx); err != nil && ctx.Err() == nil {
			f.Warn(fmt.Errorf("queueing the reproductions that the log asks for: %w", err))
			again := followPause
			if e, ok := reason.Of(err); ok {
				again = max(again, e.RetryAfter)
			}
			pause(ctx, again)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Step waits for the next entry that is published, and looks at it and at some
// that follow. A failure leaves them for the next call.
func (f *Follower) Step(ctx context.Context) error {
	var next uint64
	if err := f.Queue.r.QueryRowContext(ctx, "SELECT scanned FROM meta").Scan(&next); err != nil {
		return fmt.Errorf("reading how far the log was followed: %w", err)
	}
	size, err := f.Published(ctx, next+1)
	if err != nil {
		return err
	}
	end := min(size, next+followBatch)
	indexes := make([]uint64, 0, end-next)
	for i := next; i < end; i++ {
		indexes = append(indexes, i)
	}
	entries, err := f.Index.Entries(ctx, indexes)
	if err != nil {
		return err
	}
	var asked []wanted
	for i := range entries {
		reqs, err := f.asked(ctx, &entries[i])
		if err != nil {
			return err
		}
		for _, req := range reqs {
			asked = append(asked, wanted{entries[i].Index, req})
		}
	}
	return f.Queue.addWanted(ctx, asked, end)
}

// wanted is a job that an entry asks for.
type wanted struct {
	index uint64
	*cairnv1.QueueBuildRequest
}

// addWanted queues what the log asks for up to an index. It leaves a quarter of
// the queue to those who have tokens: if the rest is full, the log is followed
// up to the entry that found no room, and the refusal is returned.
func (q *Queue) addWanted(ctx context.Context, list []wanted, scanned uint64) error {
	var full error
	err := q.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		for _, w := range list {
			request := fmt.Sprintf("%s %d %s", byLog, w.index, w.GetSpec().GetEngine())
			_, _, err := t.add(ctx, w.QueueBuildRequest, byLog, request, q.cfg.MaxOpen*3/4)
			if reason.Is(err, reason.Overloaded) {
				full, scanned = err, w.index
				break
			}
			if err != nil {
				return err
			}
		}
		if _, err := t.ExecContext(ctx, "UPDATE meta SET scanned = ?", scanned); err != nil {
			return fmt.Errorf("writing how far the log was followed: %w", err)
		}
		return nil
	})
	return errors.Join(err, full)
}

// asked returns the jobs that an entry asks for. An error is one of storage.
func (f *Follower) asked(ctx context.Context, e *store.Entry) ([]*cairnv1.QueueBuildRequest, error) {
	l, err := leaf.Parse(e.Text)
	if err != nil {
		return nil, err
	}
	if l.Kind != leaf.KindAttestation || l.Claim != leaf.ClaimBuild {
		return nil, nil
	}
	var ring []*attest.PublicKey
	var operators []string
	for _, fp := range l.Keys {
		k, err := f.Index.Key(ctx, fp)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil // the key came with the attestation, and is nobody's who is heard
		}
		if err != nil {
			return nil, err
		}
		key, err := attest.ParsePublicKey([]byte(k.PEM))
		if err != nil {
			return nil, err
		}
		ring, operators = append(ring, key), append(operators, k.Operator)
	}
	if !f.hears(l.Keys, operators) {
		return nil, nil
	}
	raw, err := f.Blobs.Get(ctx, l.Envelope)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // withdrawn
	}
	if err != nil {
		return nil, err
	}
	att, err := attest.Open(raw, attest.NewKeyring(ring...))
	if err != nil || !bytes.Equal(att.Text, e.Text) {
		// Waiting does not mend this, and must not keep later builds waiting.
		f.Warn(fmt.Errorf("passing over entry %d: its stored bytes are not what it logs (%v)", e.Index, err))
		return nil, nil
	}
	return f.requests(e.Index, att, operators), nil
}

func (f *Follower) hears(keys []leaf.Fingerprint, operators []string) bool {
	return slices.ContainsFunc(f.From, func(who string) bool {
		return who == "*" || slices.Contains(operators, who) || slices.Contains(keys, leaf.Fingerprint(who))
	})
}

// requests returns the jobs that a build asks for, as far as they are
// understood.
func (f *Follower) requests(index uint64, att *attest.Attestation, operators []string) []*cairnv1.QueueBuildRequest {
	p, err := parseAsked(att.Raw)
	if err != nil || len(p.Reproduce) == 0 || len(att.Claim.Subjects) == 0 {
		return nil
	}
	if att.Claim.Operator != "" {
		operators = append(operators, att.Claim.Operator)
	}
	slices.Sort(operators)
	operators = slices.Compact(operators)
	keys := make([]string, 0, len(att.Leaf.Keys))
	for _, k := range att.Leaf.Keys {
		keys = append(keys, string(k))
	}
	i := int64(index)
	var reqs []*cairnv1.QueueBuildRequest
	for _, engine := range p.engines() {
		req := &cairnv1.QueueBuildRequest{
			Spec: &cairnv1.BuildSpec{
				Kind: KindReproduction, TreeUri: p.Tree.URI, TreeDigest: sha256Of(p.Tree.Digest),
				Package: p.Package, Platform: p.Platform, Engine: engine,
				ExpectedDigest: sha256Of(att.Claim.Subjects[0].Digests),
				ClaimIndex:     &i, ClaimEnvelope: string(att.Leaf.Envelope),
				ExcludedOperators: operators, ExcludedKeys: keys,
			},
		}
		if f.Queue.forms.checkQueue(req) == nil {
			reqs = append(reqs, req)
		}
	}
	return reqs
}

func sha256Of(digests map[string]string) string { return "sha256:" + digests["sha256"] }

// asked is what a build says of its reproduction, in externalParameters.
type asked struct {
	Reproduce []string                  `json:"reproduce"`
	Tree      attest.ResourceDescriptor `json:"tree"`
	Package   string                    `json:"package"`
	Platform  string                    `json:"platform"`
}

// engines returns the engines asked for, each once.
func (a *asked) engines() []string {
	list := slices.Clone(a.Reproduce[:min(len(a.Reproduce), maxEngines)])
	slices.Sort(list)
	return slices.Compact(list)
}

// parseAsked reads a DSSE envelope whose signatures were verified.
func parseAsked(raw []byte) (*asked, error) {
	var env dsse.Envelope
	if err := json.Unmarshal(raw, &env); err != nil {
		return nil, err
	}
	payload, err := env.DecodeB64Payload()
	if err != nil {
		return nil, err
	}
	var s attest.Statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, err
	}
	if s.PredicateType != attest.PredicateProvenance {
		return &asked{}, nil
	}
	return parsePredicate(s.Predicate)
}

// parsePredicate reads provenance. That of other build types asks for nothing.
func parsePredicate(predicate []byte) (*asked, error) {
	var p struct {
		BuildDefinition struct {
			BuildType          string         `json:"buildType"`
			ExternalParameters jsontext.Value `json:"externalParameters"`
		} `json:"buildDefinition"`
	}
	if err := json.Unmarshal(predicate, &p); err != nil {
		return nil, err
	}
	a := &asked{}
	if p.BuildDefinition.BuildType != attest.BuildTypeStageX || len(p.BuildDefinition.ExternalParameters) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(p.BuildDefinition.ExternalParameters, a); err != nil {
		return nil, fmt.Errorf("reading externalParameters: %w", err)
	}
	if slices.ContainsFunc(a.Reproduce, func(e string) bool { return strings.TrimSpace(e) == "" }) {
		return nil, errors.New("an engine to reproduce with has no name")
	}
	return a, nil
}
