package intake

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// verify opens an attestation, and refuses one that cannot be taken.
func (in *Intake) verify(ctx context.Context, raw []byte, accept func(*attest.Attestation) error) (att *attest.Attestation, err error) {
	ctx, span := observe.Start(ctx, "submit.verify")
	defer func() { span.End(err) }()
	span.Int("cairn.bytes", int64(len(raw)))
	if att, err = in.open(ctx, raw); err != nil {
		return nil, err
	}
	if err = accept(att); err == nil {
		err = in.trusted(ctx, att)
	}
	return att, err
}

// inTurn does a part of a verification once there is a core for it: of those under
// way, at most Config.Verifying are at it. f must not wait for anything.
func (in *Intake) inTurn(ctx context.Context, f func() error) error {
	select {
	case in.cores <- struct{}{}:
	case <-ctx.Done():
		return reason.Errorf(reason.DeadlinePassed, "the request ended before the attestation was verified: %w", context.Cause(ctx))
	}
	defer func() { <-in.cores }()
	return f()
}

// openInTurn opens an attestation with the keys that are known here.
func (in *Intake) openInTurn(ctx context.Context, raw []byte) (att *attest.Attestation, err error) {
	err = in.inTurn(ctx, func() (err error) {
		att, err = attest.Open(raw, in.ring)
		return err
	})
	return att, err
}

// startBatch begins what is done for the submissions of a batch together.
func startBatch(ctx context.Context, batch []*call) (context.Context, observe.Span) {
	if !observe.Tracing() {
		return ctx, observe.Span{}
	}
	asked := make([]trace.SpanContext, 0, len(batch))
	for _, c := range batch {
		asked = append(asked, c.asked)
	}
	ctx, span := observe.StartFor(ctx, "intake.batch", asked)
	span.Int("cairn.batch.size", int64(len(batch)))
	return ctx, span
}

// step does one step of a batch, which is up to storage.
func (in *Intake) step(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, span := observe.Start(ctx, name)
	err := f(ctx)
	span.End(err)
	in.sawFailure(name, err)
	return err
}

func (in *Intake) sawFailure(operation string, err error) {
	if err != nil && in.cfg.Failed != nil {
		in.cfg.Failed(operation, err)
	}
}

// Unpublished returns where in traces batches were appended since it was called
// last: what a publication is traced as a part of. It is for one caller.
func (in *Intake) Unpublished() []trace.SpanContext { return in.unpublished.Take() }
