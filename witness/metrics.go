package witness

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/witness/state"
)

// metrics are what /metrics shows of the cosigning. The label origin is one of
// the configuration, or empty.
type metrics struct {
	requests *prometheus.CounterVec
}

func newMetrics(ctx context.Context, reg prometheus.Registerer, w *Witness) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_witness_requests_total",
			Help: "Requests to cosign by status code. The origin is empty if the request names none that is configured.",
		}, []string{"origin", "code"}),
	}
	if err := reg.Register(m.requests); err != nil {
		return nil, err
	}
	return m, reg.Register(latestCollector{context.WithoutCancel(ctx), w})
}

func (m *metrics) added(origin string, err error) {
	code := http.StatusOK
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		code = refusal.Code
	case err != nil:
		code = http.StatusInternalServerError
	}
	m.requests.WithLabelValues(origin, strconv.Itoa(code)).Inc()
}

// latestCollector reads from the state what it shows: nothing has to be kept in
// step.
type latestCollector struct {
	ctx context.Context
	w   *Witness
}

var _ prometheus.Collector = latestCollector{}

// Describe implements prometheus.Collector.
func (c latestCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range latestDescs() {
		ch <- d
	}
}

func latestDescs() [3]*prometheus.Desc {
	origin := []string{"origin"}
	return [3]*prometheus.Desc{
		prometheus.NewDesc("cairn_witness_log_size_entries", "Size of the tree last cosigned.", origin, nil),
		prometheus.NewDesc("cairn_witness_cosignature_timestamp_seconds", "Time of the latest cosignature.", origin, nil),
		prometheus.NewDesc("cairn_witness_refusing", "1 while nothing of the origin is cosigned for this cause: it is refused until an operator clears it.",
			[]string{"origin", "cause"}, nil),
	}
}

// Collect implements prometheus.Collector.
func (c latestCollector) Collect(ch chan<- prometheus.Metric) {
	descs := latestDescs()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, l := range c.w.config.Logs {
		last, err := c.w.config.State.Latest(c.ctx, l.Origin)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(descs[0], err)
			return
		}
		if last != nil {
			gauge(descs[0], float64(last.Size), l.Origin)
			gauge(descs[1], float64(last.Time), l.Origin)
		}
		refused, err := c.w.config.State.Refused(c.ctx, l.Origin)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(descs[2], err)
			return
		}
		for _, cause := range []state.Cause{state.CauseEvidence, state.CauseRollback} {
			refusing := 0.0
			if refused != nil && refused.Cause == cause {
				refusing = 1
			}
			gauge(descs[2], refusing, l.Origin, string(cause))
		}
	}
}
