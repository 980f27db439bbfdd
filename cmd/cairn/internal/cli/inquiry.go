package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

// inquiryFlags are the flags of the commands that judge artifacts.
type inquiryFlags struct {
	bundle string
	at     string
	names  []string
}

func (f *inquiryFlags) define(fl *pflag.FlagSet) {
	fl.StringVar(&f.bundle, "bundle", "", "take the evidence from the bundle in `FILE`, and ask nobody")
	f.defineAt(fl)
}

func (f *inquiryFlags) defineAt(fl *pflag.FlagSet) {
	fl.StringVar(&f.at, "at", "", "judge dates and ages at `TIME`, such as 2026-11-21 or 2026-11-21T12:00:00Z\n(default now)")
}

func (f *inquiryFlags) defineName(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.names, "name", nil, "the artifact is also known by the package URL `PURL`; repeatable")
}

// parseTime reads a time, or a day, which begins at midnight UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, cmdline.Usagef("write it as 2026-11-21 or 2026-11-21T12:00:00Z", "--at %q is no time", s)
}

// inquiry is evidence to judge artifacts by, from a ledger or a bundle, and what
// it is judged by.
type inquiry struct {
	a      *app
	policy *policy.Policy // nil without one
	text   []byte         // of the policy
	rules  *verify.Rules  // nil where the policy's lines about rebuilders count
	now    time.Time      // when it was asked
	at     time.Time      // as of when it is judged
	names  []string       // of --name
	// everybody is set for evidence that others judge: whom the policy does not
	// name is heard, too.
	everybody bool
	listed    bool // of many artifacts: what plain files are needs no saying

	bundle *bundle.Bundle // nil online
	file   string         // of the bundle
	online *online        // nil offline
}

// inquire reads the policy and the bundle, or connects to the ledger.
func (a *app) inquire(f *inquiryFlags) (*inquiry, error) {
	now := time.Now().UTC().Truncate(time.Second)
	q := &inquiry{a: a, now: now, at: now, file: f.bundle}
	var err error
	if f.at != "" {
		if q.at, err = parseTime(f.at); err != nil {
			return nil, err
		}
	}
	for _, n := range f.names {
		purl, err := attest.CanonicalPurl(n)
		if err != nil {
			return nil, cmdline.Doing("reading --name", err)
		}
		q.names = append(q.names, purl)
	}
	if a.policy != "" {
		if q.policy, q.text, err = cmdline.ReadPolicyText(a.policy); err != nil {
			return nil, err
		}
	}
	if f.bundle != "" {
		q.bundle, _, err = readBundle(f.bundle)
		return q, err
	}
	q.online, err = a.connect()
	return q, err
}

// requirePolicy is for the commands that decide nothing without one.
func (a *app) requirePolicy() error {
	if a.policy != "" {
		return nil
	}
	return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY: it says which log, witnesses and rebuilders count; see docs/verify.md",
		"no policy says whom to believe")
}

// readBundle reads a bundle, and its size.
func readBundle(path string) (*bundle.Bundle, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, cmdline.Unreadable("opening bundle "+path, cmdline.PathCause(err))
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, bundle.MaxSize+1))
	if err != nil {
		return nil, nil, cmdline.Unreadable("reading bundle "+path, cmdline.PathCause(err))
	}
	b, err := bundle.Parse(raw)
	if err != nil {
		return nil, nil, badBundle(path, err)
	}
	return b, raw, nil
}

// badBundle is a definite no: nothing of a bundle is believed if one byte is
// wrong.
func badBundle(path string, err error) error {
	return &cmdline.Problem{Reason: cmdline.BundleInvalid, Err: fmt.Errorf("verifying bundle %s: %w", path, err)}
}

// collect returns the evidence about an artifact, and about others that are
// collected with it: the bundle, or what the ledger has in one tree.
func (q *inquiry) collect(ctx context.Context, t *target, others ...*target) (*bundle.Bundle, error) {
	if q.bundle != nil {
		return q.bundle, nil
	}
	progress := q.a.Progress()
	defer progress.Done()
	also := make([]leaf.Digest, len(others))
	for i, o := range others {
		also[i] = o.digest
	}
	b, err := q.online.Collect(ctx, t.digest, t.names, q.policy, client.CollectOptions{
		Also: also, Everybody: q.everybody,
		Progress: func(p client.CollectProgress) {
			progress.Showf("collecting: %d artifacts looked up, %d entries proven", p.Digests, p.Entries)
		},
	})
	if err != nil {
		return nil, cmdline.Doing("collecting what is logged about "+string(t.digest), err)
	}
	return b, nil
}

