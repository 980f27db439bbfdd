package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

// verdictWords are the verdicts, in the order in which they are counted.
var verdictWords = []string{"reproduced", "differs", "failed", "unproven", "untried"}

func (a *app) newStatus() *cobra.Command {
	var f inquiryFlags
	var filter []string
	cmd := &cobra.Command{
		Use:   "status IMAGE|LIST --policy FILE [--bundle FILE]",
		Short: "Say how much of an image, or of a list, is reproduced",
		Long: `Status prints a line for each package and the share of them that is reproduced by
the policy. What nobody tried counts as not reproduced.

Of an image (an OCI layout, a reference, a digest, a package URL), these are the
image and all that its ancestry was built from. A file, or "-" for stdin, is a
list: on each line a digest, package URL, image reference or file name, or a
digest and a name as sha256sum and StageX's digests/*.txt have them.

The columns are the verdict, the operators who obtained it of those in the
policy's quorum, the digest, and the name. The exit code is 0 if all are
accepted, 1 if one differs or failed, and otherwise 3.`,
		Example: `  cairn status registry.example/a/core-go@sha256:9f2c… --policy trusted.policy
  cairn status digests/core.txt --policy trusted.policy --filter differs --filter failed
  sha256sum *.deb | cairn status - --policy trusted.policy -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.status(ctx, args[0], filter, &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.define(fl)
	fl.StringArrayVar(&filter, "filter", nil, "print only lines with the `VERDICT`: "+cmdline.OrList(verdictWords)+";\nrepeatable; all are counted")
	return cmd
}

// statusAnswer is the JSON of cairn status.
type statusAnswer struct {
	Schema   string           `json:"schema"` // cairn/status/v1
	At       time.Time        `json:"at"`
	Log      *verify.LogState `json:"log,omitempty"` // absent if the evidence is empty
	Packages []packageStatus  `json:"packages"`      // those that --filter leaves
	Counts   statusCounts     `json:"counts"`        // of all
	Accepted bool             `json:"accepted"`      // whether all are

	refused bool // one differs or failed, and no exception holds for it
}

// packageStatus is one line of cairn status.
type packageStatus struct {
	Name      string         `json:"name"`
	Digest    leaf.Digest    `json:"digest"`
	Verdict   verify.Verdict `json:"verdict"`
	Accepted  bool           `json:"accepted"`
	Excepted  bool           `json:"excepted,omitempty"`
	Operators []string       `json:"operators"` // who obtained it
	Of        int            `json:"of"`        // operators in the quorums that count
	Reasons   []string       `json:"reasons"`   // why it is not reproduced
}

// statusCounts says how many packages there are. The verdicts add up to Total.
type statusCounts struct {
	Total      int     `json:"total"`
	Reproduced int     `json:"reproduced"`
	Differs    int     `json:"differs"`
	Failed     int     `json:"failed"`
	Unproven   int     `json:"unproven"`
	Untried    int     `json:"untried"`
	Excepted   int     `json:"excepted"`   // of these, whatever their verdict
	Percentage float64 `json:"percentage"` // reproduced of all, to a tenth
}

func (a *app) status(ctx context.Context, arg string, filter []string, f *inquiryFlags) error {
	for _, w := range filter {
		if !slices.Contains(verdictWords, w) {
			return cmdline.Usagef("want "+cmdline.OrList(verdictWords), "--filter %q is no verdict", w)
		}
	}
	if err := a.requirePolicy(); err != nil {
		return err
	}
	list, err := a.listOf(arg)
	if err != nil {
		return err
	}
	q, err := a.inquire(f)
	if err != nil {
		return err
	}
	v := &statusAnswer{Schema: "cairn/status/v1", At: q.at, Packages: []packageStatus{}}
	if list == nil {
		err = v.image(ctx, q, arg)
	} else {
		err = v.list(ctx, q, arg, list)
	}
	if err != nil {
		return err
	}
	v.sortAndCount()
	v.filter(filter)
	a.Answer(v, func(p term.Printer) { v.text(p, glyphsFor(a.ascii())) })
	return v.exit()
}

// onStdin is what a list without a name is called.
const onStdin = "on stdin"

// listOf reads the list that an argument names, or returns nil if it names an
// artifact.
func (a *app) listOf(arg string) ([]listedArtifact, error) {
	if arg == "-" {
		return parseList(a.In, onStdin)
	}
	n, _, err := settled(arg)
	if err != nil || n.kind != byFile {
		return nil, err
	}
	file, err := os.Open(n.path)
	if err != nil {
		return nil, missingFile(n.path, err)
	}
	defer func() { _ = file.Close() }()
	return parseList(io.Reader(file), n.path)
}

// image fills in an artifact and its ancestry, each artifact once.
func (v *statusAnswer) image(ctx context.Context, q *inquiry, arg string) error {
	t, err := q.target(ctx, arg)
	if err != nil {
		return err
	}
	r, err := q.report(ctx, t)
	if err != nil {
		return err
	}
	v.setLog(r)
	at := make(map[leaf.Digest]int)
	var add func(n *verify.Node)
	add = func(n *verify.Node) {
		built := !n.Pinned && n.Role != attest.RoleSource && n.Role != attest.RoleSeed && n.Digest != ""
		if i, ok := at[n.Digest]; built && !ok {
			at[n.Digest] = len(v.Packages)
			v.Packages = append(v.Packages, packageOf(n))
		} else if built && !n.Seen {
			v.Packages[i] = packageOf(n) // the place where it is expanded is the one that says all
		}
		for _, m := range n.Materials {
			add(m)
		}
	}
	add(r.Ancestry)
	return nil
}

// list fills in the artifacts of a list.
func (v *statusAnswer) list(ctx context.Context, q *inquiry, from string, list []listedArtifact) error {
	if from == "-" {
		from = onStdin
	}
	q.listed = true
	targets := make([]*target, len(list))
	for i, l := range list {
		t, err := q.target(ctx, l.arg)
		if err != nil {
			return cmdline.Doing(fmt.Sprintf("reading the list %s: line %d", from, l.line), err)
		}
		targets[i] = t
	}
	b, err := q.collect(ctx, targets[0], targets[1:]...)
	if err != nil {
		return err
	}
	ev, err := q.open(b)
	if err != nil {
		return err
	}
	for i, t := range targets {
		r := q.judge(t, ev)
		v.setLog(r)
		s := packageOf(r.Ancestry)
		if s.Digest, s.Name = t.digest, r.Name; list[i].label != "" {
			s.Name = list[i].label
		}
		v.Packages = append(v.Packages, s)
	}
	return nil
}

func (v *statusAnswer) setLog(r *verify.Report) {
	if r.Log.Origin != "" {
		v.Log = &r.Log
	}
}

func packageOf(n *verify.Node) packageStatus {
	s := packageStatus{
		Name: n.Name, Digest: n.Digest, Verdict: n.Verdict, Accepted: n.Accepted, Excepted: n.Exception != nil,
		Operators: []string{}, Reasons: n.Reasons,
	}
	for i := range n.Operators {
		s.Operators = append(s.Operators, n.Operators[i].Operator)
	}
	if n.Quorum != nil {
		drawn := make(map[string]bool)
		for i := range n.Quorum.Quorums {
			operatorsOf(&n.Quorum.Quorums[i].Node, drawn)
		}
		s.Of = len(drawn)
	}
	return s
}

func (v *statusAnswer) sortAndCount() {
	slices.SortStableFunc(v.Packages, func(x, y packageStatus) int {
		if c := strings.Compare(x.Name, y.Name); c != 0 {
			return c
		}
		return strings.Compare(string(x.Digest), string(y.Digest))
	})
	c := &v.Counts
	of := map[verify.Verdict]*int{
		verify.VerdictReproduced: &c.Reproduced, verify.VerdictDiffers: &c.Differs, verify.VerdictFailed: &c.Failed,
		verify.VerdictUnproven: &c.Unproven, verify.VerdictUntried: &c.Untried,
	}
	v.Accepted = len(v.Packages) > 0
	for i := range v.Packages {
		p := &v.Packages[i]
		c.Total++
		*of[p.Verdict]++
		if p.Excepted {
			c.Excepted++
		}
		v.Accepted = v.Accepted && p.Accepted
		v.refused = v.refused || !p.Accepted && (p.Verdict == verify.VerdictDiffers || p.Verdict == verify.VerdictFailed)
	}
	if c.Total > 0 {
		c.Percentage = math.Round(float64(c.Reproduced)*1000/float64(c.Total)) / 10
		if c.Reproduced < c.Total {
			c.Percentage = min(c.Percentage, 99.9) // almost all is not all
		}
	}
}

func (v *statusAnswer) filter(words []string) {
	if len(words) == 0 {
		return
	}
	v.Packages = slices.DeleteFunc(v.Packages, func(p packageStatus) bool { return !slices.Contains(words, p.Verdict.String()) })
}

// exit ends the run with the worst of the verdicts.
func (v *statusAnswer) exit() error {
	switch {
	case v.Accepted:
		return nil
	case v.refused:
		return &cmdline.Silent{Exit: reason.ExitNo}
	}
	return &cmdline.Silent{Exit: reason.ExitUnproven}
}

func (v *statusAnswer) text(p term.Printer, g *glyphs) {
	states := make([]string, len(v.Packages))
	width := 0
	for i := range v.Packages {
		s := &v.Packages[i]
		states[i] = string(g.state(term.Printer{}, s.Verdict, false, s.Excepted))
		width = max(width, utf8.RuneCountInString(states[i]))
	}
	for i := range v.Packages {
		s := &v.Packages[i]
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(states[i]))
		p.Printf("%s%s  %d of %d  %s  %s\n", g.state(p, s.Verdict, false, s.Excepted), pad, len(s.Operators), s.Of, g.short(s.Digest), g.shorten(s.Name))
	}
	p.Printf("%s\n", v.Counts.line())
}

// short is a digest for the eye; what acts on it takes JSON.
func (g *glyphs) short(d leaf.Digest) string {
	hex := d.Hex()
	if len(hex) < 16 {
		return string(d)
	}
	return hex[:8] + g.cut + hex[len(hex)-4:]
}

func (c *statusCounts) line() string {
	s := fmt.Sprintf("reproduced %d of %d (%.1f %%)", c.Reproduced, c.Total, c.Percentage)
	for _, k := range []struct {
		word string
		n    int
	}{{"differs", c.Differs}, {"failed", c.Failed}, {"unproven", c.Unproven}, {"untried", c.Untried}, {"excepted", c.Excepted}} {
		if k.n > 0 {
			s += fmt.Sprintf(", %s %d", k.word, k.n)
		}
	}
	return s
}
