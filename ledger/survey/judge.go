package survey

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

const (
	judgeBatch = 16               // artifacts that are judged before the log is followed again
	retryAfter = 60 * time.Second // of an artifact that could not be judged
	maxNames   = 64               // names that its evidence is collected by
)

// due is an artifact that is to be judged.
type due struct {
	id     int64
	digest leaf.Digest
	was    verify.Verdict
}

// expire has packages look unproven whose verdicts may be over.
func (s *Survey) expire(ctx context.Context) error {
	expired, err := s.expired(ctx)
	if err != nil || !expired {
		return err
	}
	return s.inBatch(ctx, func(b *batch) error {
		var id int64
		return b.each("SELECT id FROM packages WHERE verdict = 1 AND due <= ?", []any{s.cfg.Now().Unix()}, []any{&id}, func() { b.packages[id] = true })
	})
}

// expired reports whether there is a package whose verdict may be over.
func (s *Survey) expired(ctx context.Context) (expired bool, err error) {
	err = s.r.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM packages WHERE verdict = 1 AND due <= ?)", s.cfg.Now().Unix()).Scan(&expired)
	return expired, err
}

// judgeSome judges some of the artifacts that are due.
func (s *Survey) judgeSome(ctx context.Context) error {
	var list []due
	var one due
	rows, err := s.r.QueryContext(ctx, "SELECT id, digest, verdict FROM artifacts WHERE heard = 1 AND due <= ? ORDER BY due, id LIMIT ?", s.cfg.Now().Unix(), judgeBatch)
	if err := eachRow(rows, err, []any{&one.id, &one.digest, &one.was}, func() { list = append(list, one) }); err != nil {
		return fmt.Errorf("reading what is due: %w", err)
	}
	for _, d := range list {
		if err := s.judge(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// judgement is what came of judging an artifact.
type judgement struct {
	verdict verify.Verdict
	due     int64         // when it is to be judged again
	needs   []leaf.Digest // the artifacts about which it says something to log anything
	stage0  bool
	report  []byte // nil if there is none
}

// judge judges an artifact, and remembers what came of it. That it could not be
// judged is no error: it is not known to be good, and tried again later.
func (s *Survey) judge(ctx context.Context, d due) error {
	var names []string
	var name string
	rows, err := s.r.QueryContext(ctx, `SELECT p.name FROM named n JOIN packages p ON p.id = n.package
		WHERE n.artifact = ? AND n.heard > 0 AND p.name LIKE 'pkg:%' ORDER BY p.name LIMIT ?`, d.id, maxNames)
	if err := eachRow(rows, err, []any{&name}, func() { names = append(names, name) }); err != nil {
		return fmt.Errorf("reading the names of %s: %w", d.digest, err)
	}
	at := s.cfg.Now().UTC().Truncate(time.Second)
	j, err := s.verdict(ctx, d.digest, names, at)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.cfg.Warn(fmt.Errorf("judging %s: %w", d.digest, err))
		// What it needs is not known: it is judged again anyway.
		j = &judgement{verdict: verify.VerdictUnproven, due: at.Add(retryAfter).Unix(), needs: []leaf.Digest{d.digest}}
	}
	return s.inBatch(ctx, func(b *batch) error { return b.save(d, j) })
}

func (b *batch) save(d due, j *judgement) error {
	b.changed, b.heardOne, b.touched[d.id] = true, true, true
	if err := b.exec("UPDATE artifacts SET verdict = ?, due = ?, stage0 = ? WHERE id = ?", int(j.verdict), j.due, btoi(j.stage0), d.id); err != nil {
		return err
	}
	if err := b.exec("INSERT OR REPLACE INTO reports (artifact, report) VALUES (?, ?)", d.id, string(j.report)); err != nil {
		return err
	}
	if err := b.exec("DELETE FROM needs WHERE artifact = ?", d.id); err != nil {
		return err
	}
	for _, digest := range j.needs {
		if err := b.exec("INSERT OR IGNORE INTO needs (digest, artifact) VALUES (?, ?)", needle(digest), d.id); err != nil {
			return err
		}
	}
	return b.judged(d.id, d.was, j.verdict)
}

// verdict collects what is logged about an artifact and its ancestry, and decides
// as `cairn verify` does.
func (s *Survey) verdict(ctx context.Context, artifact leaf.Digest, names []string, at time.Time) (*judgement, error) {
	b, err := s.cfg.Client.Collect(ctx, artifact, names, s.cfg.Policy, client.CollectOptions{})
	if err != nil {
		return nil, err
	}
	ev, err := verify.Open(b, s.cfg.Policy, at)
	if err != nil {
		return nil, err
	}
	// Nobody asks for it by a name: an exception for one that a claim gives it must not
	// hold, or one rebuilder could have anything accepted.
	r := verify.Artifact(verify.Question{Artifact: artifact, Policy: s.cfg.Policy, At: at}, ev)
	j := &judgement{verdict: r.Verdict, due: never, needs: []leaf.Digest{artifact}, stage0: fromSeeds(r)}
	for _, c := range ev.Claims() {
		for _, list := range [][]leaf.Digest{strong(c.Claim.Subjects), strong(c.Claim.Outputs), strong(c.Claim.Materials)} {
			j.needs = append(j.needs, list...)
		}
	}
	// A build may rest on an exception, until that is over.
	for _, x := range s.cfg.Policy.Exceptions() {
		if !x.Over(at) {
			j.due = min(j.due, x.Until.Unix())
		}
	}
	r.Ancestry, r.Attestations = nil, nil
	if j.report, err = json.Marshal(r); err != nil {
		return nil, err
	}
	return j, nil
}

func strong(rs []attest.Resource) []leaf.Digest {
	var list []leaf.Digest
	for i := range rs {
		list = append(list, rs[i].Strong()...)
	}
	return list
}

// fromSeeds reports whether an ancestry is stated without a gap, and ends in sources
// and seeds of the policy alone.
func fromSeeds(r *verify.Report) bool {
	if r.Counts.Seeds == 0 || r.Counts.Refused > 0 {
		return false
	}
	for nodes := []*verify.Node{r.Ancestry}; len(nodes) > 0; {
		n := nodes[len(nodes)-1]
		nodes = nodes[:len(nodes)-1]
		switch {
		case n.Pinned || n.Seen:
		case len(n.Materials) == 0:
			return false
		default:
			nodes = append(nodes, n.Materials...)
		}
	}
	return true
}
