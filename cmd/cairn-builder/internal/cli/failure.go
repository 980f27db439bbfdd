package cli

import (
	"context"
	"errors"

	"github.com/cairnlog/cairn/builder/build"
	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/reason"
)

// classify gives the errors of the builder their reasons.
func classify(err error) error {
	var step *engine.StepError
	var gate *build.GateError
	var missing *source.MissingError
	var ended *build.EngineError
	var r reason.Reason
	switch {
	case errors.As(err, &step):
		r = cmdline.StepFailed
	case errors.As(err, &gate):
		r = cmdline.GateShut
	case errors.As(err, &missing):
		r = cmdline.SourceMissing
	case errors.As(err, &ended) && !errors.Is(err, context.Canceled):
		r = cmdline.EngineUnavailable
	default:
		return err
	}
	return &cmdline.Problem{Reason: r, Err: err}
}
