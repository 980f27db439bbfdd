package server

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/reason"
)

// metrics are what /metrics shows. Labels come from the service's methods and
// from the table of reasons, so their number is bounded.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, board *checkpoint.Board, now func() time.Time, pending func() float64) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_ledger_requests_total",
			Help: "Requests by method and reason; reason is OK for a success.",
		}, []string{"method", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "cairn_ledger_request_duration_seconds",
			Help:    "Time from a request's arrival to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"method"}),
	}
	started := now()
	published := func(f func(*checkpoint.Published) float64) func() float64 {
		return func() float64 {
			if p := board.Latest(); p != nil {
				return f(p)
			}
			return 0
		}
	}
	reg.MustRegister(m.requests, m.duration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "cairn_ledger_published_size_entries",
			Help: "Size of the published tree.",
		}, published(func(p *checkpoint.Published) float64 { return float64(p.N) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "cairn_ledger_checkpoint_age_seconds",
			Help: "Time since the latest checkpoint was published; since the start, if none was.",
		}, func() float64 {
			if p := board.Latest(); p != nil {
				return now().Sub(p.At).Seconds()
			}
			return now().Sub(started).Seconds()
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "cairn_ledger_pending_submissions",
			Help: "Submissions that are not indexed yet.",
		}, pending))
	return m
}

// methodName returns the name of a method without its service.
func methodName(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

func (m *metrics) request(method string, row reason.Row, took time.Duration) {
	method = methodName(method)
	r := string(row.Reason)
	if r == "" {
		r = "OK"
	}
	m.requests.WithLabelValues(method, r).Inc()
	m.duration.WithLabelValues(method).Observe(took.Seconds())
}
