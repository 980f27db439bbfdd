package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
)

// Limits of what services do at once and keep.
const (
	maxCached     = 10_000 // decisions
	maxConcurrent = 16     // decisions that are being made
)

// errBusy says that too many decisions are being made.
var errBusy = errors.New("too many decisions are being made; try again")

// judge makes decisions for services: those who ask about one image at the same
// time share a decision, and acceptances are kept for a while.
type judge struct {
	gate    *Gate
	timeout time.Duration
	logger  *slog.Logger

	flights  singleflight.Group
	running  chan struct{}
	accepted *expirable.LRU[Image, *Decision]

	decisions *prometheus.CounterVec
	duration  prometheus.Histogram
}

func newJudge(cfg Config) *judge {
	j := &judge{
		gate: cfg.Gate, timeout: cfg.Timeout, logger: cfg.Logger, running: make(chan struct{}, maxConcurrent),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_gate_decisions_total",
			Help: "Decisions about images by outcome: accepted, refused, error. Those from the cache are not counted.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cairn_gate_decision_duration_seconds", Help: "Time that a decision took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
	}
	if cfg.TTL > 0 { // the library takes 0 for ever
		j.accepted = expirable.NewLRU[Image, *Decision](maxCached, nil, cfg.TTL)
	}
	cfg.Registerer.MustRegister(j.decisions, j.duration)
	return j
}

// judge decides about an image, or returns what was decided lately. What is
// begun is finished, within its own time, also if who asked goes away: others
// may wait for it.
func (j *judge) judge(ctx context.Context, img Image) (*Decision, error) {
	if j.accepted != nil {
		if d, ok := j.accepted.Get(img); ok {
			return d, nil
		}
	}
	done := j.flights.DoChan(img.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.timeout)
		defer cancel()
		return j.decide(ctx, img)
	})
	select {
	case r := <-done:
		d, _ := r.Val.(*Decision)
		return d, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("deciding about %s: %w", img, ctx.Err())
	}
}

func (j *judge) decide(ctx context.Context, img Image) (*Decision, error) {
	select {
	case j.running <- struct{}{}:
		defer func() { <-j.running }()
	default:
		return nil, errBusy
	}
	start := time.Now()
	d, err := j.gate.Judge(ctx, img)
	took := time.Since(start)
	j.duration.Observe(took.Seconds())
	log := j.logger.With("image", img.String(), "took", took)
	switch {
	case err != nil:
		j.decisions.WithLabelValues("error").Inc()
		log.Error("no decision", "error", err)
		return nil, err
	case !d.Accepted:
		j.decisions.WithLabelValues("refused").Inc()
		log.Warn("refused", "verdict", d.Report.Verdict.String(), "reasons", d.Reasons)
		return d, nil
	}
	j.decisions.WithLabelValues("accepted").Inc()
	log.Info("accepted", "verdict", d.Report.Verdict.String(), "remarks", d.Remarks())
	if j.accepted != nil {
		j.accepted.Add(img, d)
	}
	return d, nil
}