// open verifies evidence. Of what a ledger just gave, that it is wrong is
// misbehaviour: it was collected against the same policy.
func (q *inquiry) open(b *bundle.Bundle) (*verify.Evidence, error) {
	ev, err := verify.Open(b, q.policy, q.at)
	if err == nil {
		return ev, nil
	}
	var wrong *verify.OpenError
	if !errors.As(err, &wrong) {
		return nil, badBundle(q.file, err)
	}
	switch {
	case wrong.Fork != nil && q.bundle != nil:
		return nil, &client.MisbehaviourError{Message: "the log contradicts itself, and " + q.file + " is the evidence: keep it", Err: err}
	case wrong.Fork != nil:
		return nil, &client.MisbehaviourError{Message: "the log contradicts itself", Err: err}
	case wrong.Outcome != verify.Refuted:
		return nil, &cmdline.Problem{Reason: cmdline.EvidenceLacking, Err: fmt.Errorf("verifying the evidence: %w", err)}
	case q.bundle != nil:
		return nil, badBundle(q.file, err)
	}
	return nil, &client.MisbehaviourError{Message: "what the ledger gave does not verify", Err: err}
}

// judge decides about an artifact by evidence.
func (q *inquiry) judge(t *target, ev *verify.Evidence) *verify.Report {
	return verify.Artifact(verify.Question{
		Artifact: t.digest, Names: t.names, Policy: q.policy, Rules: q.rules, At: q.at,
	}, ev)
}

// report collects, verifies and decides.
func (q *inquiry) report(ctx context.Context, t *target) (*verify.Report, error) {
	b, err := q.collect(ctx, t)
	if err != nil {
		return nil, err
	}
	ev, err := q.open(b)
	if err != nil {
		return nil, err
	}
	return q.judge(t, ev), nil
}

// target is the artifact that an argument names.
type target struct {
	digest leaf.Digest
	names  []string // canonical package URLs by which the asker knows it
}

// target finds the artifact that an argument names, and says what was taken
// where that is not plain.
func (q *inquiry) target(ctx context.Context, arg string) (*target, error) {
	var n name
	var note string
	var err error
	if q.online != nil {
		n, err = q.a.name(ctx, arg)
	} else {
		n, note, err = settled(arg)
	}
	if err != nil {
		return nil, err
	}
	if note != "" {
		q.a.Note("%s", note)
	}
	t, err := q.targetOf(ctx, n, arg)
	if err != nil {
		return nil, err
	}
	t.names = append(t.names, q.names...)
	slices.Sort(t.names)
	t.names = slices.Compact(t.names)
	return t, nil
}

func (q *inquiry) targetOf(ctx context.Context, n name, arg string) (*target, error) {
	switch n.kind {
	case byDigest:
		return &target{digest: n.digest}, nil
	case byFile:
		f, err := readNamed(n.path)
		if err != nil {
			return nil, err
		}
		if f.kind != artifactFile {
			return nil, cmdline.Usagef("`cairn show` takes it, and an attestation `cairn verify --logged`; to judge the file as an artifact, give its sha256:<hex>", "%s is %s", n.path, f.kind)
		}
		if !q.listed {
			q.a.Note("%s is the file %s", n.path, f.sha256Digest())
		}
		return &target{digest: f.sha256Digest()}, nil
	case byPurl:
		d, err := purlDigest(n.purl)
		if err != nil {
			return nil, err
		}
		if d != "" {
			return &target{digest: d, names: []string{n.purl}}, nil
		}
		if q.bundle != nil {
			return q.bundled(n.purl)
		}
		return q.latestBuild(ctx, n.purl)
	case byIndex:
		if q.bundle != nil {
			return nil, cmdline.Usagef("give the artifact's digest, file or package URL", "offline, the entry %q names no artifact", arg)
		}
		return q.subject(ctx, n)
	case byReference:
		return nil, cmdline.Usagef("name the image by digest: HOST/PATH@sha256:<hex>", "%s has no digest, and offline no registry is asked for the tag", arg)
	}
	return nil, cmdline.Usagef("give a digest, package URL, image reference or file; see `cairn help names`", "%q names no artifact", arg)
}

// bundled returns the artifact that a bundle was collected about, if somebody who
// is heard calls it by the name in the bundle. Whoever made the bundle must not
// choose what a name stands for.
func (q *inquiry) bundled(purl string) (*target, error) {
	ev, err := q.open(q.bundle)
	if err != nil {
		return nil, err
	}
	d := q.bundle.Artifact
	for _, c := range ev.About(d) {
		if q.heard(c.Keys) && named(&c.Claim, purl) == d {
			q.a.Note("%s is %s, by entry %s", purl, d, c.Entry)
			return &target{digest: d, names: []string{purl}}, nil
		}
	}
	whom := "nobody"
	if q.hears() {
		whom = "no rebuilder of the policy"
	}
	return nil, cmdline.Usagef("give the artifact's digest or file; `cairn bundle show` lists what is in a bundle",
		"%s calls what the bundle was collected about %s", whom, purl)
}
