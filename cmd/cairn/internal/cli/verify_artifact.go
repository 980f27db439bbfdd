package cli

import (
	"context"
	"time"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/verify"
)

// verifyArtifact decides about an artifact by the policy.
func (a *app) verifyArtifact(ctx context.Context, arg string, f *verifyFlags) error {
	if err := a.requirePolicy(); err != nil {
		return err
	}
	signer, err := summarySigner(f)
	if err != nil {
		return err
	}
	q, err := a.inquire(&f.inquiryFlags)
	if err != nil {
		return err
	}
	t, err := q.target(ctx, arg)
	if err != nil {
		return err
	}
	r, err := q.report(ctx, t)
	if err != nil {
		return err
	}
	if f.vsa != "" {
		if err := a.writeSummary(q, r, f, signer); err != nil {
			return err
		}
	}
	a.answerReport(r)
	return endWith(r)
}

// answerReport prints a report; of it with -q, as text, only the verdict.
func (a *app) answerReport(r *verify.Report) {
	switch {
	case a.Format == "json":
		a.AnswerJSON(r)
	case a.Quiet:
		p := a.Printer(a.Out)
		p.Printf("%s\n", glyphsFor(a.ascii()).state(p, r.Verdict, false, r.Exception != nil))
	default:
		_ = r.Text(a.Out, a.ascii()) // the error is found at the end of the run
		p := a.Printer(a.Out)
		p.Printf("    at       %s\n", r.At.UTC().Format(time.RFC3339))
	}
}

// endWith ends the run with the code of the verdict.
func endWith(r *verify.Report) error {
	if code := r.Exit(); code != 0 {
		return &cmdline.Silent{Exit: code}
	}
	return nil
}
