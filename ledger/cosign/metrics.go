package cosign

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
)

// Metrics are what is shown of Collectors, of which several may follow each other.
// The label witness is a name of the policy.
type Metrics struct {
	asked  *prometheus.CounterVec
	margin *prometheus.GaugeVec // without labels, so that it is absent before the first attempt
}

// The values of the label result.
const (
	resultOK       = "ok"
	resultConflict = "conflict" // the witness says that it knows another tree
	resultError    = "error"
)

// NewMetrics returns metrics for a Config.
func NewMetrics() *Metrics {
	return &Metrics{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_ledger_witness_asked_total",
			Help: "How often a witness was asked for a cosignature, by result: ok, error, or conflict if it says that it knows another tree.",
		}, []string{"witness", "result"}),
		margin: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cairn_ledger_quorum_attempt_margin",
			Help: "How many more witnesses than the policy needs cosigned the checkpoint last attempted; negative if so many more are needed.",
		}, nil),
	}
}

// know shows a witness before it was asked.
func (m *Metrics) know(witness string) {
	for _, r := range []string{resultOK, resultConflict, resultError} {
		m.asked.WithLabelValues(witness, r)
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.asked.Describe(ch)
	m.margin.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.asked.Collect(ch)
	m.margin.Collect(ch)
}

// attempted shows how far from the quorum the signatures of a checkpoint are.
func (c *Collector) attempted(sigs []note.Signature) {
	if margin, ok := c.cfg.Policy.Margin(sigs); ok {
		c.cfg.Metrics.margin.WithLabelValues().Set(float64(margin))
	}
}

// asked counts an attempt to get a cosignature.
func (w *worker) asked(err error) {
	result := resultOK
	var conflict *errConflict
	switch {
	case errors.As(err, &conflict):
		result = resultConflict
	case err != nil:
		result = resultError
	}
	w.collector.cfg.Metrics.asked.WithLabelValues(w.peer.witness.Name, result).Inc()
}
